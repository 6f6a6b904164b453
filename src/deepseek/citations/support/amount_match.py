"""Whether an amount of a sentence is one of a clause, or one that the clause leaves no room for.

>>> from deepseek.citations.corpus.amounts import read_amounts
>>> law, said = read_amounts("at most twelve months"), read_amounts("for two years")
>>> same_unit(law[0], said[0]), fits(said[0], law[0]), excludes(law[0], said[0])
(True, False, True)
"""

from __future__ import annotations

import re

from deepseek.citations.corpus.amounts import Amount

#: Ages are written with and without the word for years.
_LIKE_UNITS = ({"", "year"}, {"", "岁"}, {"岁", "年"}, {"", "times"})
_UNIT_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.4, "year": 365.0, "日": 1.0, "月": 30.4, "年": 365.0}
SAME_TIME = 0.03  # twelve months are a year, thirty days a month
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(
    rf"[12]\d{{3}}\s?年(?:\s?\d{{1,2}}\s?月)?(?:\s?\d{{1,2}}\s?日)?|二[〇零一二三四五六七八九]{{3}}年|\b\d{{4}}-\d\d-\d\d\b"
    rf"|\b(?:\d{{1,2}} )?(?:{_MONTHS})(?: \d{{1,2}},?)?(?: \d{{4}})?\b|\b(?:19|20)\d\d\b"
)


def blank_dates(text: str) -> str:
    """The text with dates blanked out: letters keep their places."""
    return _DATE.sub(lambda match: " " * len(match[0]), text)


def same_unit(first: Amount, second: Amount) -> bool:
    """Whether two amounts can be compared."""
    both_times = first.unit in _UNIT_DAYS and second.unit in _UNIT_DAYS
    return first.unit == second.unit or both_times or {first.unit, second.unit} in _LIKE_UNITS


def _size_of(amount: Amount, other: Amount) -> float:
    """The value; in days where the other one has another unit of time."""
    return amount.value if amount.unit == other.unit else amount.value * _UNIT_DAYS.get(amount.unit, 1.0)


def fits(amount: Amount, other: Amount) -> bool:
    """Whether a clause has the very amount of a sentence."""
    here, there = _size_of(amount, other), _size_of(other, amount)
    tolerance = 0.0 if amount.unit == other.unit else SAME_TIME * there
    return abs(here - there) <= tolerance and {amount.side, other.side} != {"+", "-"}


def excludes(law: Amount, said: Amount) -> bool:
    """Whether an amount of the clause leaves no room for that of the sentence."""
    here, there = _size_of(said, law), _size_of(law, said)
    if law.side == "-" and said.side != "-":
        return here > there or said.side == "+"
    if law.side == "+" and said.side != "+":
        return here < there or said.side == "-"
    return True
