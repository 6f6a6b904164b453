"""`deepseek export`: a run of `train` as a bundle, or a model as a folder that runs it on a small device.

Both are held to the model on real rows before anything is kept.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, FOLDER, names, numbers, share
from deepseek.cli.support.progress import Progress
from deepseek.contracts import JsonObject
from deepseek.look.numbers import duration, size
from deepseek.train.run_folder.record import is_run_folder

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.compress.edge import EdgeExport

TIERS = ("onnxruntime", "c", "executorch")

EPILOG = """\b
Examples:
  deepseek export loans --edge --tier c --out loans-c --max-mb 1
  deepseek export loans --edge --out loans-edge --data new.csv
  deepseek export mobilenet.onnx --edge --data pictures.safetensors --out mobilenet-edge
  deepseek export line3 --edge --data pictures --out line3-edge
  deepseek export net.py:build --edge --tier executorch --data rows.safetensors --out net-pte
  deepseek export runs/churn --input 30 --labels no,yes --out churn
  deepseek export runs/digits --input 1x28x28 --labels 0,1,2,3,4,5,6,7,8,9 --mean 0.13 --std 0.31 --out digits
  deepseek export runs/price --input 8 --columns rooms,age,area,floor,lat,lon,year,heat --target price --out price
"""


@click.command(epilog=EPILOG, short_help="Make a bundle of a trained run, or a model for a small device.")
@click.argument("bundle", type=BUNDLE, metavar="RUN|BUNDLE|FILE.onnx|FILE.py:NAME")
@click.option("--input", "shape", metavar="SHAPE", help="RUN: the shape of a row, as 30 for a table or 3x32x32 for "
              "pictures.")  # fmt: skip
@click.option("--labels", type=names, metavar="A,B", help="RUN: the classes in the order of the module's outputs; none "
              "for a value. A JSON list where a name holds a comma.")  # fmt: skip
@click.option("--columns", type=names, metavar="A,B", help="RUN: names of a row's numbers, or of the picture.  "
              "[default: those of a Parquet file, else x0, x1, ...; image]")  # fmt: skip
@click.option("--target", help="RUN: what is predicted.  [default: data.target of the run]")
@click.option("--name", help="RUN: name of the bundle.  [default: that of the folder]")
@click.option("--pixels", type=click.Choice(["unit", "byte"]), help="RUN: whether the module takes pixels from 0 to 1 "
              "or from 0 to 255.  [default: byte where the run's are whole numbers]")  # fmt: skip
@click.option("--mean", type=numbers, metavar="A,B,C", help="RUN: of each channel, subtracted from unit pixels.")
@click.option("--std", type=numbers, metavar="A,B,C", help="RUN: of each channel, by which they are divided then.")
@click.option("--key", type=FILE, help="RUN: private key to sign the bundle with (see keygen).")
@click.option("--edge", is_flag=True, help="For a device without Python.")
@click.option("--tier", type=click.Choice(TIERS), default="onnxruntime", show_default=True,
              help="onnxruntime's library and a C program, C alone, or ExecuTorch.")  # fmt: skip
@click.option("--max-mb", type=click.FloatRange(0, min_open=True), default=50.0, show_default=True,
              help="Most that the model and its runtime may take on the device.")  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder to write.")
@click.option("--data", type=FILE, help="Rows that the answers are compared on: a table for a bundle, a folder "
              "of pictures for one of recipe defects, else a .safetensors file.  [default: rows drawn from the "
              "bundle's data card]")  # fmt: skip
@click.option("--keep", type=share, default="0.99", show_default=True,
              help="Share of rows in which int8 has to give the same class.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a folder that export has made.")
@output.json_option
def command(
    bundle: Path, edge: bool, tier: Any, max_mb: float, out: Path, data: Path | None, keep: float, overwrite: bool,
    as_json: bool, **run_options: Any,
) -> None:  # fmt: skip
    """Write the module of a RUN that `train` has finished as a bundle, or with --edge a model as a folder for a device.

    RUN: the module is exported and compared with itself on rows of the run, one alone, zeros and extremes; its figures
    are of the run's validation rows. Then predict, evaluate, explain, compress and serve take it like any bundle.

    --edge takes a BUNDLE, an ONNX file, or FILE.py:NAME of a torch module. The program is compiled and run here, and
    its answers are compared with the model's before it is kept; int8 is taken where it is smaller and the answers stay
    the same. Exit code 3: they differ, or it is larger than --max-mb.
    """
    is_run = run_options["shape"] is not None or bundle.suffix in (".pt", ".pth", ".ckpt") or is_run_folder(bundle)
    if not edge and is_run:
        _export_run(bundle, out, as_json, overwrite=overwrite, **run_options)
        return
    if not edge:
        raise click.UsageError("say what the export is for: --edge for a device, --input SHAPE for a run of train")
    if is_run or any(run_options.values()):
        raise click.UsageError("a run becomes a bundle first: leave --edge out, then export the bundle with --edge")
    from deepseek.compress.edge import EdgeOptions, export_edge

    options = EdgeOptions(tier, max_mb, keep, overwrite)
    with closing(Progress()) as progress:
        done = export_edge(bundle, out, options, data=data, say=lambda message: progress(message, 0.0))
    output.warn(done.notes)
    output.emit(to_json(done), as_json, lambda: [f"wrote {out}", variant_table(done), f"see {out / 'README.md'}"])


def _export_run(
    folder: Path, out: Path, as_json: bool, *, overwrite: bool, shape: str | None, labels: tuple[str, ...] | None,
    columns: tuple[str, ...] | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, **named: Any,
) -> None:  # fmt: skip
    if shape is None:
        raise click.UsageError(f"{folder} is a run: say the shape of a row, as --input 30 or --input 3x32x32")
    from deepseek.automl.run_bundle.export import export_run
    from deepseek.automl.run_bundle.options import RunBundleOptions, parse_shape

    options = RunBundleOptions(
        parse_shape(shape), out, labels or (), columns or (), mean=mean or (), std=std or (), overwrite=overwrite,
        command=shlex.join(["deepseek", *sys.argv[1:]]), **named,
    )  # fmt: skip
    result = export_run(folder, options)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary_parts)


def to_json(done: EdgeExport) -> JsonObject:
    """The JSON object."""
    return {
        "bundle": done.target.name,
        "digest": done.target.digest,
        "out": str(done.out),
        "tier": done.tier,
        "variant": done.kept.name,
        "size_bytes": done.size_bytes,
        "rows": done.target.rows_from,
        "variants": [variant.to_dict() for variant in done.measured],
        "warnings": list(done.notes),
    }


def variant_table(done: EdgeExport) -> Table:
    """One row for each variant that was tried."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "size", "RAM", "cold start", "p50", "p99", "against the model", ""):
        table.add_column(name)
    for variant in done.measured:
        verdict = "kept" if variant is done.kept else "passes" if variant.parity.passes else "differs too much"
        times = (duration(seconds) for seconds in (variant.cold_start_s, variant.p50_s, variant.p99_s))
        table.add_row(
            variant.name, size(variant.size_bytes), size(variant.most_bytes), *times, variant.parity.summary(), verdict
        )
    return table
