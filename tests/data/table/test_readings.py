"""How a column was read, and how sure that is."""

from __future__ import annotations

import numpy as np

from deepseek.data.table.formats import apply_formats, read_formats
from deepseek.data.table.readings import ColumnReading
from deepseek.data.table.table import Table
from deepseek.data.view.readings_table import reading_parts
from deepseek.look.summary import render_text

AMOUNTS = np.random.default_rng(0).gamma(2, 1_000, 100).round(2)


def messy() -> Table:
    prices = [f"${amount:,.2f}" for amount in AMOUNTS]
    prices[7] = "see note"
    halves = [f"{amount}" if row % 6 else "late" for row, amount in enumerate(AMOUNTS)]
    texts = {"price": prices, "half": halves, "city": ["Rome", "Oslo"] * 50}
    columns = {name: np.array(cells, object) for name, cells in texts.items()}
    types = dict.fromkeys(columns, "text") | {"size": "number"}
    return Table(columns | {"size": AMOUNTS}, types)  # type: ignore[arg-type]


def test_every_column_has_a_reading() -> None:
    price, half, city, size = read_formats(messy()).readings
    assert (price.read_as, price.num_odd, price.odd_cells) == ("numbers", 1, ("'see note'",))
    assert price.certainty == "99.0% of its cells; 1 count as missing: 'see note'"
    assert price.how.en == "'$' beside the number, commas between thousands"
    assert (half.read_as, half.looks_like) == ("text", "numbers")
    assert "83.0% of its cells look like numbers; not 'late'" in half.certainty
    assert city.is_plain
    assert size.is_plain
    assert [price.to_dict()["fitting_share"], city.to_dict()["fitting_share"]] == [0.99, 1.0]


def test_a_summary_names_what_not_every_reader_would_read_so() -> None:
    text = render_text(reading_parts(read_formats(messy()).readings))
    assert "price" in text
    assert "'see note'" in text
    assert "city" not in text
    assert "and 2 more columns" in text
    assert reading_parts([ColumnReading("city", "text")]) == []


def test_a_cell_that_later_rows_have_and_training_had_not_is_counted_or_left_to_the_encoder() -> None:
    formats = read_formats(messy()).formats
    later = Table({"price": np.array(["$5.00", "ask me", "unknown"], object)}, {"price": "text"})
    assert apply_formats(later, formats).types == {"price": "text"}  # its encoder flags the row
    forced = apply_formats(later, formats, by_force=True)
    np.testing.assert_array_equal(forced.column("price"), [5.0, np.nan, np.nan])
    assert "1 cells cannot be read as training was and count as missing: 'ask me'" in forced.notes[0]


def test_readings_outlive_what_makes_tables_of_tables() -> None:
    table = read_formats(messy())
    assert table.take(np.arange(3)).readings == table.readings
