"""The page of a draft: how much of it is backed, what needs a look, every sentence with its clause."""

from __future__ import annotations

from collections.abc import Mapping

from deepseek import look
from deepseek.look import Column, Html, Section, Text, Words
from deepseek.look.tables import Cell
from deepseek.recipes.judgment.checking import CheckedSentence
from deepseek.recipes.judgment.run import JudgmentDraft

STATUS_NAMES: dict[str, Text] = {
    "verbatim": Text("law, word for word", "法条原文"), "applied": Text("applies a quoted article", "适用所引条文"),
    "checked": Text("as in the facts", "与事实一致"), "plain": Text("nothing to check", "无需核对"),
    "reworded": Text("law in other words", "转述法条"), "not_verbatim": Text("not what the article says", "与条文不符"),
    "contradicted": Text("against the law", "与法律相反"), "unsupported": Text("no law says this", "无法律依据"),
    "unknown_article": Text("no such article", "无此条文"), "wrong_article": Text("another article", "条文有误"),
    "not_quoted": Text("applied, not quoted", "适用而未引用"),
    "wrong_amount": Text("amount not in the facts", "数额不符"),
    "wrong_day": Text("day not in the facts", "日期不符"), "wrong_name": Text("name not in the facts", "名称不符"),
    "open": Text("to be written", "待撰写"),
}  # fmt: skip
STYLE = (
    ".draft p{margin:0 0 10px;max-width:72ch}.draft mark{background:transparent;color:inherit;"
    "border-bottom:2px solid var(--bad)}.draft span.law{border-bottom:2px solid var(--accent)}"
    ".draft sup a{text-decoration:none}dl.clauses dd{margin:0 0 12px}dl.clauses dt{overflow-wrap:anywhere}"
)


def render_page(result: JudgmentDraft) -> str:
    """The page, as a file."""
    sections = []
    if result.checked.to_review:
        sections.append(Section(Text("Look at these", "需要查看"), _review_table(result), id="flagged"))
    sections += [
        Section(Text("The draft", "草稿"), _draft(result), id="draft"),
        Section(Text("Clauses cited", "引用条文"), _clauses(result), id="clauses"),
    ]
    return look.page(
        Text("Draft with its clauses", "草稿与条文依据"), _answer(result), sections, lead=_lead(),
        provenance=_provenance(result), style=STYLE,
    )  # fmt: skip


def _answer(result: JudgmentDraft) -> Text:
    law = result.checked.law
    verbatim, applied = (sum(each.status == status for each in law) for status in ("verbatim", "applied"))
    flagged, every = len(result.checked.to_review), len(result.checked.sentences)
    return Text(
        f"{verbatim} of {len(law)} sentences that state law repeat a clause in force on {result.law.day}, {applied} "
        f"apply one; {flagged} of {every} sentences need a look.",
        f"{len(law)} 句法律表述中，{verbatim} 句为 {result.law.day} 有效条文的原文，{applied} 句适用所引条文；"
        f"全部 {every} 句中 {flagged} 句需要查看。",
    )


def _lead() -> Text:
    return Text(
        "A draft for a person to check and sign: a sentence that its clause or the facts do not back is marked.",
        "草稿须由人核对并签署：没有条文或事实支持的句子均已标出。",
    )


def _review_table(result: JudgmentDraft) -> Html:
    rows: list[list[Cell]] = [
        [
            look.verdict("warn" if each.status in ("open", "reworded") else "bad", STATUS_NAMES[each.status]),
            each.text,
            each.reason,
        ]
        for each in result.checked.to_review
    ]
    columns = [
        Column(Text("What", "问题"), "text"),
        Column(Text("Sentence", "句子"), "text"),
        Column(Text("Why", "原因"), "text"),
    ]
    return look.table(columns, rows)


def _draft(result: JudgmentDraft) -> Html:
    numbers = {name: place for place, name in enumerate(result.cited_clauses(), 1)}
    parts, start = [], 0
    for line in result.checked.text.split("\n"):
        end = start + len(line)
        level = len(line) - len(line.lstrip("#"))
        if level and line[level : level + 1] == " ":
            parts.append(f"<h3>{look.escape(line[level:].strip())}</h3>")
        elif line.strip():
            parts.append(f"<p>{_line_html(result, start, end, numbers)}</p>")
        start = end + 1
    return Html(f'<div class="draft">{"".join(parts)}</div>')


def _line_html(result: JudgmentDraft, start: int, end: int, numbers: Mapping[str, int]) -> str:
    text, parts, place = result.checked.text, [], start
    for sentence in result.checked.sentences:
        if sentence.end <= start or sentence.start >= end:
            continue
        first, last = max(sentence.start, start), min(sentence.end, end)
        parts.append(look.escape(text[place:first]))
        parts.append(_sentence_html(sentence, text[first:last]))
        if last == sentence.end:
            parts += [
                f'<sup><a href="#clause{numbers[name]}">[{numbers[name]}]</a></sup>'
                for name in dict.fromkeys(each.id for each in sentence.citations) if name in numbers
            ]  # fmt: skip
        place = last
    return "".join([*parts, look.escape(text[place:end])])


def _sentence_html(sentence: CheckedSentence, words: str) -> str:
    if sentence.is_flagged:
        return f"<mark>{look.escape(words)}</mark>"
    return f'<span class="law">{look.escape(words)}</span>' if sentence.states_law else look.escape(words)


def _clauses(result: JudgmentDraft) -> Html:
    parts = []
    for number, name in enumerate(result.cited_clauses(), 1):
        clause = result.law.corpus[name]
        since = result.law.since(clause)
        state = (
            Text(f"in force since {since}", f"自 {since} 起施行") if since else Text("undated version", "版本日期不详")
        )
        where = f"[{number}] {clause.law}, {clause.article}"
        parts.append(
            f'<dt id="clause{number}"><strong>{look.escape(where)}</strong> · {look.inline(state)}</dt>'
            f"<dd>{look.escape(clause.text)}<br><small>{look.escape(name)}</small></dd>"
        )
    return Html(f'<dl class="clauses">{"".join(parts)}</dl>')


def _provenance(result: JudgmentDraft) -> Mapping[Words, Words | Html]:
    each = result.provenance
    rows: dict[Words, Words | Html] = {
        Text("Day of the facts", "事实发生日"): result.law.day, Text("Facts", "事实"): f"sha256 {each.facts_sha256}",
        Text("Laws in force", "有效法律"): f"sha256 {each.corpus_digest}", Text("Made", "生成时间"): each.date,
    }  # fmt: skip
    if each.template:
        rows[Text("Template", "模板")] = f"{each.template}, sha256 {each.template_sha256}"
    if each.command:
        rows[Text("Made by", "生成命令")] = look.command(each.command)
    return rows
