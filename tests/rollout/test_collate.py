"""Where every token, mask bit and position of a batch comes from."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from r1.rollout.collate import collate, microbatches, narrow


def test_layout(lab):
    """S = 3, T = 2; rows: (7 8 | 5 1) and (9 6 4 | 1)."""
    batch = collate(
        [lab.trace([7, 8], [5, 1], logps=[-0.1, -0.2], advantage=1.5), lab.trace([9, 6, 4], [1], logps=[-0.3], advantage=-1.0)], 0
    )
    assert batch.tokens.tolist() == [[0, 7, 8, 5, 1], [9, 6, 4, 1, 0]]
    assert batch.attention.tolist() == [[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.position_ids.tolist() == [[0, 0, 1, 2, 3], [0, 1, 2, 3, 4]]  # bug 3: 0 at the first real token
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert batch.weight.tolist() == [[1, 1], [1, 0]]
    assert batch.sampler_logp.tolist() == [[pytest.approx(-0.1), pytest.approx(-0.2)], [pytest.approx(-0.3), 0]]
    assert batch.advantage.tolist() == [1.5, -1.0]
    assert batch.old_logp is None
    assert (batch.S, batch.targets.tolist()) == (3, [[5, 1], [1, 0]])


def test_padding_may_be_an_end_of_sequence_id(lab):
    """Bugs 4, 6 and 7: pad_id 1 is the end too. The end that was sampled is in the mask, the padding behind it is not."""
    batch = collate([lab.trace([7], [5, 1]), lab.trace([7], [1]), lab.trace([1, 7], [5, 5, 1, 5])], pad_id=1)
    assert batch.tokens.tolist() == [[1, 7, 5, 1, 1, 1], [1, 7, 1, 1, 1, 1], [1, 7, 5, 5, 1, 5]]
    assert batch.mask.sum(1).tolist() == [2, 1, 4]
    assert batch.attention.tolist() == [[0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]]


def test_padding_is_never_used(lab):
    """Bugs 4 and 52: whatever id pads, log-probabilities of real tokens are the same bit for bit."""
    model = lab.policy().model
    traces = [lab.trace([7, 8, 9], [5, 1]), lab.trace([9], [6, 5, 4, 3, 1])]

    def logps(pad_id: int) -> torch.Tensor:
        batch = collate(traces, pad_id)
        with torch.no_grad():
            logits = model(input_ids=batch.tokens, attention_mask=batch.attention, position_ids=batch.position_ids).logits
        logp = logits[:, batch.S - 1 : -1].log_softmax(-1).gather(2, batch.targets[..., None]).squeeze(2)
        assert logp.isfinite().all()
        return logp[batch.mask]

    assert torch.equal(logps(0), logps(47))
    alone = [lab.alone(model, t.prompt_ids, t.token_ids)[range(len(t.token_ids)), t.token_ids] for t in traces]
    assert torch.allclose(logps(0), torch.cat(alone), atol=1e-5)


def test_no_advantage_unless_all_have_one(lab):
    assert collate([lab.trace([7], [1], advantage=0.0), lab.trace([7], [1])], 0).advantage is None


def test_what_cannot_be_collated(lab):
    with pytest.raises(ValueError, match="at least one trace"):
        collate([], 0)
    with pytest.raises(ValueError, match=r"\['empty'\]"):
        collate([lab.trace([7], [1]), lab.trace([7], [], "empty")], 0)


def test_narrow_cuts_what_no_row_needs(lab):
    traces = [lab.trace([7, 8, 9], [5, 1]), lab.trace([7], [5]), lab.trace([7, 8], [1, 1, 1, 1, 1]), lab.trace([9, 9], [4])]
    whole = collate(traces, 0)
    whole = replace(whole, old_logp=torch.rand(4, 5), advantage=torch.arange(4.0))
    part = narrow(whole, [3, 1])
    expected = collate([traces[3], traces[1]], 0)
    for name in ("tokens", "attention", "position_ids", "mask", "weight", "sampler_logp"):
        assert torch.equal(getattr(part, name), getattr(expected, name)), name
    assert torch.equal(part.old_logp, whole.old_logp[[3, 1], :1])
    assert part.advantage.tolist() == [3, 1]
    per_token = narrow(replace(whole, advantage=torch.rand(4, 5)), [3, 1])
    assert tuple(per_token.advantage.shape) == (2, 1)


def test_microbatches_fit_and_cover(lab):
    sizes = [(3, 40), (9, 2), (3, 2), (5, 40), (3, 41), (4, 7), (3, 300)]
    batch = collate([lab.trace([7] * s, [5] * t) for s, t in sizes], 0)
    parts = microbatches(batch, range(7), tokens=100)
    # by completion, then prompt, the longest first: (3,300) alone beyond the budget | (3,41) (5,40) | (3,40) (4,7) | (9,2) (3,2)
    assert parts == [[6], [4, 3], [0, 5], [1, 2]]
    assert microbatches(batch, [6, 5, 0, 2], tokens=10_000) == [[6, 0, 5, 2]]
    for part in parts[1:]:
        assert narrow(batch, part).tokens.numel() <= 100
    with pytest.raises(ValueError, match="at least 1 token"):
        microbatches(batch, [0], tokens=0)


def test_sorting_leaves_little_padding(lab):
    lengths = [(37 * i) % 180 + 10 for i in range(256)]  # 10 .. 189, shuffled
    batch = collate([lab.trace([7] * 14, [5] * n) for n in lengths], 0)
    real = int(batch.attention.sum())
    computed = sum(narrow(batch, part).tokens.numel() for part in microbatches(batch, range(256), tokens=4096))
    assert computed < 1.15 * real < 0.7 * batch.tokens.numel()


def test_two_hundred_and_fifty_six_rows_take_milliseconds(lab):
    traces = [lab.trace(range(14), range(100)) for _ in range(256)]
    best = min(_seconds(lambda: collate(traces, 0)) for _ in range(5))
    assert best < 0.1  # 3 ms on an idle core; a loop over tokens needs more than a second


def _seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_the_longest_come_first_and_unpadded_parts_hold_more(lab):
    batch = collate([lab.trace([5] * p, [6] * c) for p, c in [(1, 2), (3, 6), (2, 6), (1, 1)]], pad_id=0)
    # padded: [1] is 9 wide, [1, 2] would be 2 * 9; unpadded 9 + 8 = 17, and 3 + 2 = 5 more do not fit into 18
    assert microbatches(batch, range(4), 18) == [[1, 2], [0, 3]]
    assert microbatches(batch, range(4), 17) == [[1], [2, 0], [3]]
    assert microbatches(batch, range(4), 17, padded=False) == [[1, 2], [0, 3]]
