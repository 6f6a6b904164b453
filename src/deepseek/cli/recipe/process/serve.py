"""`deepseek recipe process serve`: the page of a study, where operators ask and tell."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek recipe process serve line3
  curl -H 'Content-Type: application/json' -d '{"num": 1}' http://127.0.0.1:8040/ask
"""


@click.command(epilog=EPILOG, short_help="Serve the study's page.")
@click.argument("study", type=FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="Who reaches this address may ask and tell.")
@click.option("--port", default=8040, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@output.json_option
def command(study: Path, host: str, port: int, as_json: bool) -> None:
    """Serve the page of STUDY: what to try next, a form for what came out, the report. Programs POST to /ask and /tell.
    Ctrl-C ends it; what was told is on the disk already."""
    from deepseek.recipes.process.server import StudyServer
    from deepseek.recipes.process.verbs import report_study
    from deepseek.running import announce

    report_study(study)  # a study that is wrong is told now, and not to the first who opens the page
    server = StudyServer(study, host, port)
    output.note(f"the study is at {server.url} (Ctrl-C ends this)")
    output.emit({"study": str(study), "url": server.url}, as_json, server.url)
    with server, announce("process", study.resolve().name, server.url):
        server.serve_forever()
