"""A reviewed document as one offline page: findings first, each with its clause word for word, then what to read.

    write_page(Path("findings.html"), dossier)

Order: how many lines are findings, all lines in a table, the findings with their clauses, what changed since another
version, the reading list, who decided what with places to sign, how to read it, where it comes from. The page stays
below 2 MB: of a list that is too long the riskiest are shown, and the rest is said to be in the JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepseek import look
from deepseek.citations.review.dossier import ReviewDossier, read_share
from deepseek.citations.review.findings import Evidence, Finding, ReadingItem
from deepseek.citations.review.page_parts import (
    RISK_NAMES,
    STYLE,
    decision_sections,
    percent,
    verdict_cell,
    version_sections,
    where_text,
)
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell

MAX_READ_ITEMS, MAX_FINDINGS, MAX_LISTED = 60, 300, 40
MAX_QUOTE_CHARS = 1500


def write_page(path: Path | None, dossier: ReviewDossier) -> str:
    """The page, written to `path` (None: only returned)."""
    html = render_page(dossier)
    if path is not None:
        with atomic_file(path) as part:
            part.write_text(html, encoding="utf-8")
    return html


def render_page(dossier: ReviewDossier) -> str:
    """The page as HTML."""
    report = dossier.report
    title = look.join(Text("Review", "审查"), Text(": ", "："), report.document.source)
    sections = [
        Section(Text("All lines", "清单结果"), _line_table(report.findings), id="lines"),
        *_finding_sections(dossier),
        *version_sections(dossier),
        Section(Text("What to read first", "优先阅读"), _reading(dossier), id="reading"),
        *_document_sections(dossier),
        *decision_sections(dossier),
        Section(Text("How to read this", "如何阅读"), _method(dossier), id="how", folded=True),
    ]
    return look.page(
        title, _headline(dossier), sections, lead=_lead(dossier), provenance=_provenance(dossier), style=STYLE
    )


def _headline(dossier: ReviewDossier) -> Text:
    report = dossier.report
    num, every = len(report.open_findings), len(report.findings)
    broken = sum(finding.verdict == "breaks" for finding in report.findings)
    missing = report.num_missing
    if not num:
        return Text(f"All {every} lines of the checklist are met.", f"清单的 {every} 项全部满足。")
    are = "is a finding" if num == 1 else "are findings"
    return Text(
        f"{num} of {every} lines {are}: {broken} broken, {missing} missing.",
        f"{every} 项中有 {num} 项存在问题：{broken} 项违反，{missing} 项缺失。",
    )


def _lead(dossier: ReviewDossier) -> Words:
    report = dossier.report
    num, share = read_share(report)
    every, name = len(report.document.clauses), report.checklist.name
    return Text(
        f"By the checklist “{name}”. {num} of {every} clauses ({percent(share)} of the text) speak of a line.",
        f"按清单“{name}”审查。{every} 条条款中有 {num} 条涉及清单（占全文 {percent(share)}）。",
    )


def _line_table(findings: Sequence[Finding]) -> Html:
    columns = [
        Column(Text("Line", "清单项"), "text"), Column(Text("Verdict", "结论"), "text"),
        Column(Text("Sure", "把握")), Column(Text("Risk", "风险"), "text"), Column(Text("Where", "位置"), "text"),
    ]  # fmt: skip
    ordered = sorted(findings, key=lambda each: (not each.is_finding, -each.risk))
    rows: list[list[Cell]] = []
    for finding in ordered[:MAX_FINDINGS]:
        name = numbers.clip(finding.line.name, 90)
        link = f'<a href="#{_anchor(finding)}">{look.escape(name)}</a>' if finding.needs_a_look else look.escape(name)
        place = finding.evidence[0] if finding.verdict != "not there" and finding.evidence else None
        rows.append(
            [Html(link), verdict_cell(finding), percent(finding.probability), RISK_NAMES[finding.line.risk],
             "" if place is None else where_text(place)]
        )  # fmt: skip
    caption: Words = ""
    if len(ordered) > len(rows):
        caption = Text(f"The riskiest {len(rows)} of {len(ordered)}; all are in the JSON.",
                       f"共 {len(ordered)} 项，此处列出风险最高的 {len(rows)} 项；JSON 中有全部。")  # fmt: skip
    return look.table(columns, rows, caption=caption)


def _finding_sections(dossier: ReviewDossier) -> list[Section]:
    report = dossier.report
    parts = []
    for title, name, chosen in (
        (Text("Findings", "问题"), "findings", report.open_findings),
        (
            Text("Met, but a person should look", "满足，但需人工确认"), "unsure",
            tuple(each for each in report.findings if each.needs_a_look and not each.is_finding),
        ),
    ):  # fmt: skip
        blocks = [_finding_block(each) for each in chosen[:MAX_FINDINGS]]
        if blocks:
            parts.append(Section(title, Html("".join(blocks)), id=name))
    return parts


def _finding_block(finding: Finding) -> Html:
    """Verdict, the line, what is shown for it."""
    kind = "bad" if finding.is_finding else "warn"
    facts = [
        look.inline(verdict_cell(finding)), look.inline(RISK_NAMES[finding.line.risk]),
        look.inline(Text(f"{percent(finding.probability)} sure", f"把握 {percent(finding.probability)}")),
    ]  # fmt: skip
    parts = [
        f'<div class="said {kind}" id="{_anchor(finding)}">',
        f'<p class="verdict">{" · ".join(facts)}</p>',
        f'<p class="words">{look.escape(finding.line.name)}</p>',
    ]
    if finding.line.title:
        parts.append(look.paragraph(_demand(finding)))
    parts += [look.paragraph(reason, note=True) for reason in _reasons(finding)]
    parts += [_evidence_block(each) for each in finding.evidence]
    parts += [
        look.paragraph(look.join(_ORIGIN_NAMES[name], Text(": ", "："), value), note=True)
        for name, value in finding.line.origin
    ]
    return Html("".join(parts) + "</div>")


_ORIGIN_NAMES = {
    "source": Text("Source", "来源"), "quote": Text("Word for word", "原文"), "evidence": Text("Evidence", "证据"),
    "kind": Text("Kind", "类别"), "subject": Text("Subject", "主体"), "condition": Text("Condition", "条件"),
    "note": Text("Note", "备注"), "deadline": Text("Deadline", "期限"),
}  # fmt: skip


def _demand(finding: Finding) -> Words:
    """What the line asks for."""
    text = finding.line.text
    if finding.line.expect == "present":
        return look.join(Text("Should be there: ", "应当写明："), text)
    return look.join(Text("Should not be there: ", "不应出现："), text)


def _reasons(finding: Finding) -> list[Text]:
    reasons = []
    if finding.verdict == "not there" and finding.is_finding:
        reasons.append(
            Text("No clause says this or the opposite. The nearest one is shown; it is no evidence.",
                 "没有条款写明这一点，也没有相反规定。下方仅为最接近的条款，不是依据。")
        )  # fmt: skip
    if finding.basis == "retrieval":
        reasons.append(
            Text("Nobody trained this line: it was looked for by its words, which is weaker. Read the clause.",
                 "此项未经训练，仅按文字检索，结论较弱，请阅读原文。")
        )  # fmt: skip
    elif finding.probability < 0.75:
        reasons.append(Text("The model is unsure: a person should decide.", "模型把握不足，应由人工判断。"))
    return reasons


def _evidence_block(evidence: Evidence) -> str:
    words = evidence.quote if len(evidence.quote) <= MAX_QUOTE_CHARS else evidence.quote[:MAX_QUOTE_CHARS] + "…"
    where = look.inline(where_text(evidence))
    near = Text("nearest clause, no evidence", "最接近的条款，不是依据")
    sure = Text(f"evidence: {percent(evidence.probability)}", f"为依据的可能性 {percent(evidence.probability)}")
    return (
        f'<div class="cited"><p>{where}</p><blockquote>{look.escape(words)}</blockquote>'
        f'<p class="note">{look.inline(near if evidence.is_nearest else sure)}</p></div>'
    )


def _reading(dossier: ReviewDossier) -> Html:
    report = dossier.report
    names = {line.id: line.name for line in report.checklist.lines}
    items = [item for item in report.reading if item.lines] or list(report.reading[:5])
    columns = [
        Column(Text("Clause", "条款"), "text"), Column(Text("Risk", "风险")), Column(Text("Speaks of", "涉及"), "text")
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for item in items[:MAX_READ_ITEMS]:
        spoken = "; ".join(numbers.clip(names[line], 60) for line in item.lines)
        rows.append([_reading_cell(item), f"{item.risk:.2f}", spoken])
    num, share = read_share(report)
    caption: Words = Text(
        f"{num} of {len(report.reading)} clauses, {percent(share)} of the text; risk is the probability that a clause "
        "is evidence of a line, times that of the line not to be met, times 3, 2 or 1 for a high, medium or low risk.",
        f"{len(report.reading)} 条中的 {num} 条，占全文 {percent(share)}；"
        "风险为条款作为依据的概率乘以该项不满足的概率，再乘以风险等级（高 3、中 2、低 1）。",
    )
    if len(items) > len(rows):
        caption = look.join(caption, Text(f" The first {len(rows)} are shown.", f"此处列出前 {len(rows)} 条。"))
    return look.table(columns, rows, caption=caption)


def _reading_cell(item: ReadingItem) -> Html:
    head = " ".join(part for part in (item.number, item.heading) if part)
    page = look.inline(Text(f"page {item.page}", f"第 {item.page} 页")) if item.page else ""
    place = " · ".join(part for part in (look.escape(head), page) if part)
    lead = f"<b>{place}</b><br>" if place else ""
    return Html(f"{lead}{look.escape(numbers.clip(item.text, 160))}")


def _document_sections(dossier: ReviewDossier) -> list[Section]:
    """What is odd in the document itself: references that lead nowhere; its definitions."""
    document, parts = dossier.report.document, []
    if document.notes:
        notes: list[Words | Html] = [
            Html(f'<span class="sign warn">!</span> {look.escape(note)}') for note in document.notes
        ]
        parts.append(Section(Text("Not read", "未读取"), look.bullet_list(notes, plain=True), id="unread"))
    broken = dossier.references()
    if broken:
        places: dict[str, list[str]] = {}
        for each in broken:
            clause = document.clauses[each.clause]
            places.setdefault(each.text, []).append(clause.number or clause.parent or clause.heading)
        lines: list[Words | Html] = []
        for name, numbered in list(places.items())[:MAX_LISTED]:
            where = ", ".join(dict.fromkeys(filter(None, numbered)))
            shown = f"{name} ({where})" if where else name
            lines.append(Html(f'<span class="sign warn">!</span> {look.escape(shown)}'))
        note = Text("Clauses that are named and are not in the document.", "文中引用但不存在的条款。")
        body = Html(look.paragraph(note, note=True) + look.bullet_list(lines, plain=True))
        parts.append(Section(Text("References that lead nowhere", "无法对应的引用"), body, id="references"))
    terms = dossier.definitions()
    if terms:
        rows: list[list[Cell]] = [
            [each.term, numbers.clip(document.clauses[each.clause].text, 160)] for each in terms[:MAX_LISTED]
        ]
        columns = [Column(Text("Term", "术语"), "text"), Column(Text("Clause", "条款"), "text")]
        parts.append(Section(Text("Defined terms", "定义"), look.table(columns, rows), id="terms", folded=True))
    return parts


def _method(dossier: ReviewDossier) -> Html:
    lines: list[Words | Html] = [
        look.verdict("good", Text("holds: the document says what it should, or does not say what it should not",
                                  "符合：文件写明了应写明的内容")),
        look.verdict("bad", Text("breaks: it says the opposite of what it should, or what it should not",
                                 "违反：文件作出相反规定，或写有不应出现的内容")),
        look.verdict("warn", Text("not there: no clause speaks of it; a finding where it should be there",
                                  "未提及：没有条款涉及；应当写明而未写明的即为问题")),
    ]  # fmt: skip
    notes = Text(
        f"Judged by {dossier.report.judge}. A probability is what such answers were worth on documents that the model "
        "had not seen. Quotes stand in the document word for word. This page helps a reader, and does not decide.",
        f"由 {dossier.report.judge} 判断。概率来自模型未见过的文件上的表现。"
        "引文逐字出自文件。本页供人参考，不代替人作出决定。",
    )
    return Html(look.bullet_list(lines, plain=True) + look.paragraph(notes, note=True))


def _provenance(dossier: ReviewDossier) -> dict[Words, Words | Html]:
    provenance, report = dossier.provenance, dossier.report
    rows: dict[Words, Words | Html] = {
        Text("Document", "文件"): report.document.source, Text("sha256", "sha256"): report.sha256,
        Text("Checklist", "清单"): f"{report.checklist.name} ({len(report.checklist.lines)})",
        Text("Bundle", "模型包"): provenance.bundle, Text("Digest", "摘要"): provenance.digest,
        Text("Judged by", "判断依据"): provenance.judge, Text("Date", "日期"): provenance.date,
        Text("Versions", "版本"): ", ".join(f"{name} {version}" for name, version in provenance.versions),
    }  # fmt: skip
    if provenance.command:
        rows[Text("Page made by", "本页生成命令")] = look.command(provenance.command)
    return rows


def _anchor(finding: Finding) -> str:
    return f"line-{look.escape(finding.line.id)}"
