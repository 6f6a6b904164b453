"""`deepseek compress`: a smaller, faster model that keeps what the user says it must, or none."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER
from deepseek.errors import CheckError

EPILOG = """\b
Examples:
  deepseek compress resnet.onnx --data validation.npz --out small
  deepseek compress ./all-MiniLM --data texts.csv --keep 0.998 --max-mb 23 --min-speedup 2
  deepseek compress ./sentiment --data held.csv --train texts.txt --methods distill --out student
  deepseek compress net.py:build --data validation.npz --methods prune,int8 --json
  deepseek compress model.keras --data validation.npz --out small
  deepseek compress net.py:build --data validation.npz --train train.npz --methods distill --student net.py:small
"""


@click.command(epilog=EPILOG, short_help="Make a model smaller and faster, within limits.")
@click.argument("model", metavar="BUNDLE|FILE.onnx|FILE.keras|HF_FOLDER|FILE.py:NAME")
@click.option("--data", type=FILE, help="Rows to judge on, which the model has not been trained on.")
@click.option("--train", type=FILE, help="Rows to train on, with or without answers, for prune and distill.")
@click.option("--student", metavar="FILE.py:NAME", help="Builds a smaller module that learns of MODEL, for distill.")
@click.option("--keep", default=0.99, show_default=True, help="Share of the score that must remain, 0 to 1.")
@click.option("--max-mb", type=float, help="Most megabytes of all files that are needed to answer.")
@click.option("--min-speedup", type=float, help="Times as fast as the given model in its fastest exact engine.")
@click.option("--methods", metavar="A,B", help="Only these: int8, fp8, int4, prune, distill.  [default: all that fit]")
@click.option("--out", type=FOLDER, help="Folder of the bundle; without it nothing is written.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of what is drawn.")
@output.json_option
def command(
    model: str,
    data: Path | None,
    train: Path | None,
    student: str | None,
    keep: float,
    max_mb: float | None,
    min_speedup: float | None,
    methods: str | None,
    out: Path | None,
    overwrite: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Try ways to make a model smaller and faster, measure each here, and keep only what meets the limits.

    DATA: for ONNX files and modules a .npz with an array for each input and the true answers as "y"; for text models a
    table with the columns text and label, or one text a line; for bundles rows with the target. Without answers
    variants are held to those of the given model. A search that was interrupted goes on where it stopped.

    TRAIN: for a classifier of texts further texts, with or without labels: a student of a ninth of the parameters
    learns what the model answers to them, and to texts made of their pieces. For a module a .npz as DATA: what was
    pruned is trained to answer as before, and so is a STUDENT, which begins with the weights that it is built with.

    Nothing is written that is slower or larger than what was given. Exit code 3: nothing met the limits.
    """
    from deepseek.cli.support.progress import Progress
    from deepseek.compress import Limits, optimize
    from deepseek.files import cache_folder

    limits = Limits(keep, max_mb, min_speedup)
    names = [name.strip() for name in methods.split(",") if name.strip()] if methods else None
    with closing(Progress()) as progress:
        result = optimize(
            model, data, limits, train=train, student=student, methods=names, out=out, overwrite=overwrite,
            cache=cache_folder(), seed=seed, progress=progress,
        )  # fmt: skip
    output.warn(result.warnings)
    if result.chosen is None:
        unmet = CheckError(
            "nothing that was tried meets the limits, so nothing is written",
            expected=limits.describe(),
            fix="see the reasons in the table; loosen the limit that fails by the least",
        )
        output.emit_unmet(result, unmet, as_json, result.summary_parts)
    output.emit(result, as_json, result.summary_parts)
