"""A value in a sentence, and what a slot is that takes it.

>>> SlotValue(3, 9, "A12345").end
9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

SlotKind = Literal["date", "amount", "number", "order_number", "choice", "text"]
SLOT_KINDS: tuple[SlotKind, ...] = get_args(SlotKind)
Language = Literal["en", "zh"]
DateOrder = Literal["DMY", "MDY", "YMD"]
Tense = Literal["future", "past"]


@dataclass(frozen=True, slots=True)
class SlotValue:
    """A value, and where it stands in the sentence: characters `start` to `end`, which is behind it."""

    start: int
    end: int
    value: str  # a date as 2026-12-03; an amount as "1234.50 GBP", or "1234.50" without a currency


@dataclass(frozen=True, slots=True)
class SlotDefinition:
    """A value that flows ask for."""

    kind: SlotKind
    ask: Mapping[str, str]  # by language: the question
    pattern: str = ""  # a regular expression, of order numbers
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # value -> words that mean it, itself first
    date_order: DateOrder = "DMY"  # how 03/04/2026 is read
    prefer: Tense = "future"  # which Friday "Friday" is
    currency: str = ""  # of an amount without one


def language_of(text: str, default: Language = "en") -> Language:
    """The language of a sentence: Chinese where it has a Chinese character, English where it has a Latin letter.

    >>> language_of("我的卡呢？"), language_of("Where is it?"), language_of("123", "zh")
    ('zh', 'en', 'zh')
    """
    if any("\u4e00" <= letter <= "\u9fff" for letter in text):
        return "zh"
    return "en" if any(letter.isascii() and letter.isalpha() for letter in text) else default
