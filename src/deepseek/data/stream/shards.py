"""Sets of samples that are too large to be loaded, as shards of rows that are read when their turn comes.

    shards = open_folder(Path("photos"), column="image", target="label", suffixes=(".jpg",))   # photos/cat/1.jpg, ...
    shards.sizes, list(shards.read([3, 1]))     # (1, 1, 1, 1), [{"image": "dog/2.jpg", "label": "dog"}, ...]

WebDataset's tar files are opened by shards_tar.py, Parquet files by shards_parquet.py. A row is a record by column:
what SamplePreparer.rows() takes, and the target. Nothing but sizes and names is held.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record
from deepseek.errors import InputError, MissingError


class Shards(Protocol):
    """A set of shards, whose rows are counted through all of them, from 0."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of each record."""
        ...

    @property
    def root(self) -> Path | None:
        """The folder that paths in records lie below."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Rows of each shard."""
        ...

    @property
    def is_random(self) -> bool:
        """Whether any row is read as quickly as the next one; else read() wants the rows of a shard in their order."""
        ...

    @property
    def faults(self) -> tuple[str, ...]:
        """Messages on members that were left out because they are broken, where the user chose that."""
        ...

    def digest(self, *, times: bool = False) -> str:
        """sha256 of the names, sizes in bytes and rows of all files; `times`: and of when they were changed."""
        ...

    def name(self, row: int) -> str:
        """The name of a row in errors: its shard and its position there."""
        ...

    def read(self, rows: Iterable[int]) -> Iterator[Record]:
        """The records of these rows, one after the other. BrokenError for what cannot be read, by shard and place."""
        ...


class ShardPositions:
    """Finds a row by its number through all shards. A base of shards that know their `sizes`."""

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        sizes: Sequence[int] = self.sizes  # type: ignore[attr-defined]  # of the subclass
        return np.cumsum((0, *sizes))

    def locate(self, row: int) -> tuple[int, int]:
        """The shard of a row, and the row's index in it."""
        shard = int(np.searchsorted(self._starts, row, "right")) - 1
        return shard, row - int(self._starts[shard])


@dataclass(frozen=True, eq=False)
class FolderShards:
    """Files below a folder, each a shard of its own: they are all put in a new order each epoch."""

    root: Path
    names: tuple[str, ...]  # paths below root
    column: str
    target: str | None
    is_random: bool = True
    faults: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, self.target) if self.target else (self.column,)

    @property
    def sizes(self) -> Sequence[int]:
        return (1,) * len(self.names)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in order. Without a target there are none."""
        return tuple(sorted({Path(name).parts[0] for name in self.names})) if self.target else ()

    def digest(self, *, times: bool = False) -> str:
        return files_digest(((self.root / name, name) for name in self.names), times=times)

    def name(self, row: int) -> str:
        return self.names[row]

    def read(self, rows: Iterable[int]) -> Iterator[Record]:
        for row in rows:
            record = {self.column: self.names[row]}
            yield record | {self.target: Path(self.names[row]).parts[0]} if self.target else record


def open_folder(root: Path, *, column: str, target: str | None = None, suffixes: Sequence[str]) -> FolderShards:
    """Files with one of the suffixes, lower case with a point, by name. With a `target` the folders directly below
    `root` are the classes, as ImageFolder has it, and files may lie deeper; else the files lie in `root`.

    MissingError when there are none. Folders that are links are not entered.
    """
    if not root.is_dir():
        raise MissingError(f"{root}: there is no such folder", expected="a folder of files", fix="check the path")
    paths = []
    for folder in (
        [entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()] if target else [root]
    ):
        for parent, folders, files in os.walk(folder):
            below = Path(parent).relative_to(root)
            paths += [
                str(below / entry) for entry in files if entry.lower().endswith(tuple(suffixes)) and entry[0] != "."
            ]
            if not target:
                folders.clear()
    if not paths:
        where = f"in folders, one a class, below {root}" if target else f"in {root}"
        raise MissingError(
            f"there are no files {where}", expected=f"names in {', '.join(suffixes)}",
            fix="check the folder and its layout",
        )  # fmt: skip
    return FolderShards(root, tuple(sorted(paths)), column, target)


def files_digest(files: Iterable[tuple[Path, str]], *, times: bool) -> str:
    """The sha256 over files: of each its facts, its size and, with `times`, when it was changed."""
    sha = hashlib.sha256()
    for path, facts in files:
        state = path.stat()
        sha.update(f"{facts}\0{state.st_size}\0{state.st_mtime_ns if times else ''}\n".encode("utf-8", "replace"))
    return sha.hexdigest()


def check_files(paths: Sequence[Path], what: str) -> tuple[Path, ...]:
    """The paths, as they are. InputError for none, two of one name, MissingError for one that is not there."""
    files = tuple(Path(path) for path in paths)
    if not files:
        raise InputError(f"there are no {what}", expected="at least one", fix="check the folder or the pattern")
    for path in files:
        if not path.is_file():
            raise MissingError(f"{path}: there is no such file", expected=f"one of the {what}", fix="check the path")
    if len(set(files)) < len(files):
        twice = next(path for path in files if files.count(path) > 1)
        raise InputError(f"{twice} is named twice", expected="each file once", fix="name it once")
    return files
