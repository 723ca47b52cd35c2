"""One spelling for many: answers as people and models write them, tidied to plain LaTeX before anything is compared.

`tidy` removes what carries no meaning (dollars, spacing, sizes, fonts, a full stop) and spells what remains in one way: `\\dfrac12`
and `½` become `\\frac{1}{2}`, `√3` becomes `\\sqrt{3}`, `90°` becomes `90^\\circ`. Text inside `\\text{...}` becomes plain words
between spaces, so that "5 \\text{ cm}" and "5 cm" look alike. Nothing is evaluated here.
"""

from __future__ import annotations

import re
import unicodedata

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_SYMBOLS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "﹣": "-", "‐": "-", "‑": "-",
        "×": r"\times ", "✕": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ", "∗": "*", "÷": "/", "∕": "/", "⁄": "/",
        "π": r"\pi ", "∞": r"\infty ", "∅": r"\emptyset ", "Ø": r"\emptyset ", "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ",
        "≤": r"\le ", "⩽": r"\le ", "≦": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≧": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "±": r"\pm ", "∓": r"\mp ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
        "λ": r"\lambda ", "φ": r"\phi ", "∠": r"\angle ", "△": r"\triangle ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
        "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}",
        "⅛": r"\frac{1}{8}", "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}", "⅙": r"\frac{1}{6}", "⅚": r"\frac{5}{6}",
        "、": ",", "，": ",", "；": ";", "：": ":", "（": "(", "）": ")", "【": "[", "】": "]", "｛": "{", "｝": "}", "％": "%",
        "∶": ":", "′": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u2009": " ", "\u202f": " ", "⟨": "(", "⟩": ")",
    }
)  # fmt: skip
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))

_NOTHING = re.compile(
    r"\\(?:displaystyle|textstyle|limits|left|right|bigl|bigr|Bigl|Bigr|big|Big|bigg|Bigg|mathstrut|phantom\{[^{}]*\})(?![A-Za-z])"
    r"|(?<!\\)\\!"
)
_SPACE = re.compile(r"(?<!\\)\\[,;:> ]|\\(?:quad|qquad|hspace\{[^{}]*\}|thinspace|medspace|newline)(?![A-Za-z])|~|\\\\(?=\s*$)")
_TEXT = re.compile(r"\\(?:text|mbox|textrm|textit|textbf|textsf|texttt|hbox|textnormal|boxed|fbox)\s*\{([^{}]*)\}")
_FONT = re.compile(r"\\(?:mathrm|mathbf|mathit|mathsf|mathtt|bm|boldsymbol|operatorname\*?|rm|bf|mathnormal)\s*\{([^{}]*)\}")
_FRAC = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_FRAC_BARE = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))")
_SQRT_BARE = re.compile(r"\\sqrt\s*([0-9A-Za-z])")
_ROOT = re.compile(r"([√∛])\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[A-Za-z]))")
_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt|pi)(?![A-Za-z])"
)
_SQRT_CALL = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_LEAD = re.compile(
    r"^(?:(?:答案\s*[:为是=]?|[答解]\s*[:为是])\s*|(?:大?约|总共|一共|共)\s*(?:等于|为|是|有)?\s*|(?:approximately|approx\.?|about)\s+|\\approx\s*)+",
    re.IGNORECASE,
)
_DEGREE = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|\\textdegree(?![A-Za-z])")
_SYNONYMS = (
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:neq)(?![A-Za-z])"), r"\\ne "),
    (re.compile(r"\\(?:varnothing|O(?![A-Za-z])|oslash)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\log\s*_\s*\{?\s*e\s*\}?(?![A-Za-z])"), r"\\ln "),
    (re.compile(r"\\(?:arctg)(?![A-Za-z])"), r"\\arctan "),
    (re.compile(r"\\tg(?![A-Za-z])"), r"\\tan "),
    (re.compile(r"\{\s*(\w+)\s*\\choose\s*(\w+)\s*\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<![A-Za-z\\])C\s*_\s*\{?(\w+)\}?\s*\^\s*\{?(\w+)\}?"), r"\\binom{\1}{\2}"),
    (re.compile(r"空集|(?<![A-Za-z])(?:the )?empty set(?![A-Za-z])", re.IGNORECASE), r"\\emptyset "),
    (re.compile(r"\\\{\s*\\\}"), r"\\emptyset "),
    (re.compile(r"\\(?:dots|ldots|cdots)(?![A-Za-z])"), r"\\dots "),
)


def tidy(text: str) -> str:
    r"""The answer in one spelling.

    >>> tidy(r"$\dfrac{1}{2}\text{ cm}^2$.")
    '\\frac{1}{2} cm^2'
    """
    text = text.translate(_FULL_WIDTH).translate(_SYMBOLS)
    text = _scripts(text, _SUPERSCRIPTS, "^")
    text = _scripts(text, _SUBSCRIPTS, "_")
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") or c in "\n\t")
    for _ in range(4):  # roots nest
        text = _ROOT.sub(_root, text)
    text = (
        text.replace("\\$", "").replace("$", "").replace("\\(", " ").replace("\\)", " ").replace("\\[", " ").replace("\\]", " ")
    )
    text = text.replace("**", "*") if re.search(r"\d\s*\*\*\s*\d", text) else text.replace("**", "").replace("`", "")
    text = re.sub(r"(?<=\d)(?:\\[,;: !]|\\ |~)(?=\d{3}(?!\d))", "", text)  # 1\,000\,000
    text = text.replace("\\%", "%").replace("\\#", "#").replace("\\&", "&").replace("{,}", ",")
    text = re.sub(r",\s*\\!\s*", ",", text)
    text = _SPACE.sub(" ", _NOTHING.sub("", text))
    for _ in range(3):  # fonts nest
        text = _FONT.sub(r"\1", _TEXT.sub(r" \1 ", text))
    text = _DEGREE.sub(r"^\\circ ", text)
    for pattern, spelling in _SYNONYMS:
        text = pattern.sub(spelling, text)
    text = _SQRT_BARE.sub(r"\\sqrt{\1}", _FRAC_BARE.sub(_frac, _FRAC.sub(r"\\frac", text)))
    text = _SQRT_CALL.sub(r"\\sqrt{\1}", _FUNCTION.sub(r"\\\1 ", text))
    if re.fullmatch(r"\s*\{[^{}]*,[^{}]*\}\s*", text):  # a set whose braces were not escaped
        text = "\\" + text.strip()[:-1] + "\\}"
    text = _full_stop(re.sub(r"\s+", " ", text).strip())
    return _LEAD.sub("", text)


def squeeze(text: str) -> str:
    """Without any spaces, except between two words or two numbers, where they separate."""
    return re.sub(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])|(?<=\d)\s+(?=[A-Za-z])|(?<=[A-Za-z])\s+(?=\d)", "", text)


def _full_stop(text: str) -> str:
    if text.endswith("..") or not text.endswith((".", ",", ";", ":", "。")):
        return text
    return _full_stop(text[:-1].rstrip())


def _root(match: re.Match[str]) -> str:
    inside = next(g for g in match.groups()[1:] if g is not None)
    return (r"\sqrt" if match.group(1) == "√" else r"\sqrt[3]") + "{" + inside + "}"


def _frac(match: re.Match[str]) -> str:
    above = match.group(1) if match.group(1) is not None else match.group(2)
    below = match.group(3) if match.group(3) is not None else match.group(4)
    return rf"\frac{{{above.strip()}}}{{{below.strip()}}}"


def _scripts(text: str, table: dict[str, str], sign: str) -> str:
    if not any(c in table for c in text):
        return text
    run = re.compile("[" + "".join(table) + "]+")
    return run.sub(lambda m: sign + "{" + "".join(table[c] for c in m.group()) + "}", text)
