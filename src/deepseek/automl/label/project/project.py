"""A project of labels in a folder.

    project = Project.create(Path("claims"), source, task="multiclass", labels=("fire", "theft"), target="kind")
    with Project.open(Path("claims")) as project:
        project.store.next_items("ann", 5)

What is tested on is drawn here, at random and before anything is labeled; no strategy chooses it later.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

import numpy as np

from deepseek.automl.label.project.additions import count_served
from deepseek.automl.label.project.audit import verify_chain
from deepseek.automl.label.project.records import Counts, Definition, Item, LabelTask, NewChange
from deepseek.automl.label.project.schema import open_connection, storage_error
from deepseek.automl.label.project.sources import LabelSource, file_path, file_size
from deepseek.automl.label.project.store import LabelStore
from deepseek.automl.label.project.values import check_labels, check_value
from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError, InputError, IntegrityError

MAX_DEFAULT_TEST = 200
DEFAULT_TEST_SHARE = 0.2
DATA_PERSON = "data"  # who is said to have given the labels that the data has already
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class ProjectOptions:
    """What a new project is told beside its rows."""

    task: LabelTask
    labels: Sequence[str] = ()
    target: str = "label"
    num_test: int | None = None  # by default a fifth of the items, at most MAX_DEFAULT_TEST
    overlap: float = 0.0  # share of the items that two people label, 0..1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in get_args(LabelTask):
            raise InputError(f"task is {self.task!r}", expected=", ".join(get_args(LabelTask)), fix="choose one")
        if not 0 <= self.overlap <= 1:
            raise InputError(f"overlap is {self.overlap}", expected="0 to 1; for 10 % write 0.1", fix="give a share")
        if self.num_test is not None and self.num_test < 1:
            raise InputError(f"num_test is {self.num_test}", expected="at least 1", fix="how good it is has to be seen")


class Project:
    """An open project."""

    def __init__(self, folder: Path, store: LabelStore) -> None:
        self.folder, self.store = folder, store
        self._sizes: tuple[int, tuple[int, int, int]] | None = None  # the last item, and what _read_sizes() counts

    @property
    def definition(self) -> Definition:
        return self.store.definition

    @classmethod
    def create(cls, folder: Path, source: LabelSource, options: ProjectOptions, name: str = "") -> Project:
        """Make a project; it is there whole or not at all. InputError where something is there already, and where
        labels, task and columns do not fit each other."""
        if folder.exists():
            raise InputError(f"{folder} is there already", expected="a new folder", fix="choose another --out")
        definition = _define(source, options, name)
        part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        try:
            part.mkdir(parents=True)
            connection = open_connection(part, create=True)
            try:
                _write_items(connection, definition, source)
                _write_own_labels(LabelStore(connection, definition), source)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
            part.rename(folder)
        except OSError as error:
            raise storage_error(f"{folder} cannot be made: {error.strerror}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Project:
        """MissingError where there is none, InputError for one of another version."""
        connection = open_connection(folder)
        row = connection.execute("SELECT value FROM meta WHERE name = 'definition'").fetchone()
        try:
            definition = _read_definition(json.loads(row[0]))
        except (TypeError, ValueError, KeyError) as error:
            connection.close()
            raise IntegrityError(
                f"the definition of {folder} cannot be read", expected="a project as it was made", fix="take a copy"
            ) from error
        return cls(folder, LabelStore(connection, definition))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.store.close()

    def _read_sizes(self) -> tuple[int, int, int]:
        """Different items, copies, and items to test on; counted anew where a server has sent more of them."""
        last = self.store.connection.execute("SELECT MAX(number) FROM items").fetchone()[0]
        if self._sizes is None or self._sizes[0] != last:
            row = self.store.connection.execute(
                "SELECT COUNT(*), COUNT(same_as), SUM(is_test AND same_as IS NULL) FROM items"
            ).fetchone()
            self._sizes = (last, (row[0] - row[1], row[1], row[2]))
        return self._sizes[1]

    def counts(self) -> Counts:
        """How far it is, in one pass over the labels."""
        run = self.store.connection
        num_items, num_copies, num_test = self._read_sizes()
        last_change = run.execute("SELECT COALESCE(MAX(number), 0) FROM changes").fetchone()[0]
        num_faulty = run.execute("SELECT COUNT(*) FROM items WHERE fault <> '' AND same_as IS NULL").fetchone()[0]
        labels = run.execute(
            "SELECT COUNT(DISTINCT item), COUNT(DISTINCT CASE WHEN is_test THEN item END) FROM labels "
            "JOIN items ON number = item WHERE state = 'label'"
        ).fetchone()
        others = [
            run.execute(
                "SELECT COUNT(DISTINCT item) FROM labels AS own WHERE state = ? AND NOT EXISTS "
                "(SELECT 1 FROM labels WHERE item = own.item AND state = 'label')",
                (state,),
            ).fetchone()[0]
            for state in ("skip", "unsure")
        ]
        return Counts(
            num_items, num_copies, num_test, labels[0], labels[1], others[0], others[1], num_faulty, last_change,
            count_served(self.store),
        )  # fmt: skip

    def media_path(self, item: Item, column: str) -> Path:
        """The file of an item. MissingError where it vanished, IntegrityError where it is not the file that the project
        began with; the item is set aside until it is back."""
        if column not in self.definition.media or item.content.get(column) is None:
            raise InputError(f"{item.key} has no file {column!r}", expected="a column of files", fix="look at the item")
        path = file_path(Path(self.definition.root), str(item.content[column]))
        try:
            self._check_file(item, path)
        except DeepseekError as error:
            self.store.set_fault(item.number, error.message)
            raise
        if item.fault:
            self.store.set_fault(item.number, "")
        return path

    def check_files(self) -> list[Item]:
        """Look at every file again, by its size; the items that cannot be shown, each with its fault."""
        if not self.definition.media:
            return []
        for item in list(self.store.items()):
            for column in self.definition.media:
                if item.content.get(column) is not None:
                    try:
                        self.media_path(item, column)
                    except DeepseekError:
                        break
        return [item for item in self.store.items() if item.fault]

    def _check_file(self, item: Item, path: Path) -> None:
        row = self.store.connection.execute("SELECT size_bytes FROM items WHERE number = ?", (item.number,)).fetchone()
        size = file_size(path)
        if len(self.definition.media) == 1 and size != row[0]:
            raise IntegrityError(
                f"{path.name} has changed since the project was made", expected=f"the file of {row[0]:,} bytes",
                fix="bring the old file back, or make a project of the new ones",
            )  # fmt: skip

    def verify(self) -> int:
        """The number of changes. IntegrityError where the audit or the labels were changed by hand."""
        return verify_chain(self.store.connection)


def _define(source: LabelSource, options: ProjectOptions, name: str) -> Definition:
    labels = check_labels(options.task, options.labels)
    needed = {"boxes": "image", "masks": "image", "spans": "text"}.get(options.task)
    if needed and list(source.kinds.values()).count(needed) != 1:
        raise InputError(
            f"{options.task} need one column of the kind {needed}",
            expected=f"one of them; there are {', '.join(f'{k} ({v})' for k, v in source.kinds.items())}",
            fix="drop the other columns, or say the kind: --kind COL=KIND",
        )  # fmt: skip
    if options.target in source.kinds:
        raise InputError(
            f"the data has a column {options.target!r}, which labels would become", expected="another name",
            fix=f"--target {options.target} where it holds labels already, else --drop it or --as NAME",
        )  # fmt: skip
    num_distinct = len({item.digest for item in source.items})
    num_test = options.num_test or min(MAX_DEFAULT_TEST, max(1, math.floor(DEFAULT_TEST_SHARE * num_distinct)))
    if num_test >= num_distinct:
        raise InputError(
            f"{num_test} items are to be tested on, of {num_distinct} different ones", expected="fewer",
            fix="lower --test, or bring more rows",
        )  # fmt: skip
    sha = hashlib.sha256(json.dumps(dict(source.kinds), sort_keys=True).encode())
    for item in source.items:
        sha.update(item.digest.encode())
    return Definition(
        options.task, labels, dict(source.kinds), options.target, name, sha.hexdigest(), source.root, options.seed,
        num_test, options.overlap,
    )  # fmt: skip


def _read_definition(document: JsonObject) -> Definition:
    return Definition(**{**document, "labels": tuple(document["labels"])})


def _write_items(connection: sqlite3.Connection, definition: Definition, source: LabelSource) -> None:
    """Items in the order of the data; copies are asked with the first of them, and tested on where it is."""
    first_of: dict[str, int] = {}
    for number, item in enumerate(source.items, 1):
        first_of.setdefault(item.digest, number)
    distinct = np.array(list(first_of.values()), np.int64)
    draw = np.random.default_rng(definition.seed)
    tests = set(draw.choice(distinct, definition.num_test, replace=False).tolist())
    places = draw.permutation(len(source.items)).tolist()
    twice = set(draw.choice(distinct, round(definition.overlap * len(distinct)), replace=False).tolist())
    rows = []
    for number, (item, place) in enumerate(zip(source.items, places, strict=True), 1):
        first = first_of[item.digest]
        content = json.dumps(item.content, ensure_ascii=False)
        rows.append(
            (number, item.key, content, item.digest, item.size_bytes, int(first in tests),
             None if first == number else first, place, 2 if first in twice else 1, "")
        )  # fmt: skip
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    definition_text = json.dumps(asdict(definition), ensure_ascii=False)
    connection.execute("INSERT INTO meta VALUES ('definition', ?)", (definition_text,))
    connection.execute("COMMIT")


def _write_own_labels(store: LabelStore, source: LabelSource) -> None:
    """Labels that the data has already. InputError names the rows whose labels are not in the list."""
    faults = []
    changes = []
    for number, new in enumerate(source.items, 1):
        if not new.has_value:
            continue
        item = store.item(number)
        try:
            check_value(store.definition, item, new.value)
        except InputError as error:
            faults.append(f"{new.key}: {error.message}")
        changes.append(
            NewChange(f"data-{number}", DATA_PERSON, item.same_as or number, "import", new.value, origin="data")
        )
    if faults:
        raise InputError(
            f"{len(faults)} rows have labels that do not fit: {'; '.join(faults[:MAX_NAMED])}",
            expected=", ".join(store.definition.labels[:20]) or "numbers",
            fix="add these labels to --labels, or mend the rows",
        )  # fmt: skip
    store.record_all(changes)
