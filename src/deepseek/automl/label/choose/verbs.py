"""What to label next, and how good it is: what `deepseek label next` and `status` do.

next_batch(project, 100)       # a new queue, with what the model says of each item in it
status(project)                # accuracy with its interval, what an hour brings, whether to stop
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.choose.agreement import Agreement, DecidedLabel, decide_labels, measure_agreement
from deepseek.automl.label.choose.cache import load_features
from deepseek.automl.label.choose.features import ItemFeatures
from deepseek.automl.label.choose.forecast import LEAST_TEST, LabelForecast, forecast
from deepseek.automl.label.choose.learner import fit_learner
from deepseek.automl.label.choose.strategy import choose_batch, choose_typical
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Counts, QueuedItem, Suggestion
from deepseek.contracts import Float64, JsonObject
from deepseek.results import Result

NUM_QUEUED = 100
NUM_REASONS = 3
DEFAULT_PACE_PER_H = 600.0  # labels, until somebody has labeled here
LONGEST_S = 120.0  # that count as work on one item: beyond, the person was away
WORTH = 0.005  # accuracy that an hour should bring


@dataclass(frozen=True, slots=True, eq=False)
class NextResult(Result):
    """A queue that was chosen."""

    project: Path
    num_queued: int
    reasons: Mapping[str, int]
    num_labels: int  # that it was chosen by
    num_open: int  # items that are left

    def to_dict(self) -> JsonObject:
        return {
            "project": str(self.project), "num_queued": self.num_queued, "reasons": dict(self.reasons),
            "num_labels": self.num_labels, "num_open": self.num_open,
        }  # fmt: skip

    def summary(self) -> str:
        if not self.num_queued:
            return "Nothing is left to choose from."
        why = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"{self.num_queued} of {self.num_open:,} open items are next ({why}), by {self.num_labels:,} labels."


@dataclass(frozen=True, slots=True, eq=False)
class StatusResult(Result):
    """How far a project is, how good, and whether to go on."""

    project: Path
    task: str
    counts: Counts
    by_label: Mapping[str, int]
    by_person: Mapping[str, int]
    agreement: Agreement
    pace_per_h: float  # labels an hour of one person
    forecast: LabelForecast | None
    worth: float
    why_not: str  # why there is no forecast; "" where there is one

    @property
    def is_worth_it(self) -> bool | None:
        """Whether an hour more may bring what it should; None where nobody can say yet."""
        if self.forecast is None or (self.forecast.gain is None and self.forecast.num_next):
            return None
        if self.forecast.gain is None:
            return False  # nothing is left to label
        bounds = (self.forecast.gain.high, self.forecast.left_at_most)
        return min(bounds) >= self.worth

    def to_dict(self) -> JsonObject:
        return {
            "project": str(self.project), "task": self.task, "counts": asdict(self.counts),
            "by_label": dict(self.by_label), "by_person": dict(self.by_person), "agreement": asdict(self.agreement),
            "pace_per_h": self.pace_per_h, "forecast": asdict(self.forecast) if self.forecast else None,
            "worth": self.worth, "is_worth_it": self.is_worth_it, "why_not": self.why_not,
        }  # fmt: skip

    def summary(self) -> str:
        counts = self.counts
        tests = f"{counts.num_test_labeled:,} of the {counts.num_test:,} to test on"
        lines = [f"{counts.num_labeled:,} of {counts.num_items:,} items are labeled, {tests}."]
        if counts.num_served:
            lines.append(f"{counts.num_served:,} items came from a server that was unsure of them.")
        if counts.num_faulty:
            lines.append(f"{counts.num_faulty:,} items cannot be shown: their files vanished or changed.")
        if self.agreement.share is not None:
            kappa = "" if self.agreement.kappa is None else f" (kappa {self.agreement.kappa:.2f})"
            pairs = f"{100 * self.agreement.share:.0f} % of pairs on {self.agreement.num_shared:,} items"
            lines.append(f"People agree in {pairs}{kappa}.")
        lines.append(self._forecast_words())
        return " ".join(lines)

    def _forecast_words(self) -> str:
        now = self.forecast
        if now is None:
            return self.why_not
        text = (
            f"A linear model has an accuracy of {_range(now.accuracy.value, now.accuracy.low, now.accuracy.high)} on "
            f"{now.num_test:,} test items (the most frequent class: {now.baseline:.3f})."
        )
        if not now.num_next:
            return text + " Nothing is left to label."
        if now.gain is not None:
            gain = _range(now.gain.value, now.gain.low, now.gain.high)
            text += f" An hour more, {now.num_next:,} labels, would bring {gain}."
        text += f" All further labels cannot win more than {now.left_at_most:.3f} (at 95 % confidence)"
        text += f"; {now.left_expected:.3f} by how its answers have settled." if now.left_expected is not None else "."
        if self.is_worth_it is False:
            text += f" An hour does not bring {self.worth:g} any more: stop, or look at the labels that disagree."
        return text


def next_batch(project: Project, num: int = NUM_QUEUED) -> NextResult:
    """Choose `num` items to label next and put them in the queue, with what the model says of each."""
    features = load_features(project)
    rows = features.place_of()
    store = project.store
    answered = {row[0] for row in store.connection.execute("SELECT DISTINCT item FROM labels")}
    tests = {item.number for item in store.items() if item.is_test}
    pool = np.array([row for number, row in rows.items() if number not in answered and number not in tests], np.int64)
    decided = [each for each in decide_labels(project) if each.item not in tests and each.item in rows]
    labeled = np.array([rows[each.item] for each in decided], np.int64)
    round_seed = project.definition.seed + len(answered)
    suggestions: list[Suggestion] = []
    if not len(pool) or not features.dense.std(axis=0).any():
        choices = []
    elif project.definition.is_class:
        classes = project.definition.labels
        target = _codes(decided, classes)
        choices = choose_batch(features.dense, labeled, target, pool, num, len(classes), round_seed)
        suggestions = _suggest(features, labeled, target, [each.row for each in choices], classes)
    else:
        choices = choose_typical(features.dense, labeled, pool, min(num, len(pool)), round_seed)
    queue = [QueuedItem(int(features.numbers[each.row]), each.score, each.reason) for each in choices]
    store.set_queue(queue, suggestions)
    return NextResult(project.folder, len(queue), Counter(each.reason for each in queue), len(decided), len(pool))


def status(project: Project, worth: float = WORTH, pace_per_h: float | None = None) -> StatusResult:
    """How good the labels make a model now and what an hour more of one person would bring. `worth`: the accuracy that
    an hour should bring; `pace_per_h`: labels an hour, by default as they were given so far."""
    project.check_files()
    decided = decide_labels(project)
    pace = pace_per_h or _measure_pace(project)
    outlook, why_not = _forecast_project(project, decided, pace)
    by_label = Counter(str(each.value) for each in decided) if project.definition.is_class else {}
    by_person = Counter(label.person for label in project.store.labels() if label.state == "label")
    return StatusResult(
        project.folder, project.definition.task, project.counts(),
        {name: by_label.get(name, 0) for name in project.definition.labels} if by_label else {}, by_person,
        measure_agreement(project), pace, outlook, worth, why_not,
    )  # fmt: skip


def _forecast_project(project: Project, decided: list[DecidedLabel], pace: float) -> tuple[LabelForecast | None, str]:
    """The forecast, or why there is none."""
    definition = project.definition
    if not definition.is_class:
        return None, f"How good it is can be told of classes; for {definition.task} train a model on what is exported."
    order = dict(project.store.connection.execute("SELECT item, MIN(number) FROM changes GROUP BY item").fetchall())
    tests = {item.number for item in project.store.items() if item.is_test}
    test = [each for each in decided if each.item in tests]
    train = sorted((each for each in decided if each.item not in tests), key=lambda each: order[each.item])
    if len(test) < LEAST_TEST or len({each.value for each in train}) < 2:
        return None, (
            f"How good it is can be told from {LEAST_TEST} labeled test items and two classes to learn from; "
            f"there are {len(test)} and {len({each.value for each in train})}."
        )
    features = load_features(project)
    rows = features.place_of()
    train, test = ([each for each in part if each.item in rows] for part in (train, test))
    known = {each.item for each in decided}
    pool = [row for number, row in rows.items() if number not in known and number not in tests]
    place = [np.array([rows[each.item] for each in part], np.int64) for part in (train, test)]
    weight = np.array([each.confidence for each in train])
    num_next = min(max(1, round(pace)), len(pool))
    return forecast(
        features.dense[place[0]], _codes(train, definition.labels), weight, features.dense[place[1]],
        _codes(test, definition.labels), features.dense[pool], len(definition.labels), num_next, definition.seed,
    ), ""  # fmt: skip


def _measure_pace(project: Project) -> float:
    """Labels an hour of one person, by the median time that one took."""
    rows = project.store.connection.execute(
        "SELECT duration_s FROM changes WHERE action = 'label' AND duration_s > 0 AND duration_s < ?", (LONGEST_S,)
    ).fetchall()
    return 3600 / float(np.median(rows)) if len(rows) >= LEAST_TEST else DEFAULT_PACE_PER_H


def _codes(decided: list[DecidedLabel], classes: tuple[str, ...]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places[str(each.value)] for each in decided], np.int64)


def _suggest(
    features: ItemFeatures, labeled: NDArray[np.int64], target: NDArray[np.int64], rows: list[int],
    classes: tuple[str, ...],
) -> list[Suggestion]:  # fmt: skip
    """What a model of the labels says of these rows; nothing before there are two classes."""
    if len(np.unique(target)) < 2 or not rows:
        return []
    learner = fit_learner(features.dense[labeled], target, np.ones(len(target)), len(classes))
    probabilities: Float64 = learner.probabilities(features.dense[rows])
    order = np.argsort(-probabilities, axis=1, kind="stable")
    suggestions = []
    for place, row in enumerate(rows):
        best, second = int(order[place, 0]), int(order[place, 1])
        reasons = features.reasons(row, learner.direction(best, second), NUM_REASONS)
        chance = float(probabilities[place, best])
        suggestions.append(Suggestion(int(features.numbers[row]), classes[best], chance, reasons))
    return suggestions


def _range(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
