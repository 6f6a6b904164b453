"""`deepseek data card`, `view` and `clean`: what is in a table and its files, and what is wrong with it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.ship import KINDS
from deepseek.cli.support import cleaning, output
from deepseek.cli.support.options import BUNDLE, FILE, FOLDER, assignment_of
from deepseek.cli.support.progress import Progress
from deepseek.errors import InputError
from deepseek.files import atomic_file, check_writable

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.data.table.table import Table as DataTable
    from deepseek.data.view.card_schema import BrokenFile, DataCard, ShipRefusal

MAX_ROWS = 200
MAX_PICTURES = 2_000  # of a gallery, as data.view.gallery has it
MIN_HIDDEN = 4  # characters of a withheld text that is looked for in the words of a refusal: shorter ones are in any

EPILOG = """\b
Examples:
  deepseek data card patients.csv --target covid --out card.json
  deepseek data view patients.csv --html look.html --rows 24
  deepseek data view parts.csv --html look.html --target defect --bundle defects
  deepseek data card patients.parquet --files scans --kind ecg=series --json
  deepseek data clean loans.csv --target default --out patch.csv --html clean.html
  deepseek data clean loans.csv --target default --apply patch.csv --out loans-clean.csv
  deepseek data clean parts --out patch.csv

\b
A card has kinds, ranges and counts, no row, and no value of a column that may name people: it says which and why.
Broken files are named with row and what to do. With --target it says what ship will refuse.
A page is one offline file of 2 MB at most: a gallery of up to 2,000 pictures, by class and by size, with --bundle by
the model's error (1 - probability of the truth) and by the surprise that it expects (entropy of its answer in bits),
too; then rows, until it is full.
clean looks for wrong labels (by models that have not seen the row), near duplicates, copies in two groups, cells and
rows far from all others, empty rows and broken files; in a folder for empty and broken files and copies. It changes
nothing: --out is a patch in which a person accepts or rejects each line, --apply makes a new file of what was accepted.
"""


@click.command(epilog=EPILOG, short_help="Look at a table and its files.")
@click.argument("what", type=click.Choice(("card", "view", "clean")), metavar="card|view|clean")
@click.argument("data", type=FILE)
@click.option("--target", metavar="COL", help="What is to be predicted: its classes or numbers are in the card.")
@click.option("--files", type=FOLDER, help="Folder that paths in DATA lie below.  [default: that of DATA]")
@click.option("--kind", "kinds", multiple=True, metavar="COL=KIND", type=assignment_of(KINDS),
              help=f"Kind of a column: {', '.join(KINDS)}.")  # fmt: skip
@click.option("--out", type=FILE, help="card: write it there as JSON. clean: the patch, or with --apply the new rows.")
@click.option("--html", type=FILE, help="view, clean: write the page there.")
@click.option("--rows", type=click.IntRange(1, MAX_ROWS), help="view: how many are shown one by one.  [default: 24]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="view: which rows are drawn; clean: the folds.  "
              "[default: 0]")  # fmt: skip
@click.option("--pictures", type=click.IntRange(1, MAX_PICTURES), help="view: how many the gallery shows at most.  "
              f"[default: {MAX_PICTURES:,}]")  # fmt: skip
@click.option("--column", metavar="COL", help="view: the pictures of the gallery.  [default: the first column of them]")
@click.option("--bundle", type=BUNDLE, help="view: sort pictures by what this bundle says of them, too.")
@click.option("--group", metavar="COL", help="clean: rows of one customer or patient; copies in two are named.")
@click.option("--apply", "patch", type=FILE, help="clean: a patch with decisions, as --out FILE.")
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
    pictures: int | None,
    column: str | None,
    bundle: Path | None,
    group: str | None,
    patch: Path | None,
    as_json: bool,
) -> None:
    """Say what DATA (CSV, Parquet or Arrow) holds, and what the files hold that its cells name: pictures, sounds,
    films, scans and series. Every file is decoded once."""
    of_clean = {"--group": group, "--apply": patch}
    if what == "clean":
        _refuse({"--rows": rows, "--pictures": pictures, "--column": column, "--bundle": bundle}, "card or view")
        cleaning.clean(data, target, files, dict(kinds), out, html, group, patch, seed or 0, as_json)
        return
    _refuse(of_clean, "clean")
    if what == "view" and html is None:
        raise click.UsageError("--html FILE is missing: where is the page to be written?")
    of_view = {
        "--html": html, "--rows": rows, "--seed": seed, "--pictures": pictures, "--column": column, "--bundle": bundle,
    }  # fmt: skip
    _refuse(of_view if what == "card" else {"--out": out}, "view" if what == "card" else "card")
    path = html if what == "view" else out
    if path is not None:
        check_writable(path)
    job = _Job(data, target, files, dict(kinds), rows or 24, seed or 0, pictures or MAX_PICTURES, column, bundle)
    result, card, text = _make_card(job) if what == "card" else _make_page(job)
    if path is not None:
        with atomic_file(path) as part:
            part.write_text(text, encoding="utf-8")
    output.emit(result, as_json, lambda: report(card, data.name))
    if path is not None:
        output.note(f"the {'page' if what == 'view' else 'card'} is in {path}")


def _refuse(strange: Mapping[str, object], where: str) -> None:
    """UsageError for options that another word of `deepseek data` takes."""
    for option, value in strange.items():
        if value is not None:
            raise click.UsageError(f"{option} is for deepseek data {where}")


@dataclass(frozen=True, slots=True)
class _Job:
    """What was asked, with what stands by default."""

    data: Path
    target: str | None
    files: Path | None
    kinds: dict[str, str]  # by column, of the user
    num_rows: int
    seed: int
    num_pictures: int
    column: str | None
    bundle: Path | None


def _read(job: _Job) -> tuple[DataTable, Path, dict[str, str]]:
    """The table, the folder of its files, and the kinds of its columns."""
    from deepseek.data.table.formats import read_formats
    from deepseek.data.table.read import read_table
    from deepseek.data.view.media_card import find_all_kinds

    table = read_formats(read_table(job.data), kinds=job.kinds)
    root = job.files or job.data.resolve().parent
    if not root.is_dir():
        raise InputError(f"--files is {root}", expected="a folder", fix="name the folder of the files")
    if job.target is not None:
        table.column(job.target)
    return table, root, find_all_kinds(table, root=root, target=job.target, overrides=job.kinds)


def _make_card(job: _Job) -> tuple[Mapping[str, object], DataCard, str]:
    """What --json prints, the card, and the text of the file."""
    from deepseek.data.view.media_card import make_media_card

    table, root, kinds = _read(job)
    with closing(Progress()) as progress:
        card = make_media_card(table, kinds, root=root, target=job.target, progress=progress)
        if job.target is not None:
            progress("checking as ship would", 0.99)
            card["refusals"] = _find_refusals(table, card, job.target, root, job.kinds)
    return card, card, json.dumps(card, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _make_page(job: _Job) -> tuple[Mapping[str, object], DataCard, str]:
    """What --json prints, the card, and the page."""
    from deepseek.data.view.media_card import make_media_card
    from deepseek.data.view.page import GalleryOptions, data_page

    table, root, kinds = _read(job)
    with ExitStack() as resources:
        progress = resources.enter_context(closing(Progress()))
        target, score = job.target, None
        if job.bundle is not None:
            from deepseek.cli.support.picture_scores import score_rows
            from deepseek.engines import open_runtime

            runtime = open_runtime(job.bundle)
            resources.enter_context(runtime)
            score = score_rows(runtime, table, root)
            target = target or (runtime.manifest.target if runtime.manifest.target in table.names else None)
        card = make_media_card(table, kinds, root=root, target=job.target, progress=progress)
        page = data_page(
            table, kinds, card, root=root, name=job.data.name, num_rows=job.num_rows, seed=job.seed,
            gallery=GalleryOptions(job.column, target, job.num_pictures, score),
            command=shlex.join(["deepseek", *sys.argv[1:]]), progress=progress,
        )  # fmt: skip
    facts = {
        "num_rows": card["num_rows"], "rows": list(page.rows), "seed": job.seed, "num_files": card["num_files"],
        "num_broken": card["num_broken"], "size_bytes": len(page.html.encode()), "num_pictures": len(page.pictures),
    }  # fmt: skip
    return facts, card, page.html


def _find_refusals(
    table: DataTable, card: DataCard, target: str, root: Path, kinds_by_column: dict[str, str]
) -> list[ShipRefusal]:
    """What `ship` refuses of the table without further options, in words without a value that the card withholds."""
    from deepseek.automl.options import ShipOptions
    from deepseek.automl.ship import find_refusals

    options = ShipOptions(target=target, files=root, kinds=kinds_by_column or None)
    refusals: list[ShipRefusal] = [
        {"message": error.message, "expected": error.expected, "fix": error.fix}
        for error in find_refusals(table, options)
    ]
    if card["num_broken"]:
        refusals.append(
            {
                "message": f"{card['num_broken']} of {card['num_files']} files are broken",
                "expected": "files that can be read", "fix": "mend or leave out their rows, or --broken mask",
            }
        )  # fmt: skip
    columns = [table.column(entry["name"]).tolist() for entry in card["columns"] if "withheld" in entry]
    withheld = {value for column in columns for value in column if isinstance(value, str) and len(value) >= MIN_HIDDEN}
    return [_hide_values(refusal, withheld) for refusal in refusals]


def _hide_values(refusal: ShipRefusal, withheld: set[str]) -> ShipRefusal:
    """The refusal, without its words where they hold one of the `withheld` values."""
    if not any(value in text for text in (refusal["message"], refusal["fix"]) for value in withheld):
        return refusal
    return {
        "message": "ship refuses these rows, in words that hold a withheld value", "expected": refusal["expected"],
        "fix": "run ship to read them",
    }  # fmt: skip


def report(card: DataCard, name: str) -> list[object]:
    """The answer in one sentence, what is broken, then a line for each column."""
    from deepseek.data.view.media_words import broken_rows, describe_copies, headline, withheld_columns

    parts: list[object] = [headline(card, output.escape_text(name)).en]
    if broken := broken_rows(card):
        parts += ["", _broken_table(broken)]
        if card["num_broken"] > len(broken):
            parts.append(
                f"and {output.format_value(card['num_broken'] - len(broken))} more; --json has 20 of each column"
            )
    parts += ["", _column_table(card)]
    if withheld := withheld_columns(card).en:
        parts += ["", f"no value is told of what may name people: {output.escape_text(withheld)}"]
    parts += ["", *_refusal_lines(card)]
    return [*parts, *(output.escape_text(words.en) for words in describe_copies(card))]


def _refusal_lines(card: DataCard) -> list[str]:
    """What `ship` will refuse, where it was asked."""
    if "refusals" not in card:
        return ["what ship refuses of these rows is told with --target COL"] if card["target"] is None else []
    if not card["refusals"]:
        return [f"ship would begin to train for {output.escape_text(str(card['target']))!r}: it refuses nothing here"]
    lines = []
    for refusal in card["refusals"]:
        message, fix = output.escape_text(refusal["message"]), output.escape_text(refusal["fix"])
        lines.append(f"ship will refuse: {message}. To mend it: {fix}")
    return lines


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
