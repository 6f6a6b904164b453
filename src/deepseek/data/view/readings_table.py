"""What was read how, and how sure that is, as a table for a terminal and a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepseek.data.table.readings import ColumnReading
from deepseek.look.summary import make_table
from deepseek.look.terminal import escape_for_terminal

if TYPE_CHECKING:
    from rich.table import Table

MAX_COLUMNS = 20  # of which a line is shown


def reading_parts(readings: Sequence[ColumnReading]) -> list[object]:
    """The parts of a summary: a line for each column that not every reader would read so, and how many others there
    are; nothing where there is none."""
    shown = [reading for reading in readings if not reading.is_plain]
    if not shown:
        return []
    num_others = len(readings) - min(len(shown), MAX_COLUMNS)
    parts: list[object] = ["", _readings_table(shown[:MAX_COLUMNS])]
    more = f"{len(shown) - MAX_COLUMNS} of them are not plain, either; " if len(shown) > MAX_COLUMNS else ""
    return [*parts, f"and {num_others} more columns; {more}--json has all"] if num_others else parts


def _readings_table(readings: Sequence[ColumnReading]) -> Table:
    table = make_table("column", "read as", "how", "an example", "how sure", value_justify="left")
    for reading in readings:
        words = (reading.name, reading.read_as, reading.how.en, reading.example, reading.certainty)
        table.add_row(*(escape_for_terminal(text, one_line=True) for text in words))
    return table
