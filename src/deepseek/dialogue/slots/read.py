"""The value of a slot in a sentence.

>>> from datetime import datetime
>>> order = SlotDefinition("order_number", {"en": "Which order?"})
>>> read_slot(order, "it is order A-1234567, please", datetime(2026, 11, 29)).value
'A-1234567'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime

from deepseek.dialogue.slots.amounts import read_amounts
from deepseek.dialogue.slots.dates import read_chinese_dates, read_english_dates
from deepseek.dialogue.slots.numerals import to_digits
from deepseek.dialogue.slots.values import SlotDefinition, SlotValue, language_of
from deepseek.extras import need

#: Of an order, a case, a contract: letters and digits with hyphens, six digits at least.
ORDER_NUMBER = (
    r"(?<![A-Za-z0-9.,-])(?!\d{4}-\d\d?-\d\d?(?!\d))(?=(?:[A-Za-z-]*\d){6})[A-Za-z]{0,6}-?\d[\dA-Za-z-]{3,28}"
    r"(?![A-Za-z0-9]|[.,]\d)"
)
MAX_CHARS = 500  # of a sentence that is read for values: dateparser takes 0.1 s for as many dates as fit in it
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:[.,]\d+)?(?![\w-])")


#: Kind of a slot -> the modules that read it.
READERS = {"date": ("dateparser", "cn2an"), "amount": ("price_parser", "cn2an"), "number": ("cn2an",)}


def check_readers(kinds: Iterable[str]) -> None:
    """ExtraError when a module is missing that reads one of these kinds of slots."""
    for kind in kinds:
        for module in READERS.get(kind, ()):
            need(module, extra="dialogue")


def read_slot(slot: SlotDefinition, text: str, now: datetime, *, is_asked: bool = False) -> SlotValue | None:
    """The first value for the slot, or None. `is_asked`: the sentence answers the slot's question, so that a number
    without a currency is an amount, and any words are a text."""
    values = read_values(slot, text[:MAX_CHARS], now, is_asked=is_asked)
    return values[0] if values else None


def read_values(slot: SlotDefinition, text: str, now: datetime, *, is_asked: bool = False) -> list[SlotValue]:
    """All values for the slot, in the order of the sentence."""
    if slot.kind == "date":
        if language_of(text) == "zh":
            return read_chinese_dates(text, now, prefer=slot.prefer)
        return read_english_dates(text, now, order=slot.date_order, prefer=slot.prefer)
    if slot.kind == "amount":
        return read_amounts(text, is_expected=is_asked, currency=slot.currency)
    if slot.kind == "order_number":
        plain = unicodedata.normalize("NFKC", text)
        matches = re.finditer(slot.pattern or ORDER_NUMBER, plain)
        return [SlotValue(match.start(), match.end(), match[0].upper()) for match in matches if match[0]]
    if slot.kind == "number":
        matches = _NUMBER.finditer(to_digits(text))
        return [SlotValue(match.start(), match.end(), match[0].replace(",", ".")) for match in matches]
    if slot.kind == "choice":
        return _read_choices(slot, text)
    words = text.strip()
    return [SlotValue(0, len(text), words)] if is_asked and words else []


def _read_choices(slot: SlotDefinition, text: str) -> list[SlotValue]:
    """The choices whose words stand in the sentence; longer words first, so that "debit card" is not "card"."""
    plain = unicodedata.normalize("NFKC", text).lower()
    words = sorted(((word.lower(), value) for value, of in slot.choices.items() for word in (value, *of)), key=_length)
    values: list[SlotValue] = []
    for word, value in words:
        edge = r"\b" if word.isascii() else ""
        match = re.search(f"{edge}{re.escape(word)}{edge}", plain)
        if match and not any(match.start() < other.end and other.start < match.end() for other in values):
            values.append(SlotValue(match.start(), match.end(), value))
    return sorted(values, key=lambda value: value.start)


def _length(pair: tuple[str, str]) -> int:
    return -len(pair[0])
