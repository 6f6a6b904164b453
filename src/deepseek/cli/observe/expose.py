"""`deepseek observe expose`: metrics of runs and of drift, for Prometheus. The work is in observe/expose.py."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import click

from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek observe expose runs/first runs/second
  deepseek observe expose runs/first drift.json --port 9109
  deepseek observe expose study --port 9109

\b
The first line on stdout is {"event": "ready", "url", "names"}. Ctrl-C or SIGTERM ends it.
"""


@click.command(epilog=EPILOG, short_help="Metrics of training runs and of drift.")
@click.argument("paths", nargs=-1, required=True, type=FOLDER, metavar="RUN|STUDY|DRIFT.json...")
@click.option("--host", default="127.0.0.1", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", default=9109, type=click.IntRange(0, 65_535), help="0 picks a free one.  [default: 9109]")
@click.option("--json", is_flag=True, expose_value=False, help="The ready line is JSON in any case.")
def command(paths: tuple[Path, ...], host: str, port: int) -> None:
    """Tell Prometheus of what has no server of its own: runs of `deepseek train` and studies of `federate serve` by
    their folders, and documents that `deepseek observe drift --json` printed. They are read when Prometheus asks;
    nothing else is done."""
    from deepseek.extras import need

    need("prometheus_client", extra="serve")
    from deepseek.observe.expose import Exposer, serve_registry

    exposer = Exposer(paths)
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with serve_registry(exposer.registry, host, port) as url:
        click.echo(json.dumps({"event": "ready", "url": url, "names": list(exposer.names)}))
        signal.sigwait(ends)
