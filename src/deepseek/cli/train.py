"""`deepseek train`: a torch module of one's own, trained by the loop as a TOML file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE
from deepseek.look import numbers

EPILOG = """\b
Examples:
  deepseek train run.toml --out runs/first
  deepseek train run.toml --out runs/first --resume
  deepseek train run.toml --out runs/fast --set train.precision=bf16 --set train.lr=0.01
  deepseek train run.toml --out runs/four --processes 4 --max-restarts 20
  torchrun --nnodes 2 --nproc-per-node 2 -m deepseek train run.toml --out runs/two

\b
A file that is enough:
  loss = "torch.nn:CrossEntropyLoss"
  [model]
  build = "net.py:build"         # a function or class in net.py beside this file
  [data]
  train = "rows.npz"             # arrays x and y; or .parquet, or "net.py:batches"
  [train]
  epochs = 20
"""


@click.command(epilog=EPILOG, short_help="Train a torch module of your own.")
@click.argument("config", type=FILE)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Put a value over the file's.")
@click.option("--out", type=FILE, metavar="DIR", help="Where weights and checkpoints go.  [default: the file's name]")
@click.option("--resume", "go_on", is_flag=True, help="Go on from the last good checkpoint in DIR.")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Train in N processes of this machine.")
@click.option(
    "--max-restarts",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="With --processes: how often all go on from the last checkpoint after one of them has died.",
)
@output.json_option
def command(
    config: Path,
    settings: tuple[str, ...],
    out: Path | None,
    go_on: bool,
    processes: int | None,
    max_restarts: int,
    as_json: bool,
) -> None:
    """Train the module that CONFIG names, with checkpoints; Ctrl-C saves. CONFIG is a TOML file."""
    from deepseek.extras import need
    from deepseek.train.loop.job import launch_job, read_job, run_job

    job = read_job(config, settings)
    need("torch", extra="train")
    folder = out or (config.parent / job.out if job.out else config.with_suffix(""))
    if processes is None:
        result = run_job(job, config.parent, folder, go_on=go_on)
    else:
        result = launch_job(job, config.parent, folder, go_on=go_on, num_processes=processes, max_restarts=max_restarts)
    if result is not None:  # the first of several processes
        output.emit(result, as_json, lambda: summary(result))
        output.warn(result["warnings"])


def summary(result: Mapping[str, Any]) -> list[object]:
    """What was trained in one line, then the figures, then where it came from."""
    metrics = {name: f"{each['value']:.6g}" for name, each in result["metrics"].items()}
    early = ", stopped early" if result["stopped_early"] else ""
    return [
        f"{result['weights']}: {result['model']}, {numbers.size(result['size_bytes'])}",
        output.fact_table(
            [
                *((name.replace("_", " "), value) for name, value in metrics.items()),
                ("epochs", f"{result['num_epochs']}{early}"),
                ("steps", result["num_steps"]),
                ("wall time", numbers.duration(result["wall_s"])),
                ("seed", str(result["seed"])),
                ("digest", result["digest"]),
            ]
        ),
    ]
