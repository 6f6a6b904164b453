"""The batch as a whole: what was answered, which column weighed most in how many rows; and where the page comes from.

batch_summary(report)                                      of global_report(), with answers where they are known
provenance_facts(report, manifest, evidence, command)      for look.page
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from deepseek import look
from deepseek.bundle import Manifest
from deepseek.explain.records import AnswerDistribution, GlobalReport, LeadingColumn
from deepseek.explain.report.document import Provenance
from deepseek.explain.report.evidence_documents import Evidence
from deepseek.explain.report.rows import scale_label
from deepseek.look import Column, Html, Text, Words, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.tables import Cell

_MAX_TABLE_ROWS = 10


def batch_summary(report: GlobalReport) -> Html:
    """The answers and the strongest reasons of all rows; nothing where the report has neither."""
    parts = [] if report.answers is None else _answer_tables(report.answers, report.outcome)
    if report.leading:
        parts.append(_leading_table(report.leading, report.num_rows, scale_label(report)))
    title = look.inline(Text("Over all these rows", "整批数据概览"))
    return Html(f'<div id="batch" class="pair"><h3>{title}</h3>{"".join(parts)}</div>' if parts else "")


def _answer_tables(answers: AnswerDistribution, column: str | None) -> list[Html]:
    if answers.labels is not None:
        columns = [Column(Text("Answer", "结果"), "text"), Column(Text("Rows", "行数")), Column(Text("Share", "占比"))]
        ordered = sorted(answers.labels, key=lambda entry: -entry.num_rows)
        total = sum(entry.num_rows for entry in ordered) or 1
        rows: list[list[Cell]] = [
            [look.name_class(entry.label, column), entry.num_rows, f"{numbers.number(100 * entry.num_rows / total)} %"]
            for entry in ordered
        ]
        return [look.table(columns, rows[:_MAX_TABLE_ROWS], data=answers)]
    if answers.quantiles is not None:
        facts: dict[Words, Any] = {
            Text(f"{100 * float(share):g} % of answers lie below", f"{100 * float(share):g} % 的结果低于"): value
            for share, value in answers.quantiles.items()
        }
        return [look.facts(facts)]
    return []


def _leading_table(leading: Sequence[LeadingColumn], num_rows: int, scale: Words) -> Html:
    columns = [
        Column(Text("Weighs most", "影响最大的列"), "text"),
        Column(Text("Rows", "行数")),
        Column(Text("Share of rows", "行占比")),
        Column(Text("Raises", "提高")),
        Column(Text("Lowers", "降低")),
    ]
    rows: list[list[Cell]] = [
        [
            entry.column, entry.num_rows, f"{numbers.number(100 * entry.num_rows / max(1, num_rows))} %",
            entry.raises, entry.lowers,
        ]
        for entry in leading[:_MAX_TABLE_ROWS]
    ]  # fmt: skip
    caption: Words = Text(
        f"In how many of {numbers.count(num_rows)} rows each column is the strongest reason.",
        f"在 {numbers.count(num_rows)} 行中，各列成为首要原因的行数。",
    )
    caption = look.join(caption, Text(" On the scale: ", "尺度："), scale, Text(".", "。"))
    return look.table(columns, rows, caption=caption, data=leading)


def provenance_facts(
    report: GlobalReport,
    manifest: Manifest | None,
    evidence: Evidence,
    command: str,
    provenance: Provenance | None = None,
) -> dict[Words, Words | Html]:
    """Facts about where a page comes from: enough to make it again, and to know that nothing was changed."""
    facts: dict[Words, Words | Html] = {}
    if manifest:
        facts |= {
            Text("Bundle", "模型包"): f"{manifest.name} {manifest.version}",
            Text("Digest", "摘要"): manifest.digest,
            Text("Created", "创建时间"): manifest.created,
            Text("Task", "任务"): look.join(in_both_languages(manifest.task), Text(": ", "："), manifest.target),
            Text("Data digest", "数据摘要"): manifest.lineage.data,
            Text("Seed", "随机种子"): str(manifest.lineage.seed),
            Text("Versions", "版本"): ", ".join(f"{k} {v}" for k, v in manifest.lineage.versions.items()),
        }
    elif provenance:
        facts |= {Text("Model", "模型"): provenance.model.name, Text("Digest", "摘要"): provenance.model.digest}
    facts[Text("Method", "方法")] = in_both_languages(report.method)
    if provenance:
        facts[Text("Why this one", "选用原因")] = in_both_languages(provenance.why)
    num_given = report.num_rows if report.num_rows_given is None else report.num_rows_given
    rows, total = numbers.count(report.num_rows), numbers.count(num_given)
    facts[Text("Rows explained", "解释的行数")] = Text(f"{rows} of {total}", f"{rows}（共 {total} 行）")
    if provenance:
        facts |= _run_facts(provenance)
    shipped = evidence.get("environment", {}).get("command")
    if shipped:
        facts[Text("Bundle made by", "模型包生成命令")] = look.command(
            shipped if isinstance(shipped, str) else shlex.join(shipped)
        )
    if command:
        facts[Text("Page made by", "本页生成命令")] = look.command(command)
    return facts


def _run_facts(provenance: Provenance) -> dict[Words, Words | Html]:
    """When an explanation was made, of which data, and at what cost."""
    num_evaluations, took = provenance.cost.evaluations, numbers.duration(provenance.cost.seconds)
    cost: Words = took
    if num_evaluations is not None:
        count = numbers.count(num_evaluations)
        cost = Text(f"{count} answers of the model, {took}", f"模型计算 {count} 次，{took}")
    return {
        Text("Digest of these data", "本批数据摘要"): provenance.data.digest,
        Text("Seed of this page", "本页随机种子"): str(provenance.seed),
        Text("Cost", "开销"): cost,
        Text("Made with", "生成环境"): ", ".join(f"{name} {value}" for name, value in provenance.versions.items()),
        Text("Date", "日期"): provenance.date,
    }
