"""`deepseek recipe rings`: groups of cards that are used together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, share
from deepseek.files import atomic_file, check_writable
from deepseek.look import numbers

if TYPE_CHECKING:
    from deepseek.recipes.rings import RingFindings

MOST_ROWS = 20  # rings in the table; --json and the page have all

EPILOG = """\b
Examples:
  deepseek recipe rings --example --html rings.html
  deepseek recipe rings june.parquet --html rings.html
  deepseek recipe rings june.csv --time when --card pan --terminal shop --amount euros --max-fpr 0.002 --json
"""


@click.command(epilog=EPILOG, short_help="Groups of cards that are used together.")
@click.argument("transactions", type=FILE, required=False)
@click.option("--example", is_flag=True, help="Run on a simulated town with rings and decoys in it.")
@click.option("--time", default="", metavar="COL", help="When each was paid: dates, or seconds since 1970.")
@click.option("--card", default="", metavar="COL", help="Which card paid.")
@click.option("--terminal", default="", metavar="COL", help="Where it paid.")
@click.option("--amount", default="", metavar="COL", help="How much it paid.")
@click.option("--max-fpr", default="0.005", show_default=True, type=share, metavar="SHARE",
              help="Share of the cards in no ring that may be suspected.")  # fmt: skip
@click.option("--html", type=FILE, help="Write a page there, with each ring as a graph over time.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**20), help="Of what is planted.")
@output.json_option
def command(
    transactions: Path | None, example: bool, time: str, card: str, terminal: str, amount: str, max_fpr: float,
    html: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Find groups of cards in TRANSACTIONS (CSV, Parquet or Arrow) that are used together at a few terminals, with the
    reasons for each. No payment has to be labelled: a scorer learns from rings and decoys that are planted into these
    payments, and its recall on others like them is stated. A column that is not named is recognized by its name."""
    if (transactions is None) == (not example):
        raise click.UsageError("give either TRANSACTIONS or --example, not both and not neither")
    if html is not None:
        check_writable(html)
    from deepseek.extras import need

    for module in ("pyarrow", "scipy", "xgboost"):
        need(module, extra="tabular")
    from deepseek.recipes.rings import RingChoices, example_payments, find_rings, read_payments

    if transactions is None:
        payments = example_payments(seed)
    else:
        payments = read_payments(transactions, time=time, card=card, terminal=terminal, amount=amount)
    findings = find_rings(payments, RingChoices(max_fpr=max_fpr, seed=seed))
    if html is not None:
        from deepseek.recipes.rings_page import render_page

        with atomic_file(html) as part:
            part.write_text(render_page(findings, transactions.name if transactions else "--example"), encoding="utf-8")
        output.note(f"the page is in {html}")
    output.warn(findings.warnings)
    output.emit(findings, as_json, lambda: report(findings))


def report(findings: RingFindings) -> list[object]:
    """The answer in one sentence, then the rings."""
    if not findings.rings:
        return [findings.summary()]
    table = output.make_table("score", "cards", "meetings", "terminals", "days", value_justify="right")
    for ring in findings.rings[:MOST_ROWS]:
        names = ", ".join(output.escape_text(str(findings.payments.card_names[card])) for card in ring.cards)
        score = numbers.number(sum(ring.scores) / len(ring.scores))
        table.add_row(score, names, str(len(ring.meetings)), str(len(ring.terminals)), str(ring.evidence.num_days))
    parts: list[object] = [findings.summary(), "", table]
    if len(findings.rings) > MOST_ROWS:
        parts.append(f"and {len(findings.rings) - MOST_ROWS} more: --json and --html have them all")
    return parts
