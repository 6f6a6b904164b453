"""Drift in words, in English and Chinese."""

from __future__ import annotations

from deepseek.look import Text, numbers
from deepseek.observe.drift.columns import ColumnDrift
from deepseek.observe.drift.drift import DriftReport

FIGURE_NAMES = {"accuracy": Text("accuracy", "准确率"), "auc": Text("AUC", "AUC")}


def answer_words(report: DriftReport) -> Text:
    """The answer in one sentence."""
    touching = [each.name for each in report.columns if each.touches_answers]
    harmless = [each.name for each in report.drifted_columns if not each.touches_answers]
    rows, total = numbers.count(report.num_rows), len(report.columns)
    if not report.drifted_columns:
        return Text(f"None of {total} columns has drifted in {rows} rows.", f"{rows} 行中，{total} 列均未漂移。")
    parts_en, parts_zh = [], []
    if touching:
        have, them = ("have", "them") if len(touching) > 1 else ("has", "it")
        names, count = _join_names(touching), len(touching)
        parts_en.append(f"{count} of {total} columns {have} drifted, and the answers depend on {them}: {names}")
        parts_zh.append(f"{total} 列中有 {count} 列发生漂移且影响回答：{names}")
    if harmless:
        have, them = ("have", "them") if len(harmless) > 1 else ("has", "it")
        some = f"{len(harmless)} more" if touching else f"{len(harmless)} of {total} columns"
        names, more = _join_names(harmless), "另有 " if touching else ""
        parts_en.append(f"{some} {have} drifted, and the answers hardly depend on {them}: {names}")
        parts_zh.append(f"{more}{len(harmless)} 列发生漂移但几乎不影响回答：{names}")
    return Text("; ".join(parts_en) + ".", "；".join(parts_zh) + "。")


def _join_names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def column_state(column: ColumnDrift) -> Text:
    if column.touches_answers:
        return Text("drifted: matters", "漂移：有影响")
    if column.is_drifted:
        return Text("drifted: hardly matters", "漂移：几乎无影响")
    return Text("as in training", "如训练时")


def performance_words(report: DriftReport) -> list[Text]:
    """What is estimated, what labels say, and what the bundle promised."""
    performance = report.performance
    if performance is None:
        return []
    lines = []
    for name, figure in performance.estimated.items():
        title = FIGURE_NAMES[name]
        estimated = numbers.figure(figure.value, figure.low, figure.high)
        promised = report.expected_metrics.get(name)
        was = "" if promised is None else f"; {numbers.number(promised)} on its test rows"
        was_zh = "" if promised is None else f"；测试行上为 {numbers.number(promised)}"
        lines.append(
            Text(
                f"Estimated {title.en} without labels, with its 90 % interval: {estimated}{was}.",
                f"无标签估计的{title.zh}（90 % 区间）：{estimated}{was_zh}。",
            )
        )
        if performance.observed is not None and name in performance.observed:
            seen = performance.observed[name]
            text, count = numbers.figure(seen.value, seen.low, seen.high), numbers.count(performance.num_labels)
            lines.append(
                Text(
                    f"Observed {title.en} on {count} rows with a label: {text}.",
                    f"{count} 个有标签行上的{title.zh}：{text}。",
                )
            )
    if performance.is_recalibrated:
        lines.append(
            Text(
                "The probabilities were set right by the rows with labels before the estimate.",
                "估计前已用有标签的行校准概率。",
            )
        )
    return lines


def joint_words(report: DriftReport) -> Text:
    joint = report.joint
    if joint is None:
        return Text(
            "The columns were not tested together: the log has too few rows before the window.",
            "未做联合检验：窗口之前的日志行太少。",
        )
    tells = joint.p_value < 0.01
    auc = numbers.number(joint.auc)
    return Text(
        f"A classifier {'can' if tells else 'cannot'} tell the rows of the window from those before it: AUC {auc}, "
        f"p = {numbers.number(joint.p_value)}.",
        f"分类器{'能' if tells else '不能'}区分窗口内外的行：AUC {auc}，p = {numbers.number(joint.p_value)}。",
    )


def fault_words(report: DriftReport) -> list[Text]:
    """What could not be compared, and why."""
    lines = list(report.notes)
    if report.unknown:
        names = _join_names(list(report.unknown))
        lines.append(
            Text(
                f"Columns of the log that the data card does not know: {names}.", f"数据卡片中没有日志里的列：{names}。"
            )
        )
    if report.absent:
        names = _join_names(list(report.absent))
        lines.append(Text(f"Columns that the log lacks: {names}.", f"日志缺少列：{names}。"))
    if report.withheld:
        names = _join_names(list(report.withheld))
        lines.append(
            Text(f"The card tells no values of {names}: not compared.", f"卡片不公开 {names} 的取值：未比较。")
        )
    if report.num_other_models:
        count = numbers.count(report.num_other_models)
        lines.append(
            Text(f"{count} rows of other models or versions were left out.", f"略去其他模型或版本的 {count} 行。")
        )
    return lines
