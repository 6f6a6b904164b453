"""What became of decisions, for Prometheus: of days whose verdicts are out, with exact intervals.

metrics.watch_decisions(("cards", "1"), lambda: scorer.monitor.figures().to_dict())
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deepseek.contracts import JsonObject
from deepseek.observe.metrics_status import gauge_family

#: Figures of decisions, the ends of their metrics' names, and whether they have an interval.
DECISION_FIGURES = (
    ("num_scored", "scored_events", False),
    ("num_alerts", "alerts", False),
    ("num_frauds", "frauds", False),
    ("num_caught", "caught_frauds", False),
    ("false_positive_rate", "false_positive_rate", True),
    ("max_fpr", "max_false_positive_rate", False),
    ("recall", "recall", True),
    ("precision", "precision", True),
    ("fraud_share", "fraud_share", True),
    ("mean_chance", "mean_chance", False),
    ("alerts_per_day", "alerts_per_day", True),
    ("chance_psi", "chance_psi", False),
)


class DecisionCollector(Collector):
    """Gauges deepseek_decision_*: `end` is "value", and "low" and "high" of an exact 95 % interval."""

    def __init__(self, model: tuple[str, str], figures: Callable[[], JsonObject]) -> None:
        self._model, self._figures = model, figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        for field, name, has_interval in DECISION_FIGURES:
            value = figures[field]
            if value is None:
                continue
            gauge = gauge_family(f"deepseek_decision_{name}")
            for end, number in value.items() if has_interval else (("value", value),):
                gauge.add_metric((*self._model, end), number)
            yield gauge
        moved = gauge_family("deepseek_decision_feature_psi")
        for column, number in figures["feature_psi"].items():
            moved.add_metric((*self._model, column), number)
        yield moved

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is follows from what was scored."""
        return iter(())
