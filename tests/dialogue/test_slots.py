"""Values in sentences: what each kind of slot reads, in English and Chinese, and what it leaves alone."""

from __future__ import annotations

from datetime import datetime

import pytest

from deepseek.dialogue.slots.read import MAX_CHARS, read_slot, read_values
from deepseek.dialogue.slots.values import SlotDefinition

NOW = datetime(2026, 11, 29, 12)  # a Sunday
ORDER, NUMBER = SlotDefinition("order_number", {}), SlotDefinition("number", {})


def values(slot: SlotDefinition, text: str, *, is_asked: bool = False) -> list[str]:
    return [each.value for each in read_values(slot, text, NOW, is_asked=is_asked)]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("I want to travel next Friday to Paris", ["2026-12-04"]),
        ("my flight on 3 December 2026 at 5pm", ["2026-12-03"]),
        ("the order from last Tuesday", ["2026-11-24"]),
        ("I paid 35 pounds on 12/05/2026", ["2026-05-12"]),
        ("order 12345678 of yesterday", ["2026-11-28"]),
        ("2026-12-03", ["2026-12-03"]),
        ("may I ask for 2 cards", []),
        ("order 12345678", []),
        ("我想下周五去上海", ["2026-12-04"]),
        ("2026年12月3日下午五点", ["2026-12-03"]),
        ("我在十二月五日付了三百元", ["2026-12-05"]),
        ("三天前的订单", ["2026-11-26"]),
        ("大后天", ["2026-12-02"]),
        ("下个月15号", ["2026-12-15"]),
        ("下下周一", ["2026-12-07"]),
        ("去年2月30日", []),
        ("我家在15号楼", []),
    ],
)
def test_dates_are_read(text: str, days: list[str]) -> None:
    pytest.importorskip("dateparser")
    pytest.importorskip("cn2an")
    assert values(SlotDefinition("date", {}), text) == days


def test_a_weekday_is_the_one_before_where_the_past_is_meant() -> None:
    pytest.importorskip("dateparser")
    pytest.importorskip("cn2an")
    past = SlotDefinition("date", {}, prefer="past")
    assert values(past, "星期三") == ["2026-11-25"]
    assert values(SlotDefinition("date", {}), "星期三") == ["2026-12-02"]
    assert values(past, "on Friday") == ["2026-11-27"]


def test_the_order_of_day_and_month_is_the_one_that_is_stated() -> None:
    pytest.importorskip("dateparser")
    assert values(SlotDefinition("date", {}, date_order="MDY"), "on 03/04/2026") == ["2026-03-04"]
    assert values(SlotDefinition("date", {}, date_order="DMY"), "on 03/04/2026") == ["2026-04-03"]


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("refund of $1,234.50 please", ["1234.50 USD"]),
        ("I paid 35 pounds, not 20 EUR", ["35 GBP", "20 EUR"]),
        ("order 12345 cost £30", ["30 GBP"]),
        ("5k dollars", ["5000 USD"]),
        ("三百二十元五角", ["320.5 CNY"]),
        ("一千五百块", ["1500 CNY"]),
        ("人民币两万元", ["20000 CNY"]),
        ("100", []),
    ],
)
def test_amounts_are_read(text: str, amounts: list[str]) -> None:
    pytest.importorskip("price_parser")
    pytest.importorskip("cn2an")
    assert values(SlotDefinition("amount", {}), text) == amounts


def test_a_bare_number_is_an_amount_where_one_is_expected() -> None:
    pytest.importorskip("price_parser")
    slot = SlotDefinition("amount", {}, currency="GBP")
    assert values(slot, "it was 35.50", is_asked=True) == ["35.50 GBP"]
    assert values(slot, "it was 35.50") == []
    assert values(slot, "order A-1234567", is_asked=True) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("my order is a-1234567.", ["A-1234567"]),
        ("订单号是20261129001，谢谢", ["20261129001"]),
        ("订单A1234567的退款", ["A1234567"]),
        ("order AB123456 and 99", ["AB123456"]),
        ("call 123", []),
        ("2026-12-03", []),
        ("£1,234,567.00", []),
    ],
)
def test_order_numbers_are_read(text: str, numbers: list[str]) -> None:
    assert values(ORDER, text) == numbers


def test_an_own_pattern_of_order_numbers_is_followed() -> None:
    slot = SlotDefinition("order_number", {}, pattern=r"\bRE\d{3}\b")
    assert values(slot, "RE123 or 123456789") == ["RE123"]


def test_a_choice_is_the_one_whose_longest_words_stand_there() -> None:
    slot = SlotDefinition("choice", {}, choices={"card": ("card",), "debit": ("debit card", "借记卡")})
    assert values(slot, "my Debit Card") == ["debit"]
    assert values(slot, "我的借记卡") == ["debit"]
    assert values(slot, "discard it") == []


def test_a_text_is_taken_whole_and_only_where_it_is_expected() -> None:
    slot = SlotDefinition("text", {})
    assert values(slot, "  it fell down ", is_asked=True) == ["it fell down"]
    assert values(slot, "it fell down") == []


def test_what_stands_behind_the_first_characters_of_a_long_message_is_not_read() -> None:
    assert read_slot(ORDER, "x " * MAX_CHARS + "A-1234567", NOW) is None
    assert read_slot(NUMBER, "12", NOW) is not None
