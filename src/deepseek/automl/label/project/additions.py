"""Items that join a project after it was made: rows that a served model is unsure of.

They are asked and learned from, and never tested on: what a model is unsure of is no sample of what it sees. A row that
the project has already is left out.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from deepseek.automl.label.project.sources import content_digest
from deepseek.automl.label.project.store import LabelStore
from deepseek.contracts import Record

#: Beside the tables of schema.py: a project that was made before it has it is given it.
SCHEMA = """CREATE TABLE IF NOT EXISTS served (
  item INTEGER PRIMARY KEY REFERENCES items (number), time TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
  answer TEXT NOT NULL, probability REAL NOT NULL, margin REAL NOT NULL
)"""
WAITING = "SELECT COUNT(*) FROM served WHERE NOT EXISTS (SELECT 1 FROM labels WHERE labels.item = served.item)"


@dataclass(frozen=True, slots=True)
class ServedRow:
    """A row that joins a project."""

    content: Record  # of all columns of the project; of files their paths below its folder
    answer: str  # of the model
    probability: float  # of the answer
    margin: float  # by which it was ahead, 0..1
    model: str
    version: str
    media: tuple[str, ...] = ()  # the columns of files
    file_digests: tuple[str, ...] = ()  # of the files that are there, in the order of their columns
    size_bytes: int = 0  # of them


def count_waiting(store: LabelStore) -> int:
    """How many items came from a server and have no label yet. StorageError where the project cannot be read."""
    with store.transaction() as run:
        run.execute(SCHEMA)
        return int(run.execute(WAITING).fetchone()[0])


def add_served(store: LabelStore, rows: Iterable[ServedRow], most_waiting: int) -> int:
    """Add rows, the first first, until `most_waiting` of such items have no label. They stand at the end of the queue.
    Returns how many there are more of."""
    num_added = 0
    with store.transaction() as run:
        run.execute(SCHEMA)
        num_waiting = run.execute(WAITING).fetchone()[0]
        number, num_items = run.execute("SELECT MAX(number), COUNT(*) FROM items").fetchone()
        source = iter(rows)
        while num_waiting + num_added < most_waiting and (row := next(source, None)) is not None:
            digests = _digests(row)
            marks = ", ".join("?" * len(digests))
            if run.execute(f"SELECT 1 FROM items WHERE digest IN ({marks}) LIMIT 1", digests).fetchone():  # noqa: S608
                continue
            number, num_added = number + 1, num_added + 1
            content = json.dumps(row.content, ensure_ascii=False)
            place = secrets.randbelow(num_items)  # among the others, where no queue says more
            run.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, 0, NULL, ?, 1, '')",
                (number, f"served {number}", content, digests[0], row.size_bytes, place),
            )
            when = datetime.now(UTC).isoformat(timespec="seconds")
            run.execute(
                "INSERT INTO served VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, when, row.model, row.version, row.answer, row.probability, row.margin),
            )
            run.execute("INSERT INTO queue (item, score, reason) VALUES (?, ?, 'uncertain')", (number, 1 - row.margin))
            run.execute("INSERT INTO suggestions VALUES (?, ?, ?, '[]')", (number, row.answer, row.probability))
    return num_added


def count_served(store: LabelStore, among: Container[int] | None = None) -> int:
    """How many items came from a server; `among`: of these alone."""
    run = store.connection
    if not run.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'served'").fetchone():
        return 0
    if among is None:
        count: int = run.execute("SELECT COUNT(*) FROM served").fetchone()[0]
        return count
    return sum(item in among for (item,) in run.execute("SELECT item FROM served"))


def _digests(row: ServedRow) -> tuple[str, ...]:
    """Of the row as it came and as it may stand in the project: JSON knows 3 and 3.0 apart, rows of a table do not.
    Files count by what is in them, as in sources.py; where they are the only column, its name does not count."""
    cells = {name: value for name, value in row.content.items() if name not in row.media}
    whole = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in cells.items()
    }
    parted = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in cells.items()
    }
    return tuple(dict.fromkeys(content_digest(each, row.file_digests) for each in (cells, whole, parted)))
