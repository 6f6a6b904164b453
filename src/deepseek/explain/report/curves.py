"""The operating point of a bundle as a table, and where it stands on the ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek import look
from deepseek.contracts import JsonObject
from deepseek.explain.report.evidence_documents import MetricsEvidence
from deepseek.look import Column, Html, Text, figure
from deepseek.look.operating_point import fact_rows
from deepseek.operating_point import OperatingPoint, Rate

Points = Sequence[Sequence[float]]


def curve_plots(metrics: MetricsEvidence, point: OperatingPoint | None) -> list[Html]:
    """The curves that the evidence holds, with the operating point marked."""
    draw = {"roc": _roc_plot, "precision_recall": _precision_recall_plot}
    curves = {"roc": metrics.get("roc"), "precision_recall": metrics.get("precision_recall")}
    plots = [draw[name](points, point) for name, points in curves.items() if points]
    if money := metrics.get("money"):
        plots.append(_money_plot(money, point))
    return plots


def operating_point_table(point: OperatingPoint, data: JsonObject) -> Html:
    """What the threshold in force does, with exact intervals."""
    columns = [Column(Text("Operating point", "工作点"), "text"), Column(Text("Test rows", "测试数据"), "text")]
    caption = Text("95 % exact intervals (Clopper and Pearson)", "95 % 精确区间（Clopper–Pearson）")
    return look.table(columns, [list(row) for row in fact_rows(point)], caption=caption, data=data)


def _roc_plot(points: Points, point: OperatingPoint | None) -> Html:
    """[[false-positive rate, true-positive rate], ...] from (0, 0) to (1, 1)."""
    rates = None if point is None else (point.false_positive_rate, point.recall)
    return _curve(
        points, rates,
        title=Text("ROC curve", "ROC 曲线"),
        x_label=Text("false-positive rate", "假阳性率"),
        y_label=Text("true-positive rate", "真阳性率"),
        guide=((0.0, 0.0), (1.0, 1.0)),
    )  # fmt: skip


def _precision_recall_plot(points: Points, point: OperatingPoint | None) -> Html:
    """[[recall, precision], ...] in rising order of recall."""
    rates = None if point is None else (point.recall, point.precision)
    return _curve(
        points, rates,
        title=Text("Precision against recall", "精确率–召回率曲线"),
        x_label=Text("recall", "召回率"),
        y_label=Text("precision", "精确率"),
    )  # fmt: skip


def _money_plot(points: Points, point: OperatingPoint | None) -> Html:
    """[[alerts a day, money caught a day, the same less the cost of false alarms], ...]"""
    alerts = None if point is None else point.alerts_per_day
    lines = [
        look.Line(Text("money of frauds that are alarms", "告警拦下的欺诈金额"), [(row[0], row[1]) for row in points]),
        look.Line(Text("less the cost of false alarms", "减去误报成本"), [(row[0], row[2]) for row in points]),
    ]
    if all(row[1] == row[2] for row in points):  # false alarms cost nothing
        lines = [look.Line("", lines[0].points)]
    title = Text("Money a day against alerts a day", "每天金额与每天告警数")
    if alerts is not None:
        now = f"{alerts.value:.3g}"
        title = Text(f"{title.en}; the threshold in force makes {now} a day", f"{title.zh}；当前阈值每天 {now} 次")
    return figure(
        look.progress, lines, title=title, x_label=Text("alerts a day", "每天告警数"),
        y_label=Text("money a day", "每天金额"), data=points,
    )  # fmt: skip


def _curve(
    points: Points,
    rates: tuple[Rate | None, Rate | None] | None,
    *,
    title: Text,
    x_label: Text,
    y_label: Text,
    guide: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Html:
    """A curve over the unit square; `rates` is where the threshold in force stands on it, where both are known."""
    x, y = rates or (None, None)
    return figure(
        look.curve,
        [look.Line("", [(x, y) for x, y in points])],
        title=title,
        x_label=x_label,
        y_label=y_label,
        guide=guide,
        marked=None if x is None or y is None else (x.value, y.value),
        marked_name=Text("the threshold in force", "当前阈值"),
        data=points,
    )
