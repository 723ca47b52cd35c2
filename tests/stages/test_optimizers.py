"""Optimisers step as one, and schedules say what they promise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from r1.stages.optimizers import Joined, Schedule, adamw, grad_norm, muon


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4), nn.LayerNorm(4))


def step(module: nn.Module, optimizer: torch.optim.Optimizer, times: int = 1) -> None:
    for i in range(times):
        optimizer.zero_grad()
        module(torch.tensor([i % 7, 3])).square().sum().backward()
        optimizer.step()


def test_muon_takes_matrices_and_leaves_embeddings_to_adamw():
    module = small()
    joined = muon(module)
    matrices = {id(p) for p in joined.inner[0].param_groups[0]["params"]}
    assert matrices == {id(module[1].weight)}  # not the embedding, which is a matrix too, but a look-up
    everything = sum(len(group["params"]) for group in joined.param_groups)
    assert everything == len(list(module.parameters()))


def test_a_scheduler_reaches_both_inner_optimisers():
    joined = muon(small(), lr=0.03, adamw_lr=0.006)
    Schedule(warmup=4).attach(joined, total=10)
    assert [group["lr"] for part in joined.inner for group in part.param_groups] == pytest.approx([0.03 / 4, 0.006 / 4])


def test_joined_resumes_bitwise():
    straight, resumed = small(), small()
    one, two = muon(straight), muon(resumed)
    schedules = [Schedule(warmup=2, decay="linear").attach(o, 6) for o in (one, two)]
    for schedule, module, optimizer in zip(schedules, (straight, resumed), (one, two)):
        for _ in range(3):
            step(module, optimizer)
            schedule.step()
    fresh = small()
    fresh.load_state_dict(resumed.state_dict())
    three = muon(fresh)
    again = Schedule(warmup=2, decay="linear").attach(three, 6)
    three.load_state_dict(two.state_dict())
    again.load_state_dict(schedules[1].state_dict())
    for schedule, module, optimizer in ((schedules[0], straight, one), (again, fresh, three)):
        for _ in range(2):
            step(module, optimizer)
            schedule.step()
    assert [g["lr"] for g in one.param_groups] == [g["lr"] for g in three.param_groups]
    for a, b in zip(straight.parameters(), fresh.parameters()):
        assert torch.equal(a, b)


def test_joined_state_is_not_shared_with_another_count_of_optimisers():
    joined = muon(small())
    with pytest.raises(ValueError):
        joined.load_state_dict({"inner": [joined.inner[0].state_dict()]})
    assert isinstance(joined, Joined)


def test_adamw_takes_only_what_is_trained():
    module = small()
    module[0].requires_grad_(False)
    assert len(adamw(module).param_groups[0]["params"]) == 4  # weight and bias of two layers


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        (Schedule(), {0: 1, 50: 1, 99: 1}),
        (Schedule(warmup=4), {0: 0.25, 3: 1, 4: 1}),
        (Schedule(decay="cosine", final=0.1), {0: 1, 50: 0.55, 100: 0.1, 120: 0.1}),  # half way: (1 + 0.1) / 2
        (Schedule(warmup=20, decay="linear", final=0), {19: 1, 20: 1, 60: 0.5, 100: 0}),
    ],
)
def test_schedule(schedule: Schedule, shares: dict[int, float]):
    assert {u: schedule.share(u, 100) for u in shares} == pytest.approx(shares)


def test_a_schedule_with_a_final_above_the_peak_is_refused():
    with pytest.raises(ValueError, match="final"):
        Schedule(final=2.0)


def test_clipping_off_still_measures():
    module = small()
    module(torch.tensor([1])).sum().backward()
    before = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    norm = grad_norm([p for p in module.parameters() if p.grad is not None], 0.0)
    assert float(norm) > 0
    assert all(torch.equal(a, p.grad) for a, p in zip(before, [p for p in module.parameters() if p.grad is not None]))
