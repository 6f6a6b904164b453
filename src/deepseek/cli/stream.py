"""`deepseek stream`: raw events from a stream, answers to another. The algorithm is in serve/streams."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER
from deepseek.cli.support.serving import explainer_of, reasons_for

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.features.recovery import Verification
    from deepseek.serve.scoring.scorer import EventScorer, ScoredEvents
    from deepseek.serve.streams.stream import FindReasons

NOT_MET_EXIT_CODE = 3
NUM_REASONS = 3

ADDRESSES = "nats://HOST:PORT/SUBJECT, redis://HOST:PORT/KEY, or - for lines."

EPILOG = """\b
Examples:
  deepseek stream cards --state state < payments.ndjson > answers.ndjson
  deepseek stream cards --state state --from nats://127.0.0.1:4222/payments --to nats://127.0.0.1:4222/answers
  deepseek stream cards --state state --from redis://127.0.0.1:6379/payments --to redis://127.0.0.1:6379/answers
  deepseek stream --verify state

\b
A message is an event, or a verdict: an object with the columns of ids and of labels alone. Each is answered by one
message, in order, once it is on the disk. Ctrl-C or SIGTERM finishes what was read.
"""


@click.command(epilog=EPILOG, short_help="Score raw events of a stream: lines, NATS, Redis.")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--state", type=FOLDER, help="Folder of what is remembered of keys; made where it is not there.")
@click.option("--from", "source", default="-", metavar="ADDRESS", help=f"{ADDRESSES}  [default: -]")
@click.option("--to", "sink", default="-", metavar="ADDRESS", help="As --from.  [default: -]")
@click.option("--stop-when-idle", type=click.FloatRange(min=0.1), metavar="SECONDS", help="End after so long alone.")
@click.option("--reasons/--no-reasons", default=True, help="Say of alerts why.  [default: reasons]")
@click.option("--verify", "verified", type=FOLDER, metavar="DIR", help="Check a state, and print its digest.")
@click.option("--key", type=FILE, help="Refuse a bundle that this public key did not sign.")
@output.json_option
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path | None,
    state: Path | None,
    source: str,
    sink: str,
    stop_when_idle: float | None,
    reasons: bool,
    verified: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Answer the raw events of a stream by BUNDLE and a state, which each event changes. Nothing is lost, nothing
    counts twice, and order is kept, also when a server goes away and comes back."""
    if verified is not None:
        report = verify_state(verified)
        output.emit(report, as_json, lambda: describe_state(verified, report))
        if report["problems"]:
            ctx.exit(NOT_MET_EXIT_CODE)
        return
    if bundle is None or state is None:
        raise click.UsageError("give a BUNDLE and --state DIR, or --verify DIR")
    if as_json and sink == "-":
        raise click.UsageError("--json prints one object, and --to - the answers: give --to an address")
    options = StreamOptions(bundle, state, source, sink, stop_when_idle, reasons, key)
    counts = asyncio.run(stream(options))
    output.emit(counts, as_json, lambda: [] if sink == "-" else describe_counts(counts))


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
    from deepseek.serve.scoring.scorer import EventScorer
    from deepseek.serve.streams.ends import open_sink, open_source
    from deepseek.serve.streams.stream import StreamScorer, run_stream

    def tell(sentence: str) -> None:
        output.warn([sentence])

    source = open_source(options.source, tell, options.stop_when_idle_s)
    sink = open_sink(options.sink, tell)
    scorer = EventScorer.open(options.bundle, options.state, key=options.key)
    try:
        scorer.warm_up()
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stopping.set)
        answering = StreamScorer(scorer, find_reasons_by(scorer) if options.reasons else None)
        number = await run_stream(answering, source, sink, stopping)
    finally:
        scorer.close()
    return {"bundle": str(options.bundle), "num_messages": number, "counts": answering.counts}


def find_reasons_by(scorer: EventScorer) -> FindReasons:
    """What explains alerts; the explainer is made when there is the first."""
    explainers: list[Any] = []

    def find_reasons(scored: ScoredEvents) -> Sequence[bytes]:
        from deepseek.serve.core.json_body import encode_json

        if not explainers:
            explainers.append(explainer_of(scorer.runtime))
        attribution = explainers[0].explain(scored.alert_inputs)
        texts = []
        for row, values in enumerate(scored.alert_values.tolist()):
            record = scorer.describe(values)
            sentences = reasons_for(attribution, record, NUM_REASONS, row=row, outcome=scorer.runtime.manifest.target)
            texts.append(encode_json(sentences))
        return texts

    return find_reasons


def verify_state(folder: Path) -> JsonObject:
    """Whether the folder of a state is whole, and the digest of what it holds."""
    from dataclasses import asdict

    from deepseek.features import FeatureStore

    verification: Verification = FeatureStore.verify(folder)
    return {**asdict(verification), "problems": list(verification.problems)}


def describe_state(folder: Path, report: JsonObject) -> list[object]:
    """The verdict in one line, then each problem."""
    if report["problems"]:
        return [f"{folder}: {len(report['problems'])} problems", *(f"  {problem}" for problem in report["problems"])]
    return [f"{folder}: whole; {report['num_events']:,} events, digest of the state {report['digest'][:16]}"]


def describe_counts(counts: JsonObject) -> list[object]:
    """How many messages had which answer."""
    shown = ", ".join(f"{number:,} {name}" for name, number in sorted(counts["counts"].items()))
    return [f"{counts['num_messages']:,} messages: {shown or 'none'}"]
