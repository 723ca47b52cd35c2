"""The in-process engine: log-probabilities are the model's, rows do not depend on each other, the model is left as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from r1.rollout import hf
from r1.rollout.draw import restrict
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine

MODELS = ["qwen3", "qwen2", "llama", "gpt2"]
T = 16


def generate(policy, lab, sampling=Sampling(max_new_tokens=T), prompts=None, n=4, seeds=None, **options):  # noqa: B008
    prompts = lab.PROMPTS if prompts is None else prompts
    return HFEngine(policy, **options).generate(prompts, n, sampling, lab.seeds(prompts, n) if seeds is None else seeds)


@pytest.mark.parametrize("decoder", ["auto", "module"])
@pytest.mark.parametrize("name", MODELS)
def test_logps_equal_a_teacher_forced_pass(lab, name, decoder):
    """Bugs 3 (left padding needs position ids; GPT-2 has absolute ones), 22 (log-probabilities of another distribution)."""
    policy = lab.policy(name, eos_ids=range(4))
    groups = generate(policy, lab, decoder=decoder)
    assert {c.finish_reason for g in groups for c in g} == {"stop", "length"}
    for prompt, group in zip(lab.PROMPTS, groups, strict=True):
        for c in group:
            expected = lab.alone(policy.model, prompt, c.token_ids)[range(len(c.token_ids)), c.token_ids]
            assert c.logps == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "sampling", [Sampling(0.6, max_new_tokens=T), Sampling(0.8, 0.9, 12, max_new_tokens=T)], ids=["T=0.6", "top-k top-p"]
)
def test_logps_are_of_the_distribution_that_was_sampled(lab, sampling):
    """Bugs 21, 22 and 23: temperature, top-k and top-p are in the log-probability."""
    policy = lab.policy()
    for prompt, group in zip(lab.PROMPTS, generate(policy, lab, sampling), strict=True):
        for c in group:
            raw = lab.alone(policy.model, prompt, c.token_ids)
            expected = restrict(raw, sampling).log_softmax(-1)[range(len(c.token_ids)), c.token_ids]
            assert c.logps == pytest.approx(expected.tolist(), abs=1e-4)
            assert c.logps != pytest.approx(raw[range(len(c.token_ids)), c.token_ids].tolist(), abs=1e-2)


@pytest.mark.parametrize("decoder", ["auto", "module"])
def test_a_completion_does_not_depend_on_its_batch(lab, decoder):
    policy = lab.policy()
    seeds = lab.seeds()
    together = generate(policy, lab, decoder=decoder)
    for i, j in ((0, 3), (1, 0), (2, 2)):  # alone, one sample at a time
        ((one,),) = generate(policy, lab, prompts=[lab.PROMPTS[i]], n=1, seeds=[[seeds[i][j]]], decoder=decoder)
        assert one.token_ids == together[i][j].token_ids
        assert one.logps == pytest.approx(together[i][j].logps, abs=1e-5)
    order = [2, 0, 3, 1]
    permuted = generate(
        policy, lab, prompts=[lab.PROMPTS[i] for i in order], seeds=[seeds[i][::-1] for i in order], decoder=decoder
    )
    assert [[c.token_ids for c in reversed(g)] for g in permuted] == [[c.token_ids for c in together[i]] for i in order]
    chunked = generate(policy, lab, max_rows=5, decoder=decoder)
    assert [[c.token_ids for c in g] for g in chunked] == [[c.token_ids for c in g] for g in together]
    assert len({tuple(c.token_ids) for g in together for c in g}) > 12  # and siblings differ


@pytest.mark.parametrize("decoder", ["auto", "module"])
def test_every_eos_id_ends_a_completion(lab, decoder):
    """Bugs 5 (only one end-of-sequence id is tested) and 7 (the end is not part of the completion)."""
    groups = generate(lab.policy(eos_ids=(3, 7, 30)), lab, n=8, decoder=decoder)
    last = {c.token_ids[-1] for g in groups for c in g if c.finish_reason == "stop"}
    assert last == {3, 7, 30}
    for c in (c for g in groups for c in g):
        assert not {3, 7, 30} & set(c.token_ids[:-1])
        assert len(c.logps) == len(c.token_ids) == (T if c.finish_reason == "length" else len(c.token_ids))
        assert (c.token_ids[-1] in (3, 7, 30)) == (c.finish_reason == "stop")


def test_no_token_is_special_but_the_ends(lab):
    """Bug 6: the padding id (here also an end of other models) may be sampled like any other."""
    groups = generate(lab.policy(eos_ids=(47,)), lab, n=16)
    with_padding = [c for g in groups for c in g if 1 in c.token_ids]  # pad_id is 1
    assert with_padding
    for c in with_padding:
        assert len(c.token_ids) == T or c.token_ids[-1] == 47
        assert max(c.logps) < 0  # drawn, not left over


def test_greedy(lab):
    policy = lab.policy()
    for prompt, group in zip(lab.PROMPTS, generate(policy, lab, Sampling(0, max_new_tokens=T), n=2), strict=True):
        assert group[0] == group[1]
        lp = lab.alone(policy.model, prompt, group[0].token_ids)
        assert group[0].token_ids == lp.argmax(-1).tolist()
        assert group[0].logps == pytest.approx(lp.amax(-1).tolist(), abs=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "qwen3"])
def test_dropout_is_off_while_sampling_and_the_mode_comes_back(lab, name):
    """Bugs 19 and 20: sampled with dropout, or left in eval mode. Modules keep their own modes, also after an exception."""
    policy = lab.policy(name)
    calm = generate(policy, lab)
    for module in policy.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    policy.model.train()
    frozen = policy.model.base_model
    frozen.eval()
    modes = [m.training for m in policy.model.modules()]
    assert [[c.token_ids for c in g] for g in generate(policy, lab)] == [[c.token_ids for c in g] for g in calm]
    assert [m.training for m in policy.model.modules()] == modes
    assert policy.model.training
    assert not frozen.training

    def fail(*args, **kwargs):
        assert not policy.model.training
        raise RuntimeError("out of memory")

    policy.model.forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        generate(policy, lab, decoder="module")
    assert [m.training for m in policy.model.modules()] == modes


def test_sampling_uses_the_weights_of_now(lab):
    """Bug 24: the engine keeps a stale copy. One engine, the weights change under it between two calls."""
    policy = lab.policy()
    engine = HFEngine(policy)
    first = engine.generate(lab.PROMPTS, 4, Sampling(max_new_tokens=T), lab.seeds())
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)), alpha=0.1)
    engine.sync(policy, 7)
    assert engine.weight_version == 7
    second = engine.generate(lab.PROMPTS, 4, Sampling(max_new_tokens=T), lab.seeds())
    assert [[c.token_ids for c in g] for g in second] != [[c.token_ids for c in g] for g in first]
    for prompt, group in zip(lab.PROMPTS, second, strict=True):
        for c in group:
            now = lab.alone(policy.model, prompt, c.token_ids)[range(len(c.token_ids)), c.token_ids]
            assert c.logps == pytest.approx(now.tolist(), abs=1e-4)


def test_threads_take_whole_chunks_and_give_the_same(lab):
    policy, threads = lab.policy(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = generate(policy, lab, max_rows=4)
        torch.set_num_threads(3)
        assert generate(policy, lab, max_rows=4) == one  # to the last bit
        assert torch.get_num_threads() == _in_a_new_thread(torch.get_num_threads) == 3
        policy.model.model.norm.weight.data[0] = float("nan")
        with pytest.raises(FloatingPointError):
            generate(policy, lab, max_rows=4)
        assert torch.get_num_threads() == _in_a_new_thread(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(threads)


def _in_a_new_thread(work):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_a_policy_given_later_and_a_policy_replaced(lab):
    engine = HFEngine()
    with pytest.raises(ValueError, match="no policy yet"):
        engine.generate([[5]], 1, Sampling(max_new_tokens=2), [[0]])
    for name in ("qwen2", "llama"):
        policy = lab.policy(name)
        engine.sync(policy, 1)
        assert engine.generate([[5]], 1, Sampling(max_new_tokens=4), [[0]]) == generate(
            policy, lab, Sampling(max_new_tokens=4), prompts=[[5]], n=1, seeds=[[0]]
        )


def test_sampling_under_autocast(lab):
    """A run in mixed precision samples with the precision it trains with, in every thread, and the update still has gradients."""
    policy, threads = lab.policy(), torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16):
        torch.set_num_threads(2)
        groups = generate(policy, lab, max_rows=4)
        torch.set_num_threads(threads)
        loss = policy.model(input_ids=torch.tensor([[5, 6, 7]])).logits.float().log_softmax(-1)[0, -1, 3]
    loss.backward()
    assert policy.model.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0
    for prompt, group in zip(lab.PROMPTS, groups, strict=True):  # each prompt is a chunk, and a thread's
        full = torch.cat([lab.alone(policy.model, prompt, c.token_ids)[range(len(c.token_ids)), c.token_ids] for c in group])
        error = (torch.cat([torch.tensor(c.logps) for c in group]) - full).abs().mean()
        assert 1e-3 < error < 0.05  # 8 bits of mantissa; the fp32 pass would be within 1e-5


@pytest.mark.parametrize("decoder", ["auto", "module"])
def test_finished_rows_stop_costing(lab, decoder, monkeypatch):
    """Rows that the model decodes, counted by the embedding look-ups: those that ended leave the batch."""
    import torch.nn.functional as F

    rows = []
    plain = F.embedding
    monkeypatch.setattr(F, "embedding", lambda ids, *a, **k: (rows.append(ids.numel()), plain(ids, *a, **k))[1])
    groups = generate(lab.policy(eos_ids=range(24)), lab, n=16, decoder=decoder)
    longest, tokens = max(len(c.token_ids) for g in groups for c in g), sum(len(c.token_ids) for g in groups for c in g)
    steps = rows[1:]  # the first is the prompts'
    assert len(steps) <= longest
    assert sum(steps) < 1.5 * tokens < 0.5 * 64 * longest


def test_damaged_weights_are_reported(lab):
    policy = lab.policy()
    policy.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="NaN"):
        generate(policy, lab)


def test_what_cannot_be_asked_for(lab):
    policy = lab.policy()
    with pytest.raises(ValueError, match="64 positions"):
        generate(policy, lab, Sampling(max_new_tokens=60))
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        generate(policy, lab, prompts=[[5], []])
    with pytest.raises(ValueError, match=r"\[P\]\[n\] = \[2\]\[4\]"):
        generate(policy, lab, prompts=[[5], [6]], seeds=[[1, 2, 3, 4], [1, 2, 3]])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        generate(policy, lab, n=0)
    with pytest.raises(ValueError, match="auto, static, graph or module"):
        HFEngine(policy, decoder="fast")
    with pytest.raises(ValueError, match="max_rows"):
        HFEngine(policy, max_rows=0)
    assert HFEngine(policy).generate([], 4, Sampling(), []) == []


def test_the_default_batch_fits_its_cache(lab, monkeypatch):
    """512 rows, or as many as the room for keys and values holds."""
    model = lab.policy("qwen3").model
    config = model.config
    row = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 30 * 4
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert hf.most_rows(model, cpu, 30) == hf.MOST_ROWS == 512
    monkeypatch.setattr(hf, "CPU_CACHE", 7 * row)
    assert hf.most_rows(model, cpu, 30) == 7
    assert hf.most_rows(model, cpu, 3000) == 1
    assert hf.most_rows(model, gpu, 3000) == 512
