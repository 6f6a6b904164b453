"""`deepseek explain`: which columns matter, and why single rows were answered as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, files_options

EPILOG = """\b
Examples:
  deepseek explain loans new.csv
  deepseek explain loans new.csv --row 17 --json
  deepseek explain loans new.csv --html report.html
  deepseek explain patients new.csv --files scans
  deepseek explain cards july.parquet --history june.parquet --row 17 --html report.html
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
@click.option(
    "--history", type=FILE, multiple=True, metavar="FILE",
    help="Events before DATA, of a model that computes its features from raw events. May be given again.",
)  # fmt: skip
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
    bundle: Path, data: Path, keys: tuple[Path, ...], history: tuple[Path, ...], budget: int, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Explain BUNDLE on DATA: the influence of each column, and single rows as base value plus contributions.

    Contributions are on the scale of the margin, before calibration; what they leave unexplained is given as residual.
    Where that is more than 0.1 % of what is explained, the first line says so: do not rely on it.

    BUNDLE may also be a text model, a Hugging Face folder: then tokens and sentences of the column "text" are
    explained. Texts and pictures of a bundle of several modalities are explained by their parts, too.

    A bundle of `recipe fraud` takes raw events, as `predict` does: what cards and terminals did before each row, in
    DATA itself and in --history, is what is explained.
    """
    from deepseek.cli.support.events import event_table
    from deepseek.cli.support.kinds.machines import machine_rows
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.explain.bundle import explain_bundle
    from deepseek.explain.options import ExplainOptions
    from deepseek.explain.shapley.partition import Budget

    public, private = split_keys(keys)
    chosen = ExplainOptions(**options, key=private, bundle_key=public, budget=Budget(num_evaluations=budget))
    events = event_table(bundle, data, history)
    rows = machine_rows(bundle, data) if events is None else events
    result = explain_bundle(bundle, rows, chosen)
    warn_unchecked(bundle, public)
    output.emit(
        result, as_json,
        lambda: [part if isinstance(part, str) else output.fact_table(part) for part in result.text_parts()],
    )  # fmt: skip
    output.note_written({"report": chosen.html, "same as JSON": chosen.json_file}, is_signed=private is not None)


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
