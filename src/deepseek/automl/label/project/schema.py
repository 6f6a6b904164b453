"""The tables of a project in SQLite, and how its file is opened.

Write-ahead log, synced at each commit: what was acknowledged is there after a loss of power, and readers never wait for
who writes. The audit refuses to be changed, by triggers; each of its lines carries the digest of the line before.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from deepseek.errors import InputError, IntegrityError, MissingError, StorageError

FILE_NAME = "project.sqlite3"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x64736C62  # "dslb": what `file` and others know the format by
BUSY_S = 20.0  # another process holds the file for a commit at most
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
  number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, content TEXT NOT NULL, digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL, is_test INTEGER NOT NULL, same_as INTEGER, place INTEGER NOT NULL,
  num_wanted INTEGER NOT NULL, fault TEXT NOT NULL DEFAULT ''
);
CREATE INDEX items_by_place ON items (is_test, place) WHERE same_as IS NULL;
CREATE INDEX items_with_faults ON items (number) WHERE fault <> '';
CREATE TABLE people (name TEXT PRIMARY KEY, role TEXT NOT NULL, key_digest TEXT UNIQUE) WITHOUT ROWID;
CREATE TABLE changes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time TEXT NOT NULL, person TEXT NOT NULL,
  item INTEGER NOT NULL REFERENCES items (number), action TEXT NOT NULL, before TEXT, after TEXT,
  origin TEXT NOT NULL, duration_s REAL NOT NULL, suggestion TEXT NOT NULL, undoes INTEGER UNIQUE,
  digest TEXT NOT NULL
);
CREATE INDEX changes_by_person ON changes (person, number);
CREATE TRIGGER changes_stay BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'the audit is not changed'); END;
CREATE TRIGGER changes_are_kept BEFORE DELETE ON changes BEGIN SELECT RAISE(ABORT, 'the audit is kept'); END;
CREATE TABLE labels (
  item INTEGER NOT NULL REFERENCES items (number), person TEXT NOT NULL, state TEXT NOT NULL, value TEXT,
  comment TEXT NOT NULL, change INTEGER NOT NULL, PRIMARY KEY (item, person)
) WITHOUT ROWID;
CREATE INDEX labels_by_person ON labels (person, item);
CREATE TABLE leases (item INTEGER NOT NULL, person TEXT NOT NULL, until_s REAL NOT NULL, PRIMARY KEY (item, person))
  WITHOUT ROWID;
CREATE TABLE queue (place INTEGER PRIMARY KEY, item INTEGER NOT NULL UNIQUE, score REAL NOT NULL, reason TEXT NOT NULL);
CREATE TABLE rule_labels (item INTEGER PRIMARY KEY, value TEXT NOT NULL, probability REAL NOT NULL);
CREATE TABLE suggestions (
  item INTEGER PRIMARY KEY, value TEXT NOT NULL, probability REAL NOT NULL, reasons TEXT NOT NULL
);
"""


def open_connection(folder: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection to the project in `folder`. MissingError where there is none, InputError for one of another version
    or another program, StorageError for a disk that cannot be used."""
    path = folder / FILE_NAME
    if not create and not path.is_file():
        raise MissingError(
            f"{folder} holds no project of labels", expected=f"a folder with {FILE_NAME}",
            fix="check the name, or make one: deepseek label new DATA --out FOLDER",
        )  # fmt: skip
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise storage_error(f"{path} cannot be opened: {error}") from error
    try:
        if create:
            _write_schema(connection)
        _check_version(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.OperationalError as error:
        connection.close()
        raise storage_error(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise IntegrityError(
            f"{path} is no project: {error}", expected="a file that this program wrote", fix="take a copy that is whole"
        ) from error
    except InputError:
        connection.close()
        raise
    return connection


def storage_error(message: str) -> StorageError:
    return StorageError(
        message, expected="a disk with room that takes writes",
        fix="make room, or mend the rights of the folder; what was acknowledged is kept",
    )  # fmt: skip


def _write_schema(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN;{SCHEMA}COMMIT;")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    program = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if program != APPLICATION_ID:
        raise InputError(
            f"{path} is a database of another program", expected="a project of labels",
            fix="make one: deepseek label new DATA --out FOLDER",
        )  # fmt: skip
    if version != SCHEMA_VERSION:
        raise InputError(
            f"the project {path.parent} is of version {version}, and this program reads {SCHEMA_VERSION}",
            expected=f"a project of version {SCHEMA_VERSION}",
            fix="update the clone of this project" if version > SCHEMA_VERSION else "open it with the program of then",
        )
