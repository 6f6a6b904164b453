"""NATS JetStream: messages of a subject in order, answers to another.

The answers' stream has one writer: each answer says which sequence it expects to come behind, so the server takes it
once and in order, or not at all. After a break the last answer that it holds says where to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from deepseek.errors import CheckError, InputError
from deepseek.extras import need
from deepseek.serve.streams.messages import MAX_BATCH, Message, Reconnecting, first_unwritten, without_password

FETCH_S = 0.2  # that one fetch waits; a signal is seen after it
TIMEOUT_S = 5.0
MESSAGE_ID, EXPECTED_LAST = "Nats-Msg-Id", "Nats-Expected-Last-Sequence"
WRONG_LAST_SEQUENCE = 10_071  # the server's number of that error
#: Of the server's errors, what says that we may not. The library has them as text alone.
REFUSALS = ("authorization violation", "authentication", "permissions violation")


class _NatsEnd:
    """A connection to one subject."""

    needs_loop: ClassVar[bool] = True

    def __init__(self, url: str, subject: str, tell: Callable[[str], None]) -> None:
        need("nats", extra="stream")
        import nats.errors

        self._url, self.subject = url, subject
        self._client: Any = None
        self._has_no_permission = False  # the server says so beside a call, which then times out
        errors = (nats.errors.Error, asyncio.TimeoutError, OSError)
        self.retry = Reconnecting(f"{without_password(url)}/{subject}", errors, tell, self._is_refusal)

    async def connect(self) -> Any:
        """The JetStream context; the client is made anew when its connection is not there."""
        import nats

        if self._client is None or not self._client.is_connected:
            await self._drop()
            self._client = await nats.connect(
                self._url, allow_reconnect=False, connect_timeout=TIMEOUT_S, error_cb=self._note_error,
                max_reconnect_attempts=1, reconnect_time_wait=0,  # by default it is silent for two minutes
            )  # fmt: skip
        return self._client.jetstream(timeout=TIMEOUT_S, publish_async_max_pending=2 * MAX_BATCH)

    async def close(self) -> None:
        await self._drop()

    async def _note_error(self, error: Exception) -> None:
        """Failures are those of the calls, which are made again; a permission that is missing is said here alone."""
        self._has_no_permission = self._has_no_permission or _says_refusal(error)

    def _is_refusal(self, error: BaseException) -> bool:
        return self._has_no_permission or _says_refusal(error)

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            await client.close()

    async def stream_name(self, context: Any) -> str | None:
        """The stream that holds the subject; None where none does."""
        from nats.js.errors import NotFoundError

        try:
            return str(await context.find_stream_name_by_subject(self.subject))
        except NotFoundError:
            return None


class NatsSource(_NatsEnd):
    """Messages of a subject from a position on. Ends after `idle_s` without one, if that is not None."""

    def __init__(self, url: str, subject: str, tell: Callable[[str], None], idle_s: float | None) -> None:
        super().__init__(url, subject, tell)
        self._last = 0
        self._idle_s = idle_s
        self._subscription: Any = None

    async def start(self, last_position: str) -> None:
        """InputError when no stream holds the subject."""
        if last_position.isdecimal():
            self._last = int(last_position)
        await self.retry.run(self._subscribe)

    async def read(self) -> list[Message]:
        waited_s = 0.0
        while True:
            messages = await self.retry.run(self._fetch)
            if messages:
                return messages
            waited_s += FETCH_S
            if self._idle_s is not None and waited_s >= self._idle_s:
                return []

    async def _subscribe(self) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        self._subscription = None
        context = await self.connect()
        stream = await self.stream_name(context)
        if stream is None:
            raise InputError(
                f"no stream of JetStream holds the subject {self.subject!r}",
                expected="a stream that keeps its messages",
                fix=f"nats stream add --subjects {self.subject}",
            )
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._last + 1, ack_policy=AckPolicy.NONE,
            filter_subject=self.subject, inactive_threshold=300.0,
        )  # fmt: skip
        consumer = await context.add_consumer(stream, config)
        self._subscription = await context.pull_subscribe_bind(consumer=consumer.name, stream=stream)

    async def _fetch(self) -> list[Message]:
        import nats.errors

        if self._subscription is None or not self._client.is_connected:
            await self._subscribe()
        try:
            received = await self._subscription.fetch(MAX_BATCH, timeout=FETCH_S)
        except nats.errors.TimeoutError:
            return []
        except BaseException:
            self._subscription = None  # the next try begins behind what was passed on
            raise
        messages = [(message.metadata.sequence.stream, message.data) for message in received]
        fresh = [Message(str(sequence), data) for sequence, data in messages if sequence > self._last]
        if fresh:
            self._last = int(fresh[-1].position)
        return fresh


class NatsSink(_NatsEnd):
    """Answers to a subject, whose stream is made where there is none."""

    def __init__(self, url: str, subject: str, tell: Callable[[str], None]) -> None:
        super().__init__(url, subject, tell)
        self._last_sequence = -1  # of the stream; -1: not known

    async def last_position(self) -> str:
        return await self.retry.run(self._look)

    async def write(self, answers: Sequence[Message]) -> None:
        left = list(answers)

        async def write_left() -> None:
            if self._last_sequence < 0:
                position = await self._look()
                del left[: first_unwritten(left, position)]
            await self._publish(left)
            left.clear()

        await self.retry.run(write_left)

    async def _look(self) -> str:
        """Read the last sequence of the stream, and the position in its last message."""
        context = await self.connect()
        stream = await self.stream_name(context)
        if stream is None:
            stream = "answers_" + self.subject.replace(".", "_").replace("*", "_").replace(">", "_")
            await context.add_stream(name=stream, subjects=[self.subject])
        info = await context.stream_info(stream)
        last = info.state.last_seq
        position = ""
        if info.state.messages:
            message = await context.get_msg(stream, last)
            position = (message.headers or {}).get(MESSAGE_ID, "")
        self._last_sequence = last
        return position

    async def _publish(self, answers: Sequence[Message]) -> None:
        """Publish answers in order; what was taken is known again after a failure. CheckError: another one writes."""
        from nats.js.errors import APIError

        context = await self.connect()
        first, self._last_sequence = self._last_sequence, -1
        sending = [
            context.publish(
                self.subject, answer.body, headers={MESSAGE_ID: answer.position, EXPECTED_LAST: str(first + place)}
            )
            for place, answer in enumerate(answers)
        ]
        results = await asyncio.gather(*sending, return_exceptions=True)
        error = next((result for result in results if isinstance(result, BaseException)), None)
        if isinstance(error, APIError) and error.err_code == WRONG_LAST_SEQUENCE:
            position = await self._look()
            if not first_unwritten(answers, position) and self._last_sequence != first:
                raise CheckError(
                    f"another one writes to the stream of {self.subject!r}",
                    expected="one writer",
                    fix="name another subject",
                )
            self._last_sequence = -1
        if error is not None:
            raise error
        self._last_sequence = first + len(answers)


def _says_refusal(error: BaseException) -> bool:
    return any(words in str(error).lower() for words in REFUSALS)
