"""`deepseek stream`: raw events from a stream, answers to another. The algorithm is in serve/streams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.stream.wiring import StreamOptions, stream
from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.features.recovery import Verification

NOT_MET_EXIT_CODE = 3

SECONDS = click.FloatRange(min=0.1)
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
@click.option("--stop-when-idle", type=SECONDS, metavar="SECONDS", help="End when nothing came for so long.")
@click.option("--reasons/--no-reasons", default=True, help="Say of alerts why.  [default: reasons]")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65_535), help="Tell Prometheus of the state there; 0: a free one."
)
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
    metrics_port: int | None,
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
    options = StreamOptions(bundle, state, source, sink, stop_when_idle, reasons, key, metrics_port)
    counts = asyncio.run(stream(options))
    output.emit(counts, as_json, lambda: [] if sink == "-" else describe_counts(counts))


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
