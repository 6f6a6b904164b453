"""`deepseek stream`: raw events from a stream, answers to another. The algorithm is in serve/streams."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.stream.fleet import is_machine_bundle
from deepseek.cli.stream.options import StreamOptions
from deepseek.cli.stream.replay import KINDS, ReplayOptions, run_replay, speed_of
from deepseek.cli.stream.wiring import stream
from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.features.machines.fleet import FleetVerification
    from deepseek.features.recovery import Verification

NOT_MET_EXIT_CODE = 3
REPLAY_OPTIONS = ("history", "speed", "inject", "seed", "html")
STREAM_OPTIONS = ("source", "sink", "stop_when_idle", "turn")

SECONDS = click.FloatRange(min=0.1)
ADDRESSES = "nats://HOST:PORT/SUBJECT, redis://HOST:PORT/KEY, - for lines, or frames:- for bytes, to read from."

EPILOG = """\b
Examples:
  deepseek stream cards --state state < payments.ndjson > answers.ndjson
  deepseek stream cards --state state --from nats://127.0.0.1:4222/payments --to nats://127.0.0.1:4222/answers
  deepseek stream cards --state state --from redis://127.0.0.1:6379/payments --to redis://127.0.0.1:6379/answers
  deepseek stream cards --replay july.parquet --speed 600 --inject card --html replay.html
  deepseek stream cards --replay july.parquet --history june.parquet --inject ring --json
  deepseek stream engines --state state --from nats://127.0.0.1:4222/sensors --to nats://127.0.0.1:4222/lives
  gateway | deepseek stream engines --state state --from frames:- --html fleet.html > lives.ndjson
  deepseek stream --verify state

\b
A message is an event, or a verdict: an object with the columns of ids and of labels alone. Each is answered by one
message, in order, once it is on the disk. Of a bundle of machines a message is a sensor row, a block of vibration, or
{"unit": NAME, "reset": true} where a person has looked at an alarm. Ctrl-C or SIGTERM finishes what was read.
A replay changes neither the table nor a state: --state DIR is copied. Verdicts come when the label delay is over.
"""


@click.command(epilog=EPILOG, short_help="Score raw events of a stream, or sensor rows of a fleet: lines, NATS, Redis.")
@click.argument("bundle", type=FOLDER, required=False)
@click.option(
    "--state", type=FOLDER, help="Folder of what is remembered of keys or machines; made where it is not there."
)
@click.option("--from", "source", default="-", metavar="ADDRESS", help=f"{ADDRESSES}  [default: -]")
@click.option("--to", "sink", default="-", metavar="ADDRESS", help="As --from.  [default: -]")
@click.option("--stop-when-idle", type=SECONDS, metavar="SECONDS", help="End when nothing came for so long.")
@click.option(
    "--turn",
    type=click.FloatRange(min=0, max=60_000),
    metavar="MS",
    help="Answer together what comes within so long.  [default: 0, of machines 80]",
)
@click.option("--reasons/--no-reasons", default=True, help="Say of alerts why.  [default: reasons]")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65_535), help="Tell Prometheus of the state there; 0: a free one."
)
@click.option("--verify", "verified", type=FOLDER, metavar="DIR", help="Check a state, and print its digest.")
@click.option("--key", type=FILE, help="Refuse a bundle that this public key did not sign.")
@click.option("--replay", "transactions", type=FILE, metavar="TRANSACTIONS", help="Play a table of past rows instead.")
@click.option(
    "--history",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Of a replay: earlier rows, played before without waiting, and not counted. May be repeated.",
)
@click.option(
    "--speed",
    default="max",
    show_default=True,
    metavar="X|max",
    callback=lambda _, __, text: speed_of(text),
    help="Of a replay: times real time; max waits for nothing.",
)
@click.option(
    "--inject",
    type=click.Choice(KINDS),
    multiple=True,
    help="Of a replay: plant a stolen card, a bad terminal or a ring into the rows. May be repeated.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**20), help="Of what is planted.")
@click.option("--html", type=FILE, help="Write a page there: of a replay, or of the fleet.")
@output.json_option
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path | None,
    state: Path | None,
    source: str,
    sink: str,
    stop_when_idle: float | None,
    turn: float | None,
    reasons: bool,
    metrics_port: int | None,
    verified: Path | None,
    key: Path | None,
    transactions: Path | None,
    history: tuple[Path, ...],
    speed: float | None,
    inject: tuple[str, ...],
    seed: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Answer the raw events of a stream by BUNDLE and a state, which each event changes. Nothing is lost, nothing
    counts twice, and order is kept, also when a server goes away and comes back."""
    if verified is not None:
        verdict = verify_state(verified)
        output.emit(verdict, as_json, lambda: describe_state(verified, verdict))
        if verdict["problems"]:
            ctx.exit(NOT_MET_EXIT_CODE)
        return
    is_fleet = bundle is not None and is_machine_bundle(bundle)
    if is_fleet and transactions is not None:
        raise click.UsageError("--replay plays events; give past sensor rows to deepseek predict --all")
    check_replay_options(ctx, transactions, ("html",) if is_fleet else ())
    if bundle is not None and transactions is not None:
        report = run_replay(
            ReplayOptions(bundle, transactions, state, history, speed, inject, seed, html, reasons, key)
        )
        output.warn(warning.en for warning in report.warnings)
        output.emit(report, as_json, report.summary_parts)
        return
    if bundle is None or state is None:
        raise click.UsageError("give a BUNDLE and --state DIR, or --replay TRANSACTIONS; or --verify DIR alone")
    if as_json and sink == "-":
        raise click.UsageError("--json prints one object, and --to - the answers: give --to an address")
    options = StreamOptions(bundle, state, source, sink, stop_when_idle, reasons, key, metrics_port,
                            None if turn is None else turn / 1e3, html)  # fmt: skip
    from deepseek.running import announce

    with announce("stream", bundle.resolve().name):
        counts = asyncio.run(stream(options))
    output.emit(counts, as_json, lambda: [] if sink == "-" else describe_counts(counts))


def check_replay_options(ctx: click.Context, transactions: Path | None, allowed: Sequence[str] = ()) -> None:
    """UsageError for options of a replay without one, unless they are `allowed`, and for those of a stream with one."""
    typed = {
        option.name: option.opts[0]
        for option in ctx.command.params
        if isinstance(option, click.Option)
        and option.name
        and ctx.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
    }
    names = REPLAY_OPTIONS if transactions is None else STREAM_OPTIONS
    if wrong := [typed[name] for name in names if name in typed and name not in allowed]:
        raise click.UsageError(f"{wrong[0]} {'needs' if transactions is None else 'does not go with'} --replay", ctx)


def verify_state(folder: Path) -> JsonObject:
    """Whether the folder of a state is whole, and the digest of what it holds."""
    from dataclasses import asdict

    from deepseek.features import FeatureStore
    from deepseek.features.machines.fleet import FleetStore, is_fleet

    verification: Verification | FleetVerification = (FleetStore if is_fleet(folder) else FeatureStore).verify(folder)
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
