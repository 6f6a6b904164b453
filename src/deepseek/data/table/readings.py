"""How a column was read, and how sure that is: for the table of a summary, for JSON, for a page, and as a note.

reading = ColumnReading("price", "numbers", "commas between thousands", "'$1,499.00' is 1499", num_cells=500, ...)
reading.certainty        # "98.0% of its cells; 10 count as missing: 'see note'"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepseek.look.words import Text

MAX_SAID_CELLS = 3  # of the odd ones that are named
MAX_SAID_LETTERS = 40
NOTHING = Text("", "")


@dataclass(frozen=True, slots=True)
class ColumnReading:
    """What the cells of a training column were taken for."""

    name: str
    read_as: str  # numbers, dates, true or false, text
    how: Text = NOTHING  # the marks of its format, in words; empty where every reader takes its cells alike
    example: str = ""  # a cell, and what it was read as
    num_cells: int = 0  # with anything in them
    missing_words: tuple[str, ...] = ()  # texts and numbers that count as missing
    odd_cells: tuple[str, ...] = ()  # the most frequent of the cells that are of another form, cut
    num_odd: int = 0  # such cells
    doubt: str = ""  # what cannot be told from the column alone
    looks_like: str = ""  # what most of its cells are, where it was left as text
    kind: str = ""  # as which it enters the model; "" before that is known

    @property
    def fitting_share(self) -> float:
        """Of the cells that are not missing, those that are of the form that was found."""
        return 1.0 if not self.num_cells else 1.0 - self.num_odd / self.num_cells

    @property
    def certainty(self) -> str:
        """How sure the reading is, in words."""
        if self.looks_like:
            share = f"{self.fitting_share:.1%} of its cells look like {self.looks_like}"
            return f"{share}; not {', '.join(self.odd_cells)}" if self.odd_cells else share
        parts = [f"{self.fitting_share:.1%} of its cells; {self.num_odd} count as missing"] if self.num_odd else []
        parts = [f"{parts[0]}: {', '.join(self.odd_cells)}"] if parts else ["all of its cells"]
        return "; ".join([*parts, *([self.doubt] if self.doubt else [])])

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say of it: every reader would take the column so."""
        return not (self.how.en or self.missing_words or self.num_odd or self.doubt or self.looks_like)

    def note(self) -> str:
        """One sentence for the warnings of a run; "" where there is nothing to say."""
        start = f"column {self.name!r}"
        if self.looks_like:
            cells = f": {', '.join(self.odd_cells)}" if self.odd_cells else ""
            return (
                f"{start} stays text: {self.num_odd} of {self.num_cells} cells are no {self.looks_like}{cells}; "
                "mend them, or name the words that mean missing (missing=[...]; in the shell --missing WORD)"
            )
        if self.is_plain:
            return ""
        parts = [f"{start} is read as {self.read_as}: {self.example}"] if self.example else []
        if self.missing_words:
            words = f"{', '.join(self.missing_words)} count as missing"
            parts.append(words if parts else f"{start}: {words}")
        start = "" if parts else f"{start}: "
        if self.num_odd:
            parts.append(
                f"{self.num_odd} of {self.num_cells} cells are no {self.read_as} and count as missing: "
                f"{', '.join(self.odd_cells)}"
            )
        parts += [f"{start}{self.doubt}"] if self.doubt else []
        return "; ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """The entry of a JSON object."""
        return {
            "name": self.name, "kind": self.kind, "read_as": self.read_as, "how": self.how.en, "example": self.example,
            "fitting_share": round(self.fitting_share, 6), "certainty": self.certainty,
            "missing_words": list(self.missing_words), "num_odd": self.num_odd, "odd_cells": list(self.odd_cells),
        }  # fmt: skip


def shorten_cell(text: str) -> str:
    """A cell in quotes, cut where it is long."""
    return repr(text if len(text) <= MAX_SAID_LETTERS else text[:MAX_SAID_LETTERS] + "...")


def name_cells(rows_by_text: Mapping[str, int]) -> tuple[str, ...]:
    """The most frequent cells, in quotes, and dots where there are more."""
    texts = sorted(rows_by_text, key=lambda text: (-rows_by_text[text], text))
    shown = tuple(map(shorten_cell, texts[:MAX_SAID_CELLS]))
    return (*shown[:-1], f"{shown[-1]} ...") if len(texts) > MAX_SAID_CELLS else shown
