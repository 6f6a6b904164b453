"""A bundle of loans, as several guides take one as known."""

from __future__ import annotations

import pandas as pd

from deepseek.cli import main
from support.rows.loans import for_task, make_loans


def ship_loans(*options: str) -> pd.DataFrame:
    """Writes the bundle `loans`; its table, with the column default."""
    table = for_task(make_loans(), "binary")
    table.to_csv("loans.csv", index=False)
    ship = ["ship", "loans.csv", "--target", "default", "--out", "loans", "--trials", "1", *options]
    assert main(ship) == 0
    return table
