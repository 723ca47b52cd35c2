"""What an unfinished thought has reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1.grading import draft, equivalent, parse
from r1.records import Problem

PAIR = Problem("pair/2-6-9/54", "use two of 9 6 2 to make 54", "9 * 6", meta={"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54})  # fmt: skip


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think> try 9 plus 6 is 15 want 54 no . ", "9 + 6"),
        ("<think> try 9 plus 6 is 15 want 54 no . wait , try 9 times 6 is 54 want 54 yes . wait", "9 * 6"),
        ("试 9 乘 6 得 54 要 54 对 。", "9 * 6"),
        ("<think> 9 - 2 * 6 = -3", "9 - 2 * 6"),
        ("<think> use two of 9 6 2 ", None),
        ("<think> try 9 plus ", None),
        ("", None),
    ],
)
def test_expression_problems_have_their_last_combination(text, answer):
    assert draft(text, PAIR) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think> 3 + 4 = 7. Then 7 * 2 = 14. ", "14"),
        ("<think> so \\boxed{12}, and 3 + 4 = 7. ", "12"),  # an explicit claim counts more than a later calculation
        ("<think> I think the answer is 45. Hmm, let me check.", "45"),
        ("<think> x = \\frac{1}{2} . ", "\\frac{1}{2}"),
        ("<think> The angle is approximately 31 degrees. ", "31"),
        ("<think> \\theta = 45^{\\circ} ", "45"),
        ("所以 x 是 5 。等等", "5"),
        ("<think> x = 3 + y ", None),  # 3 is not the result
        ("<think> x = 2^{10} ", None),
        ("<think> Let me see.", None),
        ("<think> done </think> <answer> 8 </answer>", "8"),
    ],
)
def test_other_problems_have_their_last_result(text, answer):
    assert draft(text, Problem("m/1", "?", "7")) == answer


@pytest.mark.slow
def test_on_real_traces_the_draft_at_the_end_of_the_thought_is_mostly_the_answer(data_dir: Path):
    same = count = 0
    for line in (data_dir / "traces.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parsed = parse(row["output"])
        if parsed.think is None or parsed.answer is None or not row["gold"]:
            continue
        found = draft("<think>" + parsed.think, Problem(row["id"], row["problem"], row["gold"]))
        count, same = count + 1, same + (found is not None and equivalent(found, parsed.answer))
    assert count > 300
    assert same / count > 0.7  # 76 %; the others state their result in words, or list several
