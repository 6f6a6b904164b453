"""The seam of media: a value that is a file -> its bytes -> one array, the same in training and in serving.

    source = open_source("scans/7.png", root=Path("patients"), row=7, column="ct", limits=Limits())
    reader = ImageReader.fit([source, ...])        # frozen, of JSON values: it goes into the bundle
    array = reader.read(source)                    # always reader.shape, or BrokenError that names file, row and column

A cell of a table may hold a path below the folder of the data, bytes, or what a request holds: {"b64": "..."},
{"files": ["...", ...]} for those of a folder (the slices of a scan), or a "data:" URL. An address of the network is
never fetched here.

Readers stand in image.py, audio.py, video.py, scan.py and series.py; each imports its decoder when it is first used.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from deepseek.errors import InputError, MalformedError, MissingError, TooLargeError

_SCHEMES = ("http:", "https:", "ftp:", "s3:", "gs:", "file:", "hdfs:")
_DATA_SCHEME = "data:"
_PLAIN_NAME = re.compile(r"[\w .+=@-]+(?:/[\w .+=@-]+)*")
_MAX_PLAIN_READ_BYTES = 2**24  # bytes that one call reads
_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class BrokenError(MalformedError):
    """A file that is not what it should be: cut off, empty, of another kind. The run fails, or the value is masked and
    counted, as the user chose."""

    code = "broken_file"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one value may cost, checked before it is decoded."""

    max_bytes: int = 512 * 2**20  # of all its files
    max_files: int = 4_096  # of a folder (the slices of a scan)
    max_pixels: int = 64_000_000  # of an image, or of one slice or frame
    max_side: int = 65_535  # pixels along an axis of any of these: a line costs memory and time of its own
    max_seconds: float = 3_600.0  # of a sound or a film
    max_samples: int = 2**29  # numbers of a sound that are decoded at a time, over all channels: 2 GiB
    max_frames: int = 1_000_000  # of a film


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one value: one file, or those of a folder by name."""

    name: str  # what errors call it: "scans/7.png (row 7, column 'ct')"
    files: tuple[tuple[str, bytes], ...]
    limits: Limits = Limits()

    @property
    def data(self) -> bytes:
        """The bytes of the only file. BrokenError for a folder."""
        if len(self.files) != 1:
            raise BrokenError(
                f"{self.name} is a folder of {len(self.files)} files", expected="one file", fix="name the file"
            )
        return self.files[0][1]


def check_size(source: Source, name: str, sides: tuple[int, ...], unit: str = "pixels") -> None:
    """TooLargeError when a picture, a slice or a frame, or one axis of it, is larger than the limits of its source."""
    limits = source.limits
    if sides[0] * sides[1] > limits.max_pixels or max(sides) > limits.max_side:
        raise TooLargeError(
            f"{name} has {' x '.join(f'{side:,}' for side in sides)} {unit}",
            expected=f"at most {limits.max_pixels:,} {unit}, and {limits.max_side:,} along an axis",
            fix="make it smaller, or raise the limit",
        )


class Reader(Protocol):
    """One kind of media: a frozen dataclass of JSON values, which are its whole state."""

    kind: ClassVar[str]  # of the column: "image", "audio", "video", "volume", "series"
    suffixes: ClassVar[tuple[str, ...]]  # of file names, lower case: ".png"

    @classmethod
    def fit(cls, sources: Sequence[Source]) -> Self:
        """The reader for training values like these: how many channels, how large. BrokenError when one of them cannot
        be read."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that read() returns."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype that read() returns, "uint8" or "float32". The model scales, so that fewer bytes are moved."""
        ...

    def read(self, source: Source) -> NDArray[Any]:
        """One value as an array of `shape`, finite. BrokenError or TooLargeError, with source.name in it."""
        ...


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, or a text of blanks."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return True
    return isinstance(value, str) and not value.strip()


def is_address(value: str) -> bool:
    """Whether a text names something on the network, which is never fetched here."""
    return value.lower().startswith(_SCHEMES)


def open_source(value: Any, *, root: Path | None, row: int, column: str, limits: Limits | None = None) -> Source:
    """The bytes behind one cell. `root`: the folder that paths lie below; None takes no paths, as a server does.

    InputError for an address of the network or a path that leaves `root`, MissingError for a file that is not there,
    TooLargeError above the limits, MalformedError for text that should be base64 and is not.

    >>> open_source({"b64": "aGVsbG8="}, root=None, row=0, column="ct").data
    b'hello'
    >>> open_source("https://example.org/a.png", root=Path("."), row=3, column="ct")
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: row 3, column 'ct': 'https://example.org/a.png' is an address. Expected: a file below \
the folder of the data; addresses are not fetched. To mend it: download the files, and name them by their paths.
    """
    limits, cell = limits or Limits(), f"row {row}, column {column!r}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _source_from_bytes(bytes(value), cell, limits)
    if isinstance(value, tuple) and value and all(isinstance(content, bytes) for content in value):
        return _source_from_files([_source_from_bytes(content, cell, limits) for content in value], cell, limits)
    if isinstance(value, Source):  # a member of an archive
        return _source_from_bytes(value.data, cell, limits, value.name)
    if isinstance(value, Mapping):
        files = value.get("files")
        if isinstance(files, list) and files:
            _check_count(f"the value in {cell}", len(files), limits)
            return _source_from_files([_source_from_base64(content, cell, limits) for content in files], cell, limits)
        return _source_from_base64(value.get("b64"), cell, limits)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise InputError(
            f"{cell}: {type(value).__name__} is no file", expected='a path, bytes, or {"b64": "..."}',
            fix="give one of these",
        )  # fmt: skip
    if value[:5].lower() == _DATA_SCHEME:
        head, _, coded = value.partition(",")
        if not head.lower().endswith(";base64"):
            raise MalformedError(
                f"{cell}: a data URL that is not base64", expected="data:TYPE;base64,...", fix="code it as base64"
            )
        return _source_from_base64(coded, cell, limits)
    if is_address(value):
        raise InputError(
            f"{cell}: {value[:100]!r} is an address",
            expected="a file below the folder of the data; addresses are not fetched",
            fix="download the files, and name them by their paths",
        )
    if root is None:
        raise InputError(
            f"{cell}: {value[:100]!r} is a path or plain text", expected='{"b64": "..."}: a server reads no files',
            fix="send the bytes of the file",
        )  # fmt: skip
    return _source_from_path(value, root, cell, limits)


def _source_from_bytes(data: bytes, cell: str, limits: Limits, name: str = "") -> Source:
    display_name = f"{name} ({cell})" if name else f"the value in {cell}"
    if not data:
        raise BrokenError(
            f"{display_name} is empty", expected="a file with something in it", fix="copy or record it again"
        )
    if len(data) > limits.max_bytes:
        raise _too_large_error(display_name, len(data), limits)
    return Source(display_name, ((name or unnamed_file(cell), data),), limits)


def _source_from_files(sources: Sequence[Source], cell: str, limits: Limits) -> Source:
    """One source of several files, which are named by their order."""
    if len(sources) == 1:
        return sources[0]
    if (size := sum(len(source.data) for source in sources)) > limits.max_bytes:
        raise _too_large_error(f"the value in {cell}", size, limits)
    files = tuple((f"{number:06}", source.data) for number, source in enumerate(sources))
    return Source(f"the value in {cell}", files, limits)


def unnamed_file(cell: str) -> str:
    """The file name for a value that came as bytes, without a name."""
    return cell.replace("'", "")


def _source_from_base64(coded: Any, cell: str, limits: Limits) -> Source:
    if not isinstance(coded, str):
        raise MalformedError(f"{cell} is no file", expected='{"b64": "..."}', fix="send the file's bytes as base64")
    if len(coded) * 3 // 4 > limits.max_bytes + 2:
        raise _too_large_error(f"the value in {cell}", len(coded) * 3 // 4, limits)
    try:
        return _source_from_bytes(base64.b64decode(coded, validate=True), cell, limits)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(
            f"{cell} is not base64: {error}", expected="letters, digits, '+', '/' and '=' at the end",
            fix="code the bytes of the file as base64",
        ) from error  # fmt: skip


def _source_from_path(value: str, root: Path, cell: str, limits: Limits) -> Source:
    data = _read_plain_file(value, root, limits)
    if data is not None:
        return _source_from_bytes(data, cell, limits, value)
    try:
        real = (root / value).resolve(strict=True)
        _check_below(real, value, root, cell)
        if not real.is_dir():
            _check_files([real], f"{value} ({cell})", limits)
            return _source_from_bytes(real.read_bytes(), cell, limits, value)
        paths = sorted(path for path in real.iterdir() if not path.is_dir())
        for path in paths:
            _check_below(path.resolve(strict=True), f"{value}/{path.name}", root, cell)
        _check_files(paths, f"{value} ({cell})", limits)
        return Source(f"{value} ({cell})", tuple((path.name, path.read_bytes()) for path in paths), limits)
    except FileNotFoundError as error:
        raise MissingError(
            f"{cell}: there is no file {value[:200]!r} below {root}", expected="a path below the folder of the data",
            fix="check the name, or name the folder (--files FOLDER)",
        ) from error  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in it; RuntimeError: a loop of links
        raise InputError(
            f"{cell}: {value[:200]!r} cannot be read: {error}", expected="a file that may be read",
            fix="check its name and its rights",
        ) from error  # fmt: skip


def _read_plain_file(value: str, root: Path, limits: Limits) -> bytes | None:
    """The bytes of a small plain file whose path has no link and no "..". None for all else, which is opened by the
    full check, at three times the cost."""
    parts = value.split("/")
    if not _PLAIN_NAME.fullmatch(value) or not {".", ".."}.isdisjoint(parts):
        return None
    path = str(root)
    try:
        for part in parts:
            path = f"{path}/{part}"
            state = os.lstat(path)
            if stat.S_ISLNK(state.st_mode):
                return None
        if not stat.S_ISREG(state.st_mode) or not 0 < state.st_size <= min(limits.max_bytes, _MAX_PLAIN_READ_BYTES):
            return None
        handle = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
        try:
            data = os.read(handle, state.st_size + 1)
        finally:
            os.close(handle)
    except OSError:
        return None
    return data if len(data) == state.st_size else None


def _check_below(real: Path, value: str, root: Path, cell: str) -> None:
    """InputError unless `real`, whose links are resolved, lies below `root`, whose own links are followed."""
    if not real.is_relative_to(root.resolve(strict=True)):
        raise InputError(
            f"{cell}: {value[:200]!r} leaves the folder of the data, {root}",
            expected="a path below it, links followed",
            fix="move the file there, or name the folder that holds both",
        )


def _check_files(paths: Sequence[Path], display_name: str, limits: Limits) -> None:
    """Check number, type and size of the files of one value before any of them is read."""
    if not paths:
        raise BrokenError(f"{display_name} is a folder without files", expected="files", fix="copy it again")
    _check_count(display_name, len(paths), limits)
    states = [path.stat() for path in paths]
    for path, state in zip(paths, states, strict=True):
        if not stat.S_ISREG(state.st_mode):
            raise InputError(
                f"{display_name}: {path.name} is a device or a pipe",
                expected="plain files",
                fix="copy the data into files",
            )
    if (size := sum(state.st_size for state in states)) > limits.max_bytes:
        raise _too_large_error(display_name, size, limits)


def _check_count(display_name: str, num_files: int, limits: Limits) -> None:
    if num_files > limits.max_files:
        raise TooLargeError(
            f"{display_name} has {num_files:,} files", expected=f"at most {limits.max_files:,}",
            fix="split it, or raise the limit",
        )  # fmt: skip


def _too_large_error(display_name: str, size: int, limits: Limits) -> TooLargeError:
    return TooLargeError(
        f"{display_name} has {size / 2**20:,.1f} MiB",
        expected=f"at most {limits.max_bytes / 2**20:,.0f} MiB",
        fix="make it smaller, or raise the limit",
    )
