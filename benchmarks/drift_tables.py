"""Real tables for drift.py, a two-class target in each, and twelve ways in which what comes in drifts.

The four that are measured: payments of the fraud handbook (every fraud, genuine ones sampled), turbofan engines
(C-MAPSS FD001; within 60 cycles of failure), and two of the R data sets that the package pydataset holds: diamonds (cut
"Ideal") and HI (health insurance of wives, 1993). Of the same package come those that methods and strengths were chosen
on: Computers, BudgetFood, MedExp.
"""

from __future__ import annotations

import functools
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from fraud_features import FEATURES, TARGET, data_folder, load_features
from result import ROOT
from sklearn.ensemble import HistGradientBoostingClassifier

RIVALS = ROOT / ".venv-drift"  # has pydataset, too
MEASURED, DEVELOPMENT = ("payments", "engines", "diamonds", "insurance"), ("computers", "food", "medical")
MAX_ROWS = 40_000
NUM_MODEL, NUM_REFERENCE, NUM_WINDOW = 2_000, 2_000, 250
MIN_DISTINCT = 30  # of a column that is shifted, clipped, rounded


def _packaged(name: str) -> pd.DataFrame:
    """A CSV of pydataset's archive."""
    (archive,) = RIVALS.glob("lib/python3*/site-packages/pydataset/resources.tar.gz")
    with tarfile.open(archive) as tar:
        member = next(each for each in tar.getmembers() if each.name.endswith(f"/{name}.csv"))
        file = tar.extractfile(member)
        assert file is not None
        return pd.read_csv(io.BytesIO(file.read()), index_col=0)


def _payments() -> pd.DataFrame:
    rows = load_features().select([*FEATURES, TARGET]).to_pandas()
    genuine = rows[rows[TARGET] == 0].sample(30_000, random_state=0)
    return pd.concat([genuine, rows[rows[TARGET] == 1]]).rename(columns={TARGET: "target"})


def _engines() -> pd.DataFrame:
    rows = pq.read_table(data_folder() / "cmapss-fd001" / "train_FD001.parquet").to_pandas()
    left = rows.groupby("unit")["cycle"].transform("max") - rows["cycle"]
    sensors = [name for name in rows if name.startswith(("setting", "s")) and rows[name].nunique() > 1]
    return rows[sensors].assign(target=(left <= 60).astype(int))


def _with_target(name: str, is_positive: Callable[[pd.DataFrame], pd.Series], without: tuple[str, ...]) -> pd.DataFrame:
    rows = _packaged(name)
    rows["target"] = is_positive(rows).astype(int)
    return rows.drop(columns=[*without])


LOADERS: dict[str, Callable[[], pd.DataFrame]] = {
    "payments": _payments,
    "engines": _engines,
    "diamonds": lambda: _with_target("diamonds", lambda rows: rows["cut"] == "Ideal", ("cut",)),
    "insurance": lambda: _with_target("HI", lambda rows: rows["whi"] == "yes", ("whi", "hhi2")),
    "computers": lambda: _with_target("Computers", lambda rows: rows["price"] > 2_000, ("price",)),
    "food": lambda: _with_target("BudgetFood", lambda rows: rows["wfood"] > 0.35, ("wfood",)),
    "medical": lambda: _with_target("MedExp", lambda rows: rows["med"] > 50, ("med",)),
}


@functools.cache
def load_table(name: str, max_columns: int) -> pd.DataFrame:
    """At most MAX_ROWS rows in random order, and the first columns, as many as time allows; numbers as floats, texts as
    texts; the 0/1 column target."""
    rows = LOADERS[name]()
    rows = rows[[*rows.columns.drop("target")[:max_columns], "target"]]
    rows = rows.sample(min(len(rows), MAX_ROWS), random_state=0).reset_index(drop=True)
    for column in rows.columns.drop("target"):
        is_number = pd.api.types.is_numeric_dtype(rows[column]) and rows[column].nunique() > 2
        rows[column] = rows[column].astype(float) if is_number else rows[column].fillna("").astype(str).astype(object)
    return rows


@dataclass(frozen=True)
class ServedTable:
    """A table with a model, the earlier rows that all are held against, and the pool that windows are drawn from."""

    name: str
    columns: tuple[str, ...]
    model: HistGradientBoostingClassifier
    levels: dict[str, list[str]]
    reference: pd.DataFrame  # with the columns target and score
    pool: pd.DataFrame  # with target

    @classmethod
    def make(cls, name: str, seed: int, *, max_columns: int) -> ServedTable:
        rows = load_table(name, max_columns).sample(frac=1, random_state=seed).reset_index(drop=True)
        columns = tuple(rows.columns.drop("target"))
        levels = {each: sorted(rows[each].unique()) for each in columns if rows[each].dtype == object}
        served = cls(
            name, columns, HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=12, random_state=0), levels,
            rows.iloc[NUM_MODEL : NUM_MODEL + NUM_REFERENCE], rows.iloc[NUM_MODEL + NUM_REFERENCE :],
        )  # fmt: skip
        served.model.fit(served._encode(rows.iloc[:NUM_MODEL]), rows["target"].iloc[:NUM_MODEL])
        return ServedTable(name, columns, served.model, levels, served.answer(served.reference), served.pool)

    def _encode(self, rows: pd.DataFrame) -> np.ndarray:
        return np.column_stack(
            [
                pd.Categorical(rows[each], self.levels[each]).codes if each in self.levels else rows[each]
                for each in self.columns
            ]
        ).astype(float)

    def answer(self, rows: pd.DataFrame) -> pd.DataFrame:
        """With the column score: the model's probability of 1."""
        return rows.assign(score=self.model.predict_proba(self._encode(rows))[:, 1])

    def windows(self, rng: np.random.Generator, size: int = NUM_WINDOW) -> Iterator[pd.DataFrame]:
        """Rows of the pool without an end; none comes twice before all have."""
        while True:
            order = rng.permutation(len(self.pool))
            for start in range(0, len(order) - size + 1, size):
                yield self.pool.iloc[order[start : start + size]].reset_index(drop=True)


@dataclass(frozen=True)
class Drift:
    """One drift: its kind, and what of the table it is in."""

    kind: str
    column: str
    other: str
    category: str  # "" where the table has none
    level: str
    grid: float  # 10 ** -decimals of the column's values
    seed: int

    @classmethod
    def choose(cls, kind: str, served: ServedTable, seed: int) -> Drift:
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        rows = served.reference
        numbers = [each for each in served.columns if each not in served.levels]
        many = [each for each in numbers if rows[each].nunique() >= MIN_DISTINCT]
        column, other = rng.choice(many, 2, replace=False)
        category = str(rng.choice(list(served.levels))) if served.levels else ""
        level = str(rng.choice(rows[category].value_counts().index[:3])) if category else ""
        decimals = next((d for d in range(5) if np.allclose(rows[column].round(d), rows[column])), 5)
        return cls(kind, str(column), str(other), category, level, 10.0**-decimals, seed)

    def apply(self, served: ServedTable, rows: pd.DataFrame, step: int, rng: np.random.Generator) -> pd.DataFrame:
        """The rows of the window number `step` since it began, as they come in."""
        return CHANGES[self.kind](self, Arrival(served, rows.copy(), step, rng))

    def on_grid(self, values: pd.Series) -> pd.Series:
        """As precise as the column is: else the digits alone would tell."""
        return (values / self.grid).round() * self.grid


@dataclass(frozen=True)
class Arrival:
    """Rows of a window as they would come in without drift, and the number of the window since it began."""

    served: ServedTable
    rows: pd.DataFrame
    step: int
    rng: np.random.Generator

    def swap(self, gives_way: np.ndarray, others: pd.DataFrame) -> pd.DataFrame:
        """The rows, with some (mask) replaced by rows drawn from others."""
        drawn = others.sample(int(gives_way.sum()), random_state=int(self.rng.integers(2**31)))
        return pd.concat([self.rows[~gives_way], drawn], ignore_index=True)


def _shift(drift: Drift, at: Arrival) -> pd.DataFrame:
    spread = at.served.reference[drift.column].std()
    at.rows[drift.column] = drift.on_grid(at.rows[drift.column] + 0.2 * spread)
    return at.rows


def _unit(drift: Drift, at: Arrival) -> pd.DataFrame:
    at.rows.loc[at.rng.random(len(at.rows)) < 0.01, drift.column] *= 1_000
    return at.rows


def _missing(drift: Drift, at: Arrival) -> pd.DataFrame:
    at.rows.loc[at.rng.random(len(at.rows)) < 0.01, drift.column] = np.nan
    return at.rows


def _share(drift: Drift, at: Arrival) -> pd.DataFrame:
    """A level, or where there are no categories the highest fifth of a number, comes half again as often, at most
    in a quarter of the rows."""
    if drift.category:
        chosen = at.served.pool[at.served.pool[drift.category] == drift.level]
    else:
        chosen = at.served.pool[at.served.pool[drift.column] > at.served.reference[drift.column].quantile(0.8)]
    share = len(chosen) / len(at.served.pool)
    return at.swap(at.rng.random(len(at.rows)) < min(0.25, 0.5 * share / (1 - share)), chosen)


def _new_level(drift: Drift, at: Arrival) -> pd.DataFrame:
    """A level that was never seen; in a table without categories a number that stands for one, within the range."""
    chosen = at.rng.random(len(at.rows)) < 0.01
    if drift.category:
        at.rows.loc[chosen, drift.category] = "new"
    else:
        known = np.unique(at.served.reference[drift.column])
        at.rows.loc[chosen, drift.column] = known[len(known) // 2] + drift.grid / 2
    return at.rows


def _permuted(drift: Drift, at: Arrival) -> pd.DataFrame:
    """The values of a column belong to other rows, in a third of the rows."""
    chosen = np.flatnonzero(at.rng.random(len(at.rows)) < 0.33)
    at.rows.loc[chosen, drift.column] = at.rows.loc[at.rng.permutation(chosen), drift.column].to_numpy()
    return at.rows


def _pair(drift: Drift, at: Arrival) -> pd.DataFrame:
    """Two columns rise together in a fifth of the rows; neither has other values than before."""
    chosen = np.flatnonzero(at.rng.random(len(at.rows)) < 0.2)
    order = at.rows.loc[chosen, drift.other].rank(method="first").astype(int).to_numpy() - 1
    at.rows.loc[chosen, drift.column] = np.sort(at.rows.loc[chosen, drift.column].to_numpy())[order]
    return at.rows


def _labels(_: Drift, at: Arrival) -> pd.DataFrame:
    """Rows of class 1 come more often: some rows of class 0 give way."""
    chosen = at.served.pool[at.served.pool["target"] == 1]
    return at.swap((at.rows["target"].to_numpy() == 0) & (at.rng.random(len(at.rows)) < 0.12), chosen)


def _gradual(drift: Drift, at: Arrival) -> pd.DataFrame:
    """The spread of a column grows by 5 % a window."""
    middle = at.served.reference[drift.column].median()
    at.rows[drift.column] = drift.on_grid(middle + (at.rows[drift.column] - middle) * (1 + 0.05 * (at.step + 1)))
    return at.rows


def _rounded(drift: Drift, at: Arrival) -> pd.DataFrame:
    """A fifth of the rows has a column in steps of a quarter of its spread."""
    width = at.served.reference[drift.column].std() / 4
    width = max(drift.grid, round(width / drift.grid) * drift.grid)
    chosen = at.rng.random(len(at.rows)) < 0.2
    at.rows.loc[chosen, drift.column] = (at.rows.loc[chosen, drift.column] / width).round() * width
    return at.rows


def _clipped(drift: Drift, at: Arrival) -> pd.DataFrame:
    limit = np.quantile(at.served.reference[drift.column], 0.97, method="lower")
    at.rows[drift.column] = np.minimum(at.rows[drift.column], limit)
    return at.rows


def _mixture(drift: Drift, at: Arrival) -> pd.DataFrame:
    """A twelfth of the rows are of one kind alone: those with the highest tenth of two columns' ranks."""
    ranks = at.served.pool[drift.column].rank(pct=True) + at.served.pool[drift.other].rank(pct=True)
    chosen = at.served.pool[ranks >= ranks.quantile(0.9)]
    return at.swap(at.rng.random(len(at.rows)) < 0.08, chosen)


CHANGES = {
    "mean_shift": _shift, "unit_of_some": _unit, "missing": _missing, "level_share": _share, "new_level": _new_level,
    "permuted": _permuted, "pair_relation": _pair, "label_share": _labels, "gradual_spread": _gradual,
    "rounded": _rounded, "clipped": _clipped, "mixture": _mixture,
}  # fmt: skip
KINDS = list(CHANGES)
