"""`deepseek train`: a torch module of one's own, trained by the loop as a TOML file says."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE
from deepseek.errors import DeepseekError, StoppedError
from deepseek.look import numbers

if TYPE_CHECKING:
    from deepseek.train.loop.job import TrainReport

WHOLE_RUN = "a run to its last epoch"

EPILOG = """\b
Examples:
  deepseek train run.toml --out runs/first
  deepseek train run.toml --out runs/first --resume
  deepseek train run.toml --out runs/fast --set train.precision=bf16 --set train.lr=0.01
  deepseek train run.toml --out runs/four --processes 4 --max-restarts 20
  deepseek train run.toml --out runs/private --dp epsilon=3,delta=1e-6,ledger=patients.json
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
@click.option(
    "--dp", "budget", metavar="epsilon=E,delta=D", help="Differential privacy of each training row. "
    "Also clip_norm=C, and ledger=FILE, which counts all runs on the same rows.",
)  # fmt: skip
@output.json_option
def command(
    config: Path,
    settings: tuple[str, ...],
    out: Path | None,
    go_on: bool,
    processes: int | None,
    max_restarts: int,
    budget: str | None,
    as_json: bool,
) -> None:
    """Train the module that CONFIG names, with checkpoints; Ctrl-C saves. CONFIG is a TOML file."""
    from deepseek.extras import need
    from deepseek.train.loop.job import launch_job, read_job, run_job
    from deepseek.train.private.budget import parse_budget
    from deepseek.train.private.run_plan import check_one_process

    job = read_job(config, settings)
    if budget is not None:
        job = replace(job, dp=parse_budget(budget))
    need("torch", extra="train")
    if job.dp is not None:
        need("opacus", extra="dp")
        check_one_process(processes or 1)
    folder = out or (config.parent / job.out if job.out else config.with_suffix(""))
    command_line = shlex.join(["deepseek", *sys.argv[1:]])
    try:
        if processes is None:
            result = run_job(job, config.parent, folder, go_on=go_on, command=command_line)
        else:
            result = launch_job(
                job, config.parent, folder, go_on=go_on, num_processes=processes, max_restarts=max_restarts,
                command=command_line,
            )  # fmt: skip
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") != "0":  # the first of torchrun's processes says it for all
            raise
        options = [] if processes is None else ["--processes", str(processes), "--max-restarts", str(max_restarts)]
        options += [] if budget is None else ["--dp", budget]
        raise stopped_error(folder, resume_command(config, settings, folder, options)) from None
    if result is not None:  # the first of several processes
        output.emit(result, as_json, lambda: summary(result))
        output.warn(result.warnings)


def resume_command(config: Path, settings: tuple[str, ...], folder: Path, options: list[str]) -> str:
    r"""The command line that goes on with a run, to copy into a shell.

    >>> resume_command(Path("run.toml"), ("train.lr=0.1", 'track=["mlflow"]'), Path("runs/a"), [])
    'deepseek train run.toml --out runs/a --set train.lr=0.1 --set \'track=["mlflow"]\' --resume'
    """
    if "RANK" in os.environ:
        return "the same torchrun command with --resume"
    sets = [part for setting in settings for part in ("--set", setting)]
    return shlex.join(["deepseek", "train", str(config), "--out", str(folder), *sets, *options, "--resume"])


def stopped_error(folder: Path, command: str) -> StoppedError:
    """What Ctrl-C did to the run in `folder`: the step it stopped after, what is saved, and what goes on with it."""
    from deepseek.train.run_folder.record import newest_checkpoint, read_run

    try:
        stopped_step = read_run(folder).stopped_step
    except DeepseekError:  # it was stopped before the first step
        stopped_step = None
    saved = newest_checkpoint(folder)
    if saved is None:
        return StoppedError(
            "stopped before the first checkpoint: nothing is saved", expected=WHOLE_RUN,
            fix=f"begin again with: {command}",
        )  # fmt: skip
    place = f"epoch {saved.epoch} of {saved.num_epochs}"
    if stopped_step == saved.step:
        message = f"stopped after step {saved.step} ({place}), which is saved in {saved.path}"
    else:
        message = f"stopped at once; saved is step {saved.step} ({place}), in {saved.path}, and no step after it"
    return StoppedError(message, expected=WHOLE_RUN, fix=f"go on with: {command}")


def summary(result: TrainReport) -> list[object]:
    """What was trained in one line, then the figures, then where it came from."""
    metrics = {name: f"{value:.6g}" for name, value in result.metrics.items()}
    early = ", stopped early" if result.stopped_early else ""
    return [
        f"{result.weights}: {result.model}, {numbers.size(result.size_bytes)}",
        output.fact_table(
            [
                *((name.replace("_", " "), value) for name, value in metrics.items()),
                ("epochs", f"{result.num_epochs}{early}"),
                ("steps", result.num_steps),
                *([("privacy", result.privacy.words)] if result.privacy else []),
                ("wall time", numbers.duration(result.wall_s)),
                ("seed", str(result.seed)),
                ("digest", result.digest),
            ]
        ),
        f"curves and figures: {result.report}",
    ]
