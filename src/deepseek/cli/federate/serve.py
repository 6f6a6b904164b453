"""`deepseek federate serve`: the coordinator of a study."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek federate serve cards --key hub --port 8443 --out bundle
  deepseek federate serve cards --key hub --host 0.0.0.0 --port 8443 --out bundle --json

\b
Killed at any moment, it goes on from its last step when it is started again. Ctrl-C stops it.
"""


@click.command(epilog=EPILOG, short_help="Coordinate a study until it is over, and write its bundle.")
@click.argument("study", type=FOLDER)
@click.option("--key", type=FILE, required=True, help="Private key of the study's coordinator.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8443, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one.")
@click.option("--out", type=FOLDER, help="Write the bundle there, signed by the same key.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle at --out.")
@click.option("--module", metavar="FILE.py:NAME", help="Your own copy of the torch module that the study learns.")
@output.json_option
def command(
    study: Path, key: Path, host: str, port: int, out: Path | None, overwrite: bool, module: str | None, as_json: bool
) -> None:  # fmt: skip
    """Coordinate STUDY: ask its parties task by task, add what they answer, and write the bundle at the end. It sees
    what study.json says, and no row."""
    from deepseek.bundle import check_target
    from deepseek.privacy.parties.module_source import provide_module
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.transport.server import ServeOptions, serve_study

    if out is not None:
        check_target(out, overwrite=overwrite, key=key)
    announce = lambda url: output.note(f"the study is served at {url}")  # noqa: E731
    folder = open_study(study)
    provide_module(folder.study, module)
    report = serve_study(folder, ServeOptions(key, host, port, out, overwrite, announce=announce))
    output.emit(report, as_json, lambda: serve_parts(report))


def serve_parts(report: dict[str, object]) -> list[object]:
    """What the terminal shows at the end."""
    figures = report.get("figures")
    facts: list[tuple[str, object]] = [("study", report["name"]), ("parties in the last round", report["last_parties"])]
    facts += [(name, f"{value:.4g}") for name, value in figures.items()] if isinstance(figures, dict) else []
    facts += [("bundle", report["bundle"])] if "bundle" in report else []
    return [output.fact_table(facts)]
