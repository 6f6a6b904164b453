"""What stands beside a number: one unit, several that measure the same, what multiplies, and what is a name."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest

from deepseek.data.table.formats import read_formats
from deepseek.data.table.number_formats import NumberFormat, mixed_units
from deepseek.data.table.table import Table
from deepseek.data.table.words.units import is_currency

AMOUNTS = np.random.default_rng(3).gamma(2, 1_000, 120).round(1)


def read(cells: list[str]) -> Table:
    return read_formats(Table({"x": np.array(cells, object)}, {"x": "text"}))


@pytest.mark.parametrize(
    "write",
    [
        lambda x: f"{x:.1f} kr", lambda x: f"SEK {x:.1f}", lambda x: f"R$ {x:.1f}", lambda x: f"₩{x:.1f}",
        lambda x: f"{x:.1f} руб.", lambda x: f"{x:.1f} zł", lambda x: f"{x:.1f}¢", lambda x: f'{x:.1f}"',
        lambda x: f"{x:.1f} km^2", lambda x: f"${x:.1f}/sqft", lambda x: f"{x:.1f} years old", lambda x: f"~{x:.1f}",
        lambda x: f"{x:.1f}+", lambda x: f"{x:.1f} L/100km", lambda x: f"{x:.1f}元",
    ],
)  # fmt: skip
def test_one_unit_beside_all_numbers_is_read(write: Callable[[float], str]) -> None:
    np.testing.assert_allclose(read([write(amount) for amount in AMOUNTS]).column("x"), AMOUNTS)


def test_full_width_digits_are_digits() -> None:
    wide = str.maketrans("0123456789.", "０１２３４５６７８９．")
    np.testing.assert_allclose(read([f"{amount:.1f}".translate(wide) for amount in AMOUNTS]).column("x"), AMOUNTS)


@pytest.mark.parametrize(
    ("large", "small", "factor"),
    [("kg", "g", 1e-3), ("GB", "MB", 1e-3), ("days", "day", 1.0), ("CR", "DR", -1.0), ("hours", "min", 1 / 60)],
)
def test_units_that_measure_the_same_become_the_most_usual_one(large: str, small: str, factor: float) -> None:
    is_small = np.arange(120) % 5 == 0
    cells = [f"{amount} {small if each else large}" for amount, each in zip(AMOUNTS, is_small, strict=True)]
    table = read(cells)
    np.testing.assert_allclose(table.column("x"), np.where(is_small, AMOUNTS * factor, AMOUNTS))
    assert table.formats["x"].parse(f"7 {small}") == pytest.approx(7 * factor)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(["$2.1M", "$750K", "$1.2bn"] * 3, [2.1e6, 7.5e5, 1.2e9]), (["2 million", "3.5 million", "1 million"] * 3,
     [2e6, 3.5e6, 1e6]), (["2.11亿元", "3亿元", "4.5亿元"] * 3, [2.11e8, 3e8, 4.5e8]),
     (["1.5M€", "2M€", "3.25M€"] * 3, [1.5e6, 2e6, 3.25e6])],
)  # fmt: skip
def test_what_multiplies_is_multiplied(cells: list[str], expected: list[float]) -> None:
    np.testing.assert_allclose(read(cells).column("x")[:3], expected)


@pytest.mark.parametrize(
    "cells",
    [[f"{number}A" for number in range(1, 60)], [f"{number} Main St" for number in range(1, 60)],
     [f"{number}th" for number in range(4, 60)], [f"{number}.png" for number in range(60)]],
)  # fmt: skip
def test_letters_behind_a_number_may_be_part_of_a_name(cells: list[str]) -> None:
    assert read(cells).types["x"] == "text"


def test_units_that_do_not_measure_the_same_are_said() -> None:
    table = read(["5 kg", "7 km"] * 60)
    assert table.types["x"] == "text"
    assert "numbers of 'kg'" in table.notes[0]
    assert mixed_units({"5 kg": 1, "7 km": 2}) == {"km": 2, "kg": 1}
    assert mixed_units({"5 kg": 1, "Broadway 7": 2}) == {}


def test_a_factor_without_its_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="factor"):
        NumberFormat(other_units=("g",))


@pytest.mark.parametrize(
    "word", ["k.A.", "inconnu", "brak danych", "нет данных", "データなし", "不清楚", "not recorded", "...", "/"]
)
def test_words_of_many_languages_say_not_known(word: str) -> None:
    table = read([word if row % 25 == 0 else str(row % 9) for row in range(200)])
    assert table.types["x"] == "number"
    assert int(np.isnan(table.column("x")).sum()) == 8


def test_every_symbol_of_a_currency_is_known() -> None:
    symbols = [letter for letter in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(letter) == "Sc"]
    assert [letter for letter in symbols if not is_currency(letter)] == []
