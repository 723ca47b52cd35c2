"""Weights that learn are float32; a policy that only samples goes to the GPU where there is one."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from r1.policy import placement
from r1.policy.placement import device_of, sampling_on, warn_of_narrow_weights


def learned(dtype: torch.dtype) -> float:
    """Share of 4,096 weights that twelve AdamW steps at the paper's learning rate move."""
    torch.manual_seed(0)
    weight = nn.Parameter((torch.randn(4096) * 0.02).to(dtype))
    before, gradient = weight.detach().clone(), torch.randn(4096).to(dtype)
    optimizer = torch.optim.AdamW([weight], lr=3e-6, weight_decay=0.0)
    for _ in range(12):
        weight.grad = gradient.clone()
        optimizer.step()
    return float((weight != before).float().mean())


def test_steps_of_the_papers_size_vanish_in_bfloat16():
    assert learned(torch.float32) > 0.99
    assert learned(torch.bfloat16) < 0.1


def test_weights_that_learn_in_bfloat16_are_warned_of():
    with pytest.warns(UserWarning, match=r"weights that learn are bfloat16.*policy\.dtype=float32"):
        warn_of_narrow_weights(nn.Linear(2, 2, dtype=torch.bfloat16))


def test_a_frozen_model_with_a_float32_adapter_is_as_it_should_be():
    model = nn.Sequential(nn.Linear(2, 2, dtype=torch.bfloat16).requires_grad_(False), nn.Linear(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_narrow_weights(model)


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float32, True), (torch.bfloat16, False)])
def test_where_there_is_a_gpu_sampling_goes_there_and_float32_computes_in_bfloat16(dtype, autocast, monkeypatch):
    asked = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(placement.torch, "autocast", lambda kind, **options: (asked.update(options, kind=kind), nullcontext())[1])
    model = nn.Linear(2, 2, dtype=dtype)
    monkeypatch.setattr(model, "to", lambda device: asked.update(device=device))
    with sampling_on(model):
        pass
    assert asked == {"device": torch.device("cuda"), "kind": "cuda", "dtype": torch.bfloat16, "enabled": autocast}


def test_elsewhere_nothing_changes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of() == torch.device("cpu") and device_of("cuda:1") == torch.device("cuda:1")
    with sampling_on(nn.Linear(2, 2)):
        assert not torch.is_autocast_enabled("cpu") and not torch.is_autocast_enabled("cuda")


def test_beside_a_server_with_copies_of_the_weights_the_policy_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model = nn.Linear(2, 2)
    with sampling_on(model, engine=SimpleNamespace(separate=True)):
        assert model.weight.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
