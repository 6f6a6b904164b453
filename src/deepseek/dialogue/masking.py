"""Personal data out of texts that go into logs: mail addresses, numbers of cards, accounts, identity cards and phones.

>>> mask("mail ann@bank.com, card 4111 1111 1111 1111, order 1234567")
'mail [email], card [card], order 1234567'

Phones are found by phonenumbers. Other numbers are masked where their check digits hold, so that numbers of orders stay
readable. Names are not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from deepseek.errors import ExtraError
from deepseek.extras import need

MAX_CHARS = 400  # of a text in a log
#: Characters behind the end that are looked at, too, so that no number is cut in the middle and passes.
_MARGIN = 64
REGIONS = ("CN", "GB", "US")  # whose phone numbers are known without their country's code
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_IDENTITY = re.compile(r"(?<!\d)\d{17}[\dXx](?![\dA-Za-z])")
_IDENTITY_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def mask(text: str, most: int = MAX_CHARS) -> str:
    """The beginning of a text with personal data replaced by its kind in brackets."""
    shown = text[: most + _MARGIN]
    shown = _EMAIL.sub("[email]", shown)
    shown = _mask_where(_IDENTITY, shown, is_identity_number, "[id card]")
    shown = _mask_where(_IBAN, shown, is_iban, "[account]")
    shown = _mask_where(_CARD, shown, is_card_number, "[card]")
    shown = _mask_phones(shown)
    return shown if len(shown) <= most else shown[:most] + "..."


def _mask_where(pattern: re.Pattern[str], text: str, is_real: Callable[[str], bool], word: str) -> str:
    return pattern.sub(lambda match: word if is_real(match[0]) else match[0], text)


def is_card_number(text: str) -> bool:
    """Whether the digits pass Luhn's check (ISO/IEC 7812-1)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether the check digits of an account number hold (ISO 13616, ISO 7064 MOD 97-10)."""
    plain = text.replace(" ", "").upper()
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_identity_number(text: str) -> bool:
    """Whether the last letter of a Chinese identity number is right (GB 11643-1999)."""
    total = sum(int(digit) * weight for digit, weight in zip(text, _IDENTITY_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == text[-1].upper()


def _mask_phones(text: str) -> str:
    try:
        phonenumbers = need("phonenumbers", extra="dialogue")
    except ExtraError:  # the server asks for it when it starts; a report without it masks the rest
        return text
    for region in REGIONS:
        matches = list(phonenumbers.PhoneNumberMatcher(text, region))
        for match in reversed(matches):
            text = text[: match.start] + "[phone]" + text[match.end :]
    return text
