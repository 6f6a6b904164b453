"""Columns of texts that say numbers or dates, read as a person would, with a note on each.

    table = read_formats(table)                     # of training rows; table.formats says what was found
    table = apply_formats(later, table.formats)     # rows of later, by the same formats

A column of which a few cells are neither is read all the same: these count as missing, and the note names them. One
with more of them stays text, and a note says what it looked like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_value
from deepseek.contracts import JsonObject
from deepseek.data.table.date_formats import DateFormat, find_date_format
from deepseek.data.table.missing_words import FormatSearch
from deepseek.data.table.number_formats import NumberFormat, find_clock_format, find_number_format
from deepseek.data.table.table import ColumnFormat, ColumnType, Table
from deepseek.data.table.values import are_timestamps, format_timestamp, map_distinct, parse_number

#: Kinds of columns, as a user may call them, whose texts are read as numbers or dates.
READ_KINDS = ("numeric", "integer_category", "datetime")
TARGET_FORMAT = "target_format"  # where the lineage of a bundle keeps it
MAX_SAID_CELLS = 3  # of the odd ones that a note names
MAX_SAID_LETTERS = 40
NUM_LOOKED_AT = 1_000  # different texts, among which the example of a note is sought
MISSING_CODES = frozenset((99.0, 999.0, 9999.0, 99999.0, -99.0, -999.0, -9999.0, -99999.0))
MIN_CODE_ROWS, MIN_CODE_SHARE = 5, 0.005  # rows of such a number, and different numbers beside it
MIN_CODE_GAP = 3.0  # from the others, in widths of their range


def read_formats(
    table: Table, *, missing_words: Iterable[str] = (), kinds: Mapping[str, str] | None = None,
    leave: Collection[str] = (),
) -> Table:  # fmt: skip
    """The table with its texts that say numbers or dates read as such, and a note on each such column.

    `missing_words`: texts that mean "not known" in this table. `kinds`: of columns, as the user calls them; one that is
    called numbers or dates is read so where half of its cells are, and one that is called otherwise stays as it is, as
    do those of `leave`.
    """
    words, kinds = tuple(missing_words), kinds or {}
    formats: dict[str, ColumnFormat] = {}
    notes: list[str] = []
    for name in table.names:
        kind = kinds.get(name)
        if name in leave or (kind is not None and kind not in READ_KINDS):
            continue
        if table.types[name] == "number":
            form, note = _find_missing_numbers(name, table.column(name), words)
        elif table.types[name] == "text":
            form, note = _find_format(name, table.column(name), words, kind)
        else:
            continue
        formats |= {} if form is None else {name: form}
        notes += [note] if note else []
    read = apply_formats(table, formats)
    return replace(read, notes=(*read.notes, *notes))


def _find_format(
    name: str, texts: NDArray[Any], words: tuple[str, ...], kind: str | None
) -> tuple[ColumnFormat | None, str]:
    """How a column of texts is read, if not as text, and a note on it."""
    search = _search(texts, words, kind)
    if search is None or search.format is None:
        return None, ""
    if search.is_accepted:
        form = replace(search.format, missing=tuple(sorted({*search.format.missing, *search.odd})))
        return form, _note_read(name, texts, form, search)
    return None, _note_near(name, search) if search.is_near else ""


def _find_missing_numbers(name: str, values: NDArray[Any], words: tuple[str, ...]) -> tuple[ColumnFormat | None, str]:
    """The format of a column of numbers some of which mean "not known", and a note on it."""
    form = _with_missing_numbers(values, words)
    if form is not None:
        return form, f"column {name!r}: {', '.join(form.missing)} counts as missing"
    code = find_missing_code(values)
    if code is None:
        return None, ""
    return None, (
        f"column {name!r} has {code:g} in {int(np.sum(values == code))} rows, far from all others; "
        f"if it means not known, say --missing {code:g}"
    )


def apply_formats(table: Table, formats: Mapping[str, ColumnFormat]) -> Table:
    """The table with the columns of `formats` that are text in it read by them. A text that does not fit stays, and so
    does its whole column: who encodes it says which row it is."""
    columns, types = dict(table.columns), dict(table.types)
    applied = {name: form for name, form in formats.items() if name in columns}
    for name, form in formats.items():
        if types.get(name) == "text":
            values = _read_column(columns[name], form)
            if values is not None:
                columns[name], types[name] = values, _type_of(form)
        elif types.get(name) == "number" and isinstance(form, NumberFormat) and form.missing_numbers:
            is_missing = np.isin(columns[name], list(form.missing_numbers))
            columns[name] = np.where(is_missing, np.nan, columns[name])
    return replace(table, columns=columns, types=types, formats={**table.formats, **applied})


def target_format(manifest_config: JsonObject) -> ColumnFormat | None:
    """How texts say the target, from the lineage of a bundle; None where they are plain."""
    document = manifest_config.get(TARGET_FORMAT)
    return None if document is None else parse_value(NumberFormat, document, TARGET_FORMAT)


def _type_of(form: ColumnFormat) -> ColumnType:
    return "number" if isinstance(form, NumberFormat) else "datetime"


def _read_column(texts: NDArray[Any], form: ColumnFormat) -> NDArray[Any] | None:
    """Values (N,) of the type of the format; None where a text does not fit."""
    try:
        values = map_distinct(texts.tolist(), form.parse)
    except ValueError:
        return None
    if isinstance(form, NumberFormat):
        return np.array(values, np.float64)
    return np.array(values, "datetime64[ms]")


def _search(texts: NDArray[Any], words: tuple[str, ...], kind: str | None) -> FormatSearch[Any] | None:
    """What was found in a column of texts; None where every reader takes them for numbers or dates, or none does.
    `kind`: what the user calls it, if anything."""
    counts = Counter(text for text in texts.tolist() if text is not None)
    sample = list(islice(counts, 1_000))
    if not sample or (_are_plain_numbers(sample) and _are_plain_numbers(counts)):
        return None
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


def _note_read(name: str, texts: NDArray[Any], form: ColumnFormat, search: FormatSearch[Any]) -> str:
    """How a column of texts is read, by an example, and what counts as missing in it."""
    what = "numbers" if isinstance(form, NumberFormat) else "dates"
    distinct = dict.fromkeys(text for text in texts.tolist() if text is not None)
    values = [text for text in islice(distinct, NUM_LOOKED_AT) if _is_value(text, form)] or [
        next(text for text in distinct if _is_value(text, form))
    ]
    example = max(values, key=lambda text: (_tells(text, form), len(text)))
    value = form.parse(example)
    shown = f"{value:.12g}" if isinstance(form, NumberFormat) else format_timestamp(int(value or 0))
    parts = [f"column {name!r} is read as {what}: {_shorten(example)} is {shown}"]
    words = [word for word in form.missing if word not in search.odd]
    if words:
        parts.append(f"{', '.join(map(repr, words[:MAX_SAID_CELLS]))} count as missing")
    if search.odd:
        parts.append(
            f"{search.num_odd} of {search.num_rows} cells are no {what} and count as missing: {_cells(search)}"
        )
    if search.doubt:
        parts.append(search.doubt)
    return "; ".join(parts)


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


def _note_near(name: str, search: FormatSearch[Any]) -> str:
    what = "numbers" if isinstance(search.format, NumberFormat) else "dates"
    return (
        f"column {name!r} stays text: {search.num_odd} of {search.num_rows} cells are no {what}: {_cells(search)}; "
        "mend them, or name the words that mean missing"
    )


def _cells(search: FormatSearch[Any]) -> str:
    """The most frequent odd cells, in quotes."""
    texts = sorted(search.odd, key=lambda text: (-search.odd[text], text))
    return ", ".join(map(_shorten, texts[:MAX_SAID_CELLS])) + (" ..." if len(texts) > MAX_SAID_CELLS else "")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= MAX_SAID_LETTERS else text[:MAX_SAID_LETTERS] + "...")
