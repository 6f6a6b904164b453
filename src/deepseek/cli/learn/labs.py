"""`deepseek learn labs`: which labs there are; or whether a folder of one's own is a lab."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek learn labs
  DEEPSEEK_LABS=our-labs deepseek learn labs --json
  deepseek learn labs --test our-labs/first_claims
"""


@click.command(epilog=EPILOG, short_help="List labs.")
@click.option("--test", "folder", type=FOLDER, help="Hold one folder to what a lab must be, and make its data.")
@output.json_option
def command(folder: Path | None, as_json: bool) -> None:
    """List the labs of this package and of the folders that DEEPSEEK_LABS names. They are code, and run with your
    rights when you check them."""
    if folder is not None:
        from deepseek.learn.contract import check_lab_folder

        lab = check_lab_folder(folder)
        output.emit(
            {"lab": lab.id, "ok": True, "digest": lab.digest}, as_json, f"{lab.id}: a lab; its data can be made"
        )
        return
    from deepseek.learn.definition.catalog import read_catalog

    catalog = read_catalog()
    rows = [
        {
            "lab": lab.id, "level": lab.table.level, "module": lab.table.module, "hours": lab.table.hours,
            "title": lab.table.title.text._asdict(), "requires": list(lab.table.requires), "digest": lab.digest,
            "installs": list(lab.table.installs), "built_in": lab.id in catalog.built_in,
        }
        for lab in catalog.labs
    ]  # fmt: skip
    table = output.make_table("lab", "level", "module", "hours", "extras", "title", value_justify="left")
    for lab in catalog.labs:
        extras = ", ".join(lab.table.installs)
        table.add_row(lab.id, lab.table.level, lab.table.module, f"{lab.table.hours:g}", extras, lab.table.title.en)
    output.emit({"labs": rows}, as_json, table)
