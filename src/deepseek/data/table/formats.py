"""Columns of texts that say numbers or dates, read as a person would, with a reading and a note of each.

    table = read_formats(table)                     # of training rows: table.formats, table.readings
    table = apply_formats(later, table.formats)     # rows of later, by the same formats

A column of which a few cells are neither is read all the same: these count as missing, and the note names them. One
with more of them stays text, and a note says what it looked like.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_value
from deepseek.contracts import JsonObject
from deepseek.data.table.date_formats import DateFormat, find_date_format
from deepseek.data.table.date_numbers import find_number_dates
from deepseek.data.table.number_formats import (
    NumberFormat,
    find_clock_format,
    find_number_format,
    mixed_units,
)
from deepseek.data.table.readings import MAX_SAID_CELLS, ColumnReading, name_cells, shorten_cell
from deepseek.data.table.table import ColumnFormat, ColumnType, Table
from deepseek.data.table.values import are_timestamps, format_timestamp, map_distinct, parse_number
from deepseek.data.table.words.missing_words import FormatSearch

#: Kinds of columns, as a user may call them, whose texts are read as numbers or dates.
READ_KINDS = ("numeric", "integer_category", "datetime")
TARGET_FORMAT = "target_format"  # where the lineage of a bundle keeps it
NUM_LOOKED_AT = 1_000  # different texts, among which the example of a note is sought
MISSING_CODES = frozenset((99.0, 999.0, 9999.0, 99999.0, -99.0, -999.0, -9999.0, -99999.0))
MIN_CODE_ROWS, MIN_CODE_SHARE = 5, 0.005  # rows of such a number, and different numbers beside it
MIN_CODE_GAP = 3.0  # from the others, in widths of their range
_TYPE_WORDS: dict[ColumnType, str] = {
    "number": "numbers", "boolean": "true or false", "text": "text", "datetime": "dates",
}  # fmt: skip
Form = TypeVar("Form", NumberFormat, DateFormat)
Found = tuple[ColumnFormat | None, ColumnReading | None]  # None: the column is as every reader takes it


def read_formats(
    table: Table, *, missing_words: Iterable[str] = (), kinds: Mapping[str, str] | None = None,
    leave: Collection[str] = (), keep_numbers: Collection[str] = (),
) -> Table:  # fmt: skip
    """The table with its texts that say numbers or dates read as such, and a reading of each column.

    `missing_words`: texts that mean "not known" in this table. `kinds`: of columns, as the user calls them; one that is
    called numbers or dates is read so where half of its cells are, and one that is called otherwise stays as it is, as
    do those of `leave`. A number of nines that stands apart, such as 999, counts as missing, but in columns that the
    user calls numbers. Numbers of the columns `keep_numbers`, such as the target, stay what they are.
    """
    words, kinds = tuple(missing_words), kinds or {}
    formats: dict[str, ColumnFormat] = {}
    readings: list[ColumnReading] = []
    for name in table.names:
        kind, values = kinds.get(name), table.column(name)
        form, reading = None, None
        if name in leave or (kind is not None and kind not in READ_KINDS):
            pass
        elif table.types[name] == "number":
            form, reading = _find_in_numbers(name, values, words, kind, name in keep_numbers)
        elif table.types[name] == "text":
            form, reading = _find_format(name, values, words, kind)
        formats |= {} if form is None else {name: form}
        readings.append(reading or ColumnReading(name, _TYPE_WORDS[table.types[name]]))
    read = apply_formats(table, formats)
    notes = [note for reading in readings if (note := reading.note())]
    return replace(read, notes=(*read.notes, *notes), readings=tuple(readings))


def _find_format(name: str, texts: NDArray[Any], words: tuple[str, ...], kind: str | None) -> Found:
    """How a column of texts is read, if not as text."""
    search = _search(texts, words, kind)
    if search is None:
        return None, None
    num_cells, num_odd, odd = search.num_rows, search.num_odd, name_cells(search.odd)
    if search.format is not None and search.is_accepted:
        form = replace(
            search.format, missing=tuple(sorted({*search.format.missing, *search.odd})), is_tolerant=bool(search.odd)
        )
        return form, _describe_read(name, texts, form, search)
    what = "dates" if isinstance(search.format, DateFormat) else "numbers"
    if search.is_near:
        reading = ColumnReading(name, "text", num_cells=num_cells, num_odd=num_odd, odd_cells=odd, looks_like=what)
        return None, reading
    units = mixed_units(Counter(text for text in texts.tolist() if text is not None)) if kind is None else {}
    if units:
        usual, *others = units
        num_others = sum(units[unit] for unit in others)
        cells = name_cells({f"... {unit}": units[unit] for unit in others})
        what = f"numbers of {usual!r}"
        return None, ColumnReading(
            name, "text", num_cells=sum(units.values()), num_odd=num_others, odd_cells=cells, looks_like=what
        )
    return None, None


def _find_in_numbers(name: str, values: NDArray[Any], words: tuple[str, ...], kind: str | None, is_kept: bool) -> Found:
    """The format of a column of numbers that are dates, or some of which mean "not known"."""
    how = find_number_dates(values, is_wanted=kind == "datetime") if kind in (None, "datetime") and not is_kept else ""
    if how:
        dates = DateFormat(numbers=how)
        first = next(value for value in values.tolist() if value == value)  # noqa: PLR0124 - NaN
        example = f"{first:.15g} is {format_timestamp(dates.parse(first) or 0)}"
        return dates, ColumnReading(name, "dates", dates.describe(), example, int(np.sum(~np.isnan(values))))
    form = _with_missing_numbers(values, words)
    code = find_missing_code(values)
    doubt = ""
    if code is not None and not is_kept and kind is None and (form is None or code not in form.missing_numbers):
        text = f"{code:g}"
        form = NumberFormat(missing=tuple(sorted({*(form.missing if form else ()), text})))
        doubt = (
            f"{text} stands in {int(np.sum(values == code))} rows, far from all others; to keep it as a number: "
            f"kinds={{{name!r}: 'numeric'}} (in the shell --kind {shlex.quote(f'{name}=numeric')})"
        )
    elif code is not None and kind is None and form is None:
        doubt = (
            f"{code:g} stands in {int(np.sum(values == code))} rows, far from all others; "
            f"if it means not known, say --missing {code:g}"
        )
    if form is None and not doubt:
        return None, None
    missing = () if form is None else form.missing
    num_cells = int(np.sum(~np.isnan(values)))
    return form, ColumnReading(name, "numbers", num_cells=num_cells, missing_words=missing, doubt=doubt)


def apply_formats(table: Table, formats: Mapping[str, ColumnFormat], *, by_force: bool = False) -> Table:
    """The table with the columns of `formats` read by them. A text that does not fit stays, and so does its whole
    column: who encodes it says which row it is. `by_force`: it counts as missing, and a note counts and names it."""
    columns, types, notes = dict(table.columns), dict(table.types), list(table.notes)
    applied = {name: form for name, form in formats.items() if name in columns}
    for name, form in applied.items():
        if types[name] == "text":
            values = _read_column(columns[name], form)
            if values is None and by_force:
                values, odd = _read_by_force(columns[name], form)
                notes.append(
                    f"column {name!r}: {sum(odd.values())} cells cannot be read as training was and count as missing: "
                    f"{', '.join(name_cells(odd))}"
                )
            if values is not None:
                columns[name], types[name] = values, _type_of(form)
        elif types[name] == "number" and isinstance(form, DateFormat) and form.numbers:
            values = _read_column(columns[name], form)
            if values is not None:
                columns[name], types[name] = values, "datetime"
        elif types[name] == "number" and isinstance(form, NumberFormat) and form.missing_numbers:
            is_missing = np.isin(columns[name], list(form.missing_numbers))
            columns[name] = np.where(is_missing, np.nan, columns[name])
    formats = {**table.formats, **applied}
    return replace(table, columns=columns, types=types, notes=tuple(notes), formats=formats)


def target_format(manifest_config: JsonObject) -> ColumnFormat | None:
    """How texts say the target, from the lineage of a bundle; None where they are plain."""
    document = manifest_config.get(TARGET_FORMAT)
    return None if document is None else parse_value(NumberFormat, document, TARGET_FORMAT)


def _type_of(form: ColumnFormat) -> ColumnType:
    return "number" if isinstance(form, NumberFormat) else "datetime"


def _read_column(cells: NDArray[Any], form: ColumnFormat) -> NDArray[Any] | None:
    """Values (N,) of the type of the format; None where a text does not fit, also in a tolerant column: it is to be
    told."""
    try:
        values = map_distinct(cells.tolist(), replace(form, is_tolerant=False).parse)
    except ValueError:
        return None
    return _to_array(values, form)


def _read_by_force(cells: NDArray[Any], form: ColumnFormat) -> tuple[NDArray[Any], Counter[str]]:
    """Values (N,) of the type of the format, missing where a text does not fit, and the rows of each such text."""
    strict, tolerant = replace(form, is_tolerant=False), replace(form, is_tolerant=True)
    odd = Counter(text for text in cells.tolist() if text is not None)
    for text in list(odd):
        try:
            strict.parse(text)
            del odd[text]
        except (ValueError, OverflowError):
            continue
    return _to_array(map_distinct(cells.tolist(), tolerant.parse), form), odd


def _to_array(values: list[Any], form: ColumnFormat) -> NDArray[Any]:
    return np.array(values, np.float64 if isinstance(form, NumberFormat) else "datetime64[ms]")


def _search(texts: NDArray[Any], words: tuple[str, ...], kind: str | None) -> FormatSearch[Any] | None:
    """What was found in a column of texts; None where every reader takes them for numbers or dates, or none does.
    `kind`: what the user calls it, if anything."""
    counts = Counter(text for text in texts.tolist() if text is not None)
    sample = list(islice(counts, 1_000))
    if not sample:
        return None
    if _are_plain_numbers(sample) and _are_plain_numbers(counts):
        return _search_digits(counts, is_wanted=kind == "datetime") if kind in (None, "datetime") else None
    if kind is not None and kind != "datetime" and not find_clock_format(counts, words).is_accepted:
        return replace(find_number_format(counts, words, min_numbers=1), is_wanted=True)
    clocks = find_clock_format(counts, words)
    if clocks.is_accepted and kind != "datetime":
        return clocks
    numbers = None if kind == "datetime" else find_number_format(counts, words)
    if numbers is not None and numbers.is_accepted:
        return numbers
    if are_timestamps(sample) and are_timestamps(counts):
        return None
    if numbers is None:
        return replace(find_date_format(counts, words, min_dates=1), is_wanted=True)
    dates = find_date_format(counts, words)
    return dates if dates.is_accepted or (dates.is_near and not numbers.is_near) else numbers


def _search_digits(counts: Mapping[str, int], *, is_wanted: bool) -> FormatSearch[Any] | None:
    """Texts of digits alone, as a frame has them, that are dates; None where they are numbers."""
    how = find_number_dates(np.array([parse_number(text) for text in counts]), is_wanted=is_wanted)
    return FormatSearch(DateFormat(numbers=how), {}, sum(counts.values()), len(counts)) if how else None


def _are_plain_numbers(texts: Iterable[str]) -> bool:
    try:
        for text in texts:
            parse_number(text)
    except ValueError:
        return False
    return True


def find_missing_code(values: NDArray[np.float64]) -> float | None:
    """The number of nines, such as 999 or -99, that stands apart from all others in many rows; None without one.

    >>> find_missing_code(np.array([1.0, 2, 3, 4, 5] * 20 + [999.0] * 5))
    999.0
    """
    known = values[np.isfinite(values)]
    for code in MISSING_CODES & {float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))}:
        num_rows = int(np.sum(known == code))
        others = known[known != code]
        if num_rows < max(MIN_CODE_ROWS, MIN_CODE_SHARE * len(known)) or len(np.unique(others[:1_000])) < MIN_CODE_ROWS:
            continue
        low, high = float(others.min()), float(others.max())
        if max(code - high, low - code) > MIN_CODE_GAP * (high - low):
            return code
    return None


def _with_missing_numbers(values: NDArray[Any], words: tuple[str, ...]) -> NumberFormat | None:
    """The format of a column of numbers in which some of the words stand, such as 999; None where none does."""
    form = NumberFormat(missing=words)
    there = form.missing_numbers & frozenset(np.unique(values).tolist())
    kept = tuple(sorted(word for word in words if NumberFormat(missing=(word,)).missing_numbers & there))
    return NumberFormat(missing=kept) if kept else None


def _describe_read(name: str, texts: NDArray[Any], form: Form, search: FormatSearch[Form]) -> ColumnReading:
    """How a column of texts is read, by an example, and what counts as missing in it."""
    is_number = isinstance(form, NumberFormat)
    distinct = dict.fromkeys(text for text in texts.tolist() if text is not None)
    values = [text for text in islice(distinct, NUM_LOOKED_AT) if _is_value(text, form)] or [
        next(text for text in distinct if _is_value(text, form))
    ]
    example = max(values, key=lambda text: (_tells(text, form), len(text)))
    value = form.parse(example)
    shown = f"{value:.12g}" if isinstance(form, NumberFormat) else format_timestamp(int(value or 0))
    how = form.describe()
    hours = " hours" if isinstance(form, NumberFormat) and form.is_clock else ""
    words = [word for word in form.missing if word not in search.odd]
    return ColumnReading(
        name, "numbers" if is_number else "dates", how, f"{shorten_cell(example)} is {shown}{hours}", search.num_rows,
        tuple(map(repr, words[:MAX_SAID_CELLS])), name_cells(search.odd), search.num_odd, search.doubt,
    )  # fmt: skip


def _is_value(text: str, form: ColumnFormat) -> bool:
    value = form.parse(text)
    return value is not None and value == value  # noqa: PLR0124 - NaN


def _tells(text: str, form: ColumnFormat) -> bool:
    """Whether a text shows what its format is for: a reader of plain numbers or dates takes it otherwise, or not."""
    if isinstance(form, NumberFormat):
        return not _are_plain_numbers([text])
    try:
        return DateFormat(not form.day_first).parse(text) != form.parse(text)
    except ValueError:
        return True
