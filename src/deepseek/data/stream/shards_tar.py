"""WebDataset's shards: plain tar files in which the members of one sample lie together, under one key.

    shards = open_tars([Path("train-0.tar"), ...], columns={"image": ("jpg", "png"), "label": "cls", "age": "json"})
    next(shards.read([70_000]))           # {"image": Source, "label": "3", "age": 61}

The key is the name up to the first point of its last part, the suffix what is behind it. Members .txt, .text and .cls
are text; of .json a column takes the field of its name; all others are files. Nothing is ever unpacked: an index of
where each member lies (40 bytes a member and the key, made by reading headers alone) gives any sample with one read,
which is what shuffling, sharing out and entering an epoch in its middle take. So links, absolute names and the like can
do no harm; they are refused all the same, for what they stand for is not in the shard.

Source: POSIX.1-2008 pax, by Python's tarfile; the naming is webdataset's.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record
from deepseek.data.media.source import BrokenError, Limits, Source
from deepseek.data.media.text import decode_text
from deepseek.data.samples.preparer import BrokenPolicy
from deepseek.data.stream.shards import ShardPositions, check_files, files_digest
from deepseek.errors import InputError

_MEMBER_NAME = re.compile(r"^((?:.*/)?[^./][^./]*)\.([^/]+)$")
_TEXT_SUFFIXES = frozenset(["txt", "text", "cls"])
_BLOCK_BYTES = 512  # bytes


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The positions of the members of one shard: N samples, C columns."""

    keys: tuple[str, ...]  # (N,)
    offsets: NDArray[np.int64]  # (N, C, 2) first byte and size; -1 where a sample has no such member
    suffixes: NDArray[np.int8]  # (N, C) which of the column's suffixes it has


@dataclass(frozen=True, eq=False)
class TarShards(ShardPositions):
    """The samples of several tar files; each file is a shard."""

    files: tuple[Path, ...]
    wanted: Mapping[str, tuple[str, ...]]  # suffixes of each column
    indices: tuple[TarIndex, ...]
    faults: tuple[str, ...]
    root: Path | None = None  # no member is a path
    is_random: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.wanted)

    @cached_property
    def sizes(self) -> Sequence[int]:
        return tuple(len(index.keys) for index in self.indices)

    def digest(self, *, times: bool = False) -> str:
        facts = (f"{path.name}\0{size}" for path, size in zip(self.files, self.sizes, strict=True))
        return files_digest(zip(self.files, facts, strict=True), times=times)

    def name(self, row: int) -> str:
        shard, index = self.locate(row)
        return f"{self.files[shard].name}: {self.indices[shard].keys[index]}"

    def read(self, rows: Iterable[int]) -> Iterator[Record]:
        open_shard, handle = -1, -1
        try:
            for row in rows:
                shard, index = self.locate(row)
                if shard != open_shard:
                    if handle >= 0:
                        os.close(handle)
                    open_shard, handle = shard, os.open(self.files[shard], os.O_RDONLY)
                yield self._record(handle, shard, index)
        finally:
            if handle >= 0:
                os.close(handle)

    def _record(self, handle: int, shard: int, row: int) -> Record:
        shard_index, record = self.indices[shard], dict[str, Any]()
        for number, (column, names) in enumerate(self.wanted.items()):
            start, size = shard_index.offsets[row, number].tolist()
            if start < 0:
                record[column] = None
                continue
            suffix = names[int(shard_index.suffixes[row, number])]
            member = f"{shard_index.keys[row]}.{suffix}"
            display_name = f"{self.files[shard].name}: {member}"
            data = os.pread(handle, size, start)
            if len(data) != size:
                raise BrokenError(
                    f"{display_name} is cut off", expected="the shard as it was opened", fix="copy it again"
                )
            record[column] = _parse_member(data, display_name, suffix, column)
        return record


def open_tars(
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str | Sequence[str]],
    broken: BrokenPolicy = "fail",
    limits: Limits | None = None,
) -> TarShards:
    """Index the shards. `columns`: the suffix of each column's members, or several of which a sample has one.

    A shard that is cut off, a member that is a link or no file, has an absolute name or one with "..", is too large, or
    stands twice, and a key that comes again: BrokenError with shard and member, or with `broken` "mask" left out and
    told in `faults`. InputError when a shard has no member of a column at all.

    >>> open_tars([], columns={"image": "jpg"})
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: there are no tar files. Expected: at least one. To mend it: check the folder or \
the pattern.
    """
    files = check_files(paths, "tar files")
    wanted = {name: (suffix,) if isinstance(suffix, str) else tuple(suffix) for name, suffix in columns.items()}
    limits = limits or Limits()
    faults: list[str] = []
    indices = [_index_shard(path, wanted, limits, broken, faults) for path in files]
    return TarShards(files, wanted, tuple(indices), tuple(faults))


class _IndexBuilder:
    """Builds the index of one shard, a member at a time."""

    def __init__(self, path: Path, wanted: Mapping[str, tuple[str, ...]]) -> None:
        self.path, self.wanted, self.seen = path, wanted, set[str]()
        self._keys: dict[str, None] = {}
        self._places: list[list[tuple[int, int]]] = []
        self._chosen: list[list[int]] = []
        self._key, self._is_double = "", False

    def add(self, name: str, member: tarfile.TarInfo) -> str | None:
        """Add a member if one of the columns reads its suffix. Returns what is wrong with it, None if nothing is."""
        matched = _MEMBER_NAME.match(name)
        if matched is None:
            return None
        key, suffix = matched[1], matched[2].lower()
        matches = [
            (column, suffixes.index(suffix))
            for column, suffixes in enumerate(self.wanted.values())
            if suffix in suffixes
        ]
        if not matches:
            return None
        self.seen.add(suffix)
        if key != self._key:
            self._key, self._is_double = key, key in self._keys
            if not self._is_double:
                self._keys[key] = None
                self._places.append([(-1, 0)] * len(self.wanted))
                self._chosen.append([0] * len(self.wanted))
        if self._is_double:
            return "it is of a second sample of that key"
        if any(self._places[-1][column][0] >= 0 for column, _ in matches):
            return "it is a second member for one column of that sample"
        for column, suffix_number in matches:
            self._places[-1][column], self._chosen[-1][column] = (member.offset_data, member.size), suffix_number
        return None

    def build(self) -> TarIndex:
        """The finished index. InputError when a column has no member at all."""
        for column, suffixes in self.wanted.items():
            if not self.seen.intersection(suffixes):
                raise InputError(
                    f"{self.path.name} has no member for the column {column!r}",
                    expected=f"names in .{' or .'.join(suffixes)}", fix="check columns= and the shard",
                )  # fmt: skip
        offsets = np.array(self._places, np.int64).reshape(-1, len(self.wanted), 2)
        return TarIndex(tuple(self._keys), offsets, np.array(self._chosen, np.int8).reshape(-1, len(self.wanted)))


def _index_shard(
    path: Path, wanted: Mapping[str, tuple[str, ...]], limits: Limits, broken: BrokenPolicy, faults: list[str]
) -> TarIndex:
    builder = _IndexBuilder(path, wanted)
    for name, member, problem in _read_members(path, limits):
        if problem_text := problem or builder.add(name, member):
            if broken == "fail":
                raise BrokenError(
                    f"{path.name}: {name}: {problem_text}",
                    expected="whole files, of which each sample has one a column",
                    fix="write the shard again, or leave out what is broken with broken='mask'",
                )  # fmt: skip
            faults.append(f"{path.name}: {name}: {problem_text}")
    return builder.build()


def _read_members(path: Path, limits: Limits) -> Iterator[tuple[str, tarfile.TarInfo, str | None]]:
    """Name and header of each member, and what is wrong with it or None; folders are left out."""
    nothing, num_bytes = tarfile.TarInfo(), path.stat().st_size
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115 - closed below, where its end has been looked at
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BrokenError(
            f"{path.name} is no tar file: {error}", expected="a plain tar file, not a compressed one",
            fix="unpack it with gunzip, or write the shard again",
        ) from error  # fmt: skip
    with archive:
        while True:
            try:
                member = archive.next()
            except (tarfile.TarError, OSError, EOFError, ValueError) as error:
                yield "its end", nothing, f"it is cut off or broken: {error}"
                return
            if member is None:
                break
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all of them
            if not member.isdir():
                yield member.name[:200], member, _find_problem(member, limits, num_bytes)
        with path.open("rb") as file:
            file.seek(archive.offset)
            if file.read(_BLOCK_BYTES) != bytes(_BLOCK_BYTES):  # tarfile takes a broken header for the end
                yield "its end", nothing, f"it is cut off or broken behind byte {archive.offset:,}: no end mark"


def _find_problem(member: tarfile.TarInfo, limits: Limits, num_bytes: int) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        return "its name leads out of the shard"
    if member.issym() or member.islnk():
        return f"it is a link to {member.linkname[:200]!r}"
    if not member.isreg() or member.issparse():
        return "it is no plain file"
    if member.offset_data + member.size > num_bytes:
        return "it is cut off"
    if member.size > limits.max_bytes:
        return f"it has {member.size:,} bytes, more than {limits.max_bytes:,}"
    return None


def _parse_member(data: bytes, display_name: str, suffix: str, column: str) -> Any:
    if suffix in _TEXT_SUFFIXES:
        return decode_text(data, display_name).strip()
    if suffix != "json":
        return Source(display_name, ((display_name, data),))
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenError(
            f"{display_name} is no JSON: {error}", expected="an object of fields", fix="write it again"
        ) from error
    if not isinstance(fields, dict):
        raise BrokenError(
            f"{display_name} is a {type(fields).__name__}", expected="an object of fields", fix="write it again"
        )
    return fields.get(column)
