"""`deepseek data card` and `deepseek data view`: what is in a table and its files, before anything learns from it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.ship import KINDS
from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER, assignment_of
from deepseek.cli.support.progress import Progress
from deepseek.errors import InputError
from deepseek.files import atomic_file, check_writable

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.data.view.card_schema import BrokenFile, DataCard

MAX_ROWS = 200

EPILOG = """\b
Examples:
  deepseek data card patients.csv --target covid --out card.json
  deepseek data view patients.csv --html look.html --rows 24
  deepseek data card patients.parquet --files scans --kind ecg=series --json

\b
A card has kinds, ranges and counts, no row and no name of a patient; broken files are named with row and what to do.
A page is one offline file of 2 MB at most: rows are added until it is full.
"""


@click.command(epilog=EPILOG, short_help="Look at a table and its files.")
@click.argument("what", type=click.Choice(("card", "view")), metavar="card|view")
@click.argument("data", type=FILE)
@click.option("--target", metavar="COL", help="What is to be predicted: its classes or numbers are in the card.")
@click.option("--files", type=FOLDER, help="Folder that paths in DATA lie below.  [default: that of DATA]")
@click.option("--kind", "kinds", multiple=True, metavar="COL=KIND", type=assignment_of(KINDS),
              help=f"Kind of a column: {', '.join(KINDS)}.")  # fmt: skip
@click.option("--out", type=FILE, help="card: write it there as JSON.")
@click.option("--html", type=FILE, help="view: write the page there.")
@click.option("--rows", type=click.IntRange(1, MAX_ROWS), help="view: how many are shown.  [default: 24]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="view: which rows are drawn.  [default: 0]")
@output.json_option
def command(
    what: str,
    data: Path,
    target: str | None,
    files: Path | None,
    kinds: tuple[tuple[str, str], ...],
    out: Path | None,
    html: Path | None,
    rows: int | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Say what DATA (CSV, Parquet or Arrow) holds, and what the files hold that its cells name: pictures, sounds,
    films, scans and series. Every file is decoded once."""
    if what == "view" and html is None:
        raise click.UsageError("--html FILE is missing: where is the page to be written?")
    strange = {"--html": html, "--rows": rows, "--seed": seed} if what == "card" else {"--out": out}
    for option, value in strange.items():
        if value is not None:
            raise click.UsageError(f"{option} is for deepseek data {'view' if what == 'card' else 'card'}")
    path = html if what == "view" else out
    if path is not None:
        check_writable(path)
    result, card, text = _build_output(what, data, target, files, dict(kinds), rows or 24, seed or 0)
    if path is not None:
        with atomic_file(path) as part:
            part.write_text(text, encoding="utf-8")
    output.emit(result, as_json, lambda: report(card, data.name))
    if path is not None:
        output.note(f"the {'page' if what == 'view' else 'card'} is in {path}")


def _build_output(
    what: str,
    data: Path,
    target: str | None,
    files: Path | None,
    kinds_by_column: dict[str, str],
    num_rows: int,
    seed: int,
) -> tuple[Mapping[str, object], DataCard, str]:
    """What --json prints, the card, and the text of the file."""
    from deepseek.data.table.read import read_table
    from deepseek.data.view.media_card import find_all_kinds, make_media_card

    table = read_table(data)
    root = files or data.resolve().parent
    if not root.is_dir():
        raise InputError(f"--files is {root}", expected="a folder", fix="name the folder of the files")
    if target is not None:
        table.column(target)
    kinds = find_all_kinds(table, root=root, target=target, overrides=kinds_by_column)
    with closing(Progress()) as progress:
        card = make_media_card(table, kinds, root=root, target=target, progress=progress)
        if what == "card":
            return card, card, json.dumps(card, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        from deepseek.data.view.page import data_page

        line = shlex.join(["deepseek", *sys.argv[1:]])
        page, shown = data_page(
            table, kinds, card, root=root, name=data.name, num_rows=num_rows, seed=seed, command=line,
            progress=progress,
        )  # fmt: skip
    facts = {
        "num_rows": card["num_rows"], "rows": shown, "seed": seed, "num_files": card["num_files"],
        "num_broken": card["num_broken"], "size_bytes": len(page.encode()),
    }  # fmt: skip
    return facts, card, page


def report(card: DataCard, name: str) -> list[object]:
    """The answer in one sentence, what is broken, then a line for each column."""
    from deepseek.data.view.media_words import broken_rows, describe_copies, headline

    parts: list[object] = [headline(card, output.escape_text(name)).en]
    if broken := broken_rows(card):
        parts += ["", _broken_table(broken)]
        if card["num_broken"] > len(broken):
            parts.append(
                f"and {output.format_value(card['num_broken'] - len(broken))} more; --json has 20 of each column"
            )
    parts += ["", _column_table(card)]
    return [*parts, *(output.escape_text(words.en) for words in describe_copies(card))]


def _broken_table(broken: Sequence[tuple[int, str, BrokenFile]]) -> Table:
    table = output.make_table("row", "column", "what is wrong", "what to do", value_justify="left")
    for row, name, fault in broken:
        table.add_row(str(row), *(output.escape_text(text) for text in (name, fault["message"], fault["fix"])))
    return table


def _column_table(card: DataCard) -> Table:
    from deepseek.data.view.media_words import describe_entry, missing_count

    table = output.make_table("column", "kind", "missing", "broken", "what it holds")
    table.columns[1].justify = table.columns[4].justify = "left"
    for entry in card["columns"]:
        broken = output.format_value(entry["num_broken"]) if "num_broken" in entry else ""
        words = (output.escape_text(entry["name"]), entry["kind"], missing_count(entry, card), broken)
        table.add_row(*words, output.escape_text(describe_entry(entry).en))
    return table
