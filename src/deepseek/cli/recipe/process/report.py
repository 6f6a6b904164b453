"""`deepseek recipe process report`: what was gained, at what risk, and what to try next."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER
from deepseek.files import atomic_file, check_writable

EPILOG = """\b
Examples:
  deepseek recipe process report line3
  deepseek recipe process report line3 --html line3.html --json
"""


@click.command(epilog=EPILOG, short_help="See what was gained, and what to try next.")
@click.argument("study", type=FOLDER)
@click.option("--html", type=FILE, help="Write a page there: what to try next and why, slices, front, gain and risk.")
@output.json_option
def command(study: Path, html: Path | None, as_json: bool) -> None:
    """Say what STUDY has gained over its start, at what risk, what to try next, and what more is to be expected."""
    if html is not None:
        check_writable(html)
    from deepseek.recipes.process.verbs import report_study

    result = report_study(study)
    if html is not None:
        from deepseek.recipes.process.page import render_page

        with atomic_file(html) as part:
            part.write_text(render_page(result), encoding="utf-8")
        output.note(f"the page is in {html}")
    output.emit(result, as_json, result.summary())
