"""What `deepseek data clean` does: findings as a patch to review, and a reviewed patch applied."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.files import atomic_file, check_writable

if TYPE_CHECKING:
    from deepseek.automl.clean.findings import CleanReport

MAX_LISTED = 20


def clean(
    data: Path, target: str | None, files: Path | None, kinds: Mapping[str, str], out: Path | None, html: Path | None,
    group: str | None, patch: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Find problems and write them as a patch and a page, or apply a patch."""
    for path in (out, html):
        if path is not None:
            check_writable(path)
    if data.is_dir():
        taken = [name for name, value in (("--target", target), ("--files", files), ("--group", group)) if value]
        if taken or kinds:
            raise click.UsageError(f"{data} is a folder of files: {', '.join(taken or ['--kind'])} goes with a table")
    if patch is not None:
        if out is None or html is not None:
            raise click.UsageError("--apply PATCH needs --out FILE for the new rows, and takes no --html")
        _apply(data, patch, out, target, as_json)
        return
    digest, report, num_rows = (
        _look_at_files(data) if data.is_dir() else _look_at_rows(data, target, files, kinds, group, seed)
    )
    if out is not None:
        from deepseek.automl.clean.patch import write_patch

        write_patch(report, out, digest)
        output.note(f"the patch is in {out}: write accept or reject into the column decision, then --apply it")
    if html is not None:
        from deepseek.automl.clean.page import render_clean_page

        page = render_clean_page(
            report, name=data.name, num_rows=num_rows, command=shlex.join(["deepseek", *sys.argv[1:]])
        )
        with atomic_file(html) as part:
            part.write_text(page, encoding="utf-8")
        output.note(f"the page is in {html}")
    _print(report, num_rows, as_json)


def _look_at_files(folder: Path) -> tuple[str, CleanReport, int]:
    """The digest of a folder, what is wrong with its files, and how many there are."""
    from deepseek.automl.clean.folder import find_file_problems, folder_digest, list_files

    return folder_digest(folder), find_file_problems(folder), len(list_files(folder))


def _look_at_rows(
    data: Path, target: str | None, files: Path | None, kinds: Mapping[str, str], group: str | None, seed: int
) -> tuple[str, CleanReport, int]:
    """The digest of a table, what is wrong with its rows, and how many there are."""
    from deepseek.automl.clean.findings import find_problems
    from deepseek.automl.clean.patch import data_digest
    from deepseek.data.table.formats import read_formats
    from deepseek.data.table.read import read_table
    from deepseek.data.view.media_card import find_all_kinds
    from deepseek.extras import need

    need("sklearn", extra="tabular")
    table = read_formats(read_table(data), kinds=kinds, leave=[target] if target else [])
    root = files or data.resolve().parent
    for column in (target, group):
        if column is not None:
            table.column(column)
    known = find_all_kinds(table, root=root, target=target, overrides=kinds)
    report = find_problems(table, known, root=root, target=target, group=group, seed=seed)
    return data_digest(data), report, table.num_rows


def _print(report: CleanReport, num_rows: int, as_json: bool) -> None:
    counts = Counter(each.kind for each in report.findings)
    document = {
        "num_rows": num_rows, "counts": dict(counts), "findings": [asdict(each) for each in report.findings],
        "notes": list(report.notes),
    }  # fmt: skip
    rows = len({each.row for each in report.findings})
    lines: list[object] = [f"{rows:,} of {num_rows:,} rows need a look" if rows else "nothing looks wrong"]
    found = output.make_table("row", "what", "now", "better", "score", "evidence", value_justify="left")
    for each in report.findings[:MAX_LISTED]:
        words = (each.kind.replace("_", " "), each.old, each.new, f"{each.score:.2f}", each.evidence)
        found.add_row(str(each.row), *map(output.escape_text, words))
    if report.findings:
        lines += ["", found]
    if len(report.findings) > MAX_LISTED:
        lines.append(f"and {len(report.findings) - MAX_LISTED:,} more; --out has all of them")
    output.emit(document, as_json, [*lines, *map(output.escape_text, report.notes)])


def _apply(data: Path, patch: Path, out: Path, target: str | None, as_json: bool) -> None:
    if data.is_dir():
        from deepseek.automl.clean.folder import apply_file_patch

        done = apply_file_patch(data, patch, out)
    else:
        from deepseek.automl.clean.patch import apply_patch

        done = apply_patch(data, patch, out, target)
    text = (
        f"{out} has {done.num_rows:,} rows: {done.num_dropped:,} left out and {done.num_relabeled:,} labels changed as "
        f"accepted; {done.num_open:,} findings have no decision. {data.name} is as it was."
    )
    output.emit({"out": str(out), **asdict(done)}, as_json, text)
