"""`deepseek ship`: from a table to a bundle that carries its evidence, and on request to a server."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import (
    BUNDLE,
    FILE,
    assignment_of,
    duration,
    json_text,
    num_bytes,
    parse_assignment,
    share,
)
from deepseek.cli.support.progress import Progress
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MissingError
from deepseek.files import check_writable

KINDS = (
    "numeric", "integer_category", "category", "text", "datetime", "boolean", "identifier", "constant", "image",
    "audio", "video", "volume", "series",
)  # fmt: skip
EXAMPLES = ("cancer", "digits", "fraud")

EPILOG = """\b
Examples:
  deepseek ship loans.csv --target default --out loans --budget 120s
  deepseek ship --example cancer --serve
  deepseek ship cards.parquet --target fraud --split time:when --max-fpr 0.0002
  deepseek ship loans.csv --target default --refit
  deepseek ship loans-june.csv --target default --out loans-v2 --against loans-v1
  deepseek ship claims-labels --budget 300s --out claims
  deepseek ship patients.csv --target relapse --dp epsilon=3,delta=1e-6 --out relapse
  deepseek ship prices.csv --target price --monotone area=+1 --interval 0.9
  deepseek ship clicks.parquet --target bought --cluster head.example:6379
  deepseek ship patients.csv --target covid --split group:patient --kind report=text --files scans
  deepseek ship patients.csv --target covid --encoder report=all-MiniLM --encoder ct=resnet18:resnet18.safetensors
"""


@click.command(epilog=EPILOG, short_help="Data in, evidence-carrying bundle out.")
@click.argument("data", type=FILE, required=False)
@click.option("--target", metavar="COLUMN", help="What to predict.")
@click.option("--example", type=click.Choice(EXAMPLES), help="Ship an example instead of DATA.")
@click.option("--out", type=BUNDLE, help="Folder of the bundle.  [default: the name of the data]")
@click.option("--name", help="Name of the model.  [default: the name of the folder]")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@click.option("--test", type=FILE, help="Your own test rows.")
@click.option("--validation", type=FILE, help="Your own validation rows.")
@click.option(
    "--refit", is_flag=True,
    help="Fit once more on all rows when the model was measured. With --test its rows are never fitted on.",
)  # fmt: skip
@click.option(
    "--split",
    help="random, time (by the one column of dates), time:COLUMN or group:COLUMN.  "
    "[default: random; for --example fraud by time]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="Equal seed and trials, equal digest.",
)
@click.option("--budget", "budget_s", default="120s", show_default=True, type=duration, help="CPU time of the search.")
@click.option("--trials", type=click.IntRange(1), help="Run exactly so many trials, whatever they cost.")
@click.option(
    "--memory", "memory_bytes", type=num_bytes, metavar="SIZE",
    help="What the run may take, such as 4GB: of a larger file as many rows as fit.  [default: 70 % of the free]",
)  # fmt: skip
@click.option("--metric", help="What the search improves.  [default: by task]")
@click.option(
    "--task", type=click.Choice(("binary", "multiclass", "regression")), help="[default: by the values of the target]"
)
@click.option("--positive", metavar="LABEL", help="The class that limits speak of.  [default: the second of two]")
@click.option("--candidates", metavar="A,B", help="Only these families of models.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="COL=KIND",
    type=assignment_of(KINDS),
    help=f"Kind of a column: {', '.join(KINDS)}.",
)
@click.option(
    "--missing", multiple=True, metavar="WORD", help="A cell among numbers or dates that means not known, such as 999."
)
@click.option("--drop-missing-target", is_flag=True, help="Leave out rows without a target instead of refusing them.")
@click.option("--allow", multiple=True, metavar="NAME", help="Accept a finding of the leak checks by its name.")
@click.option("--drop", multiple=True, metavar="COL", help="Leave a column out.")
@click.option("--weights", metavar="COL", help="Column of sample weights.")
@click.option(
    "--monotone",
    multiple=True,
    metavar="COL=+1|-1",
    type=assignment_of(("+1", "1", "-1")),
    help="The answer only rises (or falls) with a column.",
)
@click.option(
    "--costs", type=json_text, metavar="FILE|JSON", help='What an error costs: {"TRUE": {"PREDICTED": cost}}.'
)
@click.option("--max-fpr", type=share, metavar="SHARE", help="Choose the threshold by this limit on false positives.")
@click.option("--min-recall", type=share, metavar="SHARE", help="Choose the threshold by this least recall.")
@click.option(
    "--interval",
    default="0.9",
    show_default=True,
    type=share,
    metavar="SHARE",
    help="Coverage of prediction intervals (regression).",
)
@click.option("--files", type=BUNDLE, help="Folder that paths in DATA lie below.  [default: that of DATA]")
@click.option(
    "--broken", type=click.Choice(("fail", "mask")), default="fail", show_default=True,
    help="A file that cannot be read ends the run, or its value is masked and counted.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(0, 256), default=2, show_default=True, help="Processes that read files.")
@click.option(
    "--encoder", "encoders", multiple=True, metavar="COL=WHAT", type=parse_assignment,
    help="Encoder of a column: the folder of a text model, or NAME:FILE.safetensors of an image net.",
)  # fmt: skip
@click.option("--train-encoder", "train_encoders", multiple=True, metavar="COL", help="Let it go on learning.")
@click.option(
    "--cluster", metavar="ray|ADDRESS",
    help="Fit on the workers of a Ray cluster: ray (one on this machine), auto or HOST:PORT.",
)  # fmt: skip
@click.option(
    "--distributed-fit", is_flag=True,
    help="With --cluster: the last fit of boosted trees over all workers, also of rows that fit into memory.",
)  # fmt: skip
@click.option("--segment", "segments", multiple=True, metavar="COL", help="Figures for each value of a column.")
@click.option("--fairness", metavar="COL", help="Gaps between the groups of a column.")
@click.option(
    "--against", type=BUNDLE, help="An older bundle: is the new model better on the test rows, by more than noise?"
)
@click.option(
    "--reference", is_flag=True, help="Keep a sample of real training rows in the bundle: see the privacy guide."
)
@click.option(
    "--dp", metavar="epsilon=E,delta=D", help="Differential privacy of each row, by a linear model or a perceptron "
    "(--candidates). Also clip_norm=C, and ledger=FILE, which counts all runs on the same rows.",
)  # fmt: skip
@click.option("--dp-sample", type=FILE, help="With --dp: rows that may be shown, which describe the columns.")
@click.option("--key", type=FILE, help="Sign with this private key (see keygen).")
@click.option("--html", type=FILE, help="Write the explanation report there.")
@click.option("--serve", "then_serve", is_flag=True, help="Serve the bundle when it is done; the ready line follows.")
@click.option("--host", help="With --serve: address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="With --serve.  [default: 8000]")
@output.json_option
def command(
    data: Path | None,
    example: str | None,
    html: Path | None,
    then_serve: bool,
    host: str | None,
    port: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train, compare, calibrate, check, explain and pack a model for the table DATA (CSV, Parquet or Arrow), or for the
    labels of a project (see label)."""
    source = _resolve_source(data, example, options)
    options["split"] = options["split"] or "random"
    options["kinds"] = dict(options["kinds"]) or None
    options["encoders"] = dict(options["encoders"]) or None
    options["monotone"] = {column: int(sign) for column, sign in options["monotone"]} or None
    options["candidates"] = tuple(options["candidates"].split(",")) if options["candidates"] else None

    if html is not None:
        _check_report(html, options["out"])
    with ExitStack() as resources:
        if then_serve:
            from deepseek.cli.support.serving import read_settings
            from deepseek.serve.run import bind

            settings = read_settings(host=host, port=port)
            listener = resources.enter_context(bind(settings.host, settings.port))  # kept while the model is trained
        path = _ship_and_report(source, options, html, as_json)
        if then_serve:
            from deepseek.cli.serve import run_server
            from deepseek.cli.support.opening import open_models

            run_server(open_models((path,), None, lazy=settings.workers > 0), settings, listener)


def _check_report(html: Path, out: Path | None) -> None:
    """The report must have a place, and that is not in the bundle, whose files are sealed."""
    if out is not None and html.resolve().is_relative_to(out.resolve()):
        raise InputError(
            f"the report {html} would lie in the bundle {out}",
            expected="a file outside of the bundle, to which nothing may be added",
            fix=f"--html {out.resolve().name}.html",
        )
    check_writable(html)


def _ship_and_report(source: Any, options: JsonObject, html: Path | None, as_json: bool) -> Path:
    """Train and pack, write the report, then say what was made. Returns the bundle's path."""
    budget, sample = options.pop("dp"), options.pop("dp_sample")
    if budget is not None or sample is not None:
        from deepseek.cli.support.kinds.private_shipping import ship_under_budget

        result = ship_under_budget(source, budget, sample, options)
        output.warn(result.warnings)
        output.emit(result, as_json, result.summary_parts)
        return result.path
    from deepseek.automl.options import ShipOptions
    from deepseek.automl.ship import ship_with

    with closing(Progress()) as progress:
        command_line = shlex.join(["deepseek", *sys.argv[1:]])
        result = ship_with(source, ShipOptions(**options, progress=progress, command=command_line))
    if html is not None:
        from deepseek.explain.bundle import explain_bundle

        explain_bundle(result.path, source, html=html, trust=False)  # ship has a time of its own
        output.note(f"the report is in {html}")
    # what the bundle does not keep leads the summary; nothing is said behind the figures
    output.warn(result.warnings if as_json else [text for text in result.warnings if text not in result.alarms])
    output.emit(result, as_json, result.summary_parts)
    return result.path


def _open_labels(project: Path, options: JsonObject) -> Any:
    """The labeled rows of a project; its test rows, weights, kinds and files become options."""
    from deepseek.automl.label.training import training_rows

    taken = [name for name in ("target", "test", "validation", "weights", "files") if options[name] is not None]
    if taken:
        raise click.UsageError(f"--{taken[0]} is the project's own: it has its target, test rows and weights")
    rows = training_rows(project)
    options |= {
        "target": rows.target, "test": rows.test, "weights": rows.weights, "files": rows.files,
        "kinds": {**rows.kinds, **dict(options["kinds"])}.items(), "task": options["task"] or rows.task,
        "out": options["out"] or Path(f"{project.resolve().name}-model"),
    }  # fmt: skip
    return rows.train


def _resolve_source(data: Path | None, example: str | None, options: JsonObject) -> Any:
    """What to read; an example also sets the target, name and split that are not among the options. Says what is
    missing before anything heavy is imported."""
    if (data is None) == (example is None):
        raise click.UsageError("give either DATA or --example, not both and not neither")
    if example is not None:
        from deepseek.automl.ship import open_example

        rows = open_example(example, **{name: options[name] for name in ("target", "name", "split", "out")})
        options |= {"target": rows.target, "name": rows.name, "split": rows.split}
        return rows.table
    if data is not None and (data / "project.sqlite3").is_file():
        return _open_labels(data, options)
    if options["target"] is None:
        raise click.UsageError("--target COLUMN is missing: which column is to be predicted?")
    if data is not None and not data.exists():
        raise MissingError(
            f"there is no file {data}", expected="a CSV, Parquet or Arrow file", fix="check the name and the folder"
        )
    return data
