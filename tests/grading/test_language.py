"""Word shares by script, with mathematics neutral."""

from __future__ import annotations

import pytest

from r1.grading import language_share
from r1.grading.language import word_counts

COUNTS = [
    ("try 9 plus 6 is 15 want 54 no . wait", 6, 0),
    ("try 9 加 6 得 15 要 54 不 对", 1, 5),
    ("so we have", 3, 0),
    ("所以我们有", 0, 5),
    ("So 所以 then 然后", 2, 4),
    (r"Let $x = \frac{\text{total}}{2}$ be it", 3, 0),
    (r"We get \[ \text{area} = \pi r^2 \] here", 3, 0),
    (r"令 \(x+y=2\) 则", 0, 2),
    ("```python\nprint('hello world')\n```\n完成", 0, 2),
    ("```python\ndef cut_off():", 0, 0),
    ("call `foo_bar(baz)` now", 2, 0),
    ("<think> hello </think> <answer> 42 </answer>", 1, 0),
    ("see https://example.org/some/words there", 2, 0),
    ("x + y = z, a b c", 0, 0),
    ("1 2 3 + - *", 0, 0),
    ("don't it's", 2, 0),
    ("naïve café", 2, 0),
    ("α β γ Δ", 0, 0),
    ("", 0, 0),
    (r"\begin{align} first &= second \end{align} done", 1, 0),
    ("costs $5 and then 6 more", 4, 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "english", "chinese"), COUNTS)
def test_words(text: str, english: int, chinese: int) -> None:
    counted = word_counts(text)
    assert (counted["en"], counted["zh"]) == (english, chinese)


def test_shares() -> None:
    assert language_share("so 加 $x+y$ 得 12") == {"en": 1 / 3, "zh": 2 / 3, "other": 0.0}
    assert language_share("Привет hello") == {"en": 0.5, "zh": 0.0, "other": 0.5}
    assert language_share("42") == {"en": 0.0, "zh": 0.0, "other": 0.0}  # no words: in no language


def test_words_of_the_tiny_task() -> None:
    assert language_share("try plus minus times is want yes no wait")["en"] == 1.0
    assert language_share("试 加 减 乘 得 要 对 不 等")["zh"] == 1.0


def test_more_of_the_target_language_never_lowers_its_share() -> None:
    text = "first 我们 then 计算"
    shares = [language_share(text + " more" * n)["en"] for n in range(6)]
    assert shares == sorted(shares)


def test_mathematics_changes_nothing() -> None:
    text = "first 我们 then 计算"
    for formula in (r"$x+y$", r"\(\alpha\)", r"\frac{a}{b}", "12 + 30", "`code here`", "<answer>"):
        assert language_share(f"{text} {formula}") == language_share(text)
