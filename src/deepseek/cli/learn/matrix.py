"""`deepseek learn matrix`: skills by layers."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE

EPILOG = """\b
Examples:
  deepseek learn matrix
  deepseek learn matrix --html skills.html
"""


@click.command(epilog=EPILOG, short_help="Show the skills.")
@click.option("--html", type=FILE, help="Write a page there.")
@output.json_option
def command(html: Path | None, as_json: bool) -> None:
    """Show the skill matrix, eight modules by three layers: which labs prove a skill, and which of them are passed."""
    from deepseek.files import atomic_file, check_writable
    from deepseek.learn.definition.lab import LAYERS, MODULES
    from deepseek.learn.page.matrix_page import matrix_page
    from deepseek.learn.page.parts import matrix_summary
    from deepseek.learn.verbs import open_path, overview

    path = open_path()
    passed = {state.lab.id for state in overview(path).states if state.passed is not None}
    matrix = path.matrix
    if html is not None:
        check_writable(html)
        with atomic_file(html) as part:
            part.write_text(matrix_page(matrix, path.catalog, passed), encoding="utf-8")
    cells = [
        {
            "module": cell.module, "layer": cell.layer, "can": cell.can.text._asdict(), "labs": list(cell.labs),
            "passed": [lab for lab in cell.labs if lab in passed],
        }
        for cell in matrix.cells
    ]  # fmt: skip
    table = output.make_table("module", *LAYERS, value_justify="left")
    for module in MODULES:
        row = [matrix.cell(module, layer).labs for layer in LAYERS]
        counts = (f"{sum(lab in passed for lab in labs)} of {len(labs)}" if labs else "no lab yet" for labs in row)
        table.add_row(module, *counts)
    document = {"cells": cells, "without_labs": [cell.name for cell in matrix.without_labs()], "html": html}
    output.emit(document, as_json, [matrix_summary(matrix, passed).en, "", table])
    output.note_written({"matrix": html}, is_signed=False)
