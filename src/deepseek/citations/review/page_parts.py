"""Parts of the page of a review: how a verdict and a place are written, what changed, who decided."""

from __future__ import annotations

from typing import Literal

from deepseek import look
from deepseek.citations.page.sentences import SENTENCE_STYLE
from deepseek.citations.review.decisions import Decision
from deepseek.citations.review.dossier import ReviewDossier
from deepseek.citations.review.findings import Evidence, Finding
from deepseek.citations.review.versions import ClauseChange
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell

MAX_CHANGES, MAX_CHANGE_CHARS = 200, 1200
RISK_NAMES = {
    "high": Text("high risk", "高风险"),
    "medium": Text("medium risk", "中风险"),
    "low": Text("low risk", "低风险"),
}
VERDICT_NAMES = {
    "holds": Text("holds", "符合"),
    "breaks": Text("breaks", "违反"),
    "not there": Text("not there", "未提及"),
}
_MISSING = Text("missing", "缺失")
CHANGE_NAMES = {
    "added": Text("added", "新增"), "removed": Text("taken out", "删除"), "changed": Text("changed", "修改"),
    "moved": Text("moved", "移动"),
}  # fmt: skip
DECISION_NAMES = {
    "fix": Text("to be corrected", "需修改"), "accept": Text("risk accepted", "接受风险"),
    "dismiss": Text("no finding", "不构成问题"),
}  # fmt: skip
STYLE = SENTENCE_STYLE + (
    ".edit ins{text-decoration:underline;text-decoration-color:var(--good);text-underline-offset:3px;color:var(--ink);"
    "background:color-mix(in srgb,var(--good) 12%,transparent)}"
    ".edit del{color:var(--soft);background:color-mix(in srgb,var(--bad) 10%,transparent)}"
    ".edit blockquote{margin:4px 0 16px;padding:6px 12px;background:var(--wash);overflow-wrap:anywhere}"
    ".signatures{display:grid;grid-template-columns:repeat(3,1fr);gap:24px;margin:56px 0 0}"
    ".signatures p{margin:0;border-top:1px solid var(--ink);padding-top:4px;font-size:14px;color:var(--soft)}"
    "@media(max-width:480px){.signatures{grid-template-columns:1fr;gap:44px}}"
)


def percent(share: float) -> str:
    """A share in per cent, without a digit that it has not; never 100 for what is not certain.

    >>> percent(0.9961), percent(0.42), percent(1.0), percent(0.004)
    ('99 %', '42 %', '100 %', '<1 %')
    """
    if share >= 1:
        return "100 %"
    return "<1 %" if 0 < share < 0.01 else f"{min(round(100 * share), 99)} %"


def verdict_cell(finding: Finding) -> Html:
    """The verdict with its sign; what should be there and is not is missing."""
    kind: Literal["good", "bad"] = "bad" if finding.is_finding else "good"
    is_missing = finding.is_finding and finding.verdict == "not there"
    words = look.verdict(kind, _MISSING if is_missing else VERDICT_NAMES[finding.verdict])
    return Html(f'<span class="option">{words}</span>')


def where_text(evidence: Evidence) -> Words:
    """Number, heading and page of a clause."""
    name = " ".join(part for part in (evidence.number, numbers.clip(evidence.heading, 60)) if part)
    if evidence.page is None:
        return name or Text(f"letter {evidence.start}", f"第 {evidence.start} 字")
    page = Text(f"page {evidence.page}", f"第 {evidence.page} 页")
    return look.join(name, Text(", ", "，"), page) if name else page


def version_sections(dossier: ReviewDossier) -> list[Section]:
    """What is new since another version."""
    comparison = dossier.comparison
    if comparison is None:
        return []
    parts = [look.paragraph(look.join(Text("Compared with ", "对比版本："), comparison.old_name), note=True)]
    if comparison.lines:
        columns = [
            Column(Text("Line", "清单项"), "text"), Column(Text("Before", "之前"), "text"),
            Column(Text("Now", "现在"), "text"), Column(Text("Risk", "风险"), "text"),
        ]  # fmt: skip
        worse, better = look.verdict("bad", Text("worse", "上升")), look.verdict("good", Text("better", "下降"))
        rows: list[list[Cell]] = [
            [numbers.clip(line.name, 90), VERDICT_NAMES[line.before], VERDICT_NAMES[line.after],
             worse if line.is_worse else better]
            for line in comparison.lines
        ]  # fmt: skip
        parts.append(look.table(columns, rows, caption=Text("Lines with another verdict", "结论改变的清单项")))
    else:
        parts.append(look.paragraph(Text("No line has another verdict.", "没有清单项的结论改变。")))
    parts += [Html(_change_block(change)) for change in comparison.changes[:MAX_CHANGES]]
    if len(comparison.changes) > MAX_CHANGES:
        more = len(comparison.changes) - MAX_CHANGES
        parts.append(
            look.paragraph(Text(f"… and {more} more: see the JSON.", f"……另有 {more} 处，见 JSON。"), note=True)
        )
    num = len(comparison.changes)
    title = Text(f"{num} clauses differ", f"{num} 条条款有变化") if num else Text("No clause differs", "条款没有变化")
    return [Section(title, Html("".join(parts)), id="versions")]


def _change_block(change: ClauseChange) -> str:
    words, left = [], MAX_CHANGE_CHARS
    for kind, text in change.edits:
        shown = text if len(text) <= left else text[: max(left, 0)] + "…"
        left -= len(shown)
        tag = {"same": "span", "added": "ins", "removed": "del"}[kind]
        words.append(f"<{tag}>{look.escape(shown)}</{tag}>")
        if left <= 0:
            break
    head = look.inline(
        look.join(change.number, Text(" ", " "), CHANGE_NAMES[change.kind])
        if change.number
        else CHANGE_NAMES[change.kind]
    )
    return f'<div class="edit"><p class="note">{head}</p><blockquote>{" ".join(words)}</blockquote></div>'


def decision_sections(dossier: ReviewDossier) -> list[Section]:
    """Who decided what, what is open, and places to sign."""
    parts: list[str] = []
    log, names = dossier.decisions, {line.id: line.name for line in dossier.report.checklist.lines}
    num_open = len(dossier.report.open_findings) if log is None else len(log.open_lines)
    if log is not None and log.rows:
        columns = [
            Column(Text("Line", "清单项"), "text"), Column(Text("Decision", "决定"), "text"),
            Column(Text("By", "决定人"), "text"), Column(Text("When", "时间"), "text"),
            Column(Text("Note", "说明"), "text"),
        ]  # fmt: skip
        rows: list[list[Cell]] = [
            [numbers.clip(names[row.line], 90), _decision_cell(row), row.by, row.at, row.note] for row in log.rows
        ]
        parts.append(look.table(columns, rows))
    if num_open:
        is_one = num_open == 1
        parts.append(
            look.paragraph(
                look.verdict(
                    "warn",
                    Text(
                        f"{num_open} {'finding waits' if is_one else 'findings wait'} for a decision.",
                        f"还有 {num_open} 项问题等待决定。",
                    ),
                )
            )
        )
    else:
        parts.append(look.paragraph(look.verdict("good", Text("Every finding is decided.", "所有问题均已决定。"))))
    signs = (Text("Reviewed by", "审查人"), Text("Date", "日期"), Text("Signature", "签名"))
    parts.append('<div class="signatures">' + "".join(f"<p>{look.inline(words)}</p>" for words in signs) + "</div>")
    return [Section(Text("Decisions and sign-off", "决定与签署"), Html("".join(parts)), id="sign-off")]


def _decision_cell(row: Decision) -> Words | Html:
    if row.is_stale:
        return look.verdict(
            "warn", look.join(DECISION_NAMES[row.decision], Text(", on another version", "，针对其他版本"))
        )
    return DECISION_NAMES[row.decision]
