"""Rows of dots: where they land, and that a row without a figure has none."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from r1.analysis.forest import NAMES, WIDTH, Dots, Panel, forest, standalone


def test_dots_and_intervals_land_where_the_axis_says():
    svg = forest(["a", "b"], [Panel("accuracy", (Dots("pass@1", [0.5, None], [(0.25, 1.0), None]),), percent=True)])
    # the axis goes from NAMES (0 %) to NAMES + WIDTH (100 %); the first row's middle is 52 + 15
    assert f'cx="{NAMES + WIDTH / 2}" cy="67.0" r="4"' in svg
    assert f'x1="{NAMES + WIDTH / 4}" x2="{NAMES + WIDTH}.0" y1="67.0"' in svg
    assert svg.count("<title>") == 1
    assert "pass@1 50\u00a0% (25\u00a0% to 100\u00a0%)" in svg


def test_numbers_get_an_axis_from_nought():
    svg = forest(["a", "b"], [Panel("tokens", (Dots("mean", [20.0, 100.0], [None, None]),))])
    (far,) = re.findall(r'cx="([\d.]+)" cy="97.0"', svg)
    assert float(far) == pytest.approx(NAMES + WIDTH / 1.05, abs=0.1)


def test_nothing_draws_nothing():
    assert forest([], [Panel("x", (Dots("y", [], []),))]) == ""
    assert forest(["a"], [Panel("x", (Dots("y", [None], [None]),))]) == ""


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="1 values for 2 rows"):
        forest(["a", "b"], [Panel("x", (Dots("y", [1.0], [None]),))])
    with pytest.raises(ValueError, match="2 values and 1 intervals"):
        Dots("y", [1.0, 2.0], [None])


def test_a_file_of_its_own_is_whole_and_escapes_names():
    svg = standalone(forest(["<b>"], [Panel("&", (Dots('"', [1.0], [None]),), percent=True)]))
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<b>" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_file_of_its_own_shows_its_axis_where_a_page_takes_it_for_an_image():
    svg = standalone(forest(["a"] * 9, [Panel("tokens", (Dots("mean", [70.0] * 9, [None] * 9),))]))
    assert (
        "padding" not in svg.partition("svg.forest { background")[2].partition("}")[0]
    )  # it would move the drawing, not the box
    root = ET.fromstring(svg)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    marks = [(float(text.attrib["x"]), float(text.attrib["y"])) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert marks and all(left <= x < left + width and top < y < top + height - 4 for x, y in marks)
