"""A number and what may stand around it: percent and degree signs, currency, units in English, LaTeX and Chinese.

"12 hours 30 minutes" is two numbers, "5 million" and "5 x" hide a factor: none of them is a quantity.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from r1.grading.chinese import chinese_number
from r1.grading.rational import close, rational

# Words after a number that name a unit. A number word ("million", "dozen") or a second number is no unit, and neither is a letter
# that could be a variable: "5 x" is not 5.
_UNIT_WORD = (
    r"(?:square|cubic|sq|cu)?\s*(?:"
    r"(?:kilo|centi|milli|micro|nano|deci)?(?:meters?|metres?|grams?|lit(?:er|re)s?|seconds?|watts?|volts?|amperes?|joules?|newtons?)"
    r"|cm|mm|km|dm|kg|mg|ml|mL|kW|Hz|kHz|MHz|Pa|kPa|ft|feet|foot|inch(?:es)?|in|yd|yards?|miles?|mi|acres?|hectares?"
    r"|oz|ounces?|lbs?|pounds?|tons?|tonnes?|min(?:ute)?s?|hours?|hrs?|hr|days?|weeks?|months?|years?|sec(?:ond)?s?"
    r"|mph|kmph|kph|rpm|gallons?|quarts?|pints?|cups?|dollars?|cents?|euros?|yuan|RMB|USD|units?|degrees?|deg|radians?|rad"
    r"|points?|people|persons?|students?|boys?|girls?|men|women|children|ways?|solutions?|pairs?|sides?|times|games?|apples?|oranges?"
    r"|books?|balls?|cards?|coins?|marbles?|pieces?|numbers?|integers?|values?|digits?|triangles?|squares?|rectangles?|cookies"
    r"|tickets?|eggs?|cars?|trees?|flowers?|pencils?|pens?|tiles?|blocks?|steps?|pages?|questions?|sheep|cows?|chickens?|rabbits?"
    r"|bottles?|boxes|bags?|packs?|slices?|pizzas?|candies|rooms?|seats?|votes?|animals?|fish|birds?|dogs?|cats?|toys?|stickers?"
    r"|\^\\circ\s*[CF]|(?<=[\s/])[mgshLlNJWVK]"
    r")"
)
_EXPONENT = r"(?:\s*\^\s*\{?\s*-?[23]\s*\}?|\s+(?:squared|cubed))?"
_CHINESE_UNIT = (
    r"(?:平方|立方)?(?:厘米|分米|毫米|千米|公里|米)|公顷|亩|千克|公斤|克|吨|毫升|升|元|角|分钟|分|小时|时|秒钟|秒|天|日|周|星期|个月|月|年|岁"
    r"|摄氏度|度|弧度|个|只|头|条|匹|名|位|人|本|张|支|枝|把|辆|架|棵|颗|朵|片|块|件|套|双|对|台|间|座|次|遍|种|组|排|行|列|页|道|题|根|段"
    r"|瓶|盒|箱|袋|包|筐|桶|碗|杯|盘|粒|面|节|层|级|步|圈|场|局|分|倍|单位"
)
# A counted noun may follow the classifier (15本书), a further number may not (3个半, 5元5角).
_NOUN = r"(?:[^\W\d_A-Za-z半一二三四五六七八九十百千万亿零两多几和或至到]{1,4})?"
_UNIT = re.compile(
    rf"(?:\s|(?<=\d)|(?<=\}}))\s*(?:{_UNIT_WORD}{_EXPONENT}(?:\s*(?:/|per|\\cdot)\s*{_UNIT_WORD}{_EXPONENT})?)\s*"
    rf"|\s*\(?(?:{_CHINESE_UNIT}){_NOUN}{_EXPONENT}(?:\s*(?:/|每)\s*(?:{_CHINESE_UNIT}))?\)?\s*"
)
_CURRENCY = re.compile(r"^\s*(?:[€£¥￥]|USD|RMB|Rs\.?)\s*")


class Quantity(NamedTuple):
    """An exact number, whether a percent sign or a degree sign followed it, and the unit as written ("" for none)."""

    value: Fraction
    sign: str = ""
    unit: str = ""


def quantity(text: str) -> Quantity | None:
    r"""A number with what may follow it: `42%`, `90^\circ`, `5 cm^2`, `30元`. "12 hours 30 minutes" is two numbers: None."""
    text = _CURRENCY.sub("", text.strip())
    value = rational(text)
    if value is not None:
        return Quantity(value)
    if text.endswith("%") or re.search(r"\bper\s?cent$", text):
        value = rational(re.sub(r"(?:%|\s*\bper\s?cent)$", "", text))
        return None if value is None else Quantity(value, "%")
    if text.endswith("^\\circ"):
        value = rational(text.removesuffix("^\\circ"))
        return None if value is None else Quantity(value, "degree")
    bare, unit = split_unit(text)
    value = (rational(bare) if rational(bare) is not None else chinese_number(bare)) if unit else chinese_number(text)
    return None if value is None else Quantity(value, "", unit)


def split_unit(text: str) -> tuple[str, str]:
    """("5", "cm^2") from "5 cm^2"; the unit is "" where the end of the text names none."""
    for match in _UNIT.finditer(text):
        if match.end() == len(text) and match.start() > 0:
            bare = text[: match.start()].strip()
            return (text, "") if bare.endswith("^\\circ") else (bare, re.sub(r"[\s{}]", "", match.group()))
    return text, ""


def same_quantity(answer: Quantity, gold: Quantity) -> bool:
    """Numbers with percent signs, degrees and units.

    A sign or unit that only one side has is taken as understood ("what percent ...?" -> 42); two different units never agree.
    `42%` also equals 0.42, and a bare percentage of less than one is ambiguous, so only its true value counts.
    """
    a, g = answer.value, gold.value
    if answer.sign == "%" and gold.sign == "%":
        return close(a, g)
    if "%" in (answer.sign, gold.sign):
        if answer.unit or gold.unit or "degree" in (answer.sign, gold.sign):
            return False
        percent, other = (a, g) if answer.sign == "%" else (g, a)
        return percent / 100 == other or (percent == other and (abs(other) >= 1 or gold.sign == "%"))
    return same_unit(answer.unit or answer.sign, gold.unit or gold.sign) and close(a, g)


def same_unit(answer: str, gold: str) -> bool:
    """Two units agree, or at most one is named."""
    return not answer or not gold or _unit(answer) == _unit(gold)


def _unit(unit: str) -> str:
    """One name for a unit: "cm^2" from "square centimeters" and from 平方厘米."""
    unit = re.sub(r"[{}\s]|\\cdot", "", unit)
    if power := re.match(r"平方|square|sq|立方|cubic|cu", unit):
        unit = unit[power.end() :] + ("^2" if power.group() in ("平方", "square", "sq") else "^3")
    for long, short in _UNIT_NAMES:
        unit = unit.replace(long, short)
    return unit.rstrip("s") if len(unit) > 2 else unit


_UNIT_NAMES = (
    ("厘米", "cm"), ("分米", "dm"), ("毫米", "mm"), ("千米", "km"), ("公里", "km"),
    ("米", "m"), ("毫升", "ml"), ("mL", "ml"), ("milliliters", "ml"), ("升", "L"), ("liters", "L"), ("千克", "kg"), ("公斤", "kg"), ("克", "g"), ("小时", "h"), ("分钟", "min"), ("centimeters", "cm"), ("centimetres", "cm"),
    ("centimeter", "cm"), ("kilometers", "km"), ("kilometer", "km"), ("meters", "m"), ("metres", "m"), ("meter", "m"), ("metre", "m"),
    ("kilograms", "kg"), ("kilogram", "kg"), ("grams", "g"), ("gram", "g"), ("hours", "h"), ("hour", "h"), ("minutes", "min"), ("minute", "min"),
    ("seconds", "s"), ("second", "s"), ("inches", "in"), ("inch", "in"), ("feet", "ft"), ("foot", "ft"), ("degrees", "deg"), ("degree", "deg"), ("摄氏度", "^\\circC"), ("度", "deg"), ("squared", "^2"), ("cubed", "^3"), ("per", "/"),
)  # fmt: skip
