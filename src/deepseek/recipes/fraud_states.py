"""Whether a bundle follows hidden states of cards and terminals: held rows decide.

chosen = choose_states(table, rows, definition, periods)
chosen.definition, chosen.rows, chosen.report

States are learned from the verdicts of the training period. Trees that see them and trees that do not are fitted once
on that period, with the settings they have by default; states stay where the held rows are ranked better with them, by
more than the gain would differ with other cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.data.table.table import Table
from deepseek.errors import InputError
from deepseek.extras import is_installed
from deepseek.features.definition import FeatureDefinition, states_alone, with_states
from deepseek.features.tables import add_features, read_events
from deepseek.recipes.fraud_periods import Periods
from deepseek.train.candidates import BUILT_IN, FitData
from deepseek.train.tabular.metrics import average_precision

MAX_GENUINE = 40_000  # rows that the two fits see, beside every fraud
ROUNDS = 100
NUM_RESAMPLES = 100  # of the held cards, for the standard error of the gain
CARD, TERMINAL = "card", "terminal"  # the keys of `card_payments`


@dataclass(frozen=True, slots=True, eq=False)
class ChosenStates:
    """The definition and the rows with its features, and why: evidence/fraud.json, "hidden_states"."""

    definition: FeatureDefinition
    rows: Table
    report: JsonObject


def choose_states(table: Table, rows: Table, definition: FeatureDefinition, periods: Periods) -> ChosenStates:
    """`rows`: the N rows of `table` with the features of `definition`, which has no hidden states."""
    from deepseek.features.states.estimate import estimate_states

    if not is_installed("numba"):
        return ChosenStates(definition, rows, {"used": False, "reason": "numba is not installed (extra: features)"})
    verdicts = rows.column(definition.columns.label)
    known = rows.column(definition.columns.time).astype("datetime64[ms]").astype(np.int64) < periods.train.end_ms
    past = np.flatnonzero(known & ~np.isnan(verdicts))
    try:
        hidden = estimate_states(definition, read_events(definition, table).take(past), card=CARD, terminal=TERMINAL)
    except InputError as error:
        return ChosenStates(definition, rows, {"used": False, "reason": str(error)})
    followed = with_states(definition, hidden)
    raw = table.drop([name for name in table.names if name not in _event_columns(definition)])
    states = states_alone(followed)
    columns_of_states = add_features(states, raw)
    wider = Table(
        {**rows.columns, **{name: columns_of_states.columns[name] for name in states.names}},
        {**rows.types, **{name: columns_of_states.types[name] for name in states.names}},
        rows.notes,
    )  # fmt: skip
    held = _rows_with_verdicts(periods.held.rows, verdicts)
    rankings = [
        _rank(columns, names, verdicts, periods, held)
        for columns, names in ((rows, definition.names), (wider, followed.names))
    ]
    fraud, everyone = (verdicts[held] == 1).astype(np.int64), np.ones(len(held))
    without, precision = (average_precision(fraud, output, everyone) for output in rankings)
    standard_error = _gain_error(fraud, rankings, table.column(definition.keys[CARD].column)[held])
    is_used = bool(precision - without > standard_error)
    report: JsonObject = {
        "used": is_used, "held_average_precision": precision, "held_average_precision_without": without,
        "gain_standard_error": standard_error, "card_run": asdict(hidden.card_run),
        "terminal_run": asdict(hidden.terminal_run),
    }  # fmt: skip
    return ChosenStates(followed, wider, report) if is_used else ChosenStates(definition, rows, report)


def _event_columns(definition: FeatureDefinition) -> set[str]:
    names = definition.columns
    return {names.time, names.amount, names.id, names.label, *(key.column for key in definition.keys.values())}


def _rows_with_verdicts(places: Any, verdicts: Any) -> Any:
    return places[~np.isnan(verdicts[places])]


def _rank(rows: Table, names: tuple[str, ...], verdicts: Any, periods: Periods, held: Any) -> Any:
    """Margins (H, 2) of the held rows, by boosted trees that learned from the training period."""
    train = _rows_with_verdicts(periods.train.rows, verdicts)
    genuine = train[verdicts[train] == 0]
    if len(genuine) > MAX_GENUINE:
        genuine = np.random.default_rng(0).choice(genuine, MAX_GENUINE, replace=False)
    train = np.sort(np.append(genuine, train[verdicts[train] == 1]))
    candidate = next(each for each in BUILT_IN if each.name == "xgboost")
    number = len(names)
    data = FitData(
        _matrix(rows, names, train), verdicts[train].astype(np.int64), np.ones(len(train)), "binary", 2,
        ("numeric",) * number, (0,) * number, (0,) * number,
    )  # fmt: skip
    fitted = candidate.fit(data, {**candidate.defaults(data), "rounds": ROUNDS}, seed=0)
    margin = fitted.margin(_matrix(rows, names, held))[:, 0]
    return np.stack([-margin, margin], axis=1)


def _gain_error(fraud: Any, rankings: Sequence[Any], cards: Any) -> float:
    """The standard error of the gain of the second ranking over the first, from resamples of whole cards: the frauds of
    one card come together."""
    _, card = np.unique(cards.astype(str), return_inverse=True)
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(NUM_RESAMPLES):
        weight = rng.poisson(1.0, card.max() + 1)[card].astype(np.float64)
        before, after = (average_precision(fraud, output, weight) for output in rankings)
        gains.append(after - before)
    return float(np.nanstd(gains))


def _matrix(rows: Table, names: tuple[str, ...], places: Any) -> Any:
    return np.stack([rows.column(name)[places] for name in names], axis=1).astype(np.float32)
