"""`deepseek recipe imagenet`: a net of pictures with its figures."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek recipe imagenet --example --out runs/colors
  deepseek recipe imagenet flowers --out runs/flowers --set classes=17 --set net=torchvision/resnet18
  torchrun --nproc-per-node 8 -m deepseek recipe imagenet imagenet --out runs/in1k
"""


@click.command(epilog=EPILOG, short_help="A folder of pictures becomes a net with its figures.")
@click.argument("folder", type=FOLDER, required=False)
@click.option("--example", is_flag=True, help="Run on a few pictures of two colors that are drawn here.")
@click.option("--out", type=FILE, required=True, metavar="DIR", help="Where weights and checkpoints go.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A choice of the recipe, or train.FIELD.")
@output.json_option
def command(folder: Path | None, example: bool, out: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Train a net on FOLDER, which holds train/CLASS and val/CLASS full of pictures. Started again it goes on from its
    last checkpoint."""
    if (folder is None) == (not example):
        raise click.UsageError("give either FOLDER or --example, not both and not neither")
    from deepseek.extras import need

    need("torch", extra="train")
    from deepseek.recipes.imagenet import build_job, read_choices, write_example
    from deepseek.train.loop.job import run_job

    with tempfile.TemporaryDirectory(prefix="deepseek-imagenet-") as scratch:
        root = folder if folder is not None else write_example(Path(scratch))
        config = read_choices(root, out, settings, is_example=example)
        job = build_job(config, int(os.environ.get("WORLD_SIZE", "1")))
        report = run_job(job, Path.cwd(), Path(config.out), go_on=True)
    if report is not None:  # the first of several processes
        from deepseek.cli.train import summary

        output.emit(report, as_json, lambda: summary(report))
        output.warn(report.warnings)
