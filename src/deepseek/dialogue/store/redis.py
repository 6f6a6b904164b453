"""Conversations in Redis, for front ends on several machines.

    store = RedisStore.open("redis://cache:6379/0", "help")

A step is one MULTI behind a WATCH of the conversation, so that two messages at once are kept one after the other. What
was acknowledged is as safe as Redis keeps it: on the disk with appendonly yes and appendfsync always, which open() asks
for where the server says how it is set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from deepseek.dialogue.additions import AddedAnswer
from deepseek.dialogue.conversation import Conversation, Message
from deepseek.dialogue.store.records import ConversationSummary, KeptQuestion, KeptTurn, Note
from deepseek.errors import InputError, StorageError
from deepseek.extras import need

T = TypeVar("T")
TIMEOUT_S = 5.0
_encode = msgspec.json.Encoder().encode
_state = msgspec.json.Decoder(Conversation).decode
_message = msgspec.json.Decoder(Message).decode
_note = msgspec.json.Decoder(Note).decode
_question = msgspec.json.Decoder(KeptQuestion).decode
_answer = msgspec.json.Decoder(AddedAnswer).decode
#: The first note of each conversation that is due, leased: KEYS due; ARGV now, now + lease, most, prefix of the queues.
_LEASE = """
local due, notes = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3]), {}
for _, conversation in ipairs(due) do
  local note = redis.call('LINDEX', ARGV[4] .. conversation, 0)
  if note then
    redis.call('ZADD', KEYS[1], ARGV[2], conversation)
    notes[#notes + 1] = note
  else
    redis.call('ZREM', KEYS[1], conversation)
  end
end
return notes
"""


class RedisStore:
    """deepseek.dialogue.store.records.ConversationStore in Redis. `client`: of redis-py."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._prefix = client, f"deepseek:{name}:"
        self._lease = client.register_script(_LEASE)

    @classmethod
    def open(cls, url: str, name: str) -> RedisStore:
        """The store of the assistant `name`. InputError for no address of Redis, StorageError where none answers or
        where it keeps nothing on its disk."""
        redis = need("redis", extra="stream")
        try:
            client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        except ValueError as error:
            raise InputError(
                f"this is no address of Redis: {error}",
                expected="redis://HOST:PORT/NUMBER",
                fix="correct --conversations",
            ) from error
        store = cls(client, name)
        if _guard(lambda: _keeps_nothing(client)):
            raise StorageError(
                "this Redis keeps nothing on its disk", expected="appendonly yes, and best appendfsync always",
                fix="set it so: what users write may not be lost with the process",
            )  # fmt: skip
        return store

    def close(self) -> None:
        self._client.close()

    def load(self, conversation: str) -> Conversation | None:
        data = _guard(lambda: self._client.get(self._key("state", conversation)))
        return None if data is None else _state(data)

    def keep(self, turn: KeptTurn) -> bool:
        return bool(_guard(lambda: self._keep(turn)))

    def _keep(self, turn: KeptTurn) -> bool:
        from redis.exceptions import WatchError

        state, key = turn.conversation, self._key("state", turn.conversation.id)
        with self._client.pipeline() as pipe:
            pipe.watch(key)
            data = pipe.get(key)
            if (0 if data is None else _state(data).version) != turn.expected_version:
                return False
            pipe.multi()
            pipe.set(key, _encode(state))
            pipe.zadd(self._key("times"), {state.id: turn.time_s})
            if state.status == "open":
                pipe.zrem(self._key("desk"), state.id)
            else:
                pipe.zadd(self._key("desk"), {state.id: turn.time_s})
            for message in turn.messages:
                pipe.rpush(self._key("messages", state.id), _encode(message))
                if message.message_id:
                    pipe.hset(self._key("ids", state.id), message.message_id, message.number)
            for note in turn.notes:
                pipe.rpush(self._key("notes", state.id), _encode(note))
                pipe.zadd(self._key("due"), {state.id: note.time_s}, nx=True)
            for place, each in enumerate(turn.unanswered):
                number = f"{state.id}.{state.version}.{place}"
                self._add_question(
                    pipe, KeptQuestion(number, each.question, each.reason, each.intents, state.id, turn.time_s)
                )
            try:
                pipe.execute()
            except WatchError:
                return False
        return True

    def messages(self, conversation: str, after: int = 0) -> list[Message]:
        # Numbers begin with 1 and have no gap: the place in the list is the number less one.
        rows = _guard(lambda: self._client.lrange(self._key("messages", conversation), max(after, 0), -1))
        return [_message(row) for row in rows]

    def find_message(self, conversation: str, message_id: str) -> Message | None:
        number = _guard(lambda: self._client.hget(self._key("ids", conversation), message_id)) if message_id else None
        if number is None:
            return None
        row = _guard(lambda: self._client.lindex(self._key("messages", conversation), int(number) - 1))
        return None if row is None else _message(row)

    def list_conversations(self, statuses: Sequence[str], most: int) -> list[ConversationSummary]:
        listed = []
        for identity, updated_s in _guard(
            lambda: self._client.zrevrange(self._key("desk"), 0, most - 1, withscores=True)
        ):
            state = self.load(identity.decode())
            if state is not None and state.status in statuses:
                listed.append(
                    ConversationSummary(
                        state.id, state.status, state.reason, state.person, state.num_messages, updated_s
                    )
                )
        return listed

    def delete(self, conversation: str) -> bool:
        questions = [each for each in self._all_questions() if each.conversation == conversation]

        def work() -> bool:
            with self._client.pipeline() as pipe:
                for part in ("state", "messages", "ids", "notes"):
                    pipe.delete(self._key(part, conversation))
                for part in ("times", "desk", "due"):
                    pipe.zrem(self._key(part), conversation)
                for each in questions:
                    pipe.hdel(self._key("questions"), each.id)
                    pipe.zrem(self._key("open"), each.id)
                return bool(pipe.execute()[0])

        return _guard(work)

    def delete_before(self, time_s: float) -> int:
        old = _guard(lambda: self._client.zrangebyscore(self._key("times"), "-inf", f"({time_s}"))
        return sum(self.delete(identity.decode()) for identity in old)

    def lease_notes(self, now_s: float, lease_s: float, most: int) -> list[Note]:
        arguments = [now_s, now_s + lease_s, most, self._key("notes", "")]
        return [_note(row) for row in _guard(lambda: self._lease(keys=[self._key("due")], args=arguments))]

    def end_note(self, note: Note) -> None:
        def work() -> None:
            key = self._key("notes", note.conversation)
            head = self._client.lindex(key, 0)
            if head is not None and _note(head).id == note.id:
                with self._client.pipeline() as pipe:
                    pipe.lpop(key)
                    pipe.zadd(self._key("due"), {note.conversation: 0})
                    pipe.execute()

        _guard(work)

    def put_off_note(self, note: Note, next_s: float) -> None:
        def work() -> None:
            key = self._key("notes", note.conversation)
            head = self._client.lindex(key, 0)
            if head is not None and _note(head).id == note.id:
                with self._client.pipeline() as pipe:
                    pipe.lset(key, 0, _encode(dataclasses.replace(_note(head), num_attempts=note.num_attempts + 1)))
                    pipe.zadd(self._key("due"), {note.conversation: next_s})
                    pipe.execute()

        _guard(work)

    def num_notes(self) -> int:
        def work() -> int:
            waiting = self._client.zrange(self._key("due"), 0, -1)
            return sum(self._client.llen(self._key("notes", identity.decode())) for identity in waiting)

        return _guard(work)

    def questions(self, most: int) -> list[KeptQuestion]:
        ids = _guard(lambda: self._client.zrevrange(self._key("open"), 0, most - 1))
        rows = _guard(lambda: self._client.hmget(self._key("questions"), ids)) if ids else []
        return [_question(row) for row in reversed(rows) if row is not None]

    def keep_question(self, question: KeptQuestion) -> None:
        def work() -> None:
            if not self._client.hexists(self._key("questions"), question.id):
                with self._client.pipeline() as pipe:
                    self._add_question(pipe, question)
                    pipe.execute()

        _guard(work)

    def drop_questions(self, ids: Sequence[str], answer: int) -> None:
        def work() -> None:
            with self._client.pipeline() as pipe:
                for identity in ids:
                    pipe.zrem(self._key("open"), identity)
                    pipe.sadd(self._key("answered", str(answer)), identity)
                pipe.execute()

        _guard(work)

    def add_answer(self, answer: AddedAnswer) -> AddedAnswer:
        number = int(_guard(lambda: self._client.incr(self._key("last_answer"))))
        kept = dataclasses.replace(answer, id=number)

        def work() -> None:
            with self._client.pipeline() as pipe:
                pipe.hset(self._key("answers"), number, _encode(kept))
                pipe.incr(self._key("answers_version"))
                pipe.execute()

        _guard(work)
        return kept

    def undo_answer(self, number: int) -> bool:
        def work() -> bool:
            if not self._client.hdel(self._key("answers"), number):
                return False
            ids = [identity.decode() for identity in self._client.smembers(self._key("answered", str(number)))]
            rows = self._client.hmget(self._key("questions"), ids) if ids else []
            with self._client.pipeline() as pipe:
                for question in (_question(row) for row in rows if row is not None):
                    pipe.zadd(self._key("open"), {question.id: question.time_s})
                pipe.incr(self._key("answers_version"))
                pipe.execute()
            return True

        return bool(_guard(work))

    def answers(self) -> list[AddedAnswer]:
        rows = _guard(lambda: self._client.hvals(self._key("answers")))
        return sorted((_answer(row) for row in rows), key=lambda added: added.id)

    def answers_version(self) -> int:
        return int(_guard(lambda: self._client.get(self._key("answers_version"))) or 0)

    def _all_questions(self) -> list[KeptQuestion]:
        return [_question(row) for row in _guard(lambda: self._client.hvals(self._key("questions")))]

    def _add_question(self, pipe: Any, question: KeptQuestion) -> None:
        pipe.hset(self._key("questions"), question.id, _encode(question))
        pipe.zadd(self._key("open"), {question.id: question.time_s})

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)


def _keeps_nothing(client: Any) -> bool:
    """Whether the server says that it writes no log. False where it does not say."""
    from redis.exceptions import ResponseError

    try:
        return bool(client.config_get("appendonly").get("appendonly") == "no")
    except ResponseError:  # a hosted Redis may refuse the question
        return False


def _guard(work: Callable[[], T]) -> T:
    """The result of `work`. StorageError where Redis does not answer, or takes no more."""
    from redis.exceptions import RedisError

    try:
        return work()
    except (RedisError, OSError) as error:
        raise StorageError(
            f"the conversations cannot be reached: {error}", expected="a Redis that answers and takes writes",
            fix="start it, or mend the address in --conversations",
        ) from error  # fmt: skip
