"""`deepseek federate page`: a study as a page."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek federate page cards-bundle --out cards.html
  deepseek federate page cards --out cards.html
"""


@click.command(epilog=EPILOG, short_help="Show a study as a page: parties, rounds, curves, what left each house.")
@click.argument("source", type=FOLDER, metavar="BUNDLE|STUDY")
@click.option("--out", type=FILE, required=True, help="Write the page there.")
@output.json_option
def command(source: Path, out: Path, as_json: bool) -> None:
    """Write one offline page of a finished study by its BUNDLE, or of one that goes on by the STUDY folder of its
    coordinator."""
    from deepseek.files import atomic_file, check_writable
    from deepseek.privacy.bundles.page import read_study_page, render_study

    check_writable(out)
    page = read_study_page(source)
    with atomic_file(out) as part:
        part.write_text(render_study(page), encoding="utf-8")
    report = {
        "page": str(out), "study": page.study.digest, "name": page.study.name, "is_over": page.is_over,
        "num_rounds": page.transcript.num_training_rounds, "parties": [party.name for party in page.study.parties],
    }  # fmt: skip
    output.emit(report, as_json, lambda: [f"{out}: study {page.study.name}, {report['num_rounds']} rounds"])
