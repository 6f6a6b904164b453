"""Personal data is masked where its check digits hold; numbers of orders stay."""

from __future__ import annotations

import pytest

from deepseek.dialogue.masking import MAX_CHARS, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to ann.lee@mail.bank.com", "write to [email]"),
        ("card 4111-1111-1111-1111 or 5500 0000 0000 0004", "card [card] or [card]"),
        ("4111 1111 1111 1112 is no card", "4111 1111 1111 1112 is no card"),
        ("IBAN GB33 BUKB 2020 1555 5555 55 please", "IBAN [account] please"),
        ("身份证11010519491231002X", "身份证[id card]"),
        ("order A-1234567", "order A-1234567"),
        ("订单20261129001", "订单20261129001"),
    ],
)
def test_numbers_of_people_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize("text", ["call +44 7911 123456 now", "打13800138000找我", "ring (415) 555-2671"])
def test_phones_are_masked(text: str) -> None:
    pytest.importorskip("phonenumbers")
    assert "[phone]" in mask(text)
    assert not any(letter.isdigit() for letter in mask(text))


def test_a_number_at_the_end_of_what_is_shown_is_not_cut_into_one_that_passes() -> None:
    text = "x" * (MAX_CHARS - 8) + " 4111111111111111"
    assert "4111" not in mask(text)
    assert len(mask("y" * 100_000)) == MAX_CHARS + 3
