"""Whether a model that scores raw events still keeps what its bundle promises, by the verdicts that have come.

    monitor = DecisionMonitor(promises, reference, tally, store)
    monitor.sample(scored rows)                # features of one event in some, for drift
    monitor.figures().to_dict()                # under /v1/stats
    monitor.warn()                             # gives monitor.tell a sentence for each promise that is broken, once

An event counts as genuine when the delay of verdicts is over and no verdict of fraud has come, as the features count
it: whoever sends verdicts on alarms and frauds alone gets the same figures as who sends all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.data.view.drift import SHIFT_PSI, Bins, psi
from deepseek.errors import InputError
from deepseek.features import FeatureStore
from deepseek.operating_point import OperatingPoint, Rate
from deepseek.serve.scoring.feature_sample import MIN_DRIFT_ROWS, FeatureSample
from deepseek.serve.scoring.tally import DayCounts, DecisionTally
from deepseek.train.tabular.intervals import exact_interval

RECENT_DAYS = 7  # of which the chances are compared with the reference, and alerts counted
FRAUD_FILE = "evidence/fraud.json"


@dataclass(frozen=True, slots=True)
class ReferenceBins:
    """What chances and features were on the test rows of a bundle."""

    chance: Bins
    features: Mapping[str, Bins]

    @classmethod
    def from_evidence(cls, report: JsonObject) -> ReferenceBins | None:
        """Of evidence/fraud.json; None where an older release wrote none. InputError where it does not fit."""
        plain = report.get("reference")
        if plain is None:
            return None
        if not isinstance(plain, dict) or not isinstance(plain.get("features"), dict):
            raise InputError("the reference does not fit", expected="chance, features", fix="make the bundle again")
        features = {name: Bins.from_dict(bins) for name, bins in plain["features"].items()}
        return cls(Bins.from_dict(plain["chance"]), features)


@dataclass(frozen=True, slots=True)
class DecisionFigures:
    """Of the events of days whose verdicts are out, unless said otherwise. Rates have exact 95 % intervals; None: no
    event speaks for them."""

    first_day: str | None  # ISO dates, both included; None: no day's verdicts are out
    last_day: str | None
    num_scored: int
    num_alerts: int
    num_frauds: int
    num_caught: int
    num_false_alarms: int
    false_positive_rate: Rate | None
    max_fpr: float | None  # what the bundle promises
    recall: Rate | None
    promised_recall: Rate | None  # on its test rows
    precision: Rate | None
    fraud_share: Rate | None
    mean_chance: float | None  # of a calibrated model within the interval of fraud_share
    num_unknown: int  # events with a known id whose decision is not known: of another model, or lost when it was killed
    num_recent: int  # events of the last RECENT_DAYS days, with verdicts or without
    alerts_per_day: Rate | None  # of these
    max_alerts_per_day: float | None  # what the bundle promises
    chance_psi: float | None  # of these, against the test rows of the bundle
    feature_psi: Mapping[str, float]  # of the last num_sampled events of this process that were kept, the largest first
    num_sampled: int
    sampled_since_s: float | None = None  # when the first of these was scored, seconds since 1970
    feature_since_s: Mapping[str, float] = field(default_factory=dict)  # since when, of features that have shifted
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> JsonObject:
        """As /v1/stats has it."""
        return asdict(self) | {"warnings": list(self.warnings)}


class DecisionMonitor:
    """Figures of one model and one state. Who changes the state holds `lock`; figures wait for it, in any thread."""

    def __init__(
        self, point: OperatingPoint | None, reference: ReferenceBins | None, tally: DecisionTally, store: FeatureStore
    ) -> None:
        self._point, self._reference, self.tally, self._store = point, reference, tally, store
        self.lock = threading.RLock()
        self._sample = FeatureSample(store.names, None if reference is None else reference.features)
        self._said: set[str] = set()
        self.tell: Callable[[str], None] = lambda _: None

    def sample(self, features: Any) -> None:
        """Keeps the features of some of these events (N, F), as FeatureSample does."""
        self._sample.add(features)

    def figures(self, *, with_features: bool = True) -> DecisionFigures:
        """All figures as of now. `with_features`: the drift of each, too, which takes some milliseconds."""
        with self.lock:
            return self._figures(with_features=with_features)

    def _figures(self, *, with_features: bool) -> DecisionFigures:
        days = self.tally.days()
        known = {day: counts for day, counts in days.items() if day <= self._last_known_day}
        num_fraud, num_caught, num_false, num_genuine = _count_decisions(list(known.values()))
        num_scored = num_fraud + num_genuine
        recent = [counts for day, counts in days.items() if day > max(days) - 1 - RECENT_DAYS and day < max(days)]
        point, moved = self._point, self._sample.psi() if with_features else {}
        figures = DecisionFigures(
            first_day=_iso_day(min(known)) if known else None, last_day=_iso_day(max(known)) if known else None,
            num_scored=num_scored, num_alerts=num_caught + num_false, num_frauds=num_fraud, num_caught=num_caught,
            num_false_alarms=num_false, false_positive_rate=_rate(num_false, num_genuine),
            max_fpr=None if point is None else point.max_fpr, recall=_rate(num_caught, num_fraud),
            promised_recall=None if point is None else point.recall,
            precision=_rate(num_caught, num_caught + num_false), fraud_share=_rate(num_fraud, num_scored),
            mean_chance=sum(counts.chance_sum for counts in known.values()) / num_scored if num_scored else None,
            num_unknown=self.tally.num_unknown,
            num_recent=sum(counts.num_scored for counts in recent), alerts_per_day=_alerts_per_day(recent),
            max_alerts_per_day=None if point is None else point.max_alerts_per_day, chance_psi=self._chance_psi(recent),
            feature_psi=moved, num_sampled=len(self._sample), sampled_since_s=self._sample.first_s,
            feature_since_s=self._sample.moved_since(moved),
        )  # fmt: skip
        return replace(figures, warnings=tuple(_find_warnings(figures)))

    def warn(self) -> None:
        """Gives `tell` what is not kept, each once until it is kept again."""
        named = dict(_name_warnings(self.figures(with_features=False)))
        for kind, text in named.items():
            if kind not in self._said:
                self.tell(text)
        self._said = set(named)

    @property
    def _last_known_day(self) -> int:
        """The last day all of whose verdicts are out; before any event none is."""
        latest = self._store.watermark
        return -(2**62) if latest is None else self.tally.day_of(latest - self._store.label_delay) - 1

    def _chance_psi(self, recent: Sequence[DayCounts]) -> float | None:
        counts = sum((one.counts.sum(axis=(0, 1)) for one in recent), np.zeros(1, np.int64))
        if self._reference is None or np.sum(counts) < MIN_DRIFT_ROWS:
            return None
        return psi(self._reference.chance.counts, counts)


def _count_decisions(days: Sequence[DayCounts]) -> tuple[int, int, int, int]:
    """Frauds, caught ones, false alarms, genuine events."""
    by_truth = sum((one.counts.sum(axis=2) for one in days), np.zeros((2, 2), np.int64))
    genuine, fraud = by_truth.tolist()
    return sum(fraud), fraud[1], genuine[1], sum(genuine)


def _rate(part: int, whole: int) -> Rate | None:
    return Rate(part / whole, *exact_interval(part, whole)) if whole else None


def _alerts_per_day(days: Sequence[DayCounts]) -> Rate | None:
    num_scored, num_alerts = sum(one.num_scored for one in days), sum(int(one.counts[:, 1].sum()) for one in days)
    share = _rate(num_alerts, num_scored)
    return None if share is None else share.multiply(num_scored / len(days))


def _find_warnings(figures: DecisionFigures) -> list[str]:
    return [text for _, text in _name_warnings(figures)]


def _name_warnings(figures: DecisionFigures) -> list[tuple[str, str]]:
    """What is not kept, each with a short name: the worst first."""
    named: list[tuple[str, str]] = []
    rate, limit = figures.false_positive_rate, figures.max_fpr
    if rate is not None and limit is not None and rate.low > limit:
        days = f"{figures.first_day} to {figures.last_day}"
        text = f"the false-positive rate is {_figure(rate)} by the verdicts of {days}, above the {limit:g} that the "
        named.append(("false_positive_rate", text + "bundle promises: make it again on newer rows"))
    recall, promised = figures.recall, figures.promised_recall
    if recall is not None and promised is not None and recall.high < promised.low:
        text = f"recall is {_figure(recall)} by the verdicts, below the {_figure(promised)} of the test rows: make the "
        named.append(("recall", text + "bundle again on newer rows"))
    alerts, queue = figures.alerts_per_day, figures.max_alerts_per_day
    if alerts is not None and queue is not None and alerts.low > queue:
        named.append(("alerts_per_day", f"there are {_figure(alerts)} alerts a day, and the queue takes {queue:g}"))
    if figures.chance_psi is not None and figures.chance_psi > SHIFT_PSI:
        text = f"the chances have moved away from those of the test rows: PSI {figures.chance_psi:.2f}"
        named.append(("chance_psi", text))
    return named


def _figure(rate: Rate) -> str:
    return f"{rate.value:.3g} [{rate.low:.3g}, {rate.high:.3g}]"


def _iso_day(day: int) -> str:
    return str(np.datetime64(day, "D"))
