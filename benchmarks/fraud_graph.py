"""Card fraud from raw transactions: trees on the features of `deepseek.features`, with and without the graph.

    python benchmarks/fraud_graph.py [--develop] [--weeks 2018-07-04,...] [--only model|graph|forest]

The handbook's transactions with ids relabelled by a permutation that is drawn anew in each run, since the simulator
draws terminals by the day, and whoever knows the ids could replay it. Verdicts are out after 7 days. Of each test week
the trees learn from the six weeks that ended 7 days before it: every fraud, and a tenth of the genuine rows, which
costs a ninth of the time; chances come out too high by one factor for all rows, which leaves their order as it is.
Figures are means over weeks, cards known to be compromised left out, as in the handbook. Hidden states of cards and
terminals are learned once, from verdicts that are out when the first test week begins, and followed by messages along
the graph: a card tells each of its payments whether its amount is unusual, the payment tells its terminal whether a
fraud needs it for an explanation, both tell the payment (docs/decisions). `model`: `ship`'s boosted trees, margins of
three seeds, on inputs that weeks of July chose. `graph`, paired: the same rows, seeds and settings, once on all
features of `card_payments`, once with those of hidden states beside them. `forest`: a random forest on the first of
these tables, of one seed. `--develop`: weeks of July; nothing is recorded.
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
from result import claim, finish, print_claims

from deepseek.features import EventColumns, FeatureDefinition, card_payments, compute_offline
from deepseek.features.definition import states_alone, with_states
from deepseek.features.hidden.parameters import RunLength
from deepseek.features.states.estimate import estimate_states
from deepseek.train.candidates import BUILT_IN, FitData

if TYPE_CHECKING:
    from collections.abc import Sequence

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Figures: TypeAlias = dict[str, float]
DEVELOPMENT_WEEKS = ("2018-07-04", "2018-07-11", "2018-07-18", "2018-07-25")
TEST_WEEKS = ("2018-08-01", "2018-08-08", "2018-08-15", "2018-08-22")
DELAY_DAYS = 7
TREE_DAYS = 42  # that the trees learn from
GENUINE_SHARE = 0.1  # of genuine rows that they see
ROUNDS = 150
BARS = {"average_precision": 0.760, "recall_at_fpr_0.0002": 0.715, "card_precision_100": 0.300}
GRAPH_BARS = {"recall_at_fpr_0.0002": 0.04, "average_precision": 0.0}  # gain over the same trees
LEAK = 0.80  # average precision above it is a leak: an oracle that knows the simulator's law has .776
PARTS = ("model", "graph", "forest")
SEEDS = {"model": 3, "graph": 2, "forest": 1}  # a forest takes as long as six of the others
STATES = (
    "card.state_odds", "card.amount_odds", "card.fraud_odds", "card.usual_amount", "card.usual_ratio",
    "card.usual_spread", "card.usual_chance", "terminal.state_odds", "terminal.state_known_odds", "terminal.state_days",
    "terminal.fraud_odds",
)  # fmt: skip
#: Inputs of the model.
CHOSEN = (
    "amount", "card.count.7d", "card.count.30d", "terminal.count.7d", "terminal.known_count.30d",
    "terminal.fraud_streak_age", *STATES,
)  # fmt: skip


@dataclass(frozen=True)
class Payments:
    """All transactions in the order of time."""

    raw: pa.Table  # as the handbook has them, ids relabelled
    time: Values  # (N,) seconds
    fraud: Values  # (N,) 0 or 1
    names: tuple[str, ...]  # of F features, those of hidden states behind the others
    features: Values  # (N, F) float32
    card: Values  # (N,)

    def read(self, rows: Values, names: tuple[str, ...]) -> Values:
        """The columns of these names of some rows, (R, len(names)) float32."""
        return np.ascontiguousarray(self.features[rows][:, [self.names.index(name) for name in names]])


def load_payments(first_week: str | None = None) -> Payments:
    """Read, relabel, compute the features; those of hidden states, too, learned from what is known when that week
    begins."""
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
    if first_week is not None:
        known = events.take(np.flatnonzero(events.time // DAY_S < first_day(first_week) - DELAY_DAYS))
        states = learn_states(definition, known)
        names, features = (*names, *states.names), np.concatenate([features, compute_features(states, events)], axis=1)
    return Payments(raw, events.time, events.fraud, names, features, events.keys[0])


def learn_states(definition: FeatureDefinition, known: EventColumns) -> FeatureDefinition:
    """The features of hidden states, learned from these events."""
    hidden = estimate_states(definition, known, card="card", terminal="terminal")
    print(f"days of a run: cards {run_days(hidden.card_run):.1f}, terminals {run_days(hidden.terminal_run):.1f}")
    return states_alone(with_states(definition, hidden))


def run_days(run: RunLength) -> float:
    """The mean number of days of a run."""
    return float(np.cumprod([1.0, *(1 - end for end in run.ends[:-1])]).sum())


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


def measure_part(part: str, payments: Payments, week: Week) -> dict[str, Figures]:
    """The figures of one part on one week, by model: means over seeds; of "model", those of the mean margin."""
    test = payments.raw.take(pa.array(week.test))
    inputs = {
        "model": {"model": CHOSEN},
        "graph": {"without": plain_names(payments), "with": payments.names},
        "forest": {"forest": plain_names(payments)},
    }[part]
    family = "random_forest" if part == "forest" else "xgboost"
    scores: dict[str, list[Values]] = {name: [] for name in inputs}
    for seed in range(SEEDS[part]):
        rows = thin_genuine(payments, week.trees, seed)
        for name, columns in inputs.items():
            scores[name].append(fit_and_score(payments, rows, week.test, family, columns, seed))
    if part == "model":
        return {"model": fraud_measures(test, np.mean(scores["model"], axis=0))}
    return {name: mean_figures([fraud_measures(test, score) for score in each]) for name, each in scores.items()}


def plain_names(payments: Payments) -> tuple[str, ...]:
    """The features that look at one card or one terminal alone."""
    return tuple(name for name in payments.names if name not in STATES)


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """The mean of each figure."""
    return {key: float(np.mean([each[key] for each in figures])) for key in figures[0]}


def thin_genuine(payments: Payments, rows: Values, seed: int) -> Values:
    """Every fraud of the rows, and a share of the others."""
    draw = np.random.default_rng(seed).random(len(rows))
    return rows[(payments.fraud[rows] == 1) | (draw < GENUINE_SHARE)]


def fit_and_score(
    payments: Payments, rows: Values, test: Values, family: str, columns: tuple[str, ...], seed: int
) -> Values:
    """The margin of each row of `test` by a family of `ship` with its defaults, fitted on `rows`."""
    candidate = next(each for each in BUILT_IN if each.name == family)
    is_forest = family == "random_forest"
    features, query_features = payments.read(rows, columns), payments.read(test, columns)
    if is_forest:
        features, query_features = fill_missing(features), fill_missing(query_features)
    num_features = features.shape[1]
    data = FitData(
        features, payments.fraud[rows], np.ones(len(rows)), "binary", 2,
        ("numeric",) * num_features, (0,) * num_features, (0,) * num_features,
    )  # fmt: skip
    params = candidate.defaults(data) if is_forest else {**candidate.defaults(data), "rounds": ROUNDS}
    # a forest stops at no validation: with it, it grows as many trees as a trial
    fitted = candidate.fit(data, params, seed=seed, validation=data if is_forest else None)
    return np.asarray(fitted.margin(query_features)[:, 0])


def fill_missing(features: Values) -> Values:
    """-1 where a feature has no value: no amount, ratio or time is below 0, and a z-score of -1 is a common one."""
    return np.nan_to_num(features, nan=-1.0).astype(np.float32)


def main() -> int:
    """Measure, print, record after each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--develop", action="store_true", help="weeks of July; nothing is recorded")
    parser.add_argument("--weeks", help="first days of test weeks; nothing is recorded")
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    weeks = DEVELOPMENT_WEEKS if options.develop else TEST_WEEKS
    weeks = tuple(options.weeks.split(",")) if options.weeks else weeks
    payments = load_payments(weeks[0])
    cuts = [cut_week(payments, start) for start in weeks]
    means: dict[str, Figures] = {}
    status, note = 0, f"mean of {len(weeks)} weekly folds"
    parts = [part for part in PARTS if options.only in (None, part)]
    for part in parts:
        measured = [measure_part(part, payments, week) for week in cuts]
        for start, figures in zip(weeks, measured, strict=True):
            print_figures(start, figures)
        means |= {name: mean_figures([each[name] for each in measured]) for name in measured[0]}
        print_figures("mean", means)
        claims = make_claims(means, note)
        if weeks == TEST_WEEKS:
            status = finish(
                "fraud_graph", claims, not_run=[each for each in PARTS if each not in parts_until(part, parts)]
            )
        else:
            print_claims(claims)
    print(f"{time.process_time():.0f} CPU s")
    return status


def parts_until(part: str, parts: Sequence[str]) -> Sequence[str]:
    """The parts that are done when `part` is."""
    return parts[: parts.index(part) + 1]


def print_figures(label: str, figures: dict[str, Figures]) -> None:
    """One line a model."""
    for name, values in figures.items():
        print(f"{label} {name}: " + ", ".join(f"{key} {value:.4f}" for key, value in values.items()), flush=True)


def make_claims(means: dict[str, Figures], note: str) -> list[dict[str, Any]]:
    """The bars of the parts that were measured: of the model, of the paired gain, and against the forest."""
    claims = []
    if "model" in means:
        model = means["model"]
        claims += [_claim(f"model: {name}", model[name], bar, SEEDS["model"], note) for name, bar in BARS.items()]
        precision = model["average_precision"]
        claims.append(claim("no leak: average precision", ours=precision, unit="", op="<=", bar=LEAK, note=note))
    for part, rival, words in (
        ("graph", "without", "graph over the same trees"),
        ("forest", "forest", "graph over a random forest on the same table"),
    ):
        if rival not in means or "with" not in means:
            continue
        for name, bar in GRAPH_BARS.items():
            gain, before = means["with"][name] - means[rival][name], means[rival][name]
            least = bar if part == "graph" else 0.0
            claims.append(_claim(f"{words}: gain in {name}", gain, least, SEEDS[part], f"{before:.4f} before; {note}"))
    return claims


def _claim(name: str, ours: float, bar: float, num_seeds: int, note: str) -> dict[str, Any]:
    return claim(name, ours=ours, unit="", op=">=", bar=bar, num_seeds=num_seeds, note=note)


if __name__ == "__main__":
    sys.exit(main())
