"""A stream, wired: its ends, the scorer, and who explains alerts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.cli.support import output
from deepseek.cli.support.serving import alert_reasons

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.serve.scoring.scorer import EventScorer


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
    metrics_port: int | None = None  # where Prometheus is answered, on this machine alone


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
    exposed = ExitStack()
    scorer.monitor.tell = tell
    try:
        scorer.warm_up()
        if options.metrics_port is not None:
            exposed.enter_context(expose_state(scorer, options.metrics_port, tell))
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stopping.set)
        answering = StreamScorer(scorer, alert_reasons(scorer) if options.reasons else None)
        number = await run_stream(answering, source, sink, stopping)
        decisions = scorer.monitor.figures().to_dict()
    finally:
        exposed.close()
        scorer.close()
    return {
        "bundle": str(options.bundle), "num_messages": number, "counts": answering.counts, "decisions": decisions,
    }  # fmt: skip


@contextmanager
def expose_state(scorer: EventScorer, port: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Answer Prometheus at a port of this machine: the state, this process, its disk. InputError when it is taken."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    from deepseek.observe.expose import serve_registry
    from deepseek.observe.metrics_status import DiskCollector, MemoryCollector, StateCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(StateCollector(scorer.store))
    registry.register(MemoryCollector())
    if scorer.store.folder is not None:
        registry.register(DiskCollector({"state": scorer.store.folder}))
    with serve_registry(registry, "127.0.0.1", port) as url:
        tell(f"metrics for Prometheus: {url}")
        yield
