"""Words for "not known" among numbers and dates, and what a search for the format of a column found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

#: Beside NULL_WORDS. Only among numbers or dates: in a column of words, "none" may be one of them.
MISSING_WORDS = frozenset(
    ["?", "??", "-", "--", "---", "–", "—", ".", "..", "*", "na", "n.a.", "none", "nil", "missing", "unknown", "unk",
     "not available", "not applicable", "no data", "#n/a", "#value!", "#ref!", "#div/0!", "tbd", "0000-00-00",
     "无", "未知", "缺失", "不详", "空", "暂无"]
)  # fmt: skip
MAX_ODD_SHARE = 0.05  # of the cells that are neither numbers (or dates) nor such words; a column with more stays text
MAX_WANTED_ODD_SHARE = 0.5  # where the user says that they are numbers (or dates)
MAX_SAID_SHARE = 0.3  # up to which it is said that the column looked like numbers (or dates)
MIN_VALUES_BESIDE_ODD = 25  # different ones; beside fewer, the odd cells are levels, as in 1, 2, A
MAX_ODD_WORDS = 20  # different texts that count as missing in one column

Format = TypeVar("Format")


@dataclass(frozen=True)
class FormatSearch(Generic[Format]):
    """The format that fits most cells of a column, if any does, and the cells that it does not fit."""

    format: Format | None
    odd: Mapping[str, int]  # rows of each text that does not fit
    num_rows: int  # with a value
    num_distinct: int = 0  # texts that fit
    doubt: str = ""  # what cannot be told from the column alone
    is_wanted: bool = False  # the user says that the column is one of numbers (or dates)

    @property
    def num_odd(self) -> int:
        return sum(self.odd.values())

    @property
    def is_accepted(self) -> bool:
        """Whether so many cells fit that the column is read so, and the odd ones count as missing."""
        if self.format is None or not self.odd:
            return self.format is not None
        if self.is_wanted:
            return self.num_odd <= MAX_WANTED_ODD_SHARE * self.num_rows
        few = self.num_odd <= MAX_ODD_SHARE * self.num_rows and len(self.odd) <= MAX_ODD_WORDS
        return few and self.num_distinct >= MIN_VALUES_BESIDE_ODD

    @property
    def is_near(self) -> bool:
        """Whether the column stays text though most of its cells fit."""
        few = self.num_odd <= MAX_SAID_SHARE * self.num_rows and self.num_distinct >= MIN_VALUES_BESIDE_ODD
        return self.format is not None and not self.is_accepted and few


def split_missing(counts: Mapping[str, int], more_words: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The texts of a column that mean "not known", in order, and the others with their rows."""
    known = frozenset(more_words)
    missing = tuple(sorted(text for text in counts if text in known or text.lower() in MISSING_WORDS))
    return missing, {text: count for text, count in counts.items() if text not in set(missing)}
