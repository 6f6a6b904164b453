"""A stream, wired: its ends, the scorer, and who explains alerts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from deepseek.cli.stream.fleet import FleetAnswers, is_machine_bundle
from deepseek.cli.stream.options import StreamOptions
from deepseek.cli.support import output
from deepseek.cli.support.serving import alert_reasons

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.features import FeatureStore
    from deepseek.observe.metrics_status import StateStore
    from deepseek.serve.scoring.messages import StreamScorer

TellFunction: TypeAlias = Callable[[str], None]


async def stream(options: StreamOptions) -> JsonObject:
    """Run it until its source ends or a signal comes; the counts of its answers."""
    from deepseek.serve.streams.ends import open_sink, open_source

    def tell(sentence: str) -> None:
        output.warn([sentence])

    source = open_source(options.source, tell, options.stop_when_idle_s)
    sink = open_sink(options.sink, tell)
    if is_machine_bundle(options.bundle):
        return await _run(options, FleetAnswers.open(options, tell), source, sink, tell)
    return await _run(options, EventAnswers.open(options, tell), source, sink, tell)


async def _run(
    options: StreamOptions, answers: StreamAnswers, source: Any, sink: Any, tell: TellFunction
) -> JsonObject:
    """Answer messages until the source ends or a signal comes."""
    from deepseek.serve.streams.stream import run_stream

    exposed = ExitStack()
    try:
        if options.metrics_port is not None:
            exposed.enter_context(expose_state(answers.store, options.metrics_port, tell))
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stopping.set)
        number = await run_stream(
            answers.scorer, source, sink, stopping, answers.turn_s if options.turn_s is None else options.turn_s
        )
        summary = answers.summary()
    finally:
        exposed.close()
        answers.close()
    return {"bundle": str(options.bundle), "num_messages": number, "counts": answers.scorer.counts, **summary}


class StreamAnswers(Protocol):
    """Who answers a stream, as it is wired."""

    turn_s: float  # what comes within so long is answered together, unless a person says otherwise

    @property
    def scorer(self) -> Any:
        """Answers messages, and counts them."""
        ...

    @property
    def store(self) -> Any:
        """The state, for who watches it."""
        ...

    def summary(self) -> JsonObject:
        """What --json has beside the counts."""
        ...

    def close(self) -> None: ...


@dataclass
class EventAnswers:
    """Of a bundle that scores events."""

    scorer: StreamScorer
    turn_s: float = 0.0

    @classmethod
    def open(cls, options: StreamOptions, tell: TellFunction) -> EventAnswers:
        """InputError as EventScorer.open() raises it."""
        from deepseek.serve.scoring.messages import StreamScorer
        from deepseek.serve.scoring.scorer import EventScorer

        scorer = EventScorer.open(options.bundle, options.state, key=options.key)
        scorer.monitor.tell = tell
        try:
            scorer.warm_up()
            return cls(StreamScorer(scorer, alert_reasons(scorer) if options.reasons else None))
        except BaseException:
            scorer.close()
            raise

    @property
    def store(self) -> FeatureStore:
        return self.scorer.scorer.store

    def summary(self) -> JsonObject:
        return {"decisions": self.scorer.scorer.monitor.figures().to_dict()}

    def close(self) -> None:
        self.scorer.scorer.close()


@contextmanager
def expose_state(store: StateStore, port: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Answer Prometheus at a port of this machine: the state, this process, its disk. InputError when it is taken."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    from deepseek.observe.expose import serve_registry
    from deepseek.observe.metrics_status import DiskCollector, MemoryCollector, StateCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(StateCollector(store))
    registry.register(MemoryCollector())
    if store.folder is not None:
        registry.register(DiskCollector({"state": store.folder}))
    with serve_registry(registry, "127.0.0.1", port) as url:
        tell(f"metrics for Prometheus: {url}")
        yield
