"""From a source through the scorer to a sink: nothing lost, nothing twice, in order.

    counts = await run_stream(StreamScorer(scorer), source, sink, stopping)

Read some messages, answer them, sync the state, write the answers; then the next. After a break the messages behind the
last answer in the output come again. Those that the state already has are known by their ids: it stays as it is, and
the answer is the one of then.
"""

from __future__ import annotations

import asyncio

from deepseek.serve.scoring.messages import StreamScorer
from deepseek.serve.streams.messages import Message, Sink, Source


async def run_stream(scorer: StreamScorer, source: Source, sink: Sink, stopping: asyncio.Event) -> int:
    """Answer messages until the source ends or `stopping` is set; what was read is answered. Gives their number."""
    loop = asyncio.get_running_loop()
    number = 0
    try:
        await source.start(await sink.last_position())
        stop = loop.create_task(stopping.wait())
        while True:
            reading = loop.create_task(source.read())
            await asyncio.wait({reading, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                return number
            messages = reading.result()
            if not messages:
                stop.cancel()
                return number
            answers = scorer.answer([message.body for message in messages])
            await loop.run_in_executor(None, scorer.scorer.sync)
            pairs = zip(messages, answers, strict=True)
            await sink.write([Message(message.position, answer) for message, answer in pairs])
            number += len(messages)
    finally:
        await source.close()
        await sink.close()
