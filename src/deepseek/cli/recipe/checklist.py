"""`deepseek recipe checklist`: a law or a circular becomes the checklist that `recipe compliance` reads."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE
from deepseek.files import atomic_file, check_writable

EPILOG = """\b
Examples:
  deepseek recipe checklist --example --out checklist.toml --html checklist.html
  deepseek recipe checklist regulation.pdf --out checklist.toml --html checklist.html
  deepseek recipe checklist new.docx --previous checklist.toml --out checklist-2.toml --html changes.html
  deepseek recipe checklist rules.txt --accept --out checklist.toml
  deepseek recipe compliance checklist.toml --train contracts --out review
"""


@click.command(epilog=EPILOG, short_help="A regulation becomes its checklist.")
@click.argument("regulation", type=FILE, required=False)
@click.option(
    "--example", is_flag=True, help="Run on a short regulation of our own; with --chinese on its Chinese text."
)
@click.option("--chinese", is_flag=True, help="The example in Chinese.")
@click.option("--out", type=FILE, required=True, help="Write the checklist there, as TOML.")
@click.option("--html", type=FILE, help="Write the page there on which lines are accepted, edited or struck.")
@click.option("--previous", type=FILE, help="The checklist of the regulation as it was: what was decided is kept.")
@click.option("--accept", is_flag=True, help="Accept the obligations and prohibitions that words decide.")
@click.option("--name", default="", help="Name of the checklist.  [default: the regulation's title]")
@click.option("--overwrite", is_flag=True, help="Replace a checklist that is there.")
@output.json_option
def command(
    regulation: Path | None, example: bool, chinese: bool, out: Path, html: Path | None, previous: Path | None,
    accept: bool, name: str, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find what REGULATION (.txt, .md, .html, .docx, .pdf; English or Chinese) lays down: each obligation, prohibition,
    permission, deadline, threshold and penalty is one line, with its subject, its condition, its clause word for word,
    what would show it, and a question that a review can answer. A line says whether words decided or the model."""
    if (regulation is None) == (not example):
        raise click.UsageError("give either REGULATION or --example, not both and not neither")
    from deepseek.citations.documents import read_document
    from deepseek.errors import InputError
    from deepseek.recipes.checklist.example import write_example_text
    from deepseek.recipes.checklist.lines import write_lines
    from deepseek.recipes.checklist.page import render_page
    from deepseek.recipes.checklist.run import ChecklistOptions, make_checklist

    if out.exists() and not overwrite:
        raise InputError(f"{out} is there", expected="a new file", fix="--overwrite, or another name")
    for path in (out, html):
        if path is not None:
            check_writable(path)
    options = ChecklistOptions(accept, previous, name, shlex.join(["deepseek", *sys.argv[1:]]))
    with tempfile.TemporaryDirectory(prefix="deepseek-checklist-") as scratch:
        if regulation is None:
            file, text = write_example_text(chinese)
            regulation = Path(scratch) / file
            regulation.write_text(text, encoding="utf-8")
        result = make_checklist(read_document(regulation), options)
    write_lines(out, result.name, result.lines)
    if html is not None:
        with atomic_file(html) as part:
            part.write_text(render_page(result), encoding="utf-8")
    output.note_written({"checklist": out, "page": html}, is_signed=False)
    output.emit(result, as_json, result.summary_parts)
