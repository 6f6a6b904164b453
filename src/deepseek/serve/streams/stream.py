"""From a source through the scorer to a sink: nothing lost, nothing twice, in order.

    number = await run_stream(StreamScorer(scorer), source, sink, stopping)       # events; or a FleetScorer: machines

Read some messages, answer them, sync the state, write the answers; then the next. After a break the messages behind the
last answer in the output come again. Those that the state already has are known by their ids: it stays as it is, and
the answer is the one of then.
"""

from __future__ import annotations

import asyncio

from deepseek.serve.streams.messages import Message, MessageScorer, Sink, Source


async def run_stream(
    scorer: MessageScorer, source: Source, sink: Sink, stopping: asyncio.Event, turn_s: float = 0.0
) -> int:
    """Answer messages until the source ends or `stopping` is set; what was read is answered. Gives their number.
    `turn_s`: from one reading to the next at least, so that what comes meanwhile is answered together; a message that
    comes after a pause is answered at once."""
    loop = asyncio.get_running_loop()
    number = 0
    try:
        await source.start(await sink.last_position())
        stop = loop.create_task(stopping.wait())
        while True:
            began_s = loop.time()
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
            if source.needs_loop or sink.needs_loop:
                await loop.run_in_executor(None, scorer.sync)
            else:
                scorer.sync()  # nobody else wants the loop, and waking a thread costs as much as the sync
            pairs = zip(messages, answers, strict=True)
            await sink.write([Message(message.position, answer) for message, answer in pairs])
            number += len(messages)
            if (rest_s := began_s + turn_s - loop.time()) > 0:
                await asyncio.wait({stop}, timeout=rest_s)
    finally:
        await source.close()
        await sink.close()
