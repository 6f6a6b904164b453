"""The HTML page of drift: the answer, columns by their impact, how good the model still is, and what was compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from deepseek import look
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell
from deepseek.observe.drift.change import Changes
from deepseek.observe.drift.columns import FALSE_DISCOVERY_SHARE, ColumnDrift
from deepseek.observe.drift.drift import DriftReport
from deepseek.observe.drift.joint import SPANS
from deepseek.observe.drift.since import DriftStart
from deepseek.observe.drift.words import (
    answer_words,
    column_state,
    fault_words,
    joint_words,
    performance_words,
    sign_words,
    start_words,
)
from deepseek.observe.why.windows import moment_text

MOST_COLUMNS = 12  # whose shares are shown; --json has all
MOST_ROWS = 12  # columns in the first table; the rest opens on demand


def render_page(report: DriftReport, name: str, bundle: str) -> str:
    """The page; the names of the logs and of the bundle."""
    num_shown = max(MOST_ROWS, len(report.drifted_columns))
    first, rest = report.columns[:num_shown], report.columns[num_shown:]
    body = Html(_legend() + _column_table(first, report.starts, data=report.to_dict()))
    sections = [Section(Text("Columns, the largest impact first", "各列（按影响排序）"), body, id="columns")]
    if rest:
        title = Text(f"The other {len(rest)} columns", f"其余 {len(rest)} 列")
        sections.append(Section(title, _column_table(rest, report.starts), folded=True, id="rest"))
    figures = performance_words(report)
    good = (
        look.bullet_list(figures)
        if figures
        else look.empty_state(
            Text("Nothing can be said of how good the answers are.", "无法评估回答质量。"),
            Text("The log has no probabilities of classes.", "日志中没有类别概率。"),
            Text("Give labels as they come, with --labels.", "标签到来后用 --labels 提供。"),
        )
    )
    sections.append(Section(Text("How good the answers still are", "回答质量如何"), good, id="performance"))
    together: list[Words | Html] = [*joint_words(report)]
    if report.answer is not None:
        state, psi = column_state(report.answer), numbers.number(report.answer.psi)
        together.append(
            Text(
                f"What is answered, against the target of the training rows: {state.en.split(':')[0]}, PSI {psi}.",
                f"所答与训练行目标相比：{state.zh.split('：')[0]}，PSI {psi}。",
            )
        )
    body = look.bullet_list(together)
    if report.joint is not None:
        body = Html(body + _span_table(report.joint.changes))
    sections.append(Section(Text("All columns together, and the answers", "联合检验与回答"), body, id="joint"))
    sections += [
        Section(Text(f"{column.name} then and now", f"{column.name}：当时与现在"), _shares(column), folded=True)
        for column in report.columns[:MOST_COLUMNS]
        if column.is_drifted
    ]
    if faults := fault_words(report):
        sections.append(
            Section(Text("What could not be compared", "未能比较的内容"), look.bullet_list(list(faults)), id="notes")
        )
    return look.page(
        Text("Is it still what it was trained on?", "数据还和训练时一样吗？"), answer_words(report), sections,
        provenance=_provenance(report, name, bundle),
    )  # fmt: skip


def _legend() -> Html:
    share = f"{100 * FALSE_DISCOVERY_SHARE:g}"
    return look.paragraph(
        Text(
            "PSI below 0.1 is small, above 0.25 large. Impact is PSI weighed by how much the column moves the answers: "
            f"PSI itself for an average column. Of the columns that are called drifted at most {share} % are expected "
            "to be chance.",
            f"PSI 低于 0.1 为小，高于 0.25 为大。影响是按该列对回答的作用加权的 PSI：平均列的影响即其 PSI。"
            f"判为漂移的列中预计至多 {share} % 出于偶然。",
        ),
        note=True,
    )


def _column_table(columns: Sequence[ColumnDrift], starts: Mapping[str, DriftStart], *, data: object = None) -> Html:
    """A row for each column; since when those have drifted that have, and missing values where there are any."""
    has_drifted = any(each.name in starts for each in columns)
    has_missing = any(each.missing_share or each.past_missing_share for each in columns)
    heads = [
        Column(Text("Column", "列"), "text"), Column(Text("State", "状态"), "text"), Column("PSI"),
        Column(Text("Impact", "影响")), Column(Text("Distance", "距离")), Column("p"),
    ]  # fmt: skip
    if has_drifted:
        heads.append(Column(Text("Since", "始于"), "text"))
    if has_missing:
        heads += [Column(Text("Missing now", "现缺失")), Column(Text("Missing then", "原缺失"))]
    rows: list[list[Cell]] = []
    for each in columns:
        kind: Literal["good", "warn", "bad"] = "bad" if each.touches_answers else "warn" if each.is_drifted else "good"
        row: list[Cell] = [
            each.name, look.verdict(kind, column_state(each)), each.psi, each.impact, each.distance, each.p_value
        ]  # fmt: skip
        row += [start_words(starts.get(each.name))] if has_drifted else []
        rows.append(row + ([each.missing_share, each.past_missing_share] if has_missing else []))
    return look.table(heads, rows, data=data)


def _span_table(changes: Changes) -> Html:
    """A row for each span of windows."""
    columns = [
        Column(Text("The last windows", "最近窗口数")), Column(Text("Rows", "行数")), Column("p"),
        Column(Text("What differs from earlier rows", "与更早的行的不同"), "text"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [count, each.num_rows, each.p_value, sign_words(each)]
        for count, each in zip(SPANS, changes.spans, strict=False)
    ]
    caption = Text(
        "p is of everything that was looked at in a span; an alarm at 0.01 is false once in a hundred windows",
        "p 涵盖该段内检验的全部内容；以 0.01 报警，每一百个窗口误报一次",
    )
    return look.table(columns, rows, caption=caption)


def _shares(column: ColumnDrift) -> Html:
    columns = [
        Column(Text("Range or value", "范围或取值"), "text"),
        Column(Text("Training", "训练")),
        Column(Text("Now", "现在")),
    ]
    rows: list[list[Cell]] = [
        [name, past, now] for name, past, now in zip(column.bins, column.reference_shares, column.shares, strict=True)
    ]
    return look.table(columns, rows, caption=Text("Shares of the rows with a value", "有值行的占比"))


def _provenance(report: DriftReport, name: str, bundle: str) -> Mapping[Words, Words | Html]:
    return {
        Text("Logs", "日志"): name,
        Text("Bundle", "模型包"): bundle,
        Text("Window", "窗口"): f"{moment_text(report.start_s)} – {moment_text(report.end_s)}",
        Text("Its rows", "窗口行数"): numbers.count(report.num_rows),
        Text("Training rows", "训练行数"): numbers.count(report.num_reference),
    }
