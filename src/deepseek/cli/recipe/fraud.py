"""`deepseek recipe fraud`: raw card transactions to a bundle."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, duration, share
from deepseek.cli.support.progress import Progress

EPILOG = """\b
Examples:
  deepseek recipe fraud --example --out cards
  deepseek recipe fraud tx.parquet --time when --card card --terminal shop --amount eur --target fraud --out cards
  deepseek recipe fraud tx.parquet --queue 50 --cost fraud=amount,alarm=5 --out cards
  deepseek predict cards july.parquet --history june.parquet --out scores.parquet
"""


@click.command(epilog=EPILOG, short_help="Raw card transactions become a model.")
@click.argument("transactions", type=FILE, required=False)
@click.option("--example", is_flag=True, help="Run on transactions of a small world that is simulated.")
@click.option("--out", type=BUNDLE, required=True, help="Folder of the bundle.")
@click.option("--time", default="time", show_default=True, metavar="COL", help="When: dates, or whole seconds.")
@click.option("--card", default="card", show_default=True, metavar="COL", help="The card.")
@click.option("--terminal", default="terminal", show_default=True, metavar="COL", help="The terminal.")
@click.option("--amount", default="amount", show_default=True, metavar="COL", help="The amount, two decimals.")
@click.option("--target", default="fraud", show_default=True, metavar="COL", help="The verdict: 0 or 1.")
@click.option("--id", "identity", default="id", show_default=True, metavar="COL", help="The id, where there is one.")
@click.option("--label-delay", default="7d", show_default=True, help="How long after a payment its verdict is known.")
@click.option(
    "--max-fpr", type=share, metavar="SHARE",
    help="Most genuine payments that may be alarms, by its bound.  [default: 0.0002 without --queue and --cost]",
)  # fmt: skip
@click.option(
    "--queue",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Most alerts a day, by the bound of their mean.",
)
@click.option(
    "--cost",
    metavar="fraud=amount,alarm=NUMBER",
    help="What a missed fraud costs (amount: what was paid, or a number), and a false alarm: the least cost decides.",
)
@click.option("--budget", "budget_s", default="10m", show_default=True, type=duration, help="CPU time of the search.")
@click.option("--trials", type=click.IntRange(1), help="Run exactly so many trials, whatever they cost.")
@click.option("--drop", multiple=True, metavar="COL", help="Leave a column out.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of draws.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@output.json_option
def command(
    transactions: Path | None, example: bool, out: Path, as_json: bool, identity: str, max_fpr: float | None,
    queue: float | None, cost: str | None, **choices: Any,
) -> None:  # fmt: skip
    """Learn fraud from raw TRANSACTIONS (CSV, Parquet or Arrow): what each card and terminal did before is computed
    from one definition, which the bundle keeps. Other columns are learned from as they are."""
    if (transactions is None) == (not example):
        raise click.UsageError("give either TRANSACTIONS or --example, not both and not neither")
    from deepseek.bundle import check_target
    from deepseek.data import read_table
    from deepseek.recipes.fraud import (
        DEFAULT_MAX_FPR,
        EXAMPLE_MAX_FPR,
        FraudColumns,
        FraudOptions,
        make_example,
        run_fraud,
    )
    from deepseek.recipes.fraud_decision import DecisionLimits, read_costs

    costs = None if cost is None else read_costs(cost)
    if max_fpr is None and queue is None and costs is None:
        max_fpr = EXAMPLE_MAX_FPR if example else DEFAULT_MAX_FPR
    limits = DecisionLimits(max_fpr, queue, costs)
    check_target(out, overwrite=choices["overwrite"])
    names = {name: choices.pop(name) for name in ("time", "card", "terminal", "amount", "target")}
    columns = FraudColumns() if example else FraudColumns(**names, id=identity)
    with closing(Progress()) as progress:
        table = make_example(choices["seed"]) if transactions is None else read_table(transactions)
        command_line = shlex.join(["deepseek", *sys.argv[1:]])
        options = FraudOptions(columns, out, limits=limits, progress=progress, command=command_line, **choices)
        result = run_fraud(table, options)
    alarms = result.shipped.alarms
    output.warn([text for text in result.shipped.warnings if as_json or text not in alarms])
    output.emit(result, as_json, result.summary_parts)
