"""Numbers are written so that a person reads them right."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.look import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.884, "0.884"),
        (12345, "12,345"),
        (1234.56, "1,235"),
        (99.95, "100"),
        (9.996, "10.0"),
        (0.00012345, "0.000123"),
        (1e12, "1.00 × 10¹²"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (float("inf"), "–"),
        (None, "–"),
    ],
)
def test_three_digits_and_thousands(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@given(st.floats(min_value=0.5, max_value=1, exclude_max=True))
def test_only_one_is_written_as_one(value: float) -> None:
    shown = numbers.number(value)
    assert shown.startswith("0.") or value > 1 - 1e-12


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_number_is_within_half_a_unit_of_its_third_digit(value: float) -> None:
    text = numbers.number(value).replace("−", "-").replace(",", "")
    if "×" in text:
        mantissa, _, power = text.partition(" × 10")
        read = float(mantissa) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    else:
        read = float(text)
    assert math.isclose(read, value, rel_tol=0.00501, abs_tol=1e-300)


def test_an_interval_has_the_decimals_of_its_value() -> None:
    assert numbers.figure(0.88412, 0.87, 0.9) == "0.884 [0.870, 0.900]"
    assert numbers.figure(12.3456, 1.0, 140.0, "s") == "12.3 [1.0, 140.0] s"
    assert numbers.figure(0.9, float("nan"), 1.0) == "0.900"


@given(st.floats(min_value=0, max_value=1e9))
def test_a_time_never_shows_sixty_or_a_thousand_of_a_smaller_unit(seconds: float) -> None:
    first, unit = numbers.duration(seconds).split()[:2]
    if unit in ("µs", "ms"):
        assert float(first.replace(",", "")) < 1000 or "×" in numbers.duration(seconds)
    if unit == "s":
        assert float(first) < 60.0


def test_a_share_names_its_base() -> None:
    assert numbers.share(17, 569) == "2.99 % of 569"
