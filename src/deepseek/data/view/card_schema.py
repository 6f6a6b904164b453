"""The JSON of a data card: make_card() and make_media_card() write it; pages, terminals and drift checks read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

#: A fact summed up over files: {"min", "median", "max"} of numbers, or how many files have each word.
FactSummary = Mapping[str, float]


class Histogram(TypedDict):
    edges: list[float] | list[str]  # (B + 1,), rising: numbers, or moments in ISO form
    counts: list[int]  # (B,)


class ValueBins(TypedDict):
    """The bins that later values are compared in: (-inf, edges[0]], ..., (edges[-1], inf), then missing values. A value
    that is an edge is in the bin below it: counts hold where values repeat, which quantiles do not say."""

    edges: list[float]  # (B - 2,), rising
    counts: list[int]  # (B,)


class LevelCount(TypedDict):
    level: str
    num_rows: int


class CopyGroup(TypedDict):
    """Rows whose files hold the same bytes. `rows` are the first ones."""

    num_rows: int
    rows: list[int]


class Copies(TypedDict):
    num_groups: int
    num_rows: int
    groups: list[CopyGroup]  # the first ones


class BrokenFile(TypedDict):
    """A value that cannot be read."""

    row: int
    value: str  # the name in the table, cut
    code: str
    message: str
    expected: str
    fix: str


class ColumnFigures(TypedDict, total=False):
    """The figures of a column, which depend on its kind."""

    # numbers and moments; moments are in ISO form, and have no mean and no std
    min: float | str
    max: float | str
    mean: float
    std: float
    quantiles: dict[str, float] | dict[str, str]  # by share: "0.01", "0.5"
    histogram: Histogram
    bins: ValueBins  # of numbers
    # categories and classes
    levels: list[LevelCount]  # the most frequent first
    num_other: int  # rows of levels that are not listed
    # files
    num_there: int
    num_missing: int
    num_broken: int
    broken: list[BrokenFile]  # the first ones
    copies: Copies
    # files and texts
    facts: dict[str, FactSummary]


class ReadingCard(TypedDict):
    """How the cells of a column were read, where not every reader would read them so; no cell is in it."""

    read_as: str  # numbers, dates, true or false, text
    how: str  # the marks of its format, in words
    how_zh: str
    fitting_share: float  # of the cells that are not missing
    looks_like: str  # what most of its cells are, where it was left as text


class ColumnReadingCard(TypedDict, total=False):
    reading: ReadingCard


class ColumnCard(ColumnFigures, ColumnReadingCard):
    """One column of a table."""

    name: str
    type: str  # of table.ColumnType, or "file"
    kind: str
    missing_share: float  # 0..1
    num_distinct: NotRequired[int]  # not of files
    withheld: NotRequired[str]  # why its values are not told: a key of personal.REASONS


class ShipRefusal(TypedDict):
    """Why `ship` would not go on."""

    message: str
    expected: str
    fix: str


class DataCard(TypedDict):
    """A table. Only a card of files has num_files and num_broken, only one that was made for a target has refusals."""

    version: int
    num_rows: int
    target: str | None
    columns: list[ColumnCard]
    num_files: NotRequired[int]
    num_broken: NotRequired[int]
    refusals: NotRequired[list[ShipRefusal]]  # what `ship` refuses of these rows, by its own checks; [] for nothing
