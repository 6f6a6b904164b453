"""How a column of text cells (a CSV) reads: as numbers, true/false or dates when every cell is one, else as text.

    column = CellColumnReader()
    while not column.is_settled:          # one pass in most cases; another where a late cell changes what fits
        column.begin()
        for strings in parts:
            column.see(strings)
    type, values, note = column.read(strings)

The cells may come in any number of parts: the type is that of all of them, and every part is read as this type.
Numbers with leading zeros (007) or too many digits for float64 are codes: they stay text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.table import ColumnType
from deepseek.data.table.values import FLOAT32_MAX, MAX_EXACT_INTEGER, are_timestamps, parse_timestamp
from deepseek.extras import need
from deepseek.null_words import NULL_WORDS

_NUM_SAMPLED_CELLS = 20  # cells that must look like dates before all are tried
_TRUE_CELLS, _FALSE_CELLS = ["true", "True", "TRUE"], ["false", "False", "FALSE"]

ReadColumn = tuple[ColumnType, NDArray[Any], str]  # type, values, a note or ""


class CellParser(Protocol):
    """One way to read the cells of a column. Strings come trimmed, with null where there is no value."""

    def fits(self, strings: Any) -> bool:
        """Whether these cells, after all that were seen before, may be read so."""
        ...

    def read(self, strings: Any) -> ReadColumn: ...


class CellColumnReader:
    """The type of a column, found part by part. `decimal_comma`: 1,5 may be a number."""

    def __init__(self, *, decimal_comma: bool = False) -> None:
        self._readings: list[Callable[[], CellParser]] = [
            _NumberParser,
            _BooleanParser,
            _TimestampParser,
            _ZonedTimestampParser,
            _OtherTimestampParser,
        ]
        self._readings += [_CommaNumberParser] if decimal_comma else []
        self._readings.append(_TextParser)
        self._reading = self._readings.pop(0)()
        self._has_values = False  # whether this pass has seen any
        self._is_settled = False
        self._is_over = False  # a cell of this pass did not fit, and the next pass tries another reading

    @property
    def is_settled(self) -> bool:
        """Whether all cells have been seen by the reading that is in force."""
        return self._is_settled

    def begin(self) -> None:
        """Start a pass over all parts."""
        if self._is_over:
            self._reading = self._readings.pop(0)()
        self._has_values = self._is_over = False
        self._is_settled = True

    def see(self, strings: Any) -> None:
        """Look at the next part of the cells (N,) to find their type."""
        if self._is_over:
            return
        strings = trim_cells(strings)
        if strings.null_count == len(strings):
            return
        while not self._reading.fits(strings):
            if self._has_values:  # the next reading must see the parts before, too
                self._is_over, self._is_settled = True, False
                return
            self._reading = self._readings.pop(0)()
        self._has_values = True

    def read(self, strings: Any) -> ReadColumn:
        """Values (N,) of a part, once the type is settled."""
        return self._reading.read(trim_cells(strings))


class _NumberParser:
    def __init__(self) -> None:
        self._has_leading_zeros = self._is_large = self._has_long = False

    def fits(self, strings: Any) -> bool:
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        try:
            values = to_float64(pc.cast(strings, pa.float64()))
        except pa.ArrowInvalid:
            return False
        self._has_leading_zeros |= _any_match(strings, r"^[-+]?0[0-9]")
        if np.nanmax(np.abs(values), initial=0.0) >= MAX_EXACT_INTEGER:
            self._is_large = True
            self._has_long |= _any_match(strings, r"^[-+]?[0-9]{16,}$")
        return True

    @property
    def are_codes(self) -> bool:
        return self._has_leading_zeros or (self._is_large and self._has_long)

    def read(self, strings: Any) -> ReadColumn:
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        if self._has_leading_zeros:
            return "text", to_text_array(strings), "has numbers with leading zeros; it is read as text"
        if self.are_codes:
            return "text", to_text_array(strings), "has whole numbers too large to be exact; it is read as text"
        values = to_float64(pc.cast(strings, pa.float64()))
        return "number", values, overflow_note(values)


class _CommaNumberParser:
    def __init__(self) -> None:
        self._numbers = _NumberParser()

    def fits(self, strings: Any) -> bool:
        pc = need("pyarrow.compute", extra="tabular")
        if not pc.all(pc.match_substring_regex(strings, r"^[-+]?[0-9]+(,[0-9]+)?$")).as_py():
            return False
        return self._numbers.fits(pc.replace_substring(strings, ",", ".")) and not self._numbers.are_codes

    def read(self, strings: Any) -> ReadColumn:
        pc = need("pyarrow.compute", extra="tabular")
        kind, values, _ = self._numbers.read(pc.replace_substring(strings, ",", "."))
        return kind, values, "has decimal commas; it is read as numbers"


class _BooleanParser:
    def fits(self, strings: Any) -> bool:
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        known = pc.is_in(strings, pa.array([*_TRUE_CELLS, *_FALSE_CELLS], strings.type))
        return bool(pc.all(pc.or_(known, pc.is_null(strings))).as_py())

    def read(self, strings: Any) -> ReadColumn:
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        true = pc.is_in(strings, pa.array(_TRUE_CELLS, strings.type))
        return "boolean", to_float64(pc.if_else(pc.is_null(strings), None, pc.cast(true, pa.int8()))), ""


class _TimestampParser:
    """Dates and times as Arrow reads them, without a zone."""

    zone: str | None = None

    def __init__(self) -> None:
        self._num_sampled = 0

    def fits(self, strings: Any) -> bool:
        return self._look_like_dates(strings) and self._all_fit(strings)

    def _look_like_dates(self, strings: Any) -> bool:
        if self._num_sampled >= _NUM_SAMPLED_CELLS:
            return True
        sample = strings.drop_null().slice(0, _NUM_SAMPLED_CELLS - self._num_sampled).to_pylist()
        self._num_sampled += len(sample)
        return are_timestamps(sample)

    def _all_fit(self, strings: Any) -> bool:
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        try:
            pc.cast(strings, pa.timestamp("us", self.zone))
        except pa.ArrowInvalid:
            return False
        return True

    def read(self, strings: Any) -> ReadColumn:
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        return read_timestamps(pc.cast(strings, pa.timestamp("us", self.zone)))


class _ZonedTimestampParser(_TimestampParser):
    zone = "UTC"


class _OtherTimestampParser(_TimestampParser):
    """Dates that Arrow does not read (2018/4/1), each distinct text once."""

    def _all_fit(self, strings: Any) -> bool:
        return are_timestamps(strings.unique().to_pylist())

    def read(self, strings: Any) -> ReadColumn:
        moments = {text: parse_timestamp(text) for text in strings.unique().to_pylist()}
        return "datetime", np.array([moments[text] for text in strings.to_pylist()], "datetime64[ms]"), ""


class _TextParser:
    def fits(self, strings: Any) -> bool:
        return True

    def read(self, strings: Any) -> ReadColumn:
        return "text", to_text_array(strings), ""


def _any_match(strings: Any, pattern: str) -> bool:
    pc = need("pyarrow.compute", extra="tabular")
    return bool(pc.any(pc.match_substring_regex(strings, pattern)).as_py())


def trim_cells(strings: Any) -> Any:
    """Strings without blanks around them, the words for "no value" as null."""
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    strings = pc.utf8_trim_whitespace(strings)
    is_null = pc.is_in(strings, pa.array(sorted(NULL_WORDS), strings.type))
    return pc.if_else(is_null, pa.scalar(None, strings.type), strings) if pc.any(is_null).as_py() else strings


def to_float64(chunked: Any) -> NDArray[np.float64]:
    """float64 that may be written to, missing as NaN."""
    pa = need("pyarrow", extra="tabular")
    return np.array(chunked.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def to_text_array(strings: Any) -> NDArray[Any]:
    """Python strings; equal ones are one object, which keeps a long column of few levels small."""
    if len(strings) == 0:
        return np.empty(0, object)
    coded = strings.combine_chunks().dictionary_encode()
    distinct = np.array([*coded.dictionary.to_pylist(), None], object)
    codes = coded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(distinct[codes], object)


def read_timestamps(chunked: Any) -> ReadColumn:
    """Dates and timestamps as milliseconds in UTC."""
    pa = need("pyarrow", extra="tabular")
    zone = getattr(chunked.type, "tz", None)
    unit = getattr(chunked.type, "unit", "ms")
    plain = chunked.cast(pa.timestamp(unit if unit != "day" else "ms"))
    values = plain.to_numpy(zero_copy_only=False).astype("datetime64[ms]")
    return "datetime", values, f"has the time zone {zone}; it is read as UTC" if zone not in (None, "UTC") else ""


def overflow_note(values: NDArray[np.float64]) -> str:
    """A note where some numbers are beyond float32."""
    num_odd = int(np.sum(np.abs(values) > FLOAT32_MAX))
    return f"has {num_odd} infinite or very large numbers, which count as missing" if num_odd else ""
