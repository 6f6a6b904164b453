"""One sentence of a page of citations: its status in a sign, a word and a line; its clauses with the quote marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from deepseek import look
from deepseek.citations.corpus.clause import UNDATED
from deepseek.look import Html, Text, numbers

SEVERITY_BY_STATUS: dict[str, Literal["good", "warn", "bad"]] = {
    "supported": "good",
    "misattributed": "warn",
    "unsupported": "bad",
}
STATUS_NAMES = {
    "supported": Text("supported", "有依据"),
    "misattributed": Text("cites another article", "引错条文"),
    "unsupported": Text("unsupported", "无依据"),
}
_KIND_NAMES = {
    "quote": Text("repeats the clause", "原文引用"),
    "entailed": Text("says it in other words", "换言表述"),
}
STYLE = (
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


def sentence_anchor(place: int, sentence: Mapping[str, Any]) -> str:
    """The id of a sentence on its page. `place` is that of its text, from 0."""
    return f"s{place + 1}-{sentence['number']}"


def version_text(one: Mapping[str, Any]) -> Text:
    """The version of a citation or a law."""
    version = one["version"]
    return Text("undated", "未注明日期") if version == UNDATED else Text(version, version)


def sentence_block(sentence: Mapping[str, Any], name: str, threshold: float | None, scorer: str) -> str:
    """The sentence, why it is not simply supported, and its citations."""
    kind = SEVERITY_BY_STATUS[sentence["status"]]
    state = look.verdict(kind, STATUS_NAMES[sentence["status"]])
    why = look.paragraph(Text(sentence["reason"], sentence["reason_zh"]), note=True) if sentence["reason"] else ""
    cited = "".join(_citation_block(citation, threshold, scorer) for citation in sentence["citations"])
    return (
        f'<div class="said {kind}" id="{look.escape(name)}">'
        f'<p class="verdict"><span class="soft">{sentence["number"]}</span> {state}</p>'
        f'<p class="words">{look.escape(sentence["text"])}</p>{why}{cited}{_fit_note(sentence)}</div>'
    )


def _citation_block(citation: Mapping[str, Any], threshold: float | None, scorer: str) -> str:
    before, after = citation["before"], citation["after"]
    if citation["quote_start"] > len(before):
        before = f"…{before}"
    if citation["quote_end"] + len(citation["after"]) < citation["clause_letters"]:
        after += "…"
    paragraph = Text(f"paragraph {citation['paragraph']}", f"第 {citation['paragraph']} 款")
    where = [f"<b>{look.escape(citation['law'])}</b>", look.escape(citation["article"])]
    where += [look.inline(paragraph), look.inline(look.join(Text("version ", "版本 "), version_text(citation)))]
    quote = f"{look.escape(before)}<mark>{look.escape(citation['quote'])}</mark>{look.escape(after)}"
    facts = [
        _support_text(citation, threshold, scorer),
        look.inline(_KIND_NAMES[citation["kind"]]),
        *_cause_text(citation),
    ]
    return (
        f'<div class="cited"><p>{" · ".join(where)}</p><blockquote>{quote}</blockquote>'
        f'<p class="note">{" · ".join(facts)}</p><p class="note"><code>{look.escape(citation["id"])}</code></p></div>'
    )


def _support_text(citation: Mapping[str, Any], threshold: float | None, scorer: str) -> Html:
    score, least = numbers.number(citation["score"]), numbers.number(threshold)
    return look.inline(
        Text(
            f"support {score} by “{scorer}” (cited from {least} on)",
            f"支持度 {score}，评分器“{scorer}”（阈值 {least}）",
        )
    )


def _cause_text(citation: Mapping[str, Any]) -> list[Html]:
    """Whether the clause made the sentence likelier, where a generator was asked."""
    if citation["cause"] is None:
        return []
    amount = numbers.signed_number(citation["cause"])
    words = Text(f"did not cause the sentence: {amount} log-odds", f"未促成该句：对数几率 {amount}")
    if citation["caused"]:
        words = Text(f"caused the sentence: {amount} log-odds", f"促成该句：对数几率 {amount}")
    return [Html(f'<span class="option">{look.inline(words)}</span>')]


def _fit_note(sentence: Mapping[str, Any]) -> str:
    if sentence["fit"] is None or not sentence["citations"]:
        return ""
    fit = numbers.number(sentence["fit"])
    return look.paragraph(
        Text(
            f"The model of causes predicts the generator with a rank correlation of {fit} (1: exactly, 0: not at all).",
            f"成因模型对生成模型的预测：秩相关 {fit}（1 为完全一致，0 为无关）。",
        ),
        note=True,
    )
