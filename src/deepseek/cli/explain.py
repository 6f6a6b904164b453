"""`deepseek explain`: which columns matter, and why single rows were answered as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, files_options
from deepseek.look.numbers import number, signed_number

MAX_SHOWN = 15  # columns in the terminal; --json has all
MIN_PLAYERS = 4  # as in explain.mask_trust, which is not imported for the sake of --help

EPILOG = """\b
Examples:
  deepseek explain loans new.csv
  deepseek explain loans new.csv --row 17 --json
  deepseek explain loans new.csv --html report.html
  deepseek explain patients new.csv --files scans
  deepseek explain ./my-classifier letters.csv --row 3 --budget 1000
  deepseek explain loans new.csv --row 17 --layers
  deepseek explain loans new.csv --row 17 --interactions
  deepseek explain loans new.csv --trust --training loans.csv --fixed age --html report.html
  deepseek explain ./my-classifier letters.csv --row 3 --trust
  deepseek explain loans new.csv --html report.html --json-file report.json --key release-key
  deepseek explain loans new.csv --key release-key.pub
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
@click.option("--json-file", type=FILE, help="Write what --json prints there.")
@click.option(
    "--key", "keys", multiple=True, type=FILE, metavar="FILE",
    help="Public key that must have signed BUNDLE; or private key that signs both files, with a FILE.sig beside each "
    "(see keygen, verify). May be given once for each.",
)  # fmt: skip
@click.option(
    "--trust/--no-trust",
    default=None,
    help="Measure how far the explanations hold, in a minute at most.  [default: in files, where it takes 5 s at most]",
)
@click.option("--training", type=FILE, help="The rows that the model was made of, to find a table's nearest among.")
@click.option(
    "--fixed", multiple=True, metavar="COLUMN", help="Changed by no counterfactual of a table. May be repeated."
)
@files_options
@click.option("--layers", is_flag=True, help="Also layer by layer, with a ledger: of the perceptrons in the model.")
@click.option("--interactions", is_flag=True, help="Also each row's strongest pairs of columns: of models with trees.")
@click.option(
    "--budget", type=click.IntRange(2), default=512, show_default=True, metavar="ANSWERS",
    help="Of the model, for the tokens of one text or the regions of one picture.",
)  # fmt: skip
@output.json_option
def command(
    bundle: Path,
    data: Path | str,
    rows: tuple[int, ...],
    target: str | None,
    html: Path | None,
    json_file: Path | None,
    keys: tuple[Path, ...],
    trust: bool | None,
    training: Path | None,
    fixed: tuple[str, ...],
    files: Path | None,
    broken: Literal["fail", "mask"],
    layers: bool,
    interactions: bool,
    budget: int,
    as_json: bool,
) -> None:
    """Explain BUNDLE on DATA: the influence of each column, and single rows as base value plus contributions.

    Contributions are on the scale of the margin, before calibration; what they leave unexplained is given as residual.
    Where that is more than 0.1 % of what is explained, the first line says so: do not rely on it.

    BUNDLE may also be a text model, a Hugging Face folder: then tokens and sentences of the column "text" are
    explained. Texts and pictures of a bundle of several modalities are explained by their parts, too.
    """
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.explain.bundle import explain_bundle
    from deepseek.explain.shapley.partition import Budget

    public, private = split_keys(keys)
    result = explain_bundle(
        bundle, data, rows=rows, target=target, html=html, files=files, broken=broken, layers=layers, trust=trust,
        training=training, fixed=fixed, json_file=json_file, key=private, bundle_key=public,
        budget=Budget(num_evaluations=budget), interactions=interactions,
    )  # fmt: skip
    warn_unchecked(bundle, public)
    output.emit(result, as_json, lambda: report(result))
    output.note_written({"report": html, "same as JSON": json_file}, is_signed=private is not None)


def split_keys(keys: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """The public key among those of --key, and the private one. UsageError for two of a kind."""
    from deepseek.bundle.sign import is_public_key_file

    public = [key for key in keys if is_public_key_file(key)]
    private = [key for key in keys if key not in public]
    for kind, of_kind in (("public", public), ("private", private)):
        if len(of_kind) > 1:
            raise click.UsageError(
                f"--key is given {len(of_kind)} {kind} keys; one may have signed BUNDLE, and one signs"
            )
    return next(iter(public), None), next(iter(private), None)


def report(result: Mapping[str, Any]) -> list[object]:
    """What does not add up first, then importance, then each row in words."""
    whose = f"all {len(result['by_class'])} classes" if result["by_class"] else result["target"]
    scale = f"{result['scale']} of {whose}" if whose else result["scale"]
    top = result["importance"][:MAX_SHOWN]
    parts: list[object] = [
        *(f"WARNING: {warning}" for warning in result["warnings"]),
        f"Mean influence on the {scale}, over {output.format_value(result['num_rows_explained'])} rows",
        output.fact_table([(entry["column"], number(entry["mean_abs"])) for entry in top]),
    ]
    if len(result["importance"]) > MAX_SHOWN:
        parts.append(f"and {len(result['importance']) - MAX_SHOWN} more columns: --json lists them all")
    for row in result["explanations"]:
        sums = f"{signed_number(row['base_value'])} at the start, {signed_number(row['output'])} in all"
        sums += "" if row["adds_up"] else f", {signed_number(row['residual'])} of it NOT EXPLAINED"
        parts += [
            "",
            f"row {row['row_id']}: {row['prediction']}; {sums}",
            *(f"  {reason}" for reason in row["reasons"]),
            *(
                f"  {' with '.join(pair['columns'])}: {signed_number(pair['value'])}"
                for pair in row.get("interactions", ())
            ),
            *(f"  {part['column']}: {note}" for part in row.get("parts", ()) for note in part["notes"]),
        ]
    for path in result.get("layers", ()):
        parts += ["", *ledger_lines(path)]
    return parts + faithfulness_lines(result.get("trust"))


def faithfulness_lines(trust: Mapping[str, Any] | None) -> list[object]:
    """How many rows pass, and the figures of all of them; the page says what they mean."""
    if not trust or not trust["rows"]:
        return []
    rows = trust["rows"]
    lines: list[tuple[str, object]] = _curve_lines(rows)
    for name in ("infidelity", "sensitivity"):
        known = [row[name] for row in rows if row[name] is not None]
        if known:
            lines.append((name, f"{number(max(known))} at most"))
    agreed = [row["agreement"]["rank_correlation"] for row in rows if row["agreement"]]
    if agreed:
        lines.append((f"agreement with {trust['second']}", f"rank correlation {number(min(agreed))} at least"))
    parts = [part for row in rows for part in row.get("parts", ())]
    for column in dict.fromkeys(part["column"] for part in parts):
        of_column = [part for part in parts if part["column"] == column]
        lines += [(f"{column}, {name}", passes) for name, passes in _curve_lines(of_column)]
    if trust["randomised"]:
        lines.append(("likeness with a shuffled model", number(trust["randomised"][-1]["similarity"])))
    return ["", "how far to trust it", output.fact_table(lines), *(f"  {note}" for note in trust["notes"])]


def _curve_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, object]]:
    """Of the curves; of few players hardly any order can be told from chance."""
    judged = [row for row in rows if row["num_players"] > MIN_PLAYERS]
    if not judged:
        return [("deletion and insertion", f"not to be told from chance with {MIN_PLAYERS} or fewer")]
    return [
        (name, f"{sum(row[name]['passes'] for row in judged)} of {len(judged)} rows beyond 95 % of random orders")
        for name in ("deletion", "insertion")
    ]


def ledger_lines(path: Mapping[str, Any]) -> list[object]:
    """What each layer of one perceptron sums to, and whether that is the change to be explained."""
    lines = []
    for line in path["ledger"]:
        balance = "balances" if line["passes"] else "DOES NOT BALANCE"
        if line["passes"] is None:
            balance = f"{signed_number(line['bypassed'])} passes it by"
        lines.append((f"{line['layer']} ({line['kind']})", f"{signed_number(line['sum'])}, {balance}"))
    return [f"part {path['part']}, layer by layer: {path['method']}", output.fact_table(lines)]
