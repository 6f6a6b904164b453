"""The files of a prediction log: whole or not there, merged as they become many, the oldest removed beyond the bounds.

    FOLDER/MODEL/START-HOST-PID-FIRST-LAST.parquet     FOLDER/.key of hashed inputs

A file holds the pieces FIRST to LAST of one process. A merged file takes the place of its pieces: it appears first,
then they go; between the two, and after a process that was killed there, `live_segments` leaves out what a merged file
covers.
No row is lost and none is read twice.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from deepseek.files import atomic_file

if TYPE_CHECKING:
    import pyarrow as pa

MERGED_PIECES = 60
LARGE_PIECE_ROWS = 10_000  # a piece of as many stays a file of its own
DAY_S = 86_400.0
ABANDONED_S = 600.0  # an unfinished file of this age is of a process that was killed
_NAME = re.compile(r"(\d+)-(.+)-(\d+)-(\d+)-(\d+)\.parquet")


@dataclass(frozen=True, slots=True)
class Segment:
    """A file and the pieces in it."""

    path: Path
    writer: tuple[str, str, str]  # start of its process (ms), host, pid
    first: int
    last: int

    @classmethod
    def of(cls, path: Path) -> Segment | None:
        """The segment of a path; None for a file that is none of ours."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        return cls(path, (match[1], match[2], match[3]), int(match[4]), int(match[5]))


def live_segments(paths: Iterable[Path]) -> list[Path]:
    """Parquet files to read: all, but those whose pieces a merged file holds too."""
    paths = sorted(paths)
    segments = [segment for path in paths if (segment := Segment.of(path)) is not None]
    covered = _covered_paths(segments)
    return [path for path in paths if path not in covered]


def _covered_paths(segments: Sequence[Segment]) -> set[Path]:
    merged: dict[tuple[Path, tuple[str, str, str]], list[Segment]] = {}
    for segment in segments:
        if segment.last > segment.first:
            merged.setdefault((segment.path.parent, segment.writer), []).append(segment)
    return {
        each.path
        for each in segments
        for larger in merged.get((each.path.parent, each.writer), ())
        if larger is not each and larger.first <= each.first and each.last <= larger.last
    }


class SegmentStore:
    """Writes the pieces of one process, and keeps the folder of all processes within its bounds."""

    def __init__(self, folder: Path, host: str, *, days: float, max_bytes: int) -> None:
        """OSError for a folder that cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._days, self._max_bytes = days, max_bytes
        self._stem = f"{round(time() * 1e3)}-{quote(host, safe='.').replace('-', '_')}-{os.getpid()}"
        self._next = 0
        self._pieces: dict[Path, list[Segment]] = {}  # not merged yet, by folder of a model
        self._remove_abandoned()

    def write(self, model: str, table: pa.Table) -> None:
        """Write a piece, which appears whole or not at all. OSError where the disk takes no more."""
        folder = self.folder / quote(model, safe="")
        folder.mkdir(exist_ok=True)
        segment = self._write_segment(folder, table, self._next, self._next)
        self._next += 1
        if table.num_rows < LARGE_PIECE_ROWS:
            self._pieces.setdefault(folder, []).append(segment)
        else:  # a merged file stands for all pieces from its first to its last, so none may span this one
            self._pieces.pop(folder, None)

    def merge_many(self) -> None:
        """Merge the pieces of the models that have many. OSError as merge()."""
        self.merge(MERGED_PIECES)

    def merge(self, at_least: int = 2) -> None:
        """Make one file of each model's pieces. OSError where the disk has no room for it: the pieces stand as they
        are, and are not merged any more."""
        import pyarrow.parquet as pq

        for folder in [folder for folder, pieces in self._pieces.items() if len(pieces) >= at_least]:
            pieces = [
                each for each in self._pieces.pop(folder) if each.path.exists()
            ]  # the bounds may have removed some
            if len(pieces) < 2:
                continue
            table = concat_tables([pq.read_table(each.path, partitioning=None) for each in pieces])
            self._write_segment(folder, table, pieces[0].first, pieces[-1].last)
            for each in pieces:
                each.path.unlink(missing_ok=True)

    def enforce_bounds(self) -> None:
        """Remove files beyond the retention, and the oldest while all of them take more than they may."""
        files = []
        for path in self.folder.glob("*/*.parquet"):
            if Segment.of(path) is not None:
                stat = path.stat()
                files.append((stat.st_mtime, stat.st_size, path))
        total, oldest_s = sum(size for _, size, _ in files), time() - self._days * DAY_S
        for written_s, size, path in sorted(files):
            if written_s >= oldest_s and total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _write_segment(self, folder: Path, table: pa.Table, first: int, last: int) -> Segment:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / f"{self._stem}-{first}-{last}.parquet"
        with atomic_file(path) as part:
            texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
            # Numbers of a piece are rarely the same: a dictionary of them costs as much as all else. Pieces of many
            # rows stand as they are; what is merged is small, and stays for days.
            pq.write_table(table, part, compression="zstd" if last > first else "lz4", use_dictionary=texts)
        return Segment.of(path) or Segment(path, ("", "", ""), first, last)

    def _remove_abandoned(self) -> None:
        """Remove what a killed process has left: files half written, and pieces that it had merged."""
        paths = list(self.folder.glob("*/*"))
        covered = _covered_paths([segment for path in paths if (segment := Segment.of(path)) is not None])
        for path in paths:
            is_old = path.exists() and time() - path.stat().st_mtime > ABANDONED_S
            if is_old and (path in covered or (path.is_file() and ".parquet." in path.name)):
                path.unlink(missing_ok=True)


def read_key(folder: Path) -> bytes:
    """The key of the hashes in this folder, made when there is none. Who has it can try values out."""
    path = folder / ".key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(32)
        file.write(key)
    return key


def concat_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """One table; a column that is text in one of them is text in all."""
    import pyarrow as pa

    if all(table.schema.equals(tables[0].schema) for table in tables):  # nearly always, and a twentieth of the cost
        return pa.concat_tables(tables)
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            types.setdefault(field.name, set()).add(field.type)
    schema = pa.schema([(name, _common_type(kinds)) for name, kinds in types.items()])
    return pa.concat_tables([_cast(table, schema) for table in tables])


def _common_type(kinds: set[pa.DataType]) -> pa.DataType:
    import pyarrow as pa

    known = {kind for kind in kinds if not pa.types.is_null(kind)}
    if len(known) == 1:
        return known.pop()
    return pa.float64() if known and all(map(_is_number, known)) else pa.string()


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
