"""Conversations in one SQLite file: write-ahead log, synced at each commit, shared by several processes.

    store = SqliteStore.open(Path("help.state"))
    store.keep(turn)             # on the disk when it returns True

A step is one transaction that checks the version it was made from, so that two messages at once, of two front ends as
well, are kept one after the other and none is lost.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from deepseek.dialogue.additions import AddedAnswer
from deepseek.dialogue.conversation import Button, Conversation, Message
from deepseek.dialogue.store.records import ConversationSummary, KeptQuestion, KeptTurn, Note
from deepseek.errors import IntegrityError, StorageError
from deepseek.files import immediate_transaction

FILE_NAME = "conversations.sqlite3"
BUSY_S = 10.0  # another front end holds the file for a commit at most
CACHE_KIB = 8_192
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, status TEXT NOT NULL, state BLOB NOT NULL, updated_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversations_by_status ON conversations (status, updated_s) WHERE status <> 'open';
CREATE INDEX IF NOT EXISTS conversations_by_time ON conversations (updated_s);
CREATE TABLE IF NOT EXISTS messages (
  conversation TEXT NOT NULL, number INTEGER NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL, time_s REAL NOT NULL,
  reply_to INTEGER NOT NULL, buttons TEXT NOT NULL, intent TEXT NOT NULL, decision TEXT NOT NULL,
  message_id TEXT NOT NULL, choose TEXT NOT NULL, PRIMARY KEY (conversation, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_client ON messages (conversation, message_id) WHERE message_id <> '';
CREATE TABLE IF NOT EXISTS notes (
  place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, conversation TEXT NOT NULL, kind TEXT NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, time_s REAL NOT NULL, reason TEXT NOT NULL,
  num_attempts INTEGER NOT NULL, next_s REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS notes_by_conversation ON notes (conversation, place);
CREATE TABLE IF NOT EXISTS questions (
  place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, question TEXT NOT NULL, reason TEXT NOT NULL,
  intents TEXT NOT NULL, conversation TEXT NOT NULL, time_s REAL NOT NULL, answer INTEGER
);
CREATE INDEX IF NOT EXISTS questions_open ON questions (place) WHERE answer IS NULL;
CREATE INDEX IF NOT EXISTS questions_by_conversation ON questions (conversation);
CREATE TABLE IF NOT EXISTS answers (
  id INTEGER PRIMARY KEY AUTOINCREMENT, answer TEXT NOT NULL, questions TEXT NOT NULL, intent TEXT NOT NULL,
  author TEXT NOT NULL, time_s REAL NOT NULL, is_undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('answers', 0);
"""
_MESSAGE = "number, role, text, time_s, reply_to, buttons, intent, decision, message_id, choose"
_encode = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(Conversation).decode
_decode_buttons = msgspec.json.Decoder(tuple[Button, ...]).decode


class SqliteStore:
    """deepseek.dialogue.store.records.ConversationStore in a file. Used in one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self.path = connection, path

    @classmethod
    def open(cls, folder: Path) -> SqliteStore:
        """The store of a folder, made where there is none. StorageError, IntegrityError for what cannot be used."""
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.OperationalError) as error:
            raise _open_error(folder, error) from error
        try:
            _prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise _open_error(folder, error) from error
            raise IntegrityError(
                f"{path} holds no conversations: {error}", expected="a file that this program wrote",
                fix="move it away, or give another --state",
            ) from error  # fmt: skip
        path.chmod(0o600)  # what people write to a bank is nobody else's
        return cls(connection, path)

    def close(self) -> None:
        self._connection.close()

    def load(self, conversation: str) -> Conversation | None:
        rows = self._read("SELECT state FROM conversations WHERE id = ?", conversation)
        return _decode_state(rows[0][0]) if rows else None

    def keep(self, turn: KeptTurn) -> bool:
        state = turn.conversation
        with self._transaction() as run:
            row = run.execute("SELECT version FROM conversations WHERE id = ?", (state.id,)).fetchone()
            if (0 if row is None else row[0]) != turn.expected_version:
                return False
            run.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "version = excluded.version, status = excluded.status, state = excluded.state, "
                "updated_s = excluded.updated_s",
                (state.id, state.version, state.status, _encode(state), turn.time_s),
            )
            run.executemany(
                "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(state.id, *_message_row(message)) for message in turn.messages],
            )
            run.executemany(
                "INSERT INTO notes (id, conversation, kind, first, last, time_s, reason, num_attempts, next_s) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
                [
                    (
                        note.id,
                        note.conversation,
                        note.kind,
                        note.first,
                        note.last,
                        note.time_s,
                        note.reason,
                        note.time_s,
                    )
                    for note in turn.notes
                ],
            )
            for place, each in enumerate(turn.unanswered):
                number = f"{state.id}.{state.version}.{place}"
                _add_question(
                    run, KeptQuestion(number, each.question, each.reason, each.intents, state.id, turn.time_s)
                )
        return True

    def messages(self, conversation: str, after: int = 0) -> list[Message]:
        rows = self._read(
            f"SELECT {_MESSAGE} FROM messages WHERE conversation = ? AND number > ? ORDER BY number",  # noqa: S608  (columns)
            conversation, after,
        )  # fmt: skip
        return [_read_message(row) for row in rows]

    def find_message(self, conversation: str, message_id: str) -> Message | None:
        rows = self._read(
            f"SELECT {_MESSAGE} FROM messages WHERE conversation = ? AND message_id = ? AND message_id <> ''",  # noqa: S608
            conversation, message_id,
        )  # fmt: skip
        return _read_message(rows[0]) if rows else None

    def list_conversations(self, statuses: Sequence[str], most: int) -> list[ConversationSummary]:
        marks = ", ".join("?" * len(statuses))
        rows = self._read(
            f"SELECT state, updated_s FROM conversations WHERE status IN ({marks}) ORDER BY updated_s DESC LIMIT ?",  # noqa: S608
            *statuses, most,
        )  # fmt: skip
        states = [(_decode_state(state), updated_s) for state, updated_s in rows]
        return [
            ConversationSummary(state.id, state.status, state.reason, state.person, state.num_messages, updated_s)
            for state, updated_s in states
        ]

    def delete(self, conversation: str) -> bool:
        with self._transaction() as run:
            for table in ("messages", "notes", "questions"):
                run.execute(f"DELETE FROM {table} WHERE conversation = ?", (conversation,))  # noqa: S608  (three names)
            return run.execute("DELETE FROM conversations WHERE id = ?", (conversation,)).rowcount > 0

    def delete_before(self, time_s: float) -> int:
        rows = self._read("SELECT id FROM conversations WHERE updated_s < ?", time_s)
        return sum(self.delete(identity) for (identity,) in rows)

    def lease_notes(self, now_s: float, lease_s: float, most: int) -> list[Note]:
        if not self._read("SELECT 1 FROM notes WHERE next_s <= ? LIMIT 1", now_s):
            return []  # the file is not held for nothing, every second
        with self._transaction() as run:
            rows = run.execute(
                "SELECT id, conversation, kind, first, last, time_s, reason, num_attempts FROM notes AS due "
                "WHERE next_s <= ? AND place = (SELECT MIN(place) FROM notes WHERE conversation = due.conversation) "
                "ORDER BY place LIMIT ?",
                (now_s, most),
            ).fetchall()
            run.executemany("UPDATE notes SET next_s = ? WHERE id = ?", [(now_s + lease_s, row[0]) for row in rows])
        return [Note(*row) for row in rows]

    def end_note(self, note: Note) -> None:
        with self._transaction() as run:
            run.execute("DELETE FROM notes WHERE id = ?", (note.id,))

    def put_off_note(self, note: Note, next_s: float) -> None:
        with self._transaction() as run:
            run.execute("UPDATE notes SET next_s = ?, num_attempts = num_attempts + 1 WHERE id = ?", (next_s, note.id))

    def num_notes(self) -> int:
        return int(self._read("SELECT COUNT(*) FROM notes")[0][0])

    def questions(self, most: int) -> list[KeptQuestion]:
        rows = self._read(
            "SELECT id, question, reason, intents, conversation, time_s FROM questions WHERE answer IS NULL "
            "ORDER BY place DESC LIMIT ?",
            most,
        )
        return [
            KeptQuestion(identity, question, reason, tuple(json.loads(intents)), conversation, time_s)
            for identity, question, reason, intents, conversation, time_s in reversed(rows)
        ]

    def keep_question(self, question: KeptQuestion) -> None:
        with self._transaction() as run:
            _add_question(run, question)

    def drop_questions(self, ids: Sequence[str], answer: int) -> None:
        with self._transaction() as run:
            run.executemany("UPDATE questions SET answer = ? WHERE id = ?", [(answer, identity) for identity in ids])

    def add_answer(self, answer: AddedAnswer) -> AddedAnswer:
        with self._transaction() as run:
            cursor = run.execute(
                "INSERT INTO answers (answer, questions, intent, author, time_s) VALUES (?, ?, ?, ?, ?)",
                (
                    answer.answer,
                    json.dumps(answer.questions, ensure_ascii=False),
                    answer.intent,
                    answer.author,
                    answer.time_s,
                ),
            )
            run.execute("UPDATE counters SET value = value + 1 WHERE name = 'answers'")
        return dataclasses.replace(answer, id=int(cursor.lastrowid or 0))

    def undo_answer(self, number: int) -> bool:
        with self._transaction() as run:
            cursor = run.execute("UPDATE answers SET is_undone = 1 WHERE id = ? AND is_undone = 0", (number,))
            if cursor.rowcount:
                run.execute("UPDATE questions SET answer = NULL WHERE answer = ?", (number,))
                run.execute("UPDATE counters SET value = value + 1 WHERE name = 'answers'")
        return cursor.rowcount > 0

    def answers(self) -> list[AddedAnswer]:
        rows = self._read(
            "SELECT id, answer, questions, intent, author, time_s FROM answers WHERE is_undone = 0 ORDER BY id"
        )
        return [AddedAnswer(row[0], row[1], tuple(json.loads(row[2])), *row[3:]) for row in rows]

    def answers_version(self) -> int:
        return int(self._read("SELECT value FROM counters WHERE name = 'answers'")[0][0])

    def _read(self, query: str, *values: object) -> list[Any]:
        """Rows. StorageError for a file that cannot be read now."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the conversations cannot be read: {error}", expected="a disk that gives back what it took",
                fix="look after the disk of --state",
            ) from error  # fmt: skip

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the file from its beginning. StorageError for a disk that does not take it."""
        try:
            with immediate_transaction(self._connection) as run:
                yield run
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the conversations cannot be written: {error}", expected="a disk with room that takes writes",
                fix="make room, or mend the rights of the folder of --state; nothing was changed",
            ) from error  # fmt: skip


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged is there after a loss of power, too
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise sqlite3.DatabaseError(f"it is of version {version}, and this program reads {SCHEMA_VERSION}")
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _open_error(folder: Path, error: Exception) -> StorageError:
    return StorageError(
        f"conversations cannot be kept in {folder}: {getattr(error, 'strerror', None) or error}",
        expected="a folder in which files may be made", fix="give another one: --state FOLDER",
    )  # fmt: skip


def _add_question(run: sqlite3.Connection, question: KeptQuestion) -> None:
    run.execute(
        "INSERT OR IGNORE INTO questions (id, question, reason, intents, conversation, time_s) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            question.id, question.question, question.reason, json.dumps(question.intents, ensure_ascii=False),
            question.conversation, question.time_s,
        ),
    )  # fmt: skip


def _message_row(message: Message) -> tuple[object, ...]:
    return (
        message.number, message.role, message.text, message.time_s, message.reply_to, _encode(message.buttons).decode(),
        message.intent, message.decision, message.message_id, message.choose,
    )  # fmt: skip


def _read_message(row: Sequence[object]) -> Message:
    number, role, text, time_s, reply_to, buttons, *rest = row
    return Message(number, role, text, time_s, reply_to, _decode_buttons(str(buttons)), *rest)  # type: ignore[arg-type]
