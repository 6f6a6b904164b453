"""What a dashboard is made of: queries, panels, and short ways to write them.

curves("Rows a second", "short", (rate_by("deepseek_rows_total", "model_name"), "{{model_name}}"))
"""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.observe.metrics_table import Metric, metrics_in

#: Grafana's own words in a query: the range that a rate needs, and the model that a person has chosen.
RANGE, MODEL_VARIABLE = "$__rate_interval", "$model"
MODEL = f'model_name=~"{MODEL_VARIABLE}"'


@dataclass(frozen=True, slots=True)
class Query:
    """A query with its legend."""

    expression: str
    legend: str = ""

    def evaluable(self, window: str) -> str:
        """The query without Grafana's variables: rates over `window`, all models.

        >>> Query('rate(deepseek_rows_total{model_name=~"$model"}[$__rate_interval])').evaluable("1m")
        'rate(deepseek_rows_total{model_name=~".*"}[1m])'
        """
        return self.expression.replace(RANGE, window).replace(MODEL_VARIABLE, ".*")


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. Every query has the same unit."""

    title: str
    unit: str  # as Grafana names it: s, bytes, percentunit, reqps, short, dateTimeAsIso
    queries: tuple[Query, ...]
    is_stat: bool = False  # one number instead of a curve

    @property
    def metrics(self) -> list[Metric]:
        """What it reads, each once."""
        return list(dict.fromkeys(metric for query in self.queries for metric in metrics_in(query.expression)))

    @property
    def needs(self) -> str:
        """What must be there for it to show something; "": a model that answers."""
        return next((metric.needs for metric in self.metrics if metric.needs not in ("", "Linux")), "")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Panels in the order in which they are read, three in a row."""

    title: str
    meaning: str
    panels: tuple[Panel, ...]
    has_model: bool = True  # whether a person chooses among models


def rate_by(metric: str, by: str, where: str = MODEL) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[{RANGE}]))"


def curves(title: str, unit: str, *queries: tuple[str, str]) -> Panel:
    return Panel(title, unit, tuple(Query(expression, legend) for expression, legend in queries))


def number(title: str, unit: str, expression: str, legend: str = "") -> Panel:
    return Panel(title, unit, (Query(expression, legend),), is_stat=True)


def quantile(share: float, metric: str, by: str = "model_name", where: str = MODEL) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{where}}}[{RANGE}])))"


def mean(metric: str, by: str = "model_name") -> str:
    return f"{rate_by(f'{metric}_sum', by)} / {rate_by(f'{metric}_count', by)}"
