"""Whatever a column is called, it stays text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek import look
from deepseek.look import Text, svg

HOSTILE = [
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "</svg><script>x</script>",
    "a\x00b\x1f",
    "\u202eevil",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_no_markup(name: str) -> None:
    drawn = look.bars([name], [1.0], title=name, width=680, label=name)
    root = ET.fromstring(drawn)
    assert {element.tag for element in root.iter()} <= {"svg", "title", "text", "rect", "path", "tspan"}
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]


@given(st.text())
def test_any_text_makes_a_plot_that_parses(name: str) -> None:
    ET.fromstring(look.bars([name], [1.0], title=name, width=340, label=name))


def test_a_reversing_character_cannot_hide_in_a_name() -> None:
    assert look.escape("safe\u202egnp.exe") == "safe\ufffdgnp.exe"


def test_both_languages_stand_in_the_text_and_a_name_stands_once() -> None:
    assert look.inline(Text("rows", "行")).count("span") == 4
    assert look.inline("age") == "age"
    assert look.join("age", Text(" in years", "（年）")) == Text("age in years", "age（年）")


@given(st.text(min_size=1, max_size=60), st.integers(min_value=20, max_value=300))
def test_a_shortened_name_fits_and_keeps_its_ends(name: str, width: int) -> None:
    short = svg.shorten(name, width)
    assert short == name or svg.text_width(short) <= width or len(short) == 2
    assert short == name or short[0] == name[0]


def test_a_name_of_any_length_is_shortened_at_once() -> None:
    assert len(svg.shorten("x" * 1_000_000, 300)) < 100


@given(st.floats(-1e12, 1e12, allow_nan=False), st.floats(1e-6, 1e12), st.integers(min_value=1, max_value=12))
def test_ticks_are_round_rising_and_inside(low: float, span: float, num: int) -> None:
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    ticks = svg.Scale(low, high, 0, 1).ticks(num)
    assert ticks == sorted(set(ticks))
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    assert len(ticks) <= 6 * num + 2


def test_json_beside_a_table_has_no_number_that_json_lacks() -> None:
    import numpy as np

    shown = look.as_json({"a": np.float32(0.5), "b": [float("nan"), float("inf")], "c": np.arange(2), "d": "<b>"})
    assert "NaN" not in shown
    assert "null" in shown
    assert "&lt;b&gt;" in shown


def test_a_table_without_rows_says_so() -> None:
    assert "nothing to list" in look.table([look.Column("a")], [])
