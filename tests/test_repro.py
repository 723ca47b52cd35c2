"""Keys are stable, streams are uniform and independent of their neighbours."""

from __future__ import annotations

import torch

from r1 import repro


def test_keys_are_the_same_for_ever():
    # written down once: a change here changes every run that anybody has published
    assert repro.key(0, "grpo", 3, "aime24/07", 1) == 1593017467095805412
    assert repro.key(1) != repro.key("1")
    assert repro.key("a", "bc") != repro.key("ab", "c")


def test_uniform_draws_do_not_depend_on_neighbours():
    keys = torch.tensor([repro.key("row", i) for i in range(50)])
    together = repro.uniform(keys, 7)
    assert all(torch.equal(repro.uniform(keys[i : i + 1], 7)[0], together[i]) for i in range(50))
    assert torch.equal(repro.uniform(keys.flip(0), 7), together.flip(0))


def test_uniform_is_uniform_over_rows_and_over_counters():
    keys = torch.tensor([repro.key(i) for i in range(200)])
    draws = torch.stack([repro.uniform(keys, t) for t in range(100)])  # [100, 200]
    assert float(draws.min()) >= 0
    assert float(draws.max()) < 1
    counts = torch.histc(draws, 20, 0, 1)  # 20,000 draws in 20 bins: 1,000 +- 31 each
    assert float((counts - 1000).abs().max()) < 5 * 31
    lagged = torch.corrcoef(torch.stack([draws[:-1].flatten(), draws[1:].flatten()]))[0, 1]
    assert abs(float(lagged)) < 0.03  # standard error 0.007


def test_splitmix64_matches_its_definition():
    def reference(key: int, counter: int) -> float:
        mask = (1 << 64) - 1
        z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53

    for key in (0, 1, 2**62 + 12345):
        for counter in (0, 1, 191):
            assert float(repro.uniform(torch.tensor([key]), counter)[0]) == reference(key, counter)


def test_shuffled_is_a_permutation_by_key():
    items = list(range(100))
    assert sorted(repro.shuffled(items, 1)) == items
    assert repro.shuffled(items, 1) == repro.shuffled(items, 1) != repro.shuffled(items, 2)


def test_draws_made_together_are_those_made_one_by_one() -> None:
    keys = torch.tensor([repro.key(0, "a"), repro.key(0, "b"), -1, 2**62])
    together = repro.uniform(keys, torch.arange(5, 40)[:, None])
    assert torch.equal(together, torch.stack([repro.uniform(keys, t) for t in range(5, 40)]))
