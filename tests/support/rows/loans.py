"""A small seeded table of loans with a target for each task, for tests of training and shipping."""

from __future__ import annotations

import numpy as np
import pandas as pd

TARGETS = {"binary": "default", "multiclass": "grade", "regression": "price"}


def make_loans(num_rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """A default grows likelier with the debt, with youth and in the region "south"."""
    rng = np.random.default_rng(seed)
    debt, age = rng.gamma(2, 10, num_rows).round(1), rng.integers(18, 80, num_rows).astype(float)
    region = rng.choice(["north", "south", "east"], num_rows, p=[0.5, 0.3, 0.2])
    children = rng.integers(0, 5, num_rows).astype(float)
    score = 0.12 * (debt - 20) + 1.2 * (region == "south") - 0.02 * (age - 45) + rng.logistic(size=num_rows)
    return pd.DataFrame(
        {
            "debt": debt,
            "age": age,
            "region": region,
            "children": children,
            "since": pd.date_range("2020-01-01", periods=num_rows, freq="D"),
            "household": [f"h{i // 3}" for i in range(num_rows)],
            "grade": np.where(score < -0.5, "good", np.where(score < 1, "fair", "bad")),
            "default": np.where(score > 0.5, "yes", "no"),
            "price": (score * 100 + 500).round(2),
        }
    )


def for_task(frame: pd.DataFrame, task: str, *, keep: tuple[str, ...] = ()) -> pd.DataFrame:
    """The plain inputs and the target of one task; `keep` names further columns that stay."""
    gone = {*TARGETS.values(), "since", "household"} - {TARGETS[task], *keep}
    return frame.drop(columns=sorted(gone))
