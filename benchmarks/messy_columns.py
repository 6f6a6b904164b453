"""Columns as people write them: how many are read right, value by value, beside pandas and polars.

40 columns of a CSV file: numbers with thousands, currencies, units, signs of accountants, words for "not known", dates
in many orders; some with about 5 % of cells that say nothing. A column is read right when its type and every value are
those that it was written from, and every other cell is missing. One that is not is warned of when a note names it.
The forms and seeds here are others than those of the tests, but many forms are the same: there are not so many. So a
second set, of other words, currencies, units, languages and orders, was written when the reading was done. Rivals read
the same files: pandas (thousands stated, then convert_dtypes and dates tried), polars, and skrub where it is installed.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from messy_columns_unseen import SEEDS, unseen_columns, unseen_texts
from result import claim, finish, options

from deepseek.data.table.formats import read_formats
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table

NUM_ROWS, NUM_SEEDS = 400, 5
CLAIMS = (
    "read_right", "wrong_without_a_word", "clean_text_columns_left_alone", "unseen_read_right",
    "unseen_wrong_without_a_word", "unseen_text_columns_left_alone",
)  # fmt: skip
Amounts = Sequence[float]


@dataclass(frozen=True)
class MessyColumn:
    """A column: what it was written from, float64 or datetime64[ms], NaN or NaT where a cell says nothing."""

    cells: list[str]
    values: np.ndarray[Any, Any]


def _separated(amount: float, digits: int, thousands: str, decimal: str = ".") -> str:
    text = f"{amount:,.{digits}f}"
    return text.replace(",", "\0").replace(".", decimal).replace("\0", thousands)


def _indian(amount: float) -> str:
    """12,34,567: groups of two before the last three digits."""
    text = f"{amount:.0f}"
    head, tail = text[:-3], text[-3:]
    groups = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ",".join([*groups, tail])


#: name: how an amount is written, digits behind the point
NUMBERS: dict[str, tuple[Callable[[float], str], int]] = {
    "thousands": (lambda x: f"{x:,.0f}", 0),
    "thousands and cents": (lambda x: f"{x:,.2f}", 2),
    "dollars": (lambda x: f"${x:,.2f}", 2),
    "dollars behind a sign": (lambda x: f"-${x:,.0f}" if x < 1_500 else f"${x:,.0f}", 0),
    "pounds": (lambda x: f"£{x:.2f}", 2),
    "euros behind": (lambda x: _separated(x, 2, ".", ",") + " €", 2),
    "yuan": (lambda x: f"¥{x:,.0f}", 0),
    "code before": (lambda x: f"CHF {_separated(x, 2, chr(39))}", 2),
    "code behind": (lambda x: f"{x:.2f} USD", 2),
    "accountant": (lambda x: f"({x:,.0f})" if x < 1_500 else f"{x:,.0f}", 0),
    "minus behind": (lambda x: f"{x:.1f}-" if x < 1_500 else f"{x:.1f}", 1),
    "minus sign": (lambda x: f"\u2212{x:.1f}" if x < 1_500 else f"{x:.1f}", 1),
    "decimal commas": (lambda x: _separated(x, 2, "", ","), 2),
    "narrow blanks": (lambda x: _separated(x, 1, "\u202f", ","), 1),
    "percent": (lambda x: f"{x / 100:.1f}%", 1),
    "percent with a blank": (lambda x: f"{x / 100:.2f} %", 2),
    "kilograms": (lambda x: f"{x / 10:.1f} kg", 1),
    "speed": (lambda x: f"{x / 10:.0f}km/h", 0),
    "degrees": (lambda x: f"{x / 100:.1f}°C", 1),
    "square meters": (lambda x: f"{x / 10:.0f} m²", 0),
    "factors": (lambda x: f"{x / 1_000:.1f}k", 1),
    "Chinese factors": (lambda x: f"{x / 10_000:.2f}万", 2),
    "Indian groups": (lambda x: _indian(1_000 * x), 0),
}
SCALES = {
    "percent": 100, "percent with a blank": 100, "kilograms": 10, "speed": 10, "degrees": 100, "square meters": 10,
    "factors": 1_000, "Chinese factors": 10_000, "Indian groups": 1 / 1_000,
}  # fmt: skip
NEGATIVE = ("dollars behind a sign", "accountant", "minus behind", "minus sign")
MULTIPLIED = {"factors": 1_000, "Chinese factors": 10_000}
WORDS: dict[str, tuple[str, float]] = {
    "question marks": ("?", 0.04), "dashes": ("-", 0.1), "unknown": ("Unknown", 0.2), "Chinese word": ("不详", 0.03),
    "errors of a sheet": ("#REF!", 0.01), "a remark": ("see note 4", 0.01), "remarks": ("tba / late", 0.045),
}  # fmt: skip
DATES = {
    "points": "%d.%m.%Y", "day first": "%d/%m/%Y", "month first": "%m/%d/%Y", "named month": "%d-%b-%Y",
    "American": "%B %d, %Y", "Chinese": "%Y年%m月%d日", "Chinese with time": "%Y年%m月%d日 %H:%M",
    "two digits": "%d/%m/%y", "with weekday": "%a %d %b %Y", "afternoon": "%m/%d/%Y %I:%M %p",
}  # fmt: skip


def messy_columns(seed: int) -> dict[str, MessyColumn]:
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(2.0, 1_500.0, NUM_ROWS) + 100
    columns = {name: _number_column(name, amounts) for name in NUMBERS}
    for name, (word, share) in WORDS.items():
        is_word = rng.random(NUM_ROWS) < share
        is_word[0] = True
        cells = [word if odd else f"{amount:.1f}" for amount, odd in zip(amounts, is_word, strict=True)]
        columns[name] = MessyColumn(cells, np.where(is_word, np.nan, amounts.round(1)))
    minutes = rng.integers(0, 4 * 365 * 24 * 60, NUM_ROWS)
    moments = np.datetime64("2018-01-01T00:00") + minutes
    for name, pattern in DATES.items():
        cells = [moment.strftime(pattern) for moment in moments.astype(object)]
        known = moments if "%H" in pattern or "%I" in pattern else moments.astype("datetime64[D]")
        columns[name] = MessyColumn(cells, known.astype("datetime64[ms]"))
    return columns


def _number_column(name: str, amounts: Any) -> MessyColumn:
    write, digits = NUMBERS[name]
    values = np.array([float(f"{amount / SCALES.get(name, 1):.{digits}f}") for amount in amounts])
    values = np.where(amounts < 1_500, -values, values) if name in NEGATIVE else values
    return MessyColumn([write(amount) for amount in amounts], values * MULTIPLIED.get(name, 1))


def clean_columns(seed: int) -> dict[str, list[str]]:
    """Texts that are no numbers and no dates, though some look like them."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 10_000, NUM_ROWS)
    return {
        "code": [f"{row:05d}" for row in rows], "version": [f"{row % 9}.{row % 7}.{row % 5}" for row in rows],
        "range": [f"{row % 50}-{row % 50 + 10}" for row in rows],
        "seat": [f"{row % 40}{'ABCDEF'[row % 6]}" for row in rows],
        "phone": [f"030 {100 + row % 900} {1000 + row % 9000}" for row in rows],
        "address": [f"{row % 200} Main St" if row % 2 else f"{row % 99} Oak Ave" for row in rows],
        "size": [["XS", "S", "M", "L", "XL"][row % 5] for row in rows],
        "score": [f"{row % 6}:{row % 4} p" for row in rows],
        "network": [f"10.0.{row % 255}.{row % 200}" for row in rows], "part": [f"A-{row}" for row in rows],
    }  # fmt: skip


def is_right(values: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    """Whether the type and every value are as they were written."""
    if values.dtype.kind != expected.dtype.kind:
        return False
    if expected.dtype.kind == "M":
        moments = values.astype("datetime64[ms]")
        return bool(np.all((moments == expected) | (np.isnat(moments) & np.isnat(expected))))
    return bool(np.allclose(values, expected, rtol=1e-9, equal_nan=True))


def write_csv(columns: dict[str, list[str]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_by_pandas(path: Path, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """As its guide says: thousands stated, columns of text tried as dates."""
    import warnings

    import pandas as pd

    frame = pd.read_csv(path, thousands=",").convert_dtypes()
    for name in names:
        if getattr(frame[name].dtype, "kind", "O") not in "fiuM":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    frame[name] = pd.to_datetime(frame[name])
                except (ValueError, TypeError):
                    continue
    return {name: _as_array(_plain(frame[name])) for name in names}


def _plain(series: Any) -> Any:
    """A series of pandas as numpy has it, its own missing values as NaN."""
    kind = getattr(series.dtype, "kind", "O")
    return series.to_numpy(np.float64, na_value=np.nan) if kind in "fiu" else series.to_numpy()


def read_by_skrub(path: Path, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Its Cleaner, which every pipeline of it begins with; ImportError where it is not installed."""
    import pandas as pd
    from skrub import Cleaner  # type: ignore[import-not-found]

    frame = Cleaner(drop_null_fraction=None).fit_transform(pd.read_csv(path))
    return {name: _as_array(_plain(frame[name])) for name in names}


def read_by_polars(path: Path, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    import polars as pl

    frame = pl.read_csv(io.BytesIO(path.read_bytes()), try_parse_dates=True, infer_schema_length=None)
    return {name: _as_array(frame[name].to_numpy()) for name in names}


def _as_array(values: Any) -> np.ndarray[Any, Any]:
    return values.astype(np.float64) if values.dtype.kind in "iu" else values


def read_by_us(path: Path) -> Table:
    return read_formats(read_table(path))


RIVALS: dict[str, Callable[[Path, Sequence[str]], dict[str, np.ndarray[Any, Any]]]] = {
    "pandas": read_by_pandas, "polars": read_by_polars, "skrub": read_by_skrub,
}  # fmt: skip


@dataclass
class Counts:
    """Of each seed: how many columns were read right, wrong without a word, and as something though they are text."""

    right: list[int] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)
    wrong_names: set[str] = field(default_factory=set)
    rivals: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in RIVALS})

    def add(self, columns: Mapping[str, Any], texts: dict[str, list[str]], path: Path) -> None:
        """Read a file of the messy columns, and one of the texts."""
        write_csv({name: column.cells for name, column in columns.items()}, path)
        table = read_by_us(path)
        wrong = [name for name, column in columns.items() if not is_right(table.column(name), column.values)]
        self.wrong_names.update(wrong)
        self.right.append(len(columns) - len(wrong))
        self.silent.append(sum(not any(f"column {name!r}" in note for note in table.notes) for name in wrong))
        for name, read in RIVALS.items():
            try:
                arrays = read(path, list(columns))
            except ImportError:
                continue
            self.rivals[name].append(sum(is_right(arrays[each], column.values) for each, column in columns.items()))
        write_csv(texts, path)
        self.touched.append(sum(kind != "text" for kind in read_by_us(path).types.values()))

    def claims(self, start: str, num_columns: int, num_texts: int) -> list[dict[str, Any]]:
        """Our worst seed against the best of the best rival."""
        read = {name: counts for name, counts in self.rivals.items() if counts}
        best = max(read, key=lambda name: min(read[name]))
        note = f"the worst seed; wrong: {', '.join(sorted(self.wrong_names)) or 'none'}"
        note += "".join(f"; {name} {counts}" for name, counts in read.items())
        num_seeds = len(self.right)
        return [
            claim(f"{start}read_right", ours=min(self.right), unit=f"of {num_columns}", op=">=", bar=38,
                  rival=max(read[best]), rival_name=best, num_seeds=num_seeds, note=note),
            claim(f"{start}wrong_without_a_word", ours=max(self.silent), unit="columns", op="<=", bar=0,
                  num_seeds=num_seeds),
            claim(f"{start}{'text' if start else 'clean_text'}_columns_left_alone",
                  ours=num_texts - max(self.touched), unit=f"of {num_texts}", op=">=", bar=num_texts,
                  num_seeds=num_seeds),
        ]  # fmt: skip


def main() -> int:
    options(__doc__, CLAIMS, quick="nothing: it takes seconds").parse_args()
    first, second = Counts(), Counts()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "columns.csv"
        for seed in range(NUM_SEEDS):
            first.add(messy_columns(seed), clean_columns(seed), path)
        for seed in SEEDS:
            second.add(unseen_columns(seed), unseen_texts(seed), path)
    claims = first.claims("", len(messy_columns(0)), len(clean_columns(0)))
    claims += second.claims("unseen_", len(unseen_columns(0)), len(unseen_texts(0)))
    return finish("messy_columns", claims, not_run=())


if __name__ == "__main__":
    raise SystemExit(main())
