from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from r1.pipeline.filters import (
    CodeBlock,
    Format,
    LongParagraph,
    MixedLanguage,
    OtherLanguage,
    Repetition,
    Truncated,
    Verdict,
    sift,
)
from r1.pipeline.rows import kept, report
from r1.records import Problem, Score

CHINESE = Problem("z/1", "一加一得几？", "2", language="zh")


def reasons(rows, one) -> list[str | None]:
    return list(one(rows))


def test_truncated(lab: SimpleNamespace) -> None:
    assert reasons([lab.row("a", truncated=True), lab.row("a")], Truncated()) == ["truncated: ended at the token limit", None]


def judged(lab: SimpleNamespace, **parts: float | None):
    return lab.row("x", score=Score(0.0, parts, dict.fromkeys(parts, 1.0)))


def test_the_first_part_that_applies_is_the_verdict(lab: SimpleNamespace) -> None:
    rows = [
        judged(lab, accuracy=1.0, judge=0.0),
        judged(lab, accuracy=0.0, judge=1.0),
        judged(lab, accuracy=None, judge=1.0),
        judged(lab, accuracy=None, judge=0.0),
        judged(lab, accuracy=None, judge=math.nan),
        judged(lab, accuracy=None, judge=None),
    ]
    assert reasons(rows, Verdict(["accuracy", "judge"])) == [
        None, "wrong: accuracy is 0", None, "wrong: judge is 0", "not judged: judge gave no verdict", "not judged: none of accuracy, judge applies",
    ]  # fmt: skip
    assert reasons(rows[1:2], Verdict(["judge", "accuracy"])) == [None]
    assert reasons([judged(lab, code=0.5)], Verdict(["code"], at_least=0.5)) == [None]


def test_a_verdict_of_a_part_that_the_reward_lacks_is_an_error(lab: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="asks for judge, but the reward has accuracy"):
        reasons([judged(lab, accuracy=1.0)], Verdict(["judge"]))
    with pytest.raises(ValueError, match="at least one part"):
        Verdict([])


def test_format(lab: SimpleNamespace) -> None:
    r1, zero = lab.row("<think> so </think> it is 2"), lab.row("<think> so </think> <answer> 2 </answer>")
    assert reasons([r1, zero], Format("r1")) == [None, "format: not the structure r1"]
    assert reasons([r1, zero], Format("r1_zero")) == ["format: not the structure r1_zero", None]


def test_languages_of_the_thought(lab: SimpleNamespace) -> None:
    """so we 加 get: three English words and a Chinese one; the summary, in Chinese, does not count."""
    rows = [
        lab.row("<think> so we 加 get 2 </think> 得二"),
        lab.row("<think> 加 得 二 </think> so it is"),
        lab.row("<think> 1 + 1 </think> 2"),
    ]
    assert reasons(rows, MixedLanguage(0.2)) == ["mixed language: 1 of 4 words are not en", None, None]
    assert reasons(rows, MixedLanguage(0.25)) == [None] * 3
    assert reasons(rows, OtherLanguage(0.2)) == [
        "other language: 1 of 4 words are not en",
        "other language: 3 of 3 words are not en",
        None,
    ]
    assert reasons([lab.row("<think> 加 得 二 so </think> 2", CHINESE)], OtherLanguage(0.25)) == [None]
    assert reasons([lab.row("no thought at all 加")], OtherLanguage(0.1)) == ["other language: 1 of 5 words are not en"]


def test_repetition(lab: SimpleNamespace) -> None:
    """a b a b a: four 2-grams, ab ba ab ba, of which two occurred before."""
    assert reasons([lab.row("a b a b a"), lab.row("a b c d e")], Repetition(2, 0.49)) == [
        "repetition: 50% of the 2-grams occurred before",
        None,
    ]
    assert reasons([lab.row("a b a b a")], Repetition(2, 0.5)) == [None]


def test_paragraphs_and_code(lab: SimpleNamespace) -> None:
    assert reasons([lab.row("12345\n\n123456"), lab.row("12345\n12345")], LongParagraph(10)) == [
        None,
        "long paragraph: 11 characters",
    ]
    code = Problem("c/1", "write it", None, "code")
    rows = [lab.row("```python\n1\n```"), lab.row("`x`"), lab.row("```\n1\n```", code)]
    assert reasons(rows, CodeBlock()) == ["code block: the completion holds fenced code", None, None]
    assert reasons(rows, CodeBlock(allowed=[]))[2] is not None


def test_a_row_has_the_first_reason_and_counts_add_up(lab: SimpleNamespace) -> None:
    """Five rows: one cut and too long (counts as cut), two with code of which one is long too (code comes first), one long, one kept."""
    rows = [
        lab.row("123456", id="1", truncated=True),
        lab.row("```1", id="2"),
        lab.row("```123456", id="3"),
        lab.row("123456", id="4"),
        lab.row("1", id="5"),
    ]
    sifted = sift(rows, {"a": Truncated(), "b": CodeBlock(), "off": None, "c": LongParagraph(5)})
    assert [row.reason for row in sifted] == ["truncated", "code block", "code block", "long paragraph", ""]
    assert [row.id for row in kept(sifted)] == ["5"]
    counts = report(sifted)
    assert (counts["read"], counts["kept"]) == (5, 1)
    assert counts["dropped"] == {"code block": 2, "long paragraph": 1, "truncated": 1}


@pytest.mark.parametrize(
    "make", [lambda: MixedLanguage(1.5), lambda: Repetition(0), lambda: LongParagraph(0), lambda: Format("r2")]
)  # type: ignore[arg-type]
def test_wrong_settings_are_refused(make) -> None:
    with pytest.raises(ValueError):
        make()
