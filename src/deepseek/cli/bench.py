"""`deepseek bench serve`: what a server answers a second, how late, and what CPU a request takes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, duration
from deepseek.cli.support.progress import Progress
from deepseek.errors import CheckError
from deepseek.look.numbers import count
from deepseek.look.numbers import duration as shown

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


def whole_numbers(most: int) -> Any:
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
        found: AbstractContextManager[Server] = launch_server(bundle, options)
    else:
        headers = key_header(api_key_file) if api_key_file else {}
        found = nullcontext(server_at(url or "", model, headers))
    with found as server:
        result: dict[str, Any] = {
            "model": server.model,
            "url": url,
            "bundle": bundle,
            "options": {name.strip("-").replace("-", "_"): value for name, value in started_only.items()},
            "client": client,
            "runs": measure_all(server, concurrency, rows, seconds, client),
        }
    result["warnings"] = run_warnings(result["runs"])
    output.warn(result["warnings"])
    output.emit(result, as_json, lambda: report(result))
    if not all(run["num_answers"] for run in result["runs"]):
        ctx.exit(CheckError.exit_code)


def _check_options(
    bundle: str | None, url: str | None, started_only: dict[str, Any], running_only: dict[str, Any]
) -> None:
    """Refuse options that do not go together."""
    if (bundle is None) == (url is None):
        raise click.UsageError("give a BUNDLE that is served for this, or --url of a server that runs: one of them")
    unused = started_only if bundle is None else running_only
    given = [name for name, value in unused.items() if value is not None]
    if given:
        reason = "the server at --url has its own settings" if bundle is None else "it is for a server at --url"
        raise click.UsageError(f"{given[0]} cannot be used here: {reason}")


def measure_all(
    server: Server, concurrency: tuple[int, ...], rows: tuple[int, ...], seconds: float, client: Literal["own", "wrk"]
) -> list[dict[str, Any]]:
    """One measurement after the other."""
    from deepseek.bench import Load, measure, refusal_reason

    progress = Progress()
    runs: list[dict[str, Any]] = []
    try:
        for num_rows in rows:
            request = server.example_request(num_rows)
            for num_connections in concurrency:
                share = len(runs) / (len(rows) * len(concurrency))
                progress(f"{count(num_rows)} rows a request, {count(num_connections)} connections", share)
                load = Load(num_connections, seconds, warmup_s=min(1.0, seconds / 2), client=client)
                runs.append(run_to_dict(measure(request, load, server.pid), num_rows, num_connections))
                runs[-1]["refusal"] = None if runs[-1]["num_answers"] else refusal_reason(request)
    finally:
        progress.close()
    return runs


def run_to_dict(found: LoadResult, num_rows: int, num_connections: int) -> dict[str, Any]:
    """One measurement as JSON. What is unknown is null there."""
    from deepseek.bench import ENGINES, FRONT_ENDS

    return {
        "rows": num_rows,
        "connections": num_connections,
        "num_answers": found.num_right,
        "num_failed": found.num_failed,
        "statuses": dict(found.statuses),
        "wall_s": found.wall_s,
        "requests_per_s": found.per_s,
        "rows_per_s": found.per_s * num_rows,
        **{f"p{share}_ms": 1e3 * found.quantile_s(share / 100) for share in (50, 90, 99)},
        "max_ms": 1e3 * found.max_s,
        "cpu_ms": 1e3 * found.cpu_s(),
        "front_end_cpu_ms": 1e3 * found.cpu_s(FRONT_ENDS),
        "engine_cpu_ms": 1e3 * found.cpu_s(ENGINES),
        "client_cpu_share": found.client_cpu_s / found.wall_s,
    }


def run_warnings(runs: list[dict[str, Any]]) -> list[str]:
    """What a reader of the figures should know."""
    found = []
    for run in runs:
        where = f"{count(run['rows'])} rows, {count(run['connections'])} connections"
        if run["refusal"] is not None:
            why = run["refusal"] or "One alone is: give more --seconds, or fewer --rows."
            found.append(f"{where}: no request was answered in time and right. {why}")
        if run["num_failed"]:
            by_status = ", ".join(
                f"{name if name != '0' else 'broken connections'}: {count(number)}"
                for name, number in run["statuses"].items()
                if name != "200"
            )
            found.append(f"{where}: not all requests were answered ({by_status})")
        if run["client_cpu_share"] > 0.9:
            found.append(f"{where}: the client used a whole core; the server may be faster than this")
    return found


def report(result: dict[str, Any]) -> list[object]:
    """A sentence and the table."""
    runs = result["runs"]
    best = max(runs, key=lambda run: run["rows_per_s"])
    if not best["num_answers"]:
        return [f"{result['model']}: no request was answered right"]
    sentence = (
        f"{result['model']}: {count(best['rows_per_s'])} rows a second with {count(best['rows'])} a request on "
        f"{count(best['connections'])} connections, 99 % of them within {shown(best['p99_ms'] / 1e3)}"
    )
    return [sentence, "", _table(runs)]


def _table(runs: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("rows", "connections", "requests/s", "rows/s", "p50", "p90", "p99", "CPU: front ends", "engines"):
        table.add_column(name, justify="right")
    for run in runs:
        times = ("p50_ms", "p90_ms", "p99_ms", "front_end_cpu_ms", "engine_cpu_ms")
        whole = (run["rows"], run["connections"], run["requests_per_s"], run["rows_per_s"])
        table.add_row(*map(count, whole), *(shown(run[name] / 1e3) for name in times))
    return table
