"""One draw a row: the right distribution, the right restriction, the right log-probability."""

from __future__ import annotations

import math

import pytest
import torch

from r1.rollout.draw import draw, restrict
from r1.rollout.engine import Sampling

P = torch.tensor([0.1, 0.4, 0.2, 0.3])


def token(u: float, **options) -> tuple[int, float]:
    ids, logps = draw(P.log()[None], torch.tensor([u], dtype=torch.float64), Sampling(**options))
    return int(ids), float(logps.exp())


def test_inverse_of_the_cumulative_distribution():
    # cumulative: .1 .5 .7 1.0
    assert [token(u)[0] for u in (0.0, 0.0999, 0.1001, 0.4999, 0.5001, 0.6999, 0.7001, 1 - 2**-53)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert token(0.45)[1] == pytest.approx(0.4, abs=1e-6)


def test_temperature_sharpens_before_the_draw():
    # at T = 0.5 p is squared: .01 .16 .04 .09 of .30
    assert token(0.3, temperature=0.5) == (1, pytest.approx(0.16 / 0.30, abs=1e-6))
    assert token(0.3, temperature=2.0)[1] != pytest.approx(0.4, abs=1e-3)


def test_top_k_renormalises():
    """Bug 23: after top-k the likeliest two share all the probability: .4/.7 and .3/.7."""
    assert token(0.5714, top_k=2) == (1, pytest.approx(4 / 7, abs=1e-6))
    assert token(0.5715, top_k=2) == (3, pytest.approx(3 / 7, abs=1e-6))
    assert token(0.0, top_k=2)[0] == 1  # token 0 is out, though it comes first


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    """Bug 23: .4 + .3 = .7 reaches .6 and not .8."""
    assert restrict(P.log()[None], Sampling(top_p=0.6)).isfinite().tolist() == [[False, True, False, True]]
    assert restrict(P.log()[None], Sampling(top_p=0.8)).isfinite().tolist() == [[False, True, True, True]]
    assert restrict(P.log()[None], Sampling(top_p=1e-9)).isfinite().tolist() == [[False, True, False, False]]
    assert token(0.99, top_p=0.6) == (3, pytest.approx(3 / 7, abs=1e-6))


def test_top_p_is_of_what_top_k_left():
    # top-k 3 leaves .4 .3 .2 = 4/9 3/9 2/9; 4/9 + 3/9 = .78 reaches .75 (of all four it would not)
    assert restrict(P.log()[None], Sampling(top_k=3, top_p=0.75)).isfinite().tolist() == [[False, True, False, True]]


def test_greedy_reports_the_distribution_at_temperature_one():
    ids, logps = draw(P.log()[None], None, Sampling(temperature=0, top_k=1))
    assert int(ids) == 1
    assert float(logps) == pytest.approx(math.log(0.4), abs=1e-6)


def test_a_token_without_probability_is_never_drawn():
    z = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).repeat(3, 1)
    u = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert draw(z, u, Sampling())[0].tolist() == [1, 3, 3]


def test_frequencies():
    u = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000  # an even grid: frequencies are exact to 1 in 10,000
    ids, _ = draw(P.log().expand(10_000, 4), u, Sampling())
    assert torch.bincount(ids, minlength=4).tolist() == pytest.approx([1000, 4000, 2000, 3000], abs=1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_sampling_is_validated(options, named):
    with pytest.raises(ValueError, match=named):
        Sampling(**options)
