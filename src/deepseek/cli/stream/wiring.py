"""A stream, wired: its ends, the scorer, and who explains alerts."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.cli.support import output
from deepseek.cli.support.serving import alert_reasons

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a person may ask of a stream."""

    bundle: Path
    state: Path
    source: str
    sink: str
    stop_when_idle_s: float | None
    reasons: bool
    key: Path | None


async def stream(options: StreamOptions) -> JsonObject:
    """Run it until its source ends or a signal comes; the counts of its answers."""
    from deepseek.serve.scoring.messages import StreamScorer
    from deepseek.serve.scoring.scorer import EventScorer
    from deepseek.serve.streams.ends import open_sink, open_source
    from deepseek.serve.streams.stream import run_stream

    def tell(sentence: str) -> None:
        output.warn([sentence])

    source = open_source(options.source, tell, options.stop_when_idle_s)
    sink = open_sink(options.sink, tell)
    scorer = EventScorer.open(options.bundle, options.state, key=options.key)
    scorer.monitor.tell = tell
    try:
        scorer.warm_up()
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stopping.set)
        answering = StreamScorer(scorer, alert_reasons(scorer) if options.reasons else None)
        number = await run_stream(answering, source, sink, stopping)
        decisions = scorer.monitor.figures().to_dict()
    finally:
        scorer.close()
    return {
        "bundle": str(options.bundle), "num_messages": number, "counts": answering.counts, "decisions": decisions,
    }  # fmt: skip
