"""Frames of a pipe: read while nobody asks, and given out whole, in order, to the last one."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator

import pytest

from deepseek.errors import TooLargeError
from deepseek.serve.streams.frames import GATHER_BYTES, MAX_MESSAGE_BYTES, PIPE_BYTES, FrameSource


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
