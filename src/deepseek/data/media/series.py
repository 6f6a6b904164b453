"""Measurements over time -> one array of numbers and where they are missing.

    source = open_series([[0.1, 20.5], [0.2, None]], root=None, row=7, column="sensor")   # or a path to .npy or .csv
    reader = SeriesReader.fit([source, ...])
    array = reader.read(source)          # (2 * channels, length): the values, then 1 where there is one and 0 where not

One line of a CSV file, one row of an array or one inner list is one moment; a flat list is one channel. A value that is
missing, and the moments that a shorter series lacks, hold the channel's mean of training, and their mask says 0: a
model that looks at the mask never takes them for measured. A longer series keeps its last moments, or its first.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.data.media.source import BrokenError, Limits, Source, open_source
from deepseek.errors import InputError

NPY_MAGIC: Final = b"\x93NUMPY"
MAX_FITTED_LENGTH: Final = 4_096  # moments that fit() asks for at most
MISSING_WORDS: Final = frozenset(["", "na", "n/a", "nan", "null", "none", "-", "?"])  # cells of CSV, in lower case
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
#: What numpy raises on a damaged header.
HEADER_ERRORS: Final = (
    ArithmeticError, EOFError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError,
    tokenize.TokenError,
)  # fmt: skip
LIST_TYPES: Final = (list, tuple, np.ndarray)
Float64 = NDArray[np.float64]


def open_series(value: Any, *, root: Path | None, row: int, column: str, limits: Limits | None = None) -> Source:
    """The bytes behind one cell: numbers in lists, JSON text, or whatever media.open_source takes. BrokenError for
    lists that are ragged or hold anything but numbers and None.

    >>> SeriesReader(length=3, fill=(0.0,)).read(open_series([1, None], root=None, row=0, column="x")).tolist()
    [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        value = value.encode()
    elif isinstance(value, (list, tuple, np.ndarray)):
        file = io.BytesIO()
        np.save(file, _parse_lists(value, f"the value in row {row}, column {column!r}"), allow_pickle=False)
        value = file.getvalue()
    return open_source(value, root=root, row=row, column=column, limits=limits)


@dataclass(frozen=True)
class SeriesReader:
    """Series of one number of channels as float32 (2 * channels, length)."""

    length: int  # moments
    fill: tuple[float, ...]  # of each channel: what stands where nothing was measured (the mask says so)
    names: tuple[str, ...] = ()  # of the channels, where the training files had a header: columns are found by name
    keep: str = (
        "last"  # of a longer series: its "last" or its "first" moments. A shorter one is padded at the other end
    )

    kind: ClassVar[str] = "series"
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".csv", ".tsv", ".json")

    def __post_init__(self) -> None:
        for name in ("fill", "names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        if self.length < 1 or not self.fill or not all(map(math.isfinite, self.fill)):
            raise InputError(
                f"length is {self.length}, fill {self.fill}", expected="one moment and one channel at least",
                fix="write length=256, fill=(0.0, 0.0) for two channels",
            )  # fmt: skip
        if self.keep not in ("last", "first"):
            raise InputError(f"keep is {self.keep!r}", expected='"last" or "first"', fix="write one of them")
        if self.names and len(self.names) != len(self.fill):
            raise InputError(
                f"{len(self.names)} names for {len(self.fill)} channels", expected="as many", fix="name all"
            )

    @classmethod
    def fit(cls, sources: Sequence[Source], *, length: int | None = None, keep: str = "last") -> Self:
        """Channels and names as in the first; the longest of all, at most 4,096 moments; means of what is there."""
        if not sources:
            raise InputError("there are no series to fit a reader to", expected="one or more", fix="name series")
        names, first = parse_series(sources[0])
        longest, sums, counts = 1, np.zeros(first.shape[1]), np.zeros(first.shape[1])
        for source in sources:
            values = _match_channels(source, names, first.shape[1])
            longest = max(longest, len(values))
            sums += np.nansum(values, 0)
            counts += np.isfinite(values).sum(0)
        fill = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        return cls(min(longest, MAX_FITTED_LENGTH) if length is None else length, tuple(fill.tolist()), names, keep)

    @property
    def shape(self) -> tuple[int, ...]:
        return (2 * len(self.fill), self.length)

    @property
    def dtype(self) -> str:
        return "float32"

    def read(self, source: Source) -> Float32:
        values = _match_channels(source, self.names, len(self.fill))
        values = values[-self.length :] if self.keep == "last" else values[: self.length]
        is_measured = np.isfinite(values).T
        array = np.zeros(self.shape, np.float32)
        array[: len(self.fill)] = np.array(self.fill, np.float32)[:, None]
        span = slice(self.length - len(values), None) if self.keep == "last" else slice(len(values))
        array[: len(self.fill), span] = np.where(is_measured, values.T, np.array(self.fill)[:, None])
        array[len(self.fill) :, span] = is_measured
        return array


class SeriesFacts(TypedDict):
    moments: int
    channels: int
    missing_share: float  # 0..1, of all values


def describe(source: Source) -> SeriesFacts:
    """Facts for a card. BrokenError as SeriesReader.read raises it."""
    _, values = parse_series(source)
    missing = float(np.isnan(values).mean())
    return {"moments": values.shape[0], "channels": values.shape[1], "missing_share": missing}


def parse_series(source: Source) -> tuple[tuple[str, ...], Float64]:
    """Names of the channels, () without a header, and (moments, channels) with NaN where a value is missing.
    BrokenError for anything else than numbers, for moments of different lengths and for infinite numbers."""
    data, display_name = source.data, source.name
    names: tuple[str, ...] = ()
    if data[: len(NPY_MAGIC)] == NPY_MAGIC:
        values = _parse_npy(data, display_name)
    elif data.lstrip()[:1] == b"[":
        try:
            nested = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _broken_error(display_name, f"is no JSON: {_first_line(error)}") from None
        values = _parse_lists(nested, display_name)
    else:
        names, values = _parse_csv(data, display_name)
    if not values.size:
        raise _broken_error(display_name, "has no moment")
    beyond = np.isinf(values) | (np.abs(values) > _FLOAT32_MAX)
    if beyond.any():
        moment, channel = np.argwhere(beyond)[0].tolist()
        number = values[moment, channel]
        raise _broken_error(display_name, f"holds {number:g} at moment {moment}, channel {channel} (from 0)")
    return names, values


def _match_channels(source: Source, names: tuple[str, ...], channels: int) -> Float64:
    """Values (moments, channels) with the columns in the order of `names`. BrokenError when they do not fit."""
    file_names, values = parse_series(source)
    if names and file_names and file_names != names:
        if missing := [name for name in names if name not in file_names]:
            raise _broken_error(
                source.name, f"has no column {missing[0]!r}", "the columns of training: " + ", ".join(names[:20])
            )
        values = values[:, [file_names.index(name) for name in names]]
    if values.shape[1] != channels:
        raise _broken_error(source.name, f"has {values.shape[1]} channels", f"{channels}, as in training")
    return values


def _parse_npy(data: bytes, display_name: str) -> Float64:
    """Values (moments, channels) of a .npy file. Never unpickled; takes no more memory than the file has bytes."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except HEADER_ERRORS as error:
        raise _broken_error(display_name, f"is no .npy file: {_first_line(error)}") from None
    if dtype.kind not in "iufb":
        raise _broken_error(display_name, f"holds {'Python objects' if dtype.hasobject else dtype}", "real numbers")
    if len(shape) not in (1, 2) or min(shape) < 0:
        raise _broken_error(display_name, f"has the shape {shape}", "(moments,) or (moments, channels)")
    start = file.tell()
    if math.prod(shape) * dtype.itemsize > len(data) - start:
        raise _broken_error(
            display_name, f"is cut off: {len(data) - start:,} of {math.prod(shape) * dtype.itemsize:,} bytes of values"
        )
    flat = np.frombuffer(data, dtype, math.prod(shape), start)
    return _as_columns(flat.reshape(shape, order="F" if fortran else "C"))


def _parse_lists(nested: Any, display_name: str) -> Float64:
    """Values (moments, channels) of nested lists, in which None is a missing value."""
    if isinstance(nested, np.ndarray) and nested.dtype.kind in "iufb":
        if nested.ndim not in (1, 2):
            raise _broken_error(display_name, f"has the shape {nested.shape}", "(moments,) or (moments, channels)")
        return _as_columns(nested)
    flat = not any(isinstance(row, LIST_TYPES) for row in nested)
    rows: Any = [[value] for value in nested] if flat else nested
    if not all(isinstance(row, LIST_TYPES) for row in rows) or len(set(map(len, rows))) > 1:
        raise _broken_error(display_name, f"is ragged: {_describe_ragged(rows)}")
    wrong = {kind for kind in set(map(type, chain.from_iterable(rows))) if not _is_number_type(kind)}
    if wrong:
        moment, channel, value = next(
            (moment, channel, value)
            for moment, row in enumerate(rows)
            for channel, value in enumerate(row)
            if type(value) in wrong
        )
        raise _broken_error(display_name, f"holds {repr(value)[:40]} at moment {moment}, channel {channel} (from 0)")
    try:
        return np.array(rows, np.float64).reshape(len(rows), -1 if len(rows) else 1)  # None becomes NaN
    except OverflowError:
        raise _broken_error(display_name, "holds a number beyond 1e308") from None


def _is_number_type(kind: type) -> bool:
    return kind in (int, float, type(None)) or (
        issubclass(kind, np.number) and not issubclass(kind, np.complexfloating)
    )


def _describe_ragged(rows: Sequence[Any]) -> str:
    sizes = [f"{len(row):,} values" if isinstance(row, LIST_TYPES) else repr(row)[:40] for row in rows]
    moment = next(moment for moment, size in enumerate(sizes) if size != sizes[0])
    return f"moment {moment} (from 0) has {sizes[moment]}, the first has {sizes[0]}"


def _parse_csv(data: bytes, display_name: str) -> tuple[tuple[str, ...], Float64]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _broken_error(display_name, "is neither .npy, JSON nor text in UTF-8") from None
    head = text.lstrip("\n\r").split("\n", 1)[0]
    separator = max("\t;,", key=head.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise _broken_error(display_name, f"is no CSV: {error}") from None
    if not rows:
        raise _broken_error(display_name, "has no moment")
    names = () if all(map(_is_number_or_missing, rows[0])) else tuple(cell.strip() for cell in rows[0])
    if len(set(names)) < len(names):
        raise _broken_error(display_name, "has two columns of one name", "one name for each")
    moments = rows[1:] if names else rows
    for moment, row in enumerate(moments):
        if len(row) != len(rows[0]):
            raise _broken_error(
                display_name, f"is ragged: line {moment + 1 + bool(names)} has {len(row)} cells, not {len(rows[0])}"
            )
    try:
        return names, np.array(moments, np.float64).reshape(len(moments), len(rows[0]))
    except ValueError:  # an empty cell, or one that is no number
        return names, _parse_cells(moments, display_name, 1 + bool(names))


def _parse_cells(moments: Sequence[Sequence[str]], display_name: str, first: int) -> Float64:
    values = np.empty((len(moments), len(moments[0])))
    for moment, row in enumerate(moments):
        for channel, cell in enumerate(row):
            if not _is_number_or_missing(cell):
                raise _broken_error(display_name, f"holds {cell[:40]!r} in line {moment + first}, column {channel + 1}")
            values[moment, channel] = math.nan if cell.strip().lower() in MISSING_WORDS else float(cell)
    return values


def _is_number_or_missing(cell: str) -> bool:
    """Whether a cell of a CSV is a number or stands for a missing value."""
    if cell.strip().lower() in MISSING_WORDS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _as_columns(values: NDArray[Any]) -> Float64:
    with np.errstate(over="ignore"):  # of longdouble: infinite then, and named as such
        return np.asarray(values, np.float64).reshape(len(values), -1 if values.size else 1)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0][:120]


def _broken_error(
    display_name: str, problem: str, expected: str = "numbers: rows of moments, columns of channels"
) -> BrokenError:
    return BrokenError(
        f"{display_name} {problem}", expected=expected, fix="write the series again as .npy, CSV or nested lists"
    )
