"""`deepseek recipe ct_record`: the study of CT slices and patient records."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER, duration
from deepseek.cli.support.progress import Progress
from deepseek.files import atomic_file, check_writable
from deepseek.look import numbers

if TYPE_CHECKING:
    from deepseek.recipes.ct_record_findings import Findings

EPILOG = """\b
Examples:
  deepseek recipe ct_record --example --html ct.html
  deepseek recipe ct_record covid-ct --budget 10m --html ct.html
  deepseek recipe ct_record covid-ct --image efficientnet_lite0:lite0.safetensors --text all-MiniLM
"""


@click.command(epilog=EPILOG, short_help="CT slice and patient record.")
@click.argument("folder", type=FOLDER, required=False)
@click.option("--example", is_flag=True, help="Run on a small study that is simulated.")
@click.option("--image", default="", metavar="NAME:FILE", help="An image net and its weights (safetensors).")
@click.option("--text", type=FOLDER, metavar="FOLDER", help="A text model of Hugging Face.")
@click.option("--budget", "budget_s", type=duration, metavar="TIME",
              help="CPU time of the study, such as 120s or 10m; else the epochs that suit covid-ct.")  # fmt: skip
@click.option("--html", type=FILE, help="Write the page there.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of nets and of draws.")
@output.json_option
def command(
    folder: Path | None, example: bool, image: str, text: Path | None, budget_s: float | None, html: Path | None,
    seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Say what leaks in the study FOLDER (index.csv and images.zip, or the images), diagnose from the slice alone, and
    let reports and slices find each other. For research; no clinical use."""
    if (folder is None) == (not example):
        raise click.UsageError("give either FOLDER or --example, not both and not neither")
    if html is not None:
        check_writable(html)
    from dataclasses import replace

    from deepseek.extras import need

    need("torch", extra="train")
    from deepseek.recipes.ct_record import run_study
    from deepseek.recipes.ct_record_budget import StudyBudget
    from deepseek.recipes.ct_record_example import EXAMPLE_CHOICES, write_example
    from deepseek.recipes.ct_record_study import Choices, PretrainedPaths

    with tempfile.TemporaryDirectory(prefix="deepseek-ct-") as scratch:
        root = folder if folder is not None else write_example(Path(scratch) / "example", seed=seed)
        choices = replace(EXAMPLE_CHOICES if example else Choices(), seed=seed)
        with closing(Progress()) as progress:
            budget = StudyBudget(budget_s, progress)
            findings = run_study(root, encoders=PretrainedPaths(image, text), choices=choices, budget=budget)
        if html is not None:
            from deepseek.recipes.ct_record_page import render_page

            with atomic_file(html) as part:
                part.write_text(render_page(findings, root.name, seed), encoding="utf-8")
            output.note(f"the page is in {html}")
    output.warn(findings.warnings)
    output.emit(findings.to_dict(), as_json, lambda: summary(findings))


def summary(findings: Findings) -> list[object]:
    """The diagnosis in one line, then what leaks and what is found."""
    diagnosis = findings.diagnosis
    auc = diagnosis.test["auc"]
    rows: list[tuple[str, object]] = [
        ("AUC of the class by the size of a picture alone", numbers.number(findings.size_auc)),
        *((leak.name, leak.level) for leak in findings.presence),
    ]
    for part, scores in findings.retrieval.items():
        rows += [
            (f"{way}, {part}", ", ".join(f"{numbers.number(value)} among {k}" for k, value in recall.items()))
            for way, recall in scores.recall.items()
        ]
    rows += [("weights of " + origin.column, origin.sentence().en.partition(": ")[2]) for origin in findings.weights]
    rows.append(("CPU time", numbers.duration(findings.cost.cpu_s)))
    figure = numbers.figure(auc.value, auc.low, auc.high)
    sentence = f"From the slice alone: AUC {figure} on {diagnosis.num_test} slices. Not for clinical use."
    return [sentence, output.fact_table(rows)]
