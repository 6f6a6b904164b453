"""Leaks of ten kinds, planted in ten tables: does `ship` refuse each of them by name, and none of 30 clean tables?

What is asked is `ship` itself up to the search: reading, kinds, split, checks. A planted column counts as refused when
its name is in the error; a table of which rows are planted, when the error names these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from first_hour_tables import CleanTable, as_numbers, clean_tables
from result import claim

from deepseek.automl.options import ShipOptions
from deepseek.automl.split_data import open_data
from deepseek.automl.tabular_run import TabularRun
from deepseek.errors import CheckError

PLANTED_IN = (
    "iris", "wine", "cancer", "digits", "payments, simulated", "steel defects", "concrete", "diabetes",
    "crossed_barrel", "oer_plate_3496",
)  # fmt: skip
NAME = "later"  # of every planted column

Rng = np.random.Generator
Plant = Callable[[np.ndarray, bool, Rng], Any]  # type: ignore[type-arg]  # target as numbers, of classes or not


@dataclass(frozen=True, slots=True)
class Case:
    """A table with a leak, and what must be named."""

    rows: pd.DataFrame
    options: dict[str, Any]
    named: str


def _nearly(y: np.ndarray, is_class: bool, rng: Rng) -> Any:  # type: ignore[type-arg]
    if not is_class:
        return y + 0.01 * y.std() * rng.normal(size=len(y))
    wrong = rng.random(len(y)) < 0.01
    return np.where(wrong, rng.permutation(y), y)


def _finer(y: np.ndarray, is_class: bool, rng: Rng) -> Any:  # type: ignore[type-arg]
    if is_class:
        return [f"{'abcdefghijklm'[int(value)]}{rng.integers(3)}" for value in y]
    return np.searchsorted(np.quantile(y, np.arange(0.1, 1, 0.1)), y)


def _present(y: np.ndarray, is_class: bool, rng: Rng) -> Any:  # type: ignore[type-arg]
    is_there = y == y.max() if is_class else y > np.median(y)
    return np.where(is_there, rng.normal(size=len(y)), np.nan)


def _apart(y: np.ndarray, is_class: bool, rng: Rng) -> Any:  # type: ignore[type-arg]
    return 10 * y + 4 * rng.random(len(y)) if is_class else np.cbrt(y - y.mean())


def _date(y: np.ndarray, is_class: bool, rng: Rng) -> Any:  # type: ignore[type-arg]
    rank = y if is_class else pd.Series(y).rank(method="dense").to_numpy()
    days = 60 * rank + rng.integers(0, 30, len(y)) if is_class else rank
    return pd.Timestamp("2015-01-01") + pd.to_timedelta(days, unit="D")


def _code(y: np.ndarray, is_class: bool, rng: Rng) -> Any:  # type: ignore[type-arg]
    if is_class:
        numbers = rng.integers(0, max(2, min(400, len(y) // 20)), len(y))
        return [f"{'defghijklmnop'[int(value)]}-{number}" for value, number in zip(y, numbers, strict=True)]
    band = np.searchsorted(np.quantile(y, np.arange(0.05, 1, 0.05)), y)
    return [f"band {'abcdefghijklmnopqrstuvwxyz'[number]}" for number in band]


PLANTS: dict[str, Plant] = {
    "a copy": lambda y, _is_class, _rng: y,
    "a copy in other words": lambda y, _is_class, _rng: 7 - 3 * y,
    "a copy with one row in a hundred wrong": _nearly,
    "levels finer or coarser than the target": _finer,
    "a value that one class alone has": _present,
    "a number with a range for each class": _apart,
    "a date that follows the target": _date,
    "a code with the class in it": _code,
}


def planted_cases(table: CleanTable, seed: int) -> dict[str, Case]:
    """The table with each of ten leaks."""
    rows, rng = table.frame(), np.random.default_rng(seed)
    y = as_numbers(rows[table.target])
    is_class = len(np.unique(y)) <= 20
    options = {"target": table.target, "split": table.split, "task": None if is_class else "regression"}
    cases = {
        kind: Case(rows.assign(**{NAME: plant(y, is_class, rng)}), options, f"'{NAME}'")
        for kind, plant in PLANTS.items()
    }
    order = rng.permutation(len(rows))
    train, test = rows.iloc[order[: 4 * len(rows) // 5]], rows.iloc[order[4 * len(rows) // 5 :]]
    half = pd.concat([test[: len(test) // 2], train[: len(test) // 2]])
    cases["test rows that are training rows"] = Case(train, {**options, "test": half, "split": "random"}, "test rows")
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(len(rows)), unit="h")
    dated = rows.iloc[order].assign(**{NAME: when})
    cut = len(rows) // 5
    early = {**options, "test": dated[:cut], "split": f"time:{NAME}"}
    cases["training rows later than the test rows"] = Case(dated[cut:], early, f"'{NAME}'")
    return cases


def refusal(rows: pd.DataFrame, options: dict[str, Any]) -> str:
    """What `ship` refuses the rows for; "" where it would go on to the search."""
    checked = ShipOptions(out="unused-by-checks", overwrite=True, **options)
    try:
        TabularRun.of(open_data(rows, checked), checked)
    except CheckError as error:
        return error.message
    return ""


def measure(_quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Two claims: planted leaks that are refused by name, and clean tables that are refused."""
    tables = clean_tables()
    missed, num_planted = [], 0
    for seed, table in enumerate(each for each in tables if each.name in PLANTED_IN):
        for kind, case in planted_cases(table, seed).items():
            num_planted += 1
            message = refusal(case.rows, case.options)
            if case.named not in message:
                missed.append(f"{kind} in {table.name}")
        print(f"{table.name}: {len(PLANTS) + 2} planted", flush=True)
    refused = []
    for table in tables:
        message = refusal(table.frame(), {"target": table.target, "split": table.split})
        print(f"{table.name}: {message or 'clean'}", flush=True)
        if message:
            refused.append(f"{table.name} ({message})")
    kinds = "; ".join([*PLANTS, "test rows that are training rows", "training rows later than the test rows"])
    claims = [
        claim(
            "first_hour_planted_leaks", ours=1 - len(missed) / num_planted, unit="share refused by name", op=">=",
            bar=1.0, note=f"{num_planted} cases, {len(PLANTED_IN)} tables by: {kinds}. Missed: {missed or 'none'}",
        ),
        claim(
            "first_hour_clean_tables", ours=float(len(refused)), unit="tables refused", op="<=", bar=0.0,
            note=f"of {len(tables)}: {', '.join(table.name for table in tables)}. Refused: {refused or 'none'}",
        ),
    ]  # fmt: skip
    return claims, []
