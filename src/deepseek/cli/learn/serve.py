"""`deepseek learn serve`: the path as a page."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek learn serve
  deepseek learn serve --port 0 --folder work
"""


@click.command(epilog=EPILOG, short_help="Serve the path as a page.")
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine.")
@click.option("--port", default=8060, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--folder", type=FOLDER, default=Path(), help="Where labs are begun.  [default: here]")
@output.json_option
def command(host: str, port: int, folder: Path, as_json: bool) -> None:
    """Serve the map, the tasks beside what the last check said, and the skills. It runs what you have written when you
    press Check, and is served to this machine alone."""
    from deepseek.learn.page.server import LearnServer
    from deepseek.learn.verbs import open_path
    from deepseek.running import announce

    with LearnServer(open_path(), host, port, folder) as server:
        signal.signal(signal.SIGTERM, _interrupt)
        output.note(f"learn at {server.url} (Ctrl-C ends this)")
        output.emit({"url": server.url}, as_json, server.url)
        sys.stdout.flush()  # who waits for the address reads it from a pipe
        with announce("learn", "deepseek learn", server.url):
            server.serve_forever()


def _interrupt(*_: object) -> None:
    """SIGTERM ends the server as Ctrl-C does."""
    raise KeyboardInterrupt
