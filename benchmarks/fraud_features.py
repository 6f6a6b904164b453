"""The 15 features, weekly folds and measures of the fraud handbook, rebuilt from its raw transactions.

Protocol: Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection"
(2022), chapter 3 (features, folds) and chapter 4 (measures). Main path: `load_features` -> `fold` -> `fraud_measures`.

A window of w days at time t is (t - w, t], the row itself included; of two rows of one second the one that stands later
in the file sees the earlier. Rows are sorted by (entity, time), so a window is one binary search and the sums are
differences of running totals: amounts in whole cents, hence exact.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY_S = 86_400
WINDOWS_DAYS = (1, 7, 30)
DELAY_DAYS = 7
#: More seconds than the data spans, so that a window never reaches into the rows of the entity before.
ENTITY_STRIDE_S = 1_000 * DAY_S
TARGET = "TX_FRAUD"
FEATURES = (
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    *(f"CUSTOMER_ID_{what}_{days}DAY_WINDOW" for days in WINDOWS_DAYS for what in ("NB_TX", "AVG_AMOUNT")),
    *(f"TERMINAL_ID_{what}_{days}DAY_WINDOW" for days in WINDOWS_DAYS for what in ("NB_TX", "RISK")),
)
TEST_WEEKS = ("2018-08-08", "2018-08-15", "2018-08-22")
#: Weeks that lie before the test weeks: for choosing settings, never for a figure.
VALIDATION_WEEKS = ("2018-07-11", "2018-07-18", "2018-07-25", "2018-08-01")
#: Weeks that nothing is chosen by: the test weeks had been seen while choices were made (docs/log.md).
FRESH_WEEKS = ("2018-05-23", "2018-05-30", "2018-06-13")


@dataclass(frozen=True)
class Fold:
    """Rows of one fold: 7 days to train on, 7 days of delay, 7 days to test on, known compromised cards removed."""

    start_test: str
    train: pa.Table
    test: pa.Table


def data_folder() -> Path:
    """Where the public data sets lie: $DEEPSEEK_DATA, else ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("DEEPSEEK_DATA", default))


def cache_folder(part: str = "") -> Path:
    """Where benchmarks keep what is dear to make again: $DEEPSEEK_CACHE, else ~/.cache/deepseek, or the folder `part`
    there. It is made where it is not there."""
    folder = Path(os.environ.get("DEEPSEEK_CACHE", Path.home() / ".cache" / "deepseek")) / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def load_features(data: Path | None = None, cache: Path | None = None) -> pa.Table:
    """All transactions in order of time: the 15 features, TX_FRAUD, CUSTOMER_ID, TX_DATETIME. Cached as Parquet."""
    cached = (cache or cache_folder()) / "fraud-features-v1.parquet"
    if cached.exists():
        return pq.read_table(cached)
    table = build_features(read_transactions((data or data_folder()) / "fraud-handbook"))
    draft = cached.with_suffix(f".{os.getpid()}.tmp")
    pq.write_table(table, draft, compression="zstd")
    draft.replace(cached)
    return table


def read_transactions(folder: Path) -> pa.Table:
    """The raw months in order of time."""
    months = sorted(folder.glob("transactions-*.parquet"))
    if not months:
        raise FileNotFoundError(
            f"no transactions-*.parquet in {folder}: set DEEPSEEK_DATA to the folder of public data sets"
        )
    table = pa.concat_tables([pq.read_table(month) for month in months])
    return table.take(np.argsort(seconds(table), kind="stable"))


def seconds(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """TX_DATETIME as whole seconds since 1970."""
    return np.asarray(table["TX_DATETIME"].to_numpy().astype("datetime64[s]"), np.int64)


def build_features(table: pa.Table) -> pa.Table:
    """The 15 features of `table` (N rows in order of time), beside the columns that folds and measures need."""
    time_s = seconds(table)
    weekday = (time_s // DAY_S + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    hour = time_s % DAY_S // 3_600
    columns: dict[str, Any] = {
        "TX_AMOUNT": table["TX_AMOUNT"].to_numpy(),
        "TX_DURING_WEEKEND": (weekday >= 5).astype(np.int8),
        "TX_DURING_NIGHT": (hour <= 6).astype(np.int8),
    }
    columns |= customer_features(table["CUSTOMER_ID"].to_numpy(), time_s, columns["TX_AMOUNT"])
    columns |= terminal_features(table["TERMINAL_ID"].to_numpy(), time_s, table[TARGET].to_numpy())
    kept = {name: table[name] for name in (TARGET, "CUSTOMER_ID", "TX_DATETIME")}
    return pa.table({**{name: columns[name] for name in FEATURES}, **kept})


def customer_features(
    customer: np.ndarray[Any, Any], time_s: np.ndarray[Any, Any], amount: np.ndarray[Any, Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Number of transactions and mean amount of the card over 1, 7 and 30 days, each (N,)."""
    cents = np.rint(amount * 100).astype(np.int64)
    collected: dict[str, np.ndarray[Any, Any]] = {}
    for days in WINDOWS_DAYS:
        number, total = window_sums(customer, time_s, cents, days)
        collected[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = number
        collected[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = total / (100.0 * number)
    return collected


def terminal_features(
    terminal: np.ndarray[Any, Any], time_s: np.ndarray[Any, Any], fraud: np.ndarray[Any, Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Number of transactions and share of frauds at the terminal over 1, 7, 30 days that ended 7 days ago."""
    collected: dict[str, np.ndarray[Any, Any]] = {}
    late_number, late_frauds = window_sums(terminal, time_s, fraud, DELAY_DAYS)
    for days in WINDOWS_DAYS:
        number, frauds = window_sums(terminal, time_s, fraud, DELAY_DAYS + days)
        number, frauds = number - late_number, frauds - late_frauds
        collected[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = number
        collected[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = np.where(number > 0, frauds / np.maximum(number, 1), 0.0)
    return collected


def window_sums(
    entity: np.ndarray[Any, Any], time_s: np.ndarray[Any, Any], value: np.ndarray[Any, Any], days: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """For each row: how many rows of its entity lie in (t - days, t], and the sum of their whole-number values."""
    order = np.argsort(entity, kind="stable")
    key = entity[order].astype(np.int64) * ENTITY_STRIDE_S + (time_s[order] - time_s.min())
    start = np.searchsorted(key, key - days * DAY_S, side="right")
    stop = np.arange(1, len(key) + 1)
    running = np.concatenate([[0], np.cumsum(value[order], dtype=np.int64)])
    number = np.empty(len(key), np.int64)
    total = np.empty(len(key), np.int64)
    number[order] = stop - start
    total[order] = running[stop] - running[start]
    return number, total


def fold(table: pa.Table, start_test: str) -> Fold:
    """The fold whose test week begins on the date `start_test`. A card is known on day d after a fraud by day d - 8."""
    day = seconds(table) // DAY_S
    first = int(np.datetime64(start_test, "D").astype(np.int64))
    train = (day >= first - 14) & (day < first - 7)
    fraud = table[TARGET].to_numpy() == 1
    card = table["CUSTOMER_ID"].to_numpy()
    test = np.zeros(len(day), dtype=bool)
    for today in range(first, first + 7):
        known = np.unique(card[fraud & (day >= first - 14) & (day <= today - 8)])
        test |= (day == today) & ~np.isin(card, known)
    return Fold(start_test, table.filter(pa.array(train)), table.filter(pa.array(test)))


def fraud_measures(test: pa.Table, score: np.ndarray[Any, Any]) -> dict[str, float]:
    """Average precision, AUC, card precision@100 and recall at a false-positive rate of 0.0002 of `score` (N,)."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    fraud = test[TARGET].to_numpy()
    return {
        "average_precision": float(average_precision_score(fraud, score)),
        "auc": float(roc_auc_score(fraud, score)),
        "card_precision_100": card_precision(test, score),
        "recall_at_fpr_0.0002": recall_at(fraud, score, 0.0002),
    }


def recall_at(fraud: np.ndarray[Any, Any], score: np.ndarray[Any, Any], max_fpr: float) -> float:
    """The highest recall over all thresholds whose false-positive rate is at most `max_fpr`.

    >>> recall_at(np.array([1, 1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.1]), 0.0)
    0.6666666666666666
    """
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(fraud, score, drop_intermediate=False)
    return float(tpr[fpr <= max_fpr].max())


def card_precision(test: pa.Table, score: np.ndarray[Any, Any], top: int = 100) -> float:
    """Mean over days of the share of compromised cards among the `top` cards with the highest score of the day.

    A compromised card that was found on one day is not looked at on the days after, as in the handbook.
    """
    day = seconds(test) // DAY_S
    card, fraud = test["CUSTOMER_ID"].to_numpy(), test[TARGET].to_numpy()
    collected = np.array([], dtype=card.dtype)
    shares = []
    for today in np.unique(day):
        rows = np.flatnonzero((day == today) & ~np.isin(card, collected))
        cards, position = np.unique(card[rows], return_inverse=True)
        highest = np.full(len(cards), -np.inf)
        np.maximum.at(highest, position, score[rows])
        compromised = np.zeros(len(cards), dtype=bool)
        np.logical_or.at(compromised, position, fraud[rows] == 1)
        hits = np.argsort(-highest, kind="stable")[:top]
        hits = hits[compromised[hits]]
        shares.append(len(hits) / top)
        collected = np.concatenate([collected, cards[hits]])
    return float(np.mean(shares))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write train-DATE.parquet and test-DATE.parquet of the named weeks, for work outside the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weeks", default=",".join(VALIDATION_WEEKS + TEST_WEEKS), help="first days of test weeks")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    table = load_features()
    for week in options.weeks.split(","):
        fold_arrays = fold(table, week)
        for part, rows in (("train", fold_arrays.train), ("test", fold_arrays.test)):
            pq.write_table(rows, options.out / f"{part}-{week}.parquet")
            print(f"{part}-{week}: {rows.num_rows:,} rows, {int(rows[TARGET].to_numpy().sum()):,} frauds")


if __name__ == "__main__":
    main()
