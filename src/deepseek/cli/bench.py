"""`deepseek bench serve`: what a server answers a second, how late, and what CPU a request takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, duration
from deepseek.cli.support.progress import Progress
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError
from deepseek.look.numbers import count
from deepseek.look.numbers import duration as format_duration

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.bench import LoadResult, Server

MAX_CONNECTIONS, MAX_ROWS = 10_000, 100_000

EPILOG = """\b
Examples:
  deepseek bench serve loans
  deepseek bench serve ./all-MiniLM --concurrency 1,32,128 --seconds 10
  deepseek bench serve loans --rows 1,100,1000 --front-ends 2 --workers 1 --json
  deepseek bench serve --url http://127.0.0.1:8000 --model loans --api-key-file key.txt

\b
A client in a process of its own sends the model's example, the next when the last was answered; one row as a record,
more as positional arrays. CPU is that of all processes of the server (Linux, not with --url).
Exit code 3 where no request was answered right.
"""


def whole_numbers(most: int) -> Callable[[click.Context, click.Parameter, str], tuple[int, ...]]:
    """Whole numbers with commas between, from 1 to `most`."""

    def read(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdecimal() and len(part) < 10 and 1 <= int(part) <= most for part in parts):
            raise click.BadParameter(f"{text!r} is not whole numbers from 1 to {most}, such as 1,32,128")
        return tuple(dict.fromkeys(map(int, parts)))

    return read


@click.command(epilog=EPILOG, short_help="Measure a server under load.")
@click.argument("what", type=click.Choice(("serve",)), metavar="serve", expose_value=False)
@click.argument("bundle", required=False)
@click.option("--concurrency", default="1,32,128", show_default=True, callback=whole_numbers(MAX_CONNECTIONS),
              help="Connections, each with one request at a time.")  # fmt: skip
@click.option("--rows", default="1", show_default=True, callback=whole_numbers(MAX_ROWS), help="Rows of a request.")
@click.option("--seconds", type=duration, default="5", show_default=True, help="Of each measurement.")
@click.option("--front-ends", type=click.IntRange(1, 64), help="Of the server that is started.  [default: 1]")
@click.option("--workers", help="Its engine processes, or auto: one a core.  [default: auto]")
@click.option("--batch-size", type=click.IntRange(1), help="Rows that it computes together.  [default: 32]")
@click.option("--url", help="Measure the server that runs there instead.")
@click.option("--model", help="One of its models.  [default: the first]")
@click.option("--api-key-file", type=FILE, help="Holds the API key that it asks for.")
@click.option("--client", type=click.Choice(("own", "wrk")), default="own", show_default=True,
              help="wrk takes less CPU, where it is installed.")  # fmt: skip
@output.json_option
@click.pass_context
def command(
    ctx: click.Context,
    bundle: str | None,
    concurrency: tuple[int, ...],
    rows: tuple[int, ...],
    seconds: float,
    front_ends: int | None,
    workers: str | None,
    batch_size: int | None,
    url: str | None,
    model: str | None,
    api_key_file: Path | None,
    client: Literal["own", "wrk"],
    as_json: bool,
) -> None:
    """Measure how a bundle or a model folder is served: throughput, latency and CPU for each number of connections."""
    started_only = {"--front-ends": front_ends, "--workers": workers, "--batch-size": batch_size}
    running_only = {"--url": url, "--model": model, "--api-key-file": api_key_file}
    _check_options(bundle, url, started_only, running_only)
    from deepseek.extras import need

    for module in ("httptools", "msgspec", "orjson", "prometheus_client"):
        need(module, extra="serve")
    from deepseek.bench import launch_server, server_at
    from deepseek.bench.server import key_header

    if bundle is not None:
        options = [word for name, value in started_only.items() if value is not None for word in (name, str(value))]
        opening: AbstractContextManager[Server] = launch_server(bundle, options)
    else:
        headers = key_header(api_key_file) if api_key_file else {}
        opening = nullcontext(server_at(url or "", model, headers))
    with opening as server:
        runs, name = measure_all(server, concurrency, rows, seconds, client), server.model
    result: JsonObject = {
        "model": name,
        "url": url,
        "bundle": bundle,
        "options": {option.strip("-").replace("-", "_"): value for option, value in started_only.items()},
        "client": client,
        "runs": [asdict(run) for run in runs],
        "warnings": run_warnings(runs),
    }
    output.warn(result["warnings"])
    output.emit(result, as_json, lambda: report(name, runs))
    if not all(run.num_answers for run in runs):
        ctx.exit(CheckError.exit_code)


def _check_options(
    bundle: str | None, url: str | None, started_only: Mapping[str, object], running_only: Mapping[str, object]
) -> None:
    """Refuse options that do not go together."""
    if (bundle is None) == (url is None):
        raise click.UsageError("give a BUNDLE that is served for this, or --url of a server that runs: one of them")
    unused = started_only if bundle is None else running_only
    misplaced = [name for name, value in unused.items() if value is not None]
    if misplaced:
        reason = "the server at --url has its own settings" if bundle is None else "it is for a server at --url"
        raise click.UsageError(f"{misplaced[0]} cannot be used here: {reason}")


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One measurement, as --json holds it; what is unknown is NaN here and null there."""

    rows: int  # of a request
    connections: int
    num_answers: int  # with status 200
    num_failed: int
    statuses: dict[str, int]  # answers by status; "0": connections that broke
    wall_s: float
    requests_per_s: float
    rows_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cpu_ms: float  # of the server, a request
    front_end_cpu_ms: float
    engine_cpu_ms: float
    client_cpu_share: float  # of one core
    refusal: str | None  # why no request was answered; None where some were

    @classmethod
    def of(cls, load: LoadResult, num_rows: int, num_connections: int, refusal: str | None) -> LoadRun:
        """The figures of a measured load."""
        from deepseek.bench import ENGINES, FRONT_ENDS

        return cls(
            rows=num_rows, connections=num_connections, num_answers=load.num_right, num_failed=load.num_failed,
            statuses=dict(load.statuses), wall_s=load.wall_s, requests_per_s=load.per_s,
            rows_per_s=load.per_s * num_rows, p50_ms=1e3 * load.quantile_s(0.5), p90_ms=1e3 * load.quantile_s(0.9),
            p99_ms=1e3 * load.quantile_s(0.99), max_ms=1e3 * load.max_s, cpu_ms=1e3 * load.cpu_s(),
            front_end_cpu_ms=1e3 * load.cpu_s(FRONT_ENDS), engine_cpu_ms=1e3 * load.cpu_s(ENGINES),
            client_cpu_share=load.client_cpu_s / load.wall_s, refusal=refusal,
        )  # fmt: skip


def measure_all(
    server: Server, concurrency: tuple[int, ...], rows: tuple[int, ...], seconds: float, client: Literal["own", "wrk"]
) -> list[LoadRun]:
    """One measurement after the other."""
    from deepseek.bench import Load, measure, refusal_reason

    runs: list[LoadRun] = []
    with closing(Progress()) as progress:
        for num_rows in rows:
            request = server.example_request(num_rows)
            for num_connections in concurrency:
                share = len(runs) / (len(rows) * len(concurrency))
                progress(f"{count(num_rows)} rows a request, {count(num_connections)} connections", share)
                load = Load(num_connections, seconds, warmup_s=min(1.0, seconds / 2), client=client)
                measured = measure(request, load, server.pid)
                refusal = None if measured.num_right else refusal_reason(request)
                runs.append(LoadRun.of(measured, num_rows, num_connections, refusal))
    return runs


def run_warnings(runs: Sequence[LoadRun]) -> list[str]:
    """What a reader of the figures should know."""
    warnings = []
    for run in runs:
        where = f"{count(run.rows)} rows, {count(run.connections)} connections"
        if run.refusal is not None:
            why = run.refusal or "One alone is: give more --seconds, or fewer --rows."
            warnings.append(f"{where}: no request was answered in time and right. {why}")
        if run.num_failed:
            by_status = ", ".join(
                f"{name if name != '0' else 'broken connections'}: {count(number)}"
                for name, number in run.statuses.items()
                if name != "200"
            )
            warnings.append(f"{where}: not all requests were answered ({by_status})")
        if run.client_cpu_share > 0.9:
            warnings.append(f"{where}: the client used a whole core; the server may be faster than this")
    return warnings


def report(model: str, runs: Sequence[LoadRun]) -> list[object]:
    """A sentence and the table."""
    best = max(runs, key=lambda run: run.rows_per_s)
    if not best.num_answers:
        return [f"{model}: no request was answered right"]
    sentence = (
        f"{model}: {count(best.rows_per_s)} rows a second with {count(best.rows)} a request on "
        f"{count(best.connections)} connections, 99 % of them within {format_duration(best.p99_ms / 1e3)}"
    )
    return [sentence, "", _table(runs)]


def _table(runs: Sequence[LoadRun]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("rows", "connections", "requests/s", "rows/s", "p50", "p90", "p99", "CPU: front ends", "engines"):
        table.add_column(name, justify="right")
    for run in runs:
        counts = (run.rows, run.connections, run.requests_per_s, run.rows_per_s)
        times_ms = (run.p50_ms, run.p90_ms, run.p99_ms, run.front_end_cpu_ms, run.engine_cpu_ms)
        table.add_row(*map(count, counts), *(format_duration(time_ms / 1e3) for time_ms in times_ms))
    return table
