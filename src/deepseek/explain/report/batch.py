"""The batch as a whole: what was answered, which column weighed most in how many rows; and where the page comes from.

batch_sections(report)                              of global_report(), with "answers" where they are known
provenance_facts(report, manifest, evidence, command)      for look.page
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from deepseek import look
from deepseek.bundle import Manifest
from deepseek.explain.report.rows import scale_label
from deepseek.look import Column, Html, Text, Words, numbers

_MAX_TABLE_ROWS = 10


def batch_summary(report: Mapping[str, Any]) -> Html:
    """Nothing where a report does not say it."""
    leading = report.get("leading") or []
    parts = [*_answer_tables(report.get("answers") or {})]
    if leading:
        parts.append(_leading_table(leading, report["num_rows"], scale_label(report)))
    title = look.inline(Text("Over all these rows", "整批数据概览"))
    return Html(f'<div id="batch"><h3>{title}</h3>{"".join(parts)}</div>' if parts else "")


def _answer_tables(answers: Mapping[str, Any]) -> list[Html]:
    if "labels" in answers:
        columns = [Column(Text("Answer", "结果"), "text"), Column(Text("Rows", "行数")), Column(Text("Share", "占比"))]
        ordered = sorted(answers["labels"], key=lambda one: -one["num_rows"])
        total = sum(one["num_rows"] for one in ordered) or 1
        rows = [
            [one["label"], one["num_rows"], f"{numbers.number(100 * one['num_rows'] / total)} %"] for one in ordered
        ]
        return [look.table(columns, rows[:_MAX_TABLE_ROWS], data=answers)]
    if "quantiles" in answers:
        pairs: dict[Words, Any] = {
            Text(f"{100 * float(share):g} % of answers lie below", f"{100 * float(share):g} % 的结果低于"): value
            for share, value in answers["quantiles"].items()
        }
        return [look.facts(pairs)]
    return []


def _leading_table(leading: list[Mapping[str, Any]], num_rows: int, scale: Words) -> Html:
    columns = [
        Column(Text("Weighs most", "影响最大的列"), "text"),
        Column(Text("Rows", "行数")),
        Column(Text("Share of rows", "行占比")),
        Column(Text("Raises", "提高")),
        Column(Text("Lowers", "降低")),
    ]
    rows = [
        [
            one["column"], one["num_rows"], f"{numbers.number(100 * one['num_rows'] / max(1, num_rows))} %",
            one["raises"], one["lowers"],
        ]
        for one in leading[:_MAX_TABLE_ROWS]
    ]  # fmt: skip
    caption: Words = Text(
        f"In how many of {numbers.count(num_rows)} rows each column is the strongest reason.",
        f"在 {numbers.count(num_rows)} 行中，各列成为首要原因的行数。",
    )
    caption = look.join(caption, Text(" On the scale: ", "尺度："), scale, Text(".", "。"))
    return look.table(columns, rows, caption=caption, data=leading)


def provenance_facts(
    report: Mapping[str, Any],
    manifest: Manifest | None,
    evidence: Mapping[str, Any],
    command: str,
    made: Mapping[str, Any] | None = None,
) -> dict[Words, Words | Html]:
    """What is needed to make this page again, and to know that nothing was changed. `made` is build_provenance()'s."""
    found: dict[Words, Words | Html] = {}
    if manifest:
        found |= {
            Text("Bundle", "模型包"): f"{manifest.name} {manifest.version}",
            Text("Digest", "摘要"): manifest.digest,
            Text("Created", "创建时间"): manifest.created,
            Text("Task", "任务"): f"{manifest.task}: {manifest.target}",
            Text("Data digest", "数据摘要"): manifest.lineage.data,
            Text("Seed", "随机种子"): str(manifest.lineage.seed),
            Text("Versions", "版本"): ", ".join(f"{k} {v}" for k, v in manifest.lineage.versions.items()),
        }
    elif made:
        found |= {Text("Model", "模型"): made["model"]["name"], Text("Digest", "摘要"): made["model"]["digest"]}
    found[Text("Method", "方法")] = report["method"]
    if made:
        found[Text("Why this one", "选用原因")] = made["why"]
    rows, given = numbers.count(report["num_rows"]), numbers.count(report.get("num_rows_given", report["num_rows"]))
    found[Text("Rows explained", "解释的行数")] = Text(f"{rows} of {given}", f"{rows}（共 {given} 行）")
    if made:
        found |= _run_facts(made)
    shipped = evidence.get("environment", {}).get("command")
    if shipped:
        found[Text("Bundle made by", "模型包生成命令")] = look.command(
            shipped if isinstance(shipped, str) else shlex.join(shipped)
        )
    if command:
        found[Text("Page made by", "本页生成命令")] = look.command(command)
    return found


def _run_facts(made: Mapping[str, Any]) -> dict[Words, Words | Html]:
    """When, of what, at what cost."""
    evaluations, took = made["cost"]["evaluations"], numbers.duration(made["cost"]["seconds"])
    cost: Words = took
    if evaluations is not None:
        count = numbers.count(evaluations)
        cost = Text(f"{count} answers of the model, {took}", f"模型计算 {count} 次，{took}")
    return {
        Text("Digest of these data", "本批数据摘要"): made["data"]["digest"],
        Text("Seed of this page", "本页随机种子"): str(made["seed"]),
        Text("Cost", "开销"): cost,
        Text("Made with", "生成环境"): ", ".join(f"{name} {value}" for name, value in made["versions"].items()),
        Text("Date", "日期"): made["date"],
    }
