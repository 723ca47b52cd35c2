"""Charts as strings: what is drawn where, and that nothing from outside becomes markup."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from r1.analysis.plots import Line, Mark, chart, running_mean, ticks


def payload(figure: str) -> dict:
    return json.loads(unescape(re.search(r'data-series="([^"]*)"', figure).group(1)))


def test_points_land_where_the_axes_say():
    # narrow picture: x from 46 to 358, y from 204 (0 %) to 14 (100 %)
    figure = chart([Line("pass@1", [0, 10], [0.0, 1.0])], "Accuracy", percent=True, y_range=(0, 1))
    assert 'points="46.0,204.0 358.0,14.0"' in figure
    assert "100\u00a0%" in figure
    assert payload(figure)["series"][0]["y"] == ["0\u00a0%", "100\u00a0%"]


def test_intervals_become_a_band():
    figure = chart([Line("pass@1", [0, 1], [0.5, 0.5], [0.0, 0.25], [1.0, 0.75])], "A", y_range=(0, 1))
    # along the upper bounds and back along the lower ones
    assert 'points="46.0,14.0 358.0,61.5 358.0,156.5 46.0,204.0"' in figure
    assert payload(figure)["series"][0]["b"] == ["0 – 1", "0.25 – 0.75"]


def test_text_from_outside_is_escaped():
    evil = '<script>alert("x")</script>'
    figure = chart([Line(evil, [0, 1], [0.0, 1.0])], evil, evil, marks=[Mark(0.5, evil)], x_label=evil)
    assert "<script" not in figure
    assert payload(figure)["series"][0]["n"] == evil
    assert figure.count('"') % 2 == 0


def test_values_that_are_not_numbers_are_left_out():
    figure = chart([Line("kl", [0, 1, 2], [0.1, float("nan"), 0.3])], "KL")
    assert payload(figure)["series"][0]["s"] == [0, 2]


def test_nothing_recorded_draws_nothing():
    assert chart([], "KL") == ""
    assert chart([Line("kl", [], [])], "KL") == ""


def test_long_series_are_averaged_and_keep_their_mean():
    steps = list(range(10_000))
    series = payload(chart([Line("reward", steps, [float(s % 2) for s in steps])], "R"))["series"][0]
    assert len(series["x"]) <= 400
    assert set(series["y"]) <= {"0.48", "0.5", "0.52"}


def test_a_flat_line_has_a_scale():
    assert "NaN" not in chart([Line("ratio", [0, 1, 2], [1.0, 1.0, 1.0])], "Ratio")
    assert "NaN" not in chart([Line("one point", [5], [0.0])], "One")


def test_a_mark_above_the_curve_is_inside_the_picture():
    figure = chart([Line("pass@1", [0, 1], [0.1, 0.2])], "A", marks=[Mark(0.867, "R1-Zero cons@64")])
    y = float(re.search(r'class="mark" x1="46" x2="358" y1="([\d.]+)"', figure).group(1))
    assert y >= 14


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.83, [0, 0.2, 0.4, 0.6, 0.8]),
        (13, 187, [50, 100, 150]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_running_mean_by_hand():
    assert running_mean([0, 3, 6, 9], 3) == [1.5, 3.0, 6.0, 7.5]
    assert running_mean([5.0] * 7, 5) == [5.0] * 7


def test_lines_must_fit():
    with pytest.raises(ValueError, match="one length"):
        Line("a", [0, 1], [1.0])
    with pytest.raises(ValueError, match="both bounds"):
        Line("a", [0, 1], [1.0, 2.0], low=[0.0, 1.0])
