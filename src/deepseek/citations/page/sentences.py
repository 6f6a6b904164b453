"""One sentence of a page of citations: its status in a sign, a word and a line; its clauses with the quote marked."""

from __future__ import annotations

import math
from typing import Literal

from deepseek import look
from deepseek.citations.corpus.clause import UNDATED
from deepseek.citations.page.report import CitedDocument, QuoteContext
from deepseek.citations.support.results import Citation, CitedSentence
from deepseek.look import Html, Text, numbers

SEVERITY_BY_STATUS: dict[str, Literal["good", "warn", "bad"]] = {
    "supported": "good",
    "misattributed": "warn",
    "unsupported": "bad",
    "contradicted": "bad",
}
STATUS_NAMES = {
    "supported": Text("supported", "有依据"),
    "misattributed": Text("cites another article", "引错条文"),
    "unsupported": Text("unsupported", "无依据"),
    "contradicted": Text("contradicted", "与条文相反"),
}
_KIND_NAMES = {
    "quote": Text("repeats the clause", "原文引用"),
    "entailed": Text("says it in other words", "换言表述"),
    "nearest": Text("the nearest clause: it does not say this", "最接近的条款：并未这样规定"),
    "opposite": Text("says the opposite", "规定与此相反"),
}
SENTENCE_STYLE = (
    # A solid, a dashed and a double line: told apart in grey print, too.
    ".said{margin:20px 0;padding:2px 0 2px 16px;border-left:4px solid var(--good)}"
    ".said.good,.said.warn,.said.bad{color:inherit}"
    ".said.warn{border-left:4px dashed var(--warn)}.said.bad{border-left:6px double var(--bad)}"
    ".said>.verdict{font-size:14px;margin:0}.said>.words{margin:2px 0 4px;font-weight:600;white-space:pre-line}"
    ".cited{margin:10px 0 0}.cited>p{margin:0}"
    ".cited blockquote{margin:4px 0;padding:6px 12px;max-width:72ch;background:var(--wash);color:var(--soft);"
    "white-space:pre-wrap;overflow-wrap:anywhere}"
    ".cited mark{background:color-mix(in srgb,var(--accent) 16%,transparent);color:var(--ink);"
    "text-decoration:underline;text-decoration-color:var(--accent);text-underline-offset:3px;"
    "text-decoration-thickness:1.5px}"
    "@media print{.said{break-inside:avoid}.said>.verdict,.said>.words{break-after:avoid}"
    ".said>.note{break-before:avoid}.cited{break-inside:avoid}}"
)


def sentence_anchor(document: int, number: int) -> str:
    """The id of a sentence on its page, by the index of its document (from 0) and its number (from 1)."""
    return f"s{document + 1}-{number}"


def version_text(version: str) -> Text:
    """The version of a citation or a law."""
    return Text("undated", "未注明日期") if version == UNDATED else Text(version, version)


def sentence_block(document: CitedDocument, number: int, name: str) -> str:
    """The sentence of this number, why it is not simply supported, and its citations. `name`: its id on the page."""
    cited, sentence = document.cited, document.cited.sentences[number - 1]
    severity = SEVERITY_BY_STATUS[sentence.status]
    state = look.verdict(severity, STATUS_NAMES[sentence.status])
    reason = look.paragraph(Text(sentence.reason, sentence.reason_zh), note=True) if sentence.reason else ""
    citations = "".join(
        _citation_block(citation, document.context(citation), cited.threshold, cited.scorer)
        for citation in (sentence.citations or filter(None, [sentence.nearest]))
    )
    return (
        f'<div class="said {severity}" id="{look.escape(name)}">'
        f'<p class="verdict"><span class="soft">{number}</span> {state}</p>'
        f'<p class="words">{look.escape(sentence.text)}</p>{reason}{citations}{_fit_note(sentence)}</div>'
    )


def _citation_block(citation: Citation, context: QuoteContext, threshold: float | None, scorer: str) -> str:
    before, after = context.before, context.after
    if citation.quote_start > len(before):
        before = f"…{before}"
    if citation.quote_end + len(context.after) < context.clause_letters:
        after += "…"
    paragraph = Text(f"paragraph {citation.paragraph}", f"第 {citation.paragraph} 款")
    version = look.join(Text("version ", "版本 "), version_text(citation.version))
    where = [f"<b>{look.escape(citation.law)}</b>", look.escape(citation.article)]
    where += [look.inline(paragraph), look.inline(version)]
    quote = f"{look.escape(before)}<mark>{look.escape(citation.quote)}</mark>{look.escape(after)}"
    facts = [look.inline(_KIND_NAMES[citation.kind])]
    if citation.kind in ("nearest", "opposite"):
        share = numbers.number(100 * citation.score)
        facts.append(look.inline(Text(f"it has {share} % of what the sentence is about", f"涉及该句内容的 {share} %")))
    else:
        facts.insert(0, _support_text(citation.score, threshold, scorer))
    facts += _cause_text(citation)
    return (
        f'<div class="cited"><p>{" · ".join(where)}</p><blockquote>{quote}</blockquote>'
        f'<p class="note">{" · ".join(facts)}</p><p class="note"><code>{look.escape(citation.id)}</code></p></div>'
    )


def _support_text(score: float, threshold: float | None, scorer: str) -> Html:
    support, least = numbers.number(score), numbers.number(threshold)
    return look.inline(
        Text(
            f"support {support} by “{scorer}” (cited from {least} on)",
            f"支持度 {support}，评分器“{scorer}”（阈值 {least}）",
        )
    )


def _cause_text(citation: Citation) -> list[Html]:
    """Whether the clause made the sentence likelier, where a generator was asked."""
    if citation.cause is None:
        return []
    amount = numbers.signed_number(citation.cause)
    words = Text(f"did not cause the sentence: {amount} log-odds", f"未促成该句：对数几率 {amount}")
    if citation.caused:
        words = Text(f"caused the sentence: {amount} log-odds", f"促成该句：对数几率 {amount}")
    return [Html(f'<span class="option">{look.inline(words)}</span>')]


def _fit_note(sentence: CitedSentence) -> str:
    """How well the model of causes predicts the generator; nothing where that is not known."""
    if sentence.fit is None or not math.isfinite(sentence.fit) or not sentence.citations:
        return ""
    fit = numbers.number(sentence.fit)
    return look.paragraph(
        Text(
            f"The model of causes predicts the generator with a rank correlation of {fit} (1: exactly, 0: not at all).",
            f"成因模型对生成模型的预测：秩相关 {fit}（1 为完全一致，0 为无关）。",
        ),
        note=True,
    )
