"""`deepseek explain`: which columns matter, and why single rows were answered as they were."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek.cli import output
from deepseek.cli.files import check_place, whole
from deepseek.cli.options import BUNDLE, FILE
from deepseek.errors import InputError
from deepseek.look.numbers import number, signed

if TYPE_CHECKING:
    from deepseek.data import Table
    from deepseek.engines import Runtime

MAX_SINGLE_ROWS = 50
MAX_SHOWN = 15  # columns in the terminal; --json has all

EPILOG = """\b
Examples:
  deepseek explain loans new.csv
  deepseek explain loans new.csv --row 17 --json
  deepseek explain loans new.csv --html report.html
"""


@click.command(epilog=EPILOG, short_help="Say why: attributions as JSON and as a page.")
@click.argument("bundle", type=BUNDLE)
@click.argument("data", type=FILE)
@click.option(
    "--row",
    "rows",
    multiple=True,
    type=click.IntRange(0),
    help="Explain this row, counted from 0. May be repeated.  [default: the first 5]",
)
@click.option(
    "--target", metavar="LABEL", help="The class to explain.  [default: the positive one, or the one predicted]"
)
@click.option("--html", type=FILE, help="Write one offline page there.")
@output.json_option
def command(
    bundle: Path, data: Path | str, rows: tuple[int, ...], target: str | None, html: Path | None, as_json: bool
) -> None:
    """Explain BUNDLE on DATA: the influence of each column, and single rows as base value plus contributions.

    Contributions are on the scale of the margin, before calibration; what they leave unexplained is given as residual.
    """
    if html is not None:
        check_place(html)
    from deepseek.data import read_table
    from deepseek.engines import Runtime

    with Runtime.open(bundle) as runtime:
        result = explain(runtime, read_table(data), rows, target=target, html=html)
    output.emit({"bundle": str(bundle), **result}, as_json, lambda: report(result))
    if html is not None:
        output.note(f"the report is in {html}")


def explain(
    runtime: Runtime, table: Table, rows: tuple[int, ...] = (), *, target: str | None = None, html: Path | None = None
) -> dict[str, Any]:
    """What --json prints, without the bundle's path; writes the page to `html` when it is given."""
    import numpy as np

    from deepseek.engines.parity import spread
    from deepseek.explain import explainer_for, global_report, row_reports, write_report
    from deepseek.explain.report import bundle_evidence
    from deepseek.explain.summary import MAX_ROWS

    chosen = np.array(_rows(rows, table.num_rows))
    explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
    many, few = table.take(spread(table.num_rows, MAX_ROWS)), table.take(chosen)
    general = global_report(explainer, runtime.prepare_table(many).features, many.records(), target=target)
    features, records = runtime.prepare_table(few).features, few.records()
    single = row_reports(explainer, features, records, target=target, outcome=runtime.manifest.target)
    chinese = row_reports(explainer, features, records, target=target, outcome=runtime.manifest.target, language="zh")
    for row, answer, row_id, other in zip(single, _answers(runtime, few), chosen.tolist(), chinese, strict=True):
        row |= {"row_id": row_id, "prediction": answer, "reasons_zh": other["reasons"]}
    if html is not None:
        again = shlex.join(["deepseek", "explain", str(runtime.bundle.path), "DATA", "--html", html.name])
        evidence = bundle_evidence(runtime.bundle)
        page = write_report(None, general, single, manifest=runtime.manifest, evidence=evidence, command=again)
        with whole(html) as part:
            part.write_text(page, encoding="utf-8")
    attribution = explainer.explain(features, target=target)
    for place, row in enumerate(single):
        row["values"] = dict(zip(attribution.names, attribution.values[place].tolist(), strict=True))
    summary = {name: general[name] for name in ("method", "scale", "target", "importance", "additivity", "ablation")}
    return {
        "digest": runtime.bundle.digest,
        "num_rows": table.num_rows,
        "num_rows_explained": general["num_rows"],
        **summary,
        "explanations": [{name: row[name] for name in ROW_FIELDS} for row in single],
    }


ROW_FIELDS = ("row_id", "prediction", "target", "scale", "base_value", "values", "output", "residual", "reasons")


def _rows(asked: tuple[int, ...], num_rows: int) -> list[int]:
    """The rows to explain one by one."""
    if len(asked) > MAX_SINGLE_ROWS:
        raise InputError(
            f"{len(asked)} rows are asked for", expected=f"at most {MAX_SINGLE_ROWS}", fix="ask in several runs"
        )
    for row in asked:
        if row >= num_rows:
            raise InputError(
                f"there is no row {row}",
                expected=f"0 to {num_rows - 1}; rows are counted from 0",
                fix="ask for a row that the file has",
            )
    return list(asked) or list(range(min(5, num_rows)))


def _answers(runtime: Runtime, table: Table) -> list[str]:
    """Each row's answer in words."""
    prediction = runtime.predict(table)
    if prediction.labels is None or prediction.probabilities is None:
        return [number(value) for value in prediction.values.tolist()] if prediction.values is not None else []
    place = {label: index for index, label in enumerate(prediction.labels_known)}
    return [
        f"{label} ({number(chances[place[label]])})"
        for label, chances in zip(prediction.labels.tolist(), prediction.probabilities.tolist(), strict=True)
    ]


def report(result: Mapping[str, Any]) -> list[object]:
    """Importance first, then each row in words."""
    scale = f"{result['scale']} of {result['target']}" if result["target"] else result["scale"]
    top = result["importance"][:MAX_SHOWN]
    parts: list[object] = [
        f"Mean influence on the {scale}, over {output.word(result['num_rows_explained'])} rows",
        output.facts([(entry["column"], number(entry["mean_abs"])) for entry in top]),
    ]
    if len(result["importance"]) > MAX_SHOWN:
        parts.append(f"and {len(result['importance']) - MAX_SHOWN} more columns: --json lists them all")
    for row in result["explanations"]:
        sums = f"{signed(row['base_value'])} at the start, {signed(row['output'])} in all"
        parts += [
            "",
            f"row {row['row_id']}: {row['prediction']}; {sums}",
            *(f"  {reason}" for reason in row["reasons"]),
        ]
    return parts
