"""`deepseek label serve`: the page where people label."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek label serve claims
  deepseek label serve claims --host 0.0.0.0 --port 8050
  deepseek label serve claims --no-choose
"""


@click.command(epilog=EPILOG, short_help="Serve the page where people label.")
@click.argument("project", type=FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond this machine people need keys.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--choose/--no-choose", default=True, show_default=True,
              help="Choose what to label next anew after every 20 labels, in a process of its own.")  # fmt: skip
@output.json_option
def command(project: Path, host: str, port: int, choose: bool, as_json: bool) -> None:
    """Serve the page of PROJECT. What was acknowledged is on the disk, whatever ends this; the page keeps what it could
    not send, and sends it later. Behind a name or TLS, put a proxy before it."""
    from deepseek.automl.label.page.refresh import QueueRefresher
    from deepseek.automl.label.page.server import LabelServer
    from deepseek.extras import install_advice, is_installed
    from deepseek.running import announce

    if choose and not is_installed("sklearn"):
        output.warn(
            [f"what to label next is left to chance: scikit-learn is not installed ({install_advice('tabular')})"]
        )
        choose = False
    with LabelServer(project, host, port) as server:
        server.refresher = QueueRefresher(project) if choose else None
        signal.signal(signal.SIGTERM, _interrupt)
        output.note(f"label at {server.url} (Ctrl-C ends this)")
        output.emit({"project": str(project), "url": server.url}, as_json, server.url)
        sys.stdout.flush()  # who waits for the address reads it from a pipe
        with announce("label", project.resolve().name, server.url):
            server.serve_forever()


def _interrupt(*_: object) -> None:
    """SIGTERM ends the server as Ctrl-C does."""
    raise KeyboardInterrupt
