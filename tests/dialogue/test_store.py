"""The store: all of a step or nothing, versions, notes in order, answers with undo, and files that are no store."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek.dialogue.additions import AddedAnswer
from deepseek.dialogue.conversation import Button, Conversation, Message, OpenFlow
from deepseek.dialogue.store.records import ConversationStore, KeptTurn, Note
from deepseek.dialogue.store.redis import RedisStore
from deepseek.dialogue.store.sqlite import FILE_NAME, SqliteStore
from deepseek.dialogue.turn import Unanswered
from deepseek.errors import InputError, IntegrityError, StorageError
from support.servers.serving import until


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of its own, which syncs every write."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [
        "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--appendonly", "yes",
        "--appendfsync", "always", "--save", "",
    ]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until(lambda: answers(port))
    yield f"redis://127.0.0.1:{port}/0"
    running.terminate()
    running.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConversationStore]:
    if request.param == "sqlite":
        store: ConversationStore = SqliteStore.open(tmp_path / "state")
    else:
        url: str = request.getfixturevalue("redis_url")
        store = RedisStore.open(url, tmp_path.name)
    yield store
    store.close()


def keep(store: ConversationStore, version: int, text: str, *, notes: int = 0, identity: str = "c") -> bool:
    """One step with a message and its reply, made from a version."""
    number = 2 * version + 1
    state = Conversation(identity, version + 1, num_messages=number + 1, flows=(OpenFlow("f", 1, {"order": "A-1"}),))
    messages = (
        Message(number, "user", text, float(version), message_id=f"m{version}"),
        Message(number + 1, "assistant", "well", float(version), number, (Button("Yes", "yes"),), "i", "answer"),
    )
    sent = tuple(
        Note(f"{identity}.{version}.{place}", identity, "message", number, number + 1, float(version))
        for place in range(notes)
    )
    return store.keep(KeptTurn(state, version, messages, float(version), (Unanswered(text, "unsure", ("i",)),), sent))


def test_a_step_comes_back_as_it_was_kept(store: ConversationStore) -> None:
    assert keep(store, 0, "你好 'quoted' \x00")
    state = store.load("c")
    assert state is not None
    assert state.flows == (OpenFlow("f", 1, {"order": "A-1"}),)
    first, second = store.messages("c")
    assert (first.text, first.message_id) == ("你好 'quoted' \x00", "m0")
    assert (second.buttons, second.reply_to, second.intent) == ((Button("Yes", "yes"),), 1, "i")
    assert store.messages("c", after=1) == [second]
    assert store.find_message("c", "m0") == first
    assert store.find_message("c", "") is None


def test_a_step_that_was_made_from_an_older_version_changes_nothing(store: ConversationStore) -> None:
    assert keep(store, 0, "first")
    assert not keep(store, 0, "second", notes=1)
    assert [message.text for message in store.messages("c")] == ["first", "well"]
    assert store.num_notes() == 0
    assert len(store.questions(10)) == 1


def test_notes_of_a_conversation_are_leased_one_after_the_other(store: ConversationStore) -> None:
    keep(store, 0, "a", notes=1)
    keep(store, 1, "b", notes=1)
    keep(store, 0, "c", notes=1, identity="d")
    leased = store.lease_notes(10.0, 30.0, 10)
    assert [note.id for note in leased] == ["c.0.0", "d.0.0"]
    assert store.lease_notes(11.0, 30.0, 10) == []  # others have them
    store.put_off_note(leased[0], 20.0)
    assert store.lease_notes(19.0, 30.0, 10) == []
    (again,) = store.lease_notes(20.0, 30.0, 10)
    assert (again.id, again.num_attempts) == ("c.0.0", 1)
    store.end_note(again)
    assert [note.id for note in store.lease_notes(21.0, 30.0, 10)] == ["c.1.0"]


def test_answers_hold_until_they_are_undone_and_their_questions_come_back(store: ConversationStore) -> None:
    keep(store, 0, "are you open?")
    (question,) = store.questions(10)
    version = store.answers_version()
    answer = store.add_answer(AddedAnswer(0, "Yes.", ("are you open?",), author="Ann"))
    store.drop_questions([question.id], answer.id)
    assert (store.answers(), store.questions(10)) == ([answer], [])
    assert store.undo_answer(answer.id)
    assert not store.undo_answer(answer.id)
    assert (store.answers(), store.questions(10)) == ([], [question])
    assert store.answers_version() == version + 2


def test_what_is_forgotten_is_gone_everywhere(store: ConversationStore) -> None:
    keep(store, 0, "a", notes=1)
    keep(store, 0, "b", identity="d")
    assert store.delete("c")
    assert not store.delete("c")
    assert store.load("c") is None
    assert (store.messages("c"), store.num_notes(), len(store.questions(10))) == ([], 0, 1)
    assert store.delete_before(5.0) == 1


def test_conversations_that_wait_are_listed_the_latest_first(store: ConversationStore) -> None:
    for place, (name, status) in enumerate((("a", "waiting"), ("b", "open"), ("c", "person"))):
        state = Conversation(name, 1, status=status, reason="why")  # type: ignore[arg-type]
        store.keep(KeptTurn(state, 0, (), float(place)))
    assert [each.id for each in store.list_conversations(("waiting", "person"), 10)] == ["c", "a"]


def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database, and long enough to be read as one" * 40)
    with pytest.raises(IntegrityError, match="holds no conversations"):
        SqliteStore.open(tmp_path)
    assert (tmp_path / FILE_NAME).read_text().startswith("not a database")


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(IntegrityError, match="version 99"):
        SqliteStore.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="--state"):
        SqliteStore.open(tmp_path / "file" / "state")


def test_a_redis_that_is_away_or_has_no_address_is_said() -> None:
    pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(StorageError, match="cannot be reached"):
        RedisStore.open(f"redis://127.0.0.1:{port}/0", "help")
    with pytest.raises(InputError, match="no address of Redis"):
        RedisStore.open("http://127.0.0.1", "help")


def test_two_stores_of_one_redis_see_each_others_steps_and_versions(redis_url: str) -> None:
    first, second = RedisStore.open(redis_url, "both"), RedisStore.open(redis_url, "both")
    assert keep(first, 0, "a")
    assert not keep(second, 0, "b")
    assert keep(second, 1, "b")
    assert [message.text for message in first.messages("c") if message.role == "user"] == ["a", "b"]
    first.close()
    second.close()


def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path).close()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0
