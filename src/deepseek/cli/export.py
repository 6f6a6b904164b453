"""`deepseek export --edge`: a folder that runs a model on a small device, held to the model on real rows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, FOLDER, share
from deepseek.cli.support.progress import Progress
from deepseek.contracts import JsonObject
from deepseek.look.numbers import duration, size

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.compress.edge import EdgeExport

TIERS = ("onnxruntime", "c", "executorch")

EPILOG = """\b
Examples:
  deepseek export loans --edge --tier c --out loans-c --max-mb 1
  deepseek export loans --edge --out loans-edge --data new.csv
  deepseek export mobilenet.onnx --edge --data pictures.safetensors --out mobilenet-edge
  deepseek export net.py:build --edge --tier executorch --data rows.safetensors --out net-pte
"""


@click.command(epilog=EPILOG, short_help="Make a model that runs on a small device.")
@click.argument("bundle", type=BUNDLE)
@click.option("--edge", is_flag=True, help="For a device without Python. So far the one thing to export for.")
@click.option("--tier", type=click.Choice(TIERS), default="onnxruntime", show_default=True,
              help="onnxruntime's library and a C program, C alone, or ExecuTorch.")  # fmt: skip
@click.option("--max-mb", type=click.FloatRange(0, min_open=True), default=50.0, show_default=True,
              help="Most that the model and its runtime may take on the device.")  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder to write.")
@click.option("--data", type=FILE, help="Rows that the answers are compared on: a table for a bundle, else a "
              ".safetensors file.  [default: rows drawn from the bundle's data card]")  # fmt: skip
@click.option("--keep", type=share, default="0.99", show_default=True,
              help="Share of rows in which int8 has to give the same class.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a folder that export has made.")
@output.json_option
def command(
    bundle: Path, edge: bool, tier: Any, max_mb: float, out: Path, data: Path | None, keep: float, overwrite: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write BUNDLE (or an ONNX file, or FILE.py:NAME of a torch module) as a folder for a device.

    The program is compiled and run here, and its answers are compared with the model's before it is kept; int8 is taken
    where it is smaller and the answers stay the same. Exit code 3: they differ, or it is larger than --max-mb.
    """
    if not edge:
        raise click.UsageError("say what the export is for: --edge")
    from deepseek.compress.edge import EdgeOptions, export_edge

    options = EdgeOptions(tier, max_mb, keep, overwrite)
    with closing(Progress()) as progress:
        done = export_edge(bundle, out, options, data=data, say=lambda message: progress(message, 0.0))
    output.warn(done.notes)
    output.emit(to_json(done), as_json, lambda: [f"wrote {out}", variant_table(done), f"see {out / 'README.md'}"])


def to_json(done: EdgeExport) -> JsonObject:
    """The JSON object."""
    return {
        "bundle": done.subject.name,
        "digest": done.subject.digest,
        "out": str(done.out),
        "tier": done.tier,
        "variant": done.kept.name,
        "size_bytes": done.size_bytes,
        "rows": done.subject.rows_from,
        "variants": [variant.to_dict() for variant in done.tried],
        "warnings": list(done.notes),
    }


def variant_table(done: EdgeExport) -> Table:
    """One row for each variant that was tried."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "size", "RAM", "cold start", "p50", "p99", "against the model", ""):
        table.add_column(name)
    for variant in done.tried:
        verdict = "kept" if variant is done.kept else "passes" if variant.parity.passes else "differs too much"
        times = (duration(seconds) for seconds in (variant.cold_start_s, variant.p50_s, variant.p99_s))
        table.add_row(
            variant.name, size(variant.size_bytes), size(variant.most_bytes), *times, variant.parity.shown(), verdict
        )
    return table
