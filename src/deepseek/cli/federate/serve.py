"""`deepseek federate serve`: the coordinator of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.privacy.study.definition import StudyFolder
    from deepseek.privacy.transport.server import ServeOptions

EPILOG = """\b
Examples:
  deepseek federate serve cards --key hub --port 8443 --out bundle
  deepseek federate serve cards --key hub --host 0.0.0.0 --port 8443 --out bundle --json
  deepseek federate serve loans --key bank --data bank.csv --host 0.0.0.0 --out bank-half
  deepseek federate serve loans --key shop --data shop.csv --host 0.0.0.0 --half shop-half

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
@click.option("--data", type=FILE, help="Of a vertical study: the table of the house with the target, which serves it.")
@click.option("--half", type=FOLDER, help="Of a vertical study that is over: serve this half's scores of --data.")
@output.json_option
def command(
    study: Path, key: Path, host: str, port: int, out: Path | None, overwrite: bool, module: str | None,
    data: Path | None, half: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Coordinate STUDY: ask its parties task by task, add what they answer, and write the bundle at the end. It sees
    what study.json says, and no row.

    Of a study of two houses with other columns of the same people the house with the target serves, with --data: it
    replies to the other house, and writes its half of the model. Once it is over the other house serves, with --half
    and --data: partial scores of its people, for `predict --with`."""
    from deepseek.bundle import check_target
    from deepseek.privacy.parties.module_source import provide_module
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.transport.server import ServeOptions, serve_study
    from deepseek.running import announce

    if out is not None:
        check_target(out, overwrite=overwrite, key=key)
    options = ServeOptions(
        key, host, port, out, overwrite, announce=lambda url: output.note(f"the study is served at {url}")
    )
    folder = open_study(study)
    if folder.study.vertical is not None:
        with announce("study", study.resolve().name):
            report = _serve_house(folder, data, half, options)
        output.emit(report, as_json, lambda: serve_parts(report))
        return
    if data is not None or half is not None:
        raise click.UsageError("--data and --half are for a vertical study; the coordinator of another has no rows")
    provide_module(folder.study, module)
    with announce("study", study.resolve().name):
        report = serve_study(folder, options)
    output.emit(report, as_json, lambda: serve_parts(report))


def _serve_house(folder: StudyFolder, data: Path | None, half: Path | None, options: ServeOptions) -> JsonObject:
    """A house of a vertical study: the one with the target in the study, the other one after it."""
    from deepseek.data import read_table
    from deepseek.privacy.vertical.server import serve_answers, serve_house

    if data is None:
        raise click.UsageError("the study is vertical: name the table of this house by --data")
    if half is not None:
        return serve_answers(folder, half, read_table(data), options)
    return serve_house(folder, read_table(data), options)


def serve_parts(report: dict[str, object]) -> list[object]:
    """What the terminal shows at the end."""
    figures = report.get("figures")
    facts: list[tuple[str, object]] = [("study", report["name"])]
    facts += [("parties in the last round", report["last_parties"])] if "last_parties" in report else []
    facts += [("rows that both houses have", report["num_shared_rows"])] if "num_shared_rows" in report else []
    facts += [(name, f"{value:.4g}") for name, value in figures.items()] if isinstance(figures, dict) else []
    facts += [("bundle", report["bundle"])] if "bundle" in report else []
    return [output.fact_table(facts)]
