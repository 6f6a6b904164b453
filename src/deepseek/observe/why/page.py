"""The HTML page of causes: the answer, each cause with its evidence, its action and rows to look at, and how it was
found."""

from __future__ import annotations

from collections.abc import Mapping

from deepseek import look
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell
from deepseek.observe.why.causes import FALSE_DISCOVERY_SHARE, Cause
from deepseek.observe.why.examples import ExampleRows
from deepseek.observe.why.report import WhyReport
from deepseek.observe.why.windows import moment_text
from deepseek.observe.why.words import (
    action_words,
    bad_words,
    beginning_words,
    cause_title,
    evidence_words,
)

MOST_OPEN = 3  # causes that stand open


def render_page(report: WhyReport, name: str) -> str:
    """The page; `name` is that of the logs."""
    causes = report.findings.causes
    sections = [
        Section(_title(rank, cause), _cause_body(cause, examples), folded=rank > MOST_OPEN, id=f"cause-{rank}")
        for rank, (cause, examples) in enumerate(zip(causes, report.examples, strict=True), start=1)
    ]
    if not causes:
        none = look.empty_state(
            Text("No cause stands out.", "没有突出的原因。"),
            Text(
                "No slice of the requests is worse than its own past, beyond what chance finds among so many.",
                "没有任何请求子集比自身的过去更差，且超出偶然所能解释的程度。",
            ),
            Text(
                "Ask about another window (--since, --until), or say what you call bad (--bad).",
                "换一个窗口（--since、--until），或用 --bad 说明何为坏。",
            ),
        )
        sections = [Section(Text("Causes", "原因"), none, id="causes")]
    else:
        sections.insert(0, Section(Text("How much each explains", "各自解释多少"), _overview(report), id="overview"))
    if report.notes:
        sections.append(Section(Text("The log itself", "日志本身"), look.bullet_list(list(report.notes)), id="notes"))
    return look.page(
        Text("Why answers went bad", "回答为何变坏"), report.answer, sections, lead=_lead(report),
        provenance=_provenance(report, name),
    )  # fmt: skip


def _lead(report: WhyReport) -> Text:
    findings = report.findings
    looked, share = numbers.count(findings.num_slices), f"{100 * FALSE_DISCOVERY_SHARE:g}"
    return Text(
        f"{looked} slices of the requests were held against their own past. Of what is listed at most {share} % is "
        "expected to be chance.",
        f"将 {looked} 个请求子集与各自的过去比较。所列结果中预计至多 {share} % 出于偶然。",
    )


def _title(rank: int, cause: Cause) -> Text:
    title = cause_title(cause)
    echo = Text(f" (the same rows as cause {cause.echo_of})", f"（与原因 {cause.echo_of} 为同一批行）")
    more = echo if cause.echo_of is not None else Text("", "")
    return Text(f"Cause {rank}: {title.en}{more.en}", f"原因 {rank}：{title.zh}{more.zh}")


def _overview(report: WhyReport) -> Html:
    causes = report.findings.causes
    columns = [
        Column(Text("Cause", "原因"), "text"), Column(Text("Bad is", "何为坏"), "text"),
        Column(Text("Bad rows", "坏行")), Column(Text("Rows", "行")), Column(Text("Expected bad", "预期坏行")),
        Column(Text("Score (nats)", "得分（nat）")),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            cause_title(cause), bad_words(cause.evidence[0]), round(cause.evidence[0].num_bad),
            round(cause.evidence[0].num_rows), max(0.0, cause.evidence[0].num_bad - cause.evidence[0].excess),
            cause.score,
        ]
        for cause in causes
    ]  # fmt: skip
    return look.table(columns, rows, data=report.to_dict())


def _cause_body(cause: Cause, examples: ExampleRows) -> Html:
    lines: list[Words | Html] = [evidence_words(each) for each in cause.evidence[:4]]
    if (began := beginning_words(cause)) is not None:
        lines.append(began)
    action = look.verdict("warn", action_words(cause))
    body = look.bullet_list(lines) + look.paragraph(action)
    if examples.rows:
        columns = [Column(name.removeprefix("input."), "text") for name in examples.columns]
        rows: list[list[Cell]] = [[*row] for row in examples.rows]
        body += look.table(columns, rows, caption=Text("Rows to look at, the last ones", "可供查看的行（最近的）"))
    return Html(body)


def _provenance(report: WhyReport, name: str) -> Mapping[Words, Words | Html]:
    window = report.findings.window
    return {
        Text("Logs", "日志"): name,
        Text("Window", "窗口"): f"{moment_text(window.start_s)} – {moment_text(window.end_s)}",
        Text("Its rows", "窗口行数"): numbers.count(window.num_rows),
        Text("Past since", "过去始于"): moment_text(window.past_start_s),
        Text("Rows of the past", "过去行数"): numbers.count(window.num_past),
    }
