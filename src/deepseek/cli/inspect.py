"""`deepseek inspect`: what a bundle is, what it takes and gives, how good it is and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE
from deepseek.look.numbers import number, size
from deepseek.look.summary import operating_point_parts

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.bundle.manifest import EngineEntry, Input
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
    """What the bundle does not keep; the answer in one sentence, then the figures and what its threshold does, then
    what goes in and out, last where it came from."""
    inputs = result.manifest.inputs
    parts: list[object] = [*(f"warning: {warning}" for warning in result.warnings), _headline(result)]
    if result.metrics:
        parts += ["", output.figure_table(_safe_names(result.metrics), _safe_names(result.baseline))]
    parts += operating_point_parts(result.promises.operating_point)
    parts += ["", _input_table(inputs)]
    if len(inputs) > MAX_COLUMNS:
        parts.append(f"and {len(inputs) - MAX_COLUMNS} more: --json lists them all")
    return [*parts, "", _provenance_table(result)]


def _headline(result: BundleReport) -> str:
    manifest = result.manifest
    labels = [output.escape_text(label) for label in manifest.labels[:MAX_LABELS]]
    if len(manifest.labels) > MAX_LABELS:
        labels.append(f"... {len(manifest.labels)} labels in all")
    what = f"{output.escape_text(manifest.target)} is {', '.join(labels) if labels else 'a number'}"
    sizes = f"{len(manifest.inputs)} inputs, {size(result.size_bytes)}"
    return f"{manifest.name} {manifest.version}: {manifest.task}, {what}. {sizes}"


def _provenance_table(result: BundleReport) -> Table:
    from deepseek.cli.verify import SIGNATURES

    manifest, threshold = result.manifest, "none"
    if manifest.threshold is not None:
        threshold = f"{output.escape_text(manifest.labels[1])} from {number(manifest.threshold)} on"
    rows = [
        ("threshold", threshold),
        *[("engine", _engine_line(entry)) for entry in manifest.engines],
        ("signature", SIGNATURES[result.signature]),
        ("created", manifest.created),
        ("format", str(manifest.format)),
        ("seed", str(manifest.lineage.seed)),
        ("data", manifest.lineage.data or "not known"),
        ("parent", manifest.lineage.parent or "none"),
        ("digest", manifest.digest),
    ]
    return output.fact_table(rows)


def _safe_names(figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Figures by names that a table can draw as they are."""
    return {output.escape_text(name): figure for name, figure in figures.items()}


def _engine_line(entry: EngineEntry) -> str:
    rows = f"from {entry.from_rows} rows on" if entry.from_rows > 1 else "from one row on"
    return f"{output.escape_text(entry.kind)} {rows}, differs by at most {number(entry.parity)}"


def _input_table(inputs: Sequence[Input]) -> Table:
    table = output.make_table("input", "kind", "type", "", value_justify="left")
    for column in inputs[:MAX_COLUMNS]:
        words = map(output.escape_text, (column.name, column.modality, column.dtype))
        table.add_row(*words, "" if column.required else "may be missing")
    return table
