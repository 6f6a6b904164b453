"""Amounts of money: price-parser reads the number and the sign of the currency; words of currencies are ours.

>>> [each.value for each in read_amounts("I paid 35 pounds, not $20")]
['35 GBP', '20 USD']
"""

from __future__ import annotations

import re
from decimal import Decimal

from deepseek.dialogue.slots.numerals import to_digits
from deepseek.dialogue.slots.values import SlotValue
from deepseek.extras import need

#: What people write for a currency -> its code. price-parser knows the signs, and no words.
CURRENCY_WORDS = {
    "dollars": "USD", "dollar": "USD", "bucks": "USD", "$": "USD", "us$": "USD", "pounds": "GBP", "pound": "GBP",
    "quid": "GBP", "£": "GBP", "euros": "EUR", "euro": "EUR", "€": "EUR", "yuan": "CNY", "rmb": "CNY", "¥": "CNY",
    "￥": "CNY", "cn¥": "CNY", "人民币": "CNY", "元": "CNY", "块钱": "CNY", "块": "CNY", "圆": "CNY", "美元": "USD",
    "美金": "USD", "英镑": "GBP", "欧元": "EUR", "港元": "HKD", "港币": "HKD", "日元": "JPY", "yen": "JPY",
}  # fmt: skip
_WORDS = "|".join(re.escape(word) for word in sorted(CURRENCY_WORDS, key=len, reverse=True))
_CODES = "USD|GBP|EUR|CNY|HKD|JPY|CHF|AUD|CAD|SGD"
_SIGN = rf"(?:{_CODES}|{_WORDS})"
_NUMBER = r"\d[\d,.'\u00a0]*\d|\d"
#: A number with a currency before or behind it: price-parser takes the first number of a text, whatever it counts.
_AMOUNT = re.compile(
    rf"(?P<before>(?<![A-Za-z]){_SIGN})\s?(?P<first>{_NUMBER})|(?P<second>{_NUMBER})\s?(?P<scale>万|千|k(?=\W|$))?\s?"
    rf"(?P<behind>{_SIGN})(?![A-Za-z])(?:(?P<jiao>\d)[角毛])?(?:(?P<fen>\d)分)?",
    re.IGNORECASE,
)
_PLAIN = re.compile(rf"(?<![\w-])({_NUMBER})(?![\w-])")
_SCALES = {"万": 10_000, "千": 1_000, "k": 1_000}


def read_amounts(text: str, *, is_expected: bool = False, currency: str = "") -> list[SlotValue]:
    """The amounts of a sentence, in its order. `is_expected`: a number without a currency is one, too, in `currency`.
    Places are those of the sentence with its numerals as digits."""
    plain = to_digits(text)
    amounts = [
        SlotValue(match.start(), match.end(), value)
        for match in _AMOUNT.finditer(plain)
        if (value := _read_match(match)) is not None
    ]
    if amounts or not is_expected:
        return amounts
    numbers = ((match, _parse_number(match[1])) for match in _PLAIN.finditer(plain))
    return [
        SlotValue(match.start(), match.end(), f"{number} {currency}".strip())
        for match, number in numbers
        if number is not None
    ]


def _read_match(match: re.Match[str]) -> str | None:
    sign = (match["before"] or match["behind"]).lower()
    number = _parse_number(match["first"] or match["second"])
    if number is None:
        return None
    number *= _SCALES.get((match["scale"] or "").lower(), 1)
    number += Decimal(match["jiao"] or 0) / 10 + Decimal(match["fen"] or 0) / 100
    return f"{number} {CURRENCY_WORDS.get(sign, sign.upper())}"


def _parse_number(digits: str) -> Decimal | None:
    amount: Decimal | None = need("price_parser", extra="dialogue").Price.fromstring(digits).amount
    return amount
