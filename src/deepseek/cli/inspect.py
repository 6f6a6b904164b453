"""`deepseek inspect`: what a bundle is, what it takes and gives, how good it is and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE
from deepseek.contracts import JsonObject
from deepseek.look.numbers import number, size

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.bundle.report import BundleReport
    from deepseek.look.summary import Figures

MAX_COLUMNS = 40
MAX_LABELS = 12

EPILOG = """\b
Examples:
  deepseek inspect loans
  deepseek inspect loans --json | jq .metrics
"""


@click.command(epilog=EPILOG, short_help="Say what a bundle holds.")
@click.argument("bundle", type=BUNDLE)
@click.option("--key", type=FILE, help="Public key that must have signed it (see keygen).")
@output.json_option
def command(bundle: Path, key: Path | None, as_json: bool) -> None:
    """Say what BUNDLE is. Its files are checked by name; `deepseek verify` checks every byte."""
    from deepseek.bundle import inspect_bundle

    result = inspect_bundle(bundle, key=key)
    output.emit(result, as_json, lambda: report(result))


def report(result: BundleReport) -> list[object]:
    """The answer in one sentence, then the figures, then what goes in and out, last where it came from."""
    parts: list[object] = [_headline(result)]
    if result["metrics"]:
        parts += ["", output.figure_table(_safe_names(result["metrics"]), _safe_names(result["baseline"]))]
    parts += ["", _input_table(result["inputs"])]
    if len(result["inputs"]) > MAX_COLUMNS:
        parts.append(f"and {len(result['inputs']) - MAX_COLUMNS} more: --json lists them all")
    return [*parts, "", _provenance_table(result)]


def _headline(result: BundleReport) -> str:
    labels = [output.escape_text(label) for label in result["labels"][:MAX_LABELS]]
    if len(result["labels"]) > MAX_LABELS:
        labels.append(f"... {len(result['labels'])} labels in all")
    what = f"{output.escape_text(result['target'])} is {', '.join(labels) if labels else 'a number'}"
    sizes = f"{len(result['inputs'])} inputs, {size(result['size_bytes'])}"
    return f"{result['name']} {result['version']}: {result['task']}, {what}. {sizes}"


def _provenance_table(result: BundleReport) -> Table:
    from deepseek.cli.verify import SIGNATURES

    lineage, threshold = result["lineage"], result["threshold"]
    rows = [
        (
            "threshold",
            "none" if threshold is None else f"{output.escape_text(result['labels'][1])} from {number(threshold)} on",
        ),
        *[("engine", _engine_line(entry)) for entry in result["engines"]],
        ("signature", SIGNATURES[result["signature"]]),
        ("created", result["created"]),
        ("format", str(result["format"])),
        ("seed", str(lineage["seed"])),
        ("data", lineage["data"] or "not known"),
        ("parent", lineage["parent"] or "none"),
        ("digest", result["digest"]),
    ]
    return output.fact_table(rows)


def _safe_names(figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Figures by names that a table can draw as they are."""
    return {output.escape_text(name): figure for name, figure in figures.items()}


def _engine_line(entry: JsonObject) -> str:
    rows = f"from {entry['from_rows']} rows on" if entry["from_rows"] > 1 else "from one row on"
    return f"{output.escape_text(entry['kind'])} {rows}, differs by at most {number(entry['parity'])}"


def _input_table(inputs: Sequence[JsonObject]) -> Table:
    table = output.make_table("input", "kind", "type", "", value_justify="left")
    for row in inputs[:MAX_COLUMNS]:
        words = (output.escape_text(row["name"]), output.escape_text(row["modality"]), output.escape_text(row["dtype"]))
        table.add_row(*words, "" if row["required"] else "may be missing")
    return table
