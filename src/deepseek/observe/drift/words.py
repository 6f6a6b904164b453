"""Drift in words, in English and Chinese."""

from __future__ import annotations

from deepseek.look import Text, numbers
from deepseek.observe.drift.change import Change, Changes, Sign
from deepseek.observe.drift.columns import ColumnDrift
from deepseek.observe.drift.drift import INPUT_PREFIX, DriftReport
from deepseek.observe.drift.joint import SPANS
from deepseek.observe.drift.since import DriftStart
from deepseek.observe.why.windows import moment_text

FIGURE_NAMES = {"accuracy": Text("accuracy", "准确率"), "auc": Text("AUC", "AUC")}


def answer_words(report: DriftReport) -> Text:
    """The answer: columns against training, and whether anything has changed against earlier rows."""
    words = _column_words(report)
    if report.joint is None or not report.joint.changes.is_alarm:
        return words
    count = SPANS[told_span(report.joint.changes)]
    when = Text("Its rows", "窗口内") if count == 1 else Text(f"The last {count} windows", f"最近 {count} 个窗口")
    return Text(
        f"{words.en} {when.en} differ from earlier rows of the log.", f"{words.zh}{when.zh}的行与日志中更早的行不同。"
    )


def told_span(changes: Changes) -> int:
    """Which span is told of: the window where it shows the change by itself, else the one that shows it best."""
    if changes.spans[0].p_value <= MAX_SIGN_P / 2:
        return 0
    return min(range(len(changes.spans)), key=lambda index: changes.spans[index].p_value)


def _column_words(report: DriftReport) -> Text:
    """What each column by itself says."""
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


def start_words(start: DriftStart | None) -> Text:
    """Since when a column has drifted; a dash where it has not."""
    if start is None:
        return Text(numbers.UNKNOWN, numbers.UNKNOWN)
    moment = moment_text(start.start_s)
    return Text(f"{moment} or before", f"{moment} 或更早") if start.is_open else Text(moment, moment)


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
    if performance.num_past_labels or performance.is_recalibrated:
        earlier, own = numbers.count(performance.num_past_labels), numbers.count(performance.num_labels)
        from_en, from_zh = [], []
        if performance.num_past_labels:
            from_en.append(f"{earlier} earlier rows")
            from_zh.append(f"{earlier} 个更早的行")
        if performance.is_recalibrated:
            from_en.append(f"{own} rows of the window")
            from_zh.append(f"窗口内的 {own} 行")
        lines.append(
            Text(
                f"The probabilities were set right by the labels of {' and of '.join(from_en)} before the estimate.",
                f"估计前已用{'和'.join(from_zh)}的标签校准概率。",
            )
        )
    return lines


SIGN_WORDS = {
    "level": Text("the values of", "取值变化："), "shape": Text("the shape of", "分布形状："),
    "relation": Text("the relation of", "关系变化："),
    "structure": Text("what several columns obey together", "多列之间的共同规律"),
    "overall": Text("many columns a little", "许多列各有少量变化"),
    "missing": Text("missing values in", "缺失值："),
    "beyond": Text("values beyond all earlier ones in", "超出以往范围："),
    "unseen": Text("values never seen before in", "从未出现的取值："), "level ": Text("a category of", "类别："),
    "value": Text("a value that repeats in", "重复的取值："), "rounded": Text("rounded values in", "取整的数值："),
}  # fmt: skip
MAX_SIGN_P, MAX_SIGNS = 0.01, 4  # of a sign that is told; and how many are


def joint_words(report: DriftReport) -> list[Text]:
    """Whether anything has changed against earlier rows, where, and how far a classifier can tell now from then."""
    joint = report.joint
    if joint is None:
        return [
            Text(
                "The columns were not tested together: the log has too few rows before the window.",
                "未做联合检验：窗口之前的日志行太少。",
            )
        ]
    changes, p_value = joint.changes, numbers.number(joint.changes.p_value)
    lines = [
        Text(f"Nothing has changed against earlier rows: p = {p_value}.", f"与更早的行相比没有变化：p = {p_value}。")
    ]
    if changes.is_alarm:
        place = told_span(changes)
        count = SPANS[place]
        when = Text("in the window", "窗口内")
        if place:
            when = Text(
                f"over the last {count} windows, too little to see in one", f"最近 {count} 个窗口，单个窗口看不出"
            )
        what = sign_words(changes.spans[place])
        lines = [
            Text(
                f"Something has changed against earlier rows, {when.en} (p = {p_value}): {what.en}.",
                f"与更早的行相比有变化（{when.zh}，p = {p_value}）：{what.zh}。",
            )
        ]
    if joint.auc is not None and joint.p_value is not None:
        tells, auc = joint.p_value < MAX_SIGN_P, numbers.number(joint.auc)
        p_value = numbers.number(joint.p_value)
        lines.append(
            Text(
                f"A classifier {'can' if tells else 'cannot'} tell the rows of the window from those before it: "
                f"AUC {auc}, p = {p_value}.",
                f"分类器{'能' if tells else '不能'}区分窗口内外的行：AUC {auc}，p = {p_value}。",
            )
        )
    return lines


def sign_words(change: Change) -> Text:
    """What differs, each family's best that is beyond chance; a dash for nothing."""
    signs = [_sign_words(sign) for sign in change.signs if sign.p_value <= MAX_SIGN_P]
    if not signs:
        return Text("—", "—")
    num_more = len(signs) - MAX_SIGNS
    if num_more > 0:
        signs = [*signs[:MAX_SIGNS], Text(f"and {num_more} more signs", f"另有 {num_more} 处")]
    return Text("; ".join(sign.en for sign in signs), "；".join(sign.zh for sign in signs))


def _sign_words(sign: Sign) -> Text:
    """What one family of tests found: of an event its kind, its column and its value."""
    kind, _, value = sign.detail.partition(" ")
    key = kind + " " * (kind == "level") if sign.family == "event" else sign.family
    names = [name.removeprefix(INPUT_PREFIX) for name in sign.columns]
    words = SIGN_WORDS[key]
    if not names:
        return words
    value_note = f" ({value})" if value else ""
    return Text(f"{words.en} {' and '.join(names)}{value_note}", f"{words.zh}{'、'.join(names)}{value_note}")


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
