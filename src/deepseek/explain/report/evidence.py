"""The parts of a report that come from a bundle's evidence/: figures and their plots, segments, gaps, search, checks.

Beside the figures, evidence/metrics.json may hold what is drawn: "reliability", "confusion", "roc",
"precision_recall" and "residuals" (the shapes stand at their functions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from deepseek import look
from deepseek.bundle.last_fit import LastFit
from deepseek.bundle.promises import Promises
from deepseek.contracts import JsonObject
from deepseek.errors import IntegrityError
from deepseek.explain.records import AblationCheck, GlobalReport
from deepseek.explain.report.curves import curve_plots, operating_point_table
from deepseek.explain.report.evidence_documents import (
    Confusion,
    Evidence,
    FairnessEvidence,
    Metric,
    MetricsEvidence,
    ReliabilityBin,
    Residuals,
    Segment,
)
from deepseek.explain.report.search import against_section, search_section
from deepseek.look import Bin, Column, Html, Section, Text, Words, figure, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.figures import METRICS, group_order, group_title
from deepseek.look.operating_point import sentence

_FAIRNESS_MEASURES = {
    "positive_share": Text("Share decided positive", "判为正类的比例"),
    "recall": Text("Recall", "召回率"),
    "false_positive_rate": Text("False-positive rate", "假阳性率"),
    "accuracy": Text("Accuracy", "准确率"),
    "mean_error": Text("Mean error", "平均误差"),
}
Group = TypeVar("Group", bound=Mapping[str, object])
#: The figure that stands in the first lines, the first of these that was measured.
_HEADLINE_METRICS = ("auc", "accuracy", "rmse", "mae", "r2")
_MAX_METRICS = 3  # figures with their intervals side by side
_INTERVAL = Text(
    "95 % intervals by bootstrap, exact where errors are few", "95 % 置信区间：自助法；错误很少时为精确区间"
)


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """IntegrityError for evidence that is not as `ship` writes it: a bundle may be a stranger's."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        raise IntegrityError(
            f"the evidence of the bundle cannot be shown: {error!r}"[:300],
            expected="evidence/*.json as ship writes them", fix="make the bundle again, or leave --html out",
        ) from error  # fmt: skip


def headline(evidence: Evidence) -> Words:
    """How good the model is, in one line: the leading figure with its interval and the rows it was measured on."""
    metrics = evidence.get("metrics")
    name = next((name for name in _HEADLINE_METRICS if metrics and name in metrics["metrics"]), None)
    if not metrics or name is None:
        return ""
    rows = numbers.count(metrics["num_rows"])
    words = look.join(METRICS[name][0], " ", _format_metric(metrics["metrics"][name]))
    words = look.join(words, Text(f" on {rows} test rows.", f"（{rows} 行测试数据）。"))
    point, last_fit = Promises.from_metrics(metrics).operating_point, LastFit.from_metrics(metrics)
    words = words if point is None else look.join(words, " ", sentence(point), Text(".", "。"))
    return look.join(words, " ", last_fit.words()) if last_fit and last_fit.is_refitted else words


def promise_warnings(evidence: Evidence) -> list[Text]:
    """What the bundle does not keep, the worst first."""
    return Promises.from_metrics(evidence.get("metrics", {})).warnings()


def evidence_sections(evidence: Evidence) -> list[Section]:
    """Whatever the evidence has, in the order in which a reader asks for it."""
    sections: list[Section] = []
    if "metrics" in evidence:
        sections.append(_metrics_section(evidence["metrics"]))
    if evidence.get("against"):
        sections.append(against_section(evidence["against"]))
    if evidence.get("segments"):
        sections.append(_segments_section(evidence["segments"], evidence.get("metrics", {}).get("metrics", {})))
    if evidence.get("fairness"):
        sections.append(_fairness_section(evidence["fairness"]))
    if evidence.get("search", {}).get("trials"):
        sections.append(search_section(evidence["search"]))
    return sections


def checks_section(report: GlobalReport, evidence: Evidence) -> Section:
    """Do the explanations add up, do they point at what matters, do the engines agree."""
    lines: list[Html] = []
    check = report.additivity
    size, limit = numbers.number(check.max_abs_residual), f"{check.limit:g}"
    does, equals = ("add up", "等于") if check.passes else ("DO NOT add up", "不等于")
    words = Text(
        f"Base value and contributions {does} to the output: largest residual {size} over "
        f"{check.num_rows} rows (limit {limit} of what is explained).",
        f"基准值与各列贡献之和{equals}输出：{check.num_rows} 行中最大残差 {size}（上限为被解释量的 {limit}）。",
    )
    lines.append(look.verdict("good" if check.passes else "bad", words))
    lines += _ablation_check(report.ablation)
    lines += [_parity_check(kind, entry) for kind, entry in evidence.get("parity", {}).get("engines", {}).items()]
    promises = promise_warnings(evidence)
    unkept = {text.en for text in promises}
    warnings = [look.verdict("bad", text) for text in promises] + [
        look.verdict("warn", look.nowrap_options(in_both_languages(str(warning))))
        for warning in evidence.get("data", {}).get("warnings", [])
        if warning not in unkept
    ]
    body = look.bullet_list(lines + warnings, plain=True)
    return Section(Text("Checks", "检查"), body, id="checks")


def _ablation_check(check: AblationCheck) -> list[Html]:
    if check.passes is None or check.mean_change is None:
        return []
    moved = {name: numbers.number(value) for name, value in check.mean_change.items()}
    num = check.num_columns_taken_away
    away = "the column that matters" if num == 1 else f"the {num} columns that matter"
    words = Text(
        f"Taking away {away} most to a row moves the output by "
        f"{moved['most']}, random columns by {moved['random']} (mean over {check.num_rows} rows).",
        f"去掉每行最重要的 {num} 列使输出平均变化 {moved['most']}，去掉随机列为 "
        f"{moved['random']}（{check.num_rows} 行平均）。",
    )
    return [look.verdict("good" if check.passes else "bad", words)]


def _parity_check(kind: str, entry: JsonObject) -> Html:
    worst = numbers.number(entry["max_abs_difference"]["output"])
    words = Text(
        f"Engine {kind} gives what the model gives: largest difference {worst} in the output.",
        f"引擎 {kind} 与模型一致：输出最大差异 {worst}。",
    )
    return look.verdict("good" if entry["passes"] else "warn", words)


def _metrics_section(metrics: MetricsEvidence) -> Section:
    """Ours beside the baseline's, interval and ratio; then the reliability diagram."""
    columns = [
        Column(Text("Figure", "指标"), "text"),
        Column(Text("This model", "本模型")),
        Column(Text("Baseline", "基线")),
        Column(Text("Ratio", "比值")),
    ]
    rows = [
        _metric_row(name, value, metrics.get("baseline", {}).get(name)) for name, value in metrics["metrics"].items()
    ]
    num = numbers.count(metrics["num_rows"])
    caption = look.join(Text(f"{num} test rows, ", f"{num} 行测试数据，"), _INTERVAL)
    body = look.table(
        columns, rows, caption=caption, data={k: metrics[k] for k in ("metrics", "baseline") if k in metrics}
    )
    if metrics.get("baseline_name"):
        note = look.join(Text("Baseline: ", "基线："), in_both_languages(metrics["baseline_name"]), Text(".", "。"))
        body = Html(body + look.paragraph(note, note=True))
    point = Promises.from_metrics(metrics).operating_point
    if point is not None:
        body = Html(body + operating_point_table(point, metrics["operating_point"]))
    plots = [draw(drawn) for name, draw in _PLOTS.items() if (drawn := metrics.get(name))]
    plots += curve_plots(metrics, point)
    body = Html(body + "".join(plots))
    return Section(Text("How good it is", "效果如何"), body, id="figures")


def _metric_row(name: str, ours: Metric, rival: Metric | None) -> list[Words]:
    title, higher = METRICS.get(name, (name, None))
    better: dict[bool | None, Words] = {
        True: Text(" (higher is better)", "（越高越好）"),
        False: Text(" (lower is better)", "（越低越好）"),
        None: "",
    }
    ratio = numbers.ratio(ours["value"], rival["value"]) if rival else numbers.UNKNOWN
    return [look.join(title, better[higher]), _format_metric(ours), _format_metric(rival), ratio]


def _format_metric(metric: Metric | None) -> str:
    return numbers.figure(metric["value"], metric["low"], metric["high"]) if metric else numbers.UNKNOWN


def _reliability_plot(bins: Sequence[ReliabilityBin]) -> Html:
    known = [_reliability_bin(entry["predicted"], entry["observed"], int(entry["num_rows"])) for entry in bins]
    return figure(
        look.reliability,
        known,
        title=Text("Do its probabilities hold?", "概率是否可信？"),
        x_label=Text("predicted probability", "预测概率"),
        y_label=Text("observed share", "实际比例"),
        caption=Text(
            f"{len(bins)} bins of about {known[0].num_rows} test rows each, with 95 % intervals (Wilson). "
            "On the dashed line probabilities are exact.",
            f"{len(bins)} 个分箱，每箱约 {known[0].num_rows} 行，95 % 区间（Wilson）。虚线表示概率完全准确。",
        ),
        data=bins,
    )


def _confusion_plot(confusion: Confusion) -> Html:
    """{"labels": [...], "counts": [[...]]}: rows of each true class by predicted class."""
    return figure(
        look.confusion_matrix,
        confusion["labels"],
        confusion["counts"],
        title=Text("What is taken for what", "混淆矩阵"),
        caption=Text("Test rows, decided by the threshold in force.", "测试数据，按当前阈值判定。"),
        data=confusion,
    )


def _residuals_plot(residuals: Residuals) -> Html:
    """{"edges": [...], "counts": [...]} of truth minus prediction; "interval": half width, where it was fitted."""
    half = residuals.get("interval")
    return figure(
        look.histogram,
        residuals["edges"],
        residuals["counts"],
        title=Text("How far off it is", "误差分布"),
        x_label=Text("truth minus prediction, target units", "真实值减预测值（目标单位）"),
        guides=() if half is None else (-half, half),
        caption=Text("The dashed lines are the ends of its prediction interval.", "虚线为预测区间的两端。")
        if half
        else "",
        data=residuals,
    )


_PLOTS: dict[str, Callable[[Any], Html]] = {
    "confusion": _confusion_plot,
    "reliability": _reliability_plot,
    "residuals": _residuals_plot,
}


def _reliability_bin(predicted: float, observed: float, num_rows: int) -> Bin:
    """A bin with the Wilson score interval of the observed share (Wilson 1927), z = 1.96."""
    z = 1.959964
    scale = 1 + z * z / num_rows
    middle = (observed + z * z / (2 * num_rows)) / scale
    half = z * math.sqrt(observed * (1 - observed) / num_rows + z * z / (4 * num_rows**2)) / scale
    return Bin(predicted, observed, max(0.0, middle - half), min(1.0, middle + half), num_rows)


def _segments_section(segments: Mapping[str, Sequence[Segment]], whole: Mapping[str, Metric]) -> Section:
    """For each column the leading figure of each of its groups, against that of all rows."""
    return Section(
        Text("By segment", "按分组"),
        Html("".join(_segment_html(column, rows, whole) for column, rows in segments.items())),
        id="segments",
    )


def _segment_html(column: str, rows: Sequence[Segment], whole: Mapping[str, Metric]) -> Html:
    rows = _sort_groups(rows)
    measured = [row for row in rows if row.get("metrics")]
    metric_names = dict.fromkeys(name for row in measured for name in row["metrics"])
    names = sorted(
        metric_names,
        key=lambda name: _HEADLINE_METRICS.index(name) if name in _HEADLINE_METRICS else len(_HEADLINE_METRICS),
    )[:_MAX_METRICS]
    heads = [Column(column, "text"), Column(Text("Rows", "行数"))]
    heads += [Column(METRICS.get(name, (name, None))[0]) for name in names]
    cells = [
        [_group_label(row), row["num_rows"], *(_format_metric(row.get("metrics", {}).get(name)) for name in names)]
        for row in rows
    ]
    caption = look.join(_INTERVAL, Text("; small groups are listed without figures", "；样本过少的分组不列指标"))
    if len(metric_names) > len(names):
        caption = look.join(caption, Text("; the other figures are in the JSON", "；其余指标见 JSON"))
    table = look.table(heads, cells, caption=caption, data=rows)
    leading = next((name for name in _HEADLINE_METRICS if name in names), None)
    shown = [row for row in measured if leading in row["metrics"]]
    if not shown or leading is None:
        return Html(f"<h3>{look.escape(column)}</h3>{table}")
    plot = figure(
        look.intervals,
        [_group_label(row) for row in shown],
        [tuple(row["metrics"][leading][end] for end in ("value", "low", "high")) for row in shown],
        title=column,
        label=METRICS[leading][0],
        guide=whole[leading]["value"] if leading in whole else None,
        caption=Text("The dashed line is the figure over all rows.", "虚线为全部数据上的指标。"),
    )
    return Html(plot + table)


def _sort_groups(groups: Sequence[Group]) -> list[Group]:
    """Groups in order: ranges from the lowest to the highest, what is none (missing) last."""
    return sorted(groups, key=lambda group: group_order(str(group["group"])))


def _group_label(group: Mapping[str, object]) -> Words:
    return group_title(str(group["group"]))


def _fairness_section(fairness: FairnessEvidence) -> Section:
    """Rates of each group of one column, and the gap between the largest and the smallest."""
    measures = list(fairness["gaps"])
    heads = [Column(fairness["column"], "text"), Column(Text("Rows", "行数"))]
    heads += [Column(_FAIRNESS_MEASURES.get(name, name)) for name in measures]
    rows: list[list[Any]] = [
        [_group_label(row), row["num_rows"], *(row.get(name) for name in measures)]
        for row in _sort_groups(fairness["groups"])
    ]
    rows.append([Text("Gap", "差距"), "", *(fairness["gaps"][name] for name in measures)])
    caption = Text(
        f"Groups of fewer than {fairness['min_rows']} rows are listed without rates.",
        f"少于 {fairness['min_rows']} 行的分组不列比率。",
    )
    title = look.join(Text("Gaps between groups of ", "分组差距："), fairness["column"])
    return Section(title, look.table(heads, rows, caption=caption, data=fairness), id="fairness")
