"""Frames of a pipe: read while nobody asks, and given out whole, in order, to the last one."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Iterator, Sequence

import pytest

from deepseek.errors import TooLargeError
from deepseek.serve.streams.frames import GATHER_BYTES, MAX_MESSAGE_BYTES, PIPE_BYTES, FrameSource
from deepseek.serve.streams.lines import LineSink
from deepseek.serve.streams.messages import Message
from deepseek.serve.streams.stream import run_stream


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for each in (reader, writer):
        try:
            os.close(each)
        except OSError:
            continue  # the test has closed it


def frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def write(writer: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(writer, rest) :]


async def read_all(source: FrameSource) -> list[bytes]:
    bodies = []
    while messages := await source.read():
        bodies += [message.body for message in messages]
    return bodies


def test_what_comes_while_nobody_asks_is_read_ahead_and_given_out_together(pipe: tuple[int, int]) -> None:
    bodies = [bytes([number]) * 200_000 for number in range(40)]

    async def run() -> tuple[int, list[bytes]]:
        source = FrameSource(pipe[0])
        await source.start("")
        await asyncio.to_thread(write, pipe[1], b"".join(map(frame, bodies)))  # a pipe alone holds an eighth of it
        os.close(pipe[1])
        first = [message.body for message in await source.read()]
        rest = await read_all(source)
        await source.close()
        return len(first), first + rest

    num_first, read = asyncio.run(run())
    assert read == bodies
    # All but what the pipe may still have held, and what the thread had read and not yet handed over.
    assert num_first >= (40 * 200_004 - 2 * PIPE_BYTES) // 200_004


def test_more_than_is_read_ahead_waits_in_the_pipe_and_comes_whole(pipe: tuple[int, int]) -> None:
    bodies = [os.urandom(1 << 16) * (1 + number % 7) + b"\n" for number in range(160)]
    assert sum(map(len, bodies)) > 2 * GATHER_BYTES

    async def run() -> list[bytes]:
        source = FrameSource(pipe[0])
        await source.start("")
        writing = asyncio.create_task(asyncio.to_thread(write, pipe[1], b"".join(map(frame, bodies)) + b"\1\0"))
        read = []
        while len(read) < len(bodies):
            read += [message.body for message in await source.read()]
        await writing
        os.close(pipe[1])
        assert await source.read() == []  # what was cut off is no message
        await source.close()
        return read

    assert asyncio.run(run()) == bodies


def test_a_frame_beyond_the_limit_is_refused_after_those_before_it_are_given_out(pipe: tuple[int, int]) -> None:
    async def run() -> None:
        source = FrameSource(pipe[0])
        await source.start("")
        write(pipe[1], frame(b"first") + struct.pack("<I", MAX_MESSAGE_BYTES + 1))
        assert [message.body for message in await source.read()] == [b"first"]
        with pytest.raises(TooLargeError, match="frame 2 says that it has"):
            await source.read()
        await source.close()

    asyncio.run(run())


def test_a_source_that_is_closed_ends_who_waits_for_it(pipe: tuple[int, int]) -> None:
    async def run() -> list[object]:
        source = FrameSource(pipe[0])
        await source.start("")
        reading = asyncio.create_task(source.read())
        await asyncio.sleep(0)
        await source.close()
        return list(await reading)

    assert asyncio.run(run()) == []


def test_frames_that_come_in_pieces_of_any_size_are_whole_whoever_reads_them(pipe: tuple[int, int]) -> None:
    """The thread and whoever takes messages read in turn."""
    draw = random.Random(3)
    bodies = [draw.randbytes(draw.choice([0, 1, 90, 5_000, 40_000])) for _ in range(400)]
    data = b"".join(map(frame, bodies))

    async def send() -> None:
        place = 0
        while place < len(data):
            size = draw.choice([1, 3, 700, 20_000, 300_000])
            await asyncio.to_thread(write, pipe[1], data[place : place + size])
            place += size
            await asyncio.sleep(draw.choice([0, 0, 0.001]))
        os.close(pipe[1])

    async def run() -> list[bytes]:
        source = FrameSource(pipe[0])
        await source.start("")
        sending = asyncio.create_task(send())
        read = await read_all(source)
        await sending
        await source.close()
        return read

    assert asyncio.run(run()) == bodies


def test_answers_go_out_whole_through_a_pipe_that_is_full_most_of_the_time(pipe: tuple[int, int]) -> None:
    answers = [Message(str(number), b"%d " % number * (1 + number % 900)) for number in range(600)]

    async def run() -> bytes:
        sink = LineSink(pipe[1])
        writing = asyncio.create_task(sink.write(answers))
        read = b""
        while read.count(b"\n") < len(answers):
            read += await asyncio.to_thread(os.read, pipe[0], 3_000)
        await writing
        return read

    assert asyncio.run(run()) == b"".join(answer.body + b"\n" for answer in answers)


class Echo:
    """Answers a message by itself, and notes what was answered when the state was synced."""

    def __init__(self) -> None:
        self.answered: list[bytes] = []
        self.synced: list[bytes] = []

    def answer(self, bodies: Sequence[bytes]) -> list[bytes]:
        self.answered += bodies
        return list(bodies)

    def sync(self) -> None:
        self.synced = list(self.answered)


def test_an_answer_goes_out_only_once_the_state_is_on_the_disk(pipe: tuple[int, int]) -> None:
    echo, seen = Echo(), []

    class WatchedSink(LineSink):
        async def write(self, answers: Sequence[Message]) -> None:
            seen.append([answer.body for answer in answers] == echo.synced[-len(answers) :])
            await super().write(answers)

    async def run() -> int:
        write(pipe[1], b"".join(frame(b"%d" % number) for number in range(40)))
        os.close(pipe[1])
        out = os.open(os.devnull, os.O_WRONLY)
        try:
            return await run_stream(echo, FrameSource(pipe[0]), WatchedSink(out), asyncio.Event())
        finally:
            os.close(out)

    assert asyncio.run(run()) == 40
    assert seen
    assert all(seen)


def test_a_rest_ends_when_the_pipe_is_half_full(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the rate of the latest readings: a pause of one length would let the writer of a fast source wait."""
    now_s = 100.0
    monkeypatch.setattr("deepseek.serve.streams.frames.time.monotonic", lambda: now_s)
    source = FrameSource(pipe[0])
    half = source._pipe_bytes // 2
    for _ in range(50):  # a tenth of the pipe each two milliseconds
        now_s += 0.002
        end_s = source._end_of_rest(source._pipe_bytes // 10)
    assert end_s - now_s == pytest.approx(0.01, rel=0.01)
    assert source._end_of_rest(half) == 0.0  # full: its writer may be waiting
    for _ in range(50):  # a hundredth each second
        now_s += 1.0
        end_s = source._end_of_rest(source._pipe_bytes // 100)
    assert end_s - now_s == pytest.approx(0.128)
