"""Progress: each grading, each hint, the folders that were begun, in one SQLite file of the learner's own.

    with Progress.open(LearnerPlace.default()) as progress:
        progress.record(grade, folder)                  # on the disk when it returns
        progress.best_gradings()                               # {"first_bundle": Passed(score=100, ...)}

A file that cannot be read is kept aside under another name, and a new one is begun: what lies in the folders can be
graded again. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from deepseek.contracts import JsonObject
from deepseek.errors import StorageError
from deepseek.files import immediate_transaction
from deepseek.learn.grading.records import Grade
from deepseek.learn.learner.place import LearnerPlace

VERSION = 1
APPLICATION_ID = 0x6C65726E  # "lern"
BUSY_S = 30.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS gradings (
  number INTEGER PRIMARY KEY, lab TEXT NOT NULL, time TEXT NOT NULL, score INTEGER NOT NULL, passed INTEGER NOT NULL,
  digest TEXT NOT NULL, seconds REAL NOT NULL, checks TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS gradings_by_lab ON gradings (lab, number);
CREATE TABLE IF NOT EXISTS hints (
  lab TEXT NOT NULL, check_id TEXT NOT NULL, num INTEGER NOT NULL, PRIMARY KEY (lab, check_id)
);
CREATE TABLE IF NOT EXISTS folders (lab TEXT PRIMARY KEY, folder TEXT NOT NULL, time TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Passed:
    """The best grading of a lab that was passed."""

    lab: str
    score: int
    time: str  # UTC, ISO 8601
    digest: str  # of the lab then
    num_hints: int


@dataclass(frozen=True, slots=True)
class LastGrading:
    """The last grading of a lab."""

    lab: str
    time: str
    score: int
    is_passed: bool
    checks: tuple[JsonObject, ...]


class Progress:
    """One file behind one connection, used in one thread."""

    def __init__(self, connection: sqlite3.Connection, place: LearnerPlace, set_aside: Path | None) -> None:
        self._connection, self._place = connection, place
        self.set_aside = set_aside  # where a file was put that could not be read

    @classmethod
    def open(cls, place: LearnerPlace) -> Self:
        """The learner's progress. StorageError for a disk that cannot be used."""
        place.make()
        try:
            return cls(_connect(place.progress_file), place, None)
        except sqlite3.OperationalError as error:
            raise _storage_error(place, error) from error
        except sqlite3.DatabaseError:
            aside = _set_aside(place.progress_file)
        progress = cls(_connect(place.progress_file), place, aside)
        for lab, folder in _kept_folders(place).items():
            progress._keep_folder(lab, folder)
        return progress

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def record(self, grade: Grade) -> None:
        """Keep a grading. StorageError where it could not be written."""
        checks = json.dumps([check.to_dict() for check in grade.checks], ensure_ascii=False)
        row = (grade.lab, _now(), grade.score, int(grade.is_passed), grade.digest, grade.seconds, checks)
        self._write(
            "INSERT INTO gradings (lab, time, score, passed, digest, seconds, checks) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        )

    def keep_folder(self, lab: str, folder: Path) -> None:
        """Remember where a lab was begun, in the file and in a list beside it, which outlives the file."""
        self._keep_folder(lab, folder)
        with suppress(OSError), self._place.folders_file.open("a", encoding="utf-8") as file:
            file.write(f"{lab}\t{folder.absolute()}\n")

    def folder(self, lab: str) -> Path | None:
        row = self._connection.execute("SELECT folder FROM folders WHERE lab = ?", (lab,)).fetchone()
        return None if row is None else Path(row[0])

    def folders(self) -> dict[str, Path]:
        """Where each lab was begun, the last first."""
        rows = self._connection.execute("SELECT lab, folder FROM folders ORDER BY time DESC, lab").fetchall()
        return {lab: Path(folder) for lab, folder in rows}

    def best_gradings(self) -> dict[str, Passed]:
        """The best grading of each lab that was passed, by lab."""
        rows = self._connection.execute(
            "SELECT lab, score, time, digest, (SELECT COALESCE(SUM(num), 0) FROM hints WHERE hints.lab = gradings.lab) "
            "FROM gradings WHERE passed = 1 ORDER BY score, number"
        ).fetchall()
        return {row[0]: Passed(*row) for row in rows}

    def last(self, lab: str) -> LastGrading | None:
        row = self._connection.execute(
            "SELECT lab, time, score, passed, checks FROM gradings WHERE lab = ? ORDER BY number DESC LIMIT 1", (lab,)
        ).fetchone()
        return None if row is None else LastGrading(row[0], row[1], row[2], bool(row[3]), tuple(json.loads(row[4])))

    def num_gradings(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT lab, COUNT(*) FROM gradings GROUP BY lab").fetchall())

    def num_hints(self, lab: str, check: str) -> int:
        """How many hints of a check were shown."""
        row = self._connection.execute("SELECT num FROM hints WHERE lab = ? AND check_id = ?", (lab, check)).fetchone()
        return int(row[0]) if row else 0

    def show_hint(self, lab: str, check: str, num: int) -> None:
        """Remember that the hints up to `num` were shown."""
        self._write(
            "INSERT INTO hints VALUES (?, ?, ?) ON CONFLICT (lab, check_id) DO UPDATE SET num = MAX(num, excluded.num)",
            (lab, check, num),
        )

    def export(self) -> JsonObject:
        """All that is kept, as one object."""
        gradings = self._connection.execute(
            "SELECT lab, time, score, passed, digest, seconds FROM gradings ORDER BY number"
        ).fetchall()
        names = ("lab", "time", "score", "passed", "digest", "seconds")
        hints = self._connection.execute("SELECT lab, check_id, num FROM hints ORDER BY lab, check_id").fetchall()
        return {
            "version": VERSION,
            "gradings": [dict(zip(names, (*row[:3], bool(row[3]), *row[4:]), strict=True)) for row in gradings],
            "hints": [dict(zip(("lab", "check", "num"), row, strict=True)) for row in hints],
        }

    def _keep_folder(self, lab: str, folder: Path) -> None:
        self._write(
            "INSERT INTO folders VALUES (?, ?, ?) "
            "ON CONFLICT (lab) DO UPDATE SET folder = excluded.folder, time = excluded.time",
            (lab, str(folder.absolute()), _now()),
        )

    def _write(self, statement: str, row: tuple[object, ...]) -> None:
        try:
            with immediate_transaction(self._connection) as run:
                run.execute(statement, row)
        except sqlite3.OperationalError as error:
            raise _storage_error(self._place, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        # In one statement: another process may be making the tables.
        version, num_tables = connection.execute(
            "SELECT user_version, (SELECT COUNT(*) FROM sqlite_master) FROM pragma_user_version()"
        ).fetchone()
        if version == 0 and num_tables == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            own = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}{own}COMMIT;")
        program = connection.execute("PRAGMA application_id").fetchone()[0]
        if program != APPLICATION_ID:
            raise sqlite3.DatabaseError("a database of another program")
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the file is damaged")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> Path:
    """Rename a file that cannot be read, and what SQLite keeps beside it."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.broken-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.broken-{stamp}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _kept_folders(place: LearnerPlace) -> Mapping[str, Path]:
    """The folders that the list beside the file names and that are still there."""
    try:
        lines = place.folders_file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return {lab: Path(folder) for lab, folder in pairs if Path(folder).is_dir()}


def _storage_error(place: LearnerPlace, error: sqlite3.Error) -> StorageError:
    return StorageError(
        f"{place.progress_file} cannot be used: {error}", expected="a disk with room that takes writes",
        fix="make room, or set XDG_DATA_HOME to another folder",
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
