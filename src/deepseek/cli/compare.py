"""`deepseek compare`: which of several bundles is better on the same rows, and whether by more than noise."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, files_options
from deepseek.cli.support.progress import Progress
from deepseek.errors import InputError
from deepseek.files import check_writable

EPILOG = """\b
Examples:
  deepseek compare loans-v1 loans-v2 later.csv
  deepseek compare loans-v1 loans-v2 loans-small later.csv --by region --json
  deepseek compare cards-v1 cards-v2 june.parquet --metric average_precision --html compare.html
  deepseek compare patients-v1 patients-v2 later.csv --files scans --group patient
"""


@click.command(epilog=EPILOG, short_help="Say which bundle is better, and whether by more than noise.")
@click.argument("paths", nargs=-1, type=FILE, metavar="A B [C ...] DATA")
@click.option("--by", multiple=True, metavar="COL", help="Compare in each group of a column, too. May be repeated.")
@click.option("--metric", help="What verdicts speak by.  [default: log loss, average precision for rare classes, RMSE]")
@click.option(
    "--group", metavar="COL",
    help="Rows of one value are drawn together.  [default: the column that a bundle was split by]",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(0, 1_000), default=10, show_default=True,
    help="How many rows to list on which they disagree.",
)  # fmt: skip
@click.option("--speed/--no-speed", default=True, show_default=True, help="Measure how long calls take.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of the resamples."
)  # fmt: skip
@click.option("--html", type=FILE, help="Write the page there.")
@files_options
@click.option("--key", type=FILE, help="Public key that must have signed every bundle (see keygen).")
@output.json_option
def command(
    paths: tuple[Path, ...],
    by: tuple[str, ...],
    metric: str | None,
    group: str | None,
    rows: int,
    speed: bool,
    seed: int,
    html: Path | None,
    files: Path | None,
    broken: Literal["fail", "mask"],
    key: Path | None,
    as_json: bool,
) -> None:
    """Compare bundles on the labelled rows of DATA: B, C and so on against A.

    Differences have 95 % intervals by resampling the same rows for all. None of the bundles may have been trained on
    these rows. The exit code is 0 whoever is better.
    """
    *bundles, data = _check_paths(paths)
    if html is not None:
        check_writable(html)
        if any(html.resolve().is_relative_to(bundle.resolve()) for bundle in bundles):
            raise InputError(
                f"the page {html} would lie in a bundle", expected="a file outside of it", fix=f"--html {html.name}"
            )
    from deepseek.automl.comparison.compare import compare_bundles
    from deepseek.cli.support.opening import warn_unchecked

    with closing(Progress()) as progress:
        progress("scoring and resampling", 0.0)
        result = compare_bundles(
            bundles, data, metric=metric, by=by, group=group, rows=rows, speed=speed, seed=seed, files=files,
            broken=broken, key=key, html=html, command=shlex.join(["deepseek", *sys.argv[1:]]),
        )  # fmt: skip
    for bundle in bundles:
        warn_unchecked(bundle, key)
    output.emit(result, as_json, result.summary_parts)
    output.note_written({"page": html}, is_signed=False)
    output.warn(result.warnings)


def _check_paths(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Two bundles and the data at least; the data is no bundle."""
    if len(paths) < 3:
        raise click.UsageError("give two bundles or more, and after them DATA: compare old new later.csv")
    if (paths[-1] / "bundle.json").is_file():
        raise click.UsageError(f"{paths[-1]} is a bundle: DATA, a file of labelled rows, is missing at the end")
    return paths
