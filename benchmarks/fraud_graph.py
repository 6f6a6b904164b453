"""Card fraud from raw transactions: trees on the features of `deepseek.features`, with and without the graph.

    python benchmarks/fraud_graph.py [--develop] [--weeks 2018-07-04,...] [--seeds 2] [--skip-forest]

The handbook's transactions with ids relabelled by a permutation that is drawn anew in each run, since the simulator
draws terminals by the day, and whoever knows the ids could replay it. Verdicts are out after 7 days. Of each test week
the trees learn from the six weeks that ended 7 days before it: every fraud, and a tenth of the genuine rows, which
costs a ninth of the time; chances come out too high by one factor for all rows, which leaves their order as it is.
Figures are means over weeks, cards known to be compromised left out, as in the handbook. Paired: the same rows, seeds
and settings of `ship`'s boosted trees, once on the features alone, once with what fraud_messages.py passes along the
graph beside them; a random forest on the features, of the first seed, is the rival of both. `--develop`: weeks of July,
by which choices are made; nothing is recorded. What a network learned instead is in docs/log.md: nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from fraud_features import DAY_S, TARGET, cache_folder, data_folder, fraud_measures, read_transactions
from fraud_messages import pass_messages
from result import claim, finish, print_claims

from deepseek.features import EventColumns, FeatureDefinition, card_payments, compute_offline
from deepseek.train.candidates import BUILT_IN, FitData

if TYPE_CHECKING:
    from collections.abc import Sequence

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Models: TypeAlias = dict[str, tuple[str, bool]]
DEVELOPMENT_WEEKS = ("2018-07-04", "2018-07-11", "2018-07-18", "2018-07-25")
TEST_WEEKS = ("2018-08-01", "2018-08-08", "2018-08-15", "2018-08-22")
DELAY_DAYS = 7
TREE_DAYS = 42  # that the trees learn from
GENUINE_SHARE = 0.1  # of genuine rows that they see
ROUNDS = 150
BARS = {"average_precision": 0.760, "recall_at_fpr_0.0002": 0.715, "card_precision_100": 0.300}
GRAPH_BARS = {"recall_at_fpr_0.0002": 0.04, "average_precision": 0.0}  # gain over the same trees
LEAK = 0.80  # average precision above it is a leak: an oracle that knows the simulator's law has .776
#: Of `ship`, each with its defaults, and whether it reads the messages.
MODELS: Models = {"trees": ("xgboost", False), "graph": ("xgboost", True), "forest": ("random_forest", False)}


@dataclass(frozen=True)
class Payments:
    """All transactions in the order of time."""

    raw: pa.Table  # as the handbook has them, ids relabelled
    time: Values  # (N,) seconds
    fraud: Values  # (N,) 0 or 1
    names: tuple[str, ...]  # of F features
    features: Values  # (N, F) float32
    messages: Values  # (N, M) float32
    card: Values  # (N,)
    terminal: Values  # (N,)


def load_payments() -> Payments:
    """Read, relabel, compute the features."""
    raw = read_transactions(data_folder() / "fraud-handbook")
    secret = np.random.default_rng()
    for name in ("CUSTOMER_ID", "TERMINAL_ID"):
        ids = raw[name].to_numpy().astype(np.int64)
        relabelled = secret.permutation(int(ids.max()) + 1)[ids]
        raw = raw.set_column(raw.column_names.index(name), name, pa.array(relabelled))
    definition = card_payments(
        "CUSTOMER_ID", "TERMINAL_ID", time="TX_DATETIME", amount="TX_AMOUNT", id="TRANSACTION_ID", label=TARGET,
        label_delay=f"{DELAY_DAYS}d",
    )  # fmt: skip
    columns = {name: raw[name].to_numpy() for name in raw.column_names if name != "TX_FRAUD_SCENARIO"}
    events = EventColumns.from_columns(definition, columns)
    assert events.fraud is not None
    names, features = definition.names, compute_features(definition, events)
    ratio = features[:, names.index("card.amount_ratio.30d")]
    _, messages = pass_messages(events.time, raw["TX_AMOUNT"].to_numpy(), events.fraud, *events.keys, ratio)
    return Payments(raw, events.time, events.fraud, names, features, messages, *events.keys)


def compute_features(definition: FeatureDefinition, events: EventColumns) -> Values:
    """(N, F) float32; kept from run to run, since no feature depends on what a key is called."""
    cached = cache_folder() / f"fraud-graph-{definition.digest[:16]}.npy"
    if not cached.exists():
        draft = cached.with_suffix(f".{os.getpid()}.npy")
        np.save(draft, compute_offline(definition, events).values.astype(np.float32))
        draft.replace(cached)
    return np.asarray(np.load(cached, mmap_mode="r"))


@dataclass(frozen=True)
class Week:
    """Places of the rows of one fold."""

    start: str
    trees: Values
    test: Values


def cut_week(payments: Payments, start: str) -> Week:
    """The fold whose test week begins on the date `start`. A card is known on day d after a fraud by day d - 8, as in
    the handbook, from 14 days before the week on."""
    day = payments.time // DAY_S
    first = first_day(start)
    end = first - DELAY_DAYS
    test = np.zeros(len(day), bool)
    for today in range(first, first + 7):
        known = np.unique(payments.card[(payments.fraud == 1) & (day >= first - 14) & (day <= today - 8)])
        test |= (day == today) & ~np.isin(payments.card, known)
    trees = (day >= end - TREE_DAYS) & (day < end)
    return Week(start, np.flatnonzero(trees), np.flatnonzero(test))


def first_day(start: str) -> int:
    """Days since 1970."""
    return int(np.datetime64(start, "D").astype(np.int64))


def measure_week(payments: Payments, week: Week, models: Models, num_seeds: int) -> dict[str, dict[str, float]]:
    """The figures of each model on one week: means over seeds, and of "blend", the mean margin of the graph's trees."""
    test = payments.raw.take(pa.array(week.test))
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    blend = np.zeros(len(week.test))
    for seed in range(num_seeds):
        rows = thin_genuine(payments, week.trees, seed)
        for name, (family, has_messages) in models.items():
            if family == "random_forest" and seed > 0:
                continue  # it takes as long as six of the others
            score = fit_and_score(payments, rows, week.test, family, has_messages, seed)
            figures[name].append(fraud_measures(test, score))
            blend += score / num_seeds if name == "graph" else 0.0
    means = {name: mean_figures(each) for name, each in figures.items()}
    return means | {"blend": fraud_measures(test, blend)}


def mean_figures(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {key: float(np.mean([each[key] for each in figures])) for key in figures[0]}


def thin_genuine(payments: Payments, rows: Values, seed: int) -> Values:
    """Every fraud of the rows, and a share of the others."""
    draw = np.random.default_rng(seed).random(len(rows))
    return rows[(payments.fraud[rows] == 1) | (draw < GENUINE_SHARE)]


def fit_and_score(payments: Payments, rows: Values, test: Values, family: str, has_messages: bool, seed: int) -> Values:
    """The margin of each row of `test` by a family of `ship` with its defaults, fitted on `rows`."""
    candidate = next(each for each in BUILT_IN if each.name == family)

    def read(places: Values) -> Values:
        parts = [payments.features[places], *([payments.messages[places]] if has_messages else [])]
        features = np.concatenate(parts, axis=1)
        return fill_missing(features) if family == "random_forest" else features

    features = read(rows)
    num_features = features.shape[1]
    data = FitData(
        features, payments.fraud[rows], np.ones(len(rows)), "binary", 2,
        ("numeric",) * num_features, (0,) * num_features, (0,) * num_features,
    )  # fmt: skip
    is_forest = family == "random_forest"
    params = candidate.defaults(data) if is_forest else {**candidate.defaults(data), "rounds": ROUNDS}
    # a forest stops at no validation: with it, it grows as many trees as a trial
    fitted = candidate.fit(data, params, seed=seed, validation=data if is_forest else None)
    return np.asarray(fitted.margin(read(test))[:, 0])


def fill_missing(features: Values) -> Values:
    """-1 where a feature has no value: no amount, ratio or time is below 0, and a z-score of -1 is a common one."""
    return np.nan_to_num(features, nan=-1.0).astype(np.float32)


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--develop", action="store_true", help="weeks of July; nothing is recorded")
    parser.add_argument("--weeks", help="first days of test weeks; nothing is recorded")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--skip-forest", action="store_true", help="leave out the rival that takes most of the time")
    options = parser.parse_args()
    weeks = DEVELOPMENT_WEEKS if options.develop else TEST_WEEKS
    weeks = tuple(options.weeks.split(",")) if options.weeks else weeks
    payments = load_payments()
    models = {name: each for name, each in MODELS.items() if not (options.skip_forest and name == "forest")}
    measured = []
    for start in weeks:
        measured.append(measure_week(payments, cut_week(payments, start), models, options.seeds))
        print_figures(start, measured[-1])
    means = {name: mean_figures([each[name] for each in measured]) for name in measured[0]}
    print_figures("mean", means)
    print(f"{time.process_time():.0f} CPU s")
    claims = make_claims(means, f"mean of {len(weeks)} weekly folds", options.seeds)
    if weeks == TEST_WEEKS:
        return finish("fraud_graph", claims, not_run=["random forest on the same table"] if options.skip_forest else [])
    print_claims(claims)
    return 0


def print_figures(label: str, figures: dict[str, dict[str, float]]) -> None:
    """One line a model."""
    for name, values in figures.items():
        print(f"{label} {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()), flush=True)


def make_claims(means: dict[str, dict[str, float]], note: str, num_seeds: int) -> list[dict[str, Any]]:
    """The bars: of the blend, of the paired gain, and against the forest."""
    blend, graph, trees, forest = means["blend"], means["graph"], means["trees"], means.get("forest")
    precision = "average_precision"
    claims = [
        claim(f"model: {name}", ours=blend[name], unit="", op=">=", bar=bar, num_seeds=num_seeds, note=note)
        for name, bar in BARS.items()
    ]
    claims.append(
        claim("no leak: average precision", ours=blend[precision], unit="", op="<=", bar=LEAK, num_seeds=num_seeds)
    )
    for name, bar in GRAPH_BARS.items():
        gain, of = graph[name] - trees[name], f"{trees[name]:.4f} without the graph; {note}"
        claims.append(
            claim(f"graph over the same trees: gain in {name}", ours=gain, unit="", op=">=", bar=bar,
                  num_seeds=num_seeds, note=of)
        )  # fmt: skip
    for name in GRAPH_BARS if forest is not None else ():
        gain, of = graph[name] - forest[name], f"{forest[name]:.4f} of the forest, one seed; {note}"
        claims.append(
            claim(f"graph over a random forest on the same table: gain in {name}", ours=gain, unit="", op=">=",
                  bar=0.0, num_seeds=num_seeds, note=of)
        )  # fmt: skip
    return claims


if __name__ == "__main__":
    sys.exit(main())
