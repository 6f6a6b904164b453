"""The citations of a text, or of several, as one offline page that can be printed, signed and kept.

    write_page(Path("report.html"), cite_drafts(...))

Order: how many sentences hold and by which laws, what needs a look, every sentence with its clauses
(sentences.py), how it was judged, a place for a signature in print, where it comes from. A page stays below 2 MB:
sentences that need a look come in before supported ones, and what is left out is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from deepseek import look
from deepseek.citations.page import sentences as page_sentences
from deepseek.citations.page.sentences import SEVERITY_BY_STATUS, STATUS_NAMES, sentence_anchor, version_text
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, numbers

MAX_SENTENCE_BYTES = 1_600_000  # of the sentences
_NUM_REVIEWED, _NUM_FILES, _NUM_LAWS = 200, 500, 50  # lines of a list
_SIGN_OFF = (Text("Checked by", "审核人"), Text("Date", "日期"), Text("Signature", "签名"))
_COLON = Text(": ", "：")
STYLE = page_sentences.STYLE + (
    "#sign-off{display:none}@media print{#sign-off{display:block;break-inside:avoid}}"
    "#sign-off dl{display:grid;grid-template-columns:repeat(3,1fr);gap:24px;margin:48px 0 0}"
    "#sign-off dt{border-top:1px solid var(--ink);padding-top:4px;font-size:10pt;color:var(--soft)}"
)


def write_page(path: str | Path | None, done: Mapping[str, Any]) -> str:
    """The page of cite_drafts(), written to `path` (None: only returned)."""
    html = _render_page(done)
    if path is not None:
        with atomic_file(Path(path)) as part:
            part.write_text(html, encoding="utf-8")
    return html


def _render_page(done: Mapping[str, Any]) -> str:
    many = done["kind"] == "batch"
    documents = done["documents"] if many else [done]
    title: Words = Text("Citation report", "引用核对报告")
    name = f"{numbers.count(done['num_documents'])}" if many else done["name"]
    if many:
        title = look.join(title, Text(f": {name} texts", f"：{name} 份文本"))
    elif name:
        title = look.join(title, _COLON, name)
    shown, dropped = _select_sentences(documents, done["threshold"], done["scorer"])
    sections = [_summary_section(done, documents, many), *_review_section(documents)]
    for place, document in enumerate(documents):
        body = Html("".join([*_problem_note(document), *shown[place], *_omission_note(dropped[place])]))
        heading: Words = Text("Every sentence", "逐句核对")
        if many:
            heading = look.join(document["name"], _COLON, _support_count(document))
        sections.append(Section(heading, body, folded=many, id=f"text{place + 1}"))
    sections += [_method_section(done), Section(Text("Sign-off", "签署"), _sign_off(), id="sign-off")]
    return look.page(
        title, _headline(done), sections, provenance=_provenance_rows(done, many), lead=_lead(done), style=STYLE
    )


def _headline(done: Mapping[str, Any]) -> Text:
    """How many of the sentences hold."""
    every, good = numbers.count(done["num_sentences"]), numbers.count(done["num_supported"])
    other, none = done["num_misattributed"], done["num_unsupported"]
    en, zh = [], []
    if other:
        en.append(f"{numbers.count(other)} cite{'s' if other == 1 else ''} another article than the one that says it")
        zh.append(f"{numbers.count(other)} 句写出的条文并非实际规定它的条文")
    if none:
        en.append(f"{numbers.count(none)} {'is' if none == 1 else 'are'} not supported")
        zh.append(f"{numbers.count(none)} 句没有条款支持")
    sentences = "sentence" if done["num_sentences"] == 1 else "sentences"
    rest, rest_zh = "; ".join(en), "；".join(zh)
    are = "is" if done["num_supported"] == 1 else "are"
    return Text(
        f"{good} of {every} {sentences} {are} supported by the corpus{f'; {rest}' if en else ''}.",
        f"{every} 句中有 {good} 句得到语料支持{f'；{rest_zh}' if zh else ''}。",
    )


def _lead(done: Mapping[str, Any]) -> Words:
    num = len(done["laws"])
    if not num:
        return Text("No law of the corpus was cited.", "没有引用语料中的任何法律。")
    first = done["laws"][:3]
    more = num - len(first)
    en, zh = ([f"{law['law']} ({version_text(law)[tongue]})" for law in first] for tongue in (0, 1))
    return Text(
        f"Laws cited: {', '.join(en)}{f' and {more} more' if more else ''}.",
        f"引用的法律：{'、'.join(zh)}{f'，另有 {more} 部' if more else ''}。",
    )


def _support_count(document: Mapping[str, Any]) -> Text:
    """The counts of one text, in its heading."""
    good, every = numbers.count(document["num_supported"]), numbers.count(document["num_sentences"])
    return Text(f"{good} of {every} supported", f"{every} 句中 {good} 句得到支持")


def _summary_section(done: Mapping[str, Any], documents: Sequence[Mapping[str, Any]], many: bool) -> Section:
    statuses = [
        [
            look.verdict(SEVERITY_BY_STATUS[status], STATUS_NAMES[status]),
            done[f"num_{status}"],
            _share(done[f"num_{status}"], done),
        ]
        for status in SEVERITY_BY_STATUS
    ]
    columns = [
        Column(Text("Status", "状态"), "text"),
        Column(Text("Sentences", "句数")),
        Column(Text("Share of all", "占全部")),
    ]
    parts = [look.table(columns, statuses)]
    if many:
        parts += [*_file_table(documents), *_skipped_table(done["skipped"]), _most_cited_table(done["most_cited"])]
    parts.append(_law_table(done["laws"]))
    return Section(Text("Summary", "概要"), Html("".join(parts)), id="summary")


def _share(num: int, done: Mapping[str, Any]) -> str:
    return f"{numbers.number(100 * num / done['num_sentences'])} %"


def _file_table(documents: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    columns = [Column(Text("Text", "文本"), "text"), Column(Text("Sentences", "句数"))]
    columns += [Column(STATUS_NAMES[status]) for status in SEVERITY_BY_STATUS]
    rows = [
        [Html(f'<a href="#text{place}">{look.escape(document["name"])}</a>'), document["num_sentences"]]
        + [document[f"num_{status}"] for status in SEVERITY_BY_STATUS]
        for place, document in enumerate(documents[:_NUM_FILES], 1)
    ]
    yield look.table(columns, rows, caption=_truncated_caption(len(rows), len(documents), Text("Each text", "各文本")))


def _skipped_table(skipped: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    if skipped:
        columns = [Column(Text("Left out", "未检查的文件"), "text"), Column(Text("Why", "原因"), "text")]
        rows = [[each["name"], each["problem"]] for each in skipped[:_NUM_FILES]]
        yield look.table(
            columns, rows, caption=_truncated_caption(len(rows), len(skipped), Text("Not checked", "未检查"))
        )


def _most_cited_table(articles: Sequence[Mapping[str, Any]]) -> Html:
    columns = [
        Column(Text("Most cited article", "引用最多的条文"), "text"),
        Column(Text("Version", "版本"), "text"),
        Column(Text("Sentences", "句数")),
        Column(Text("Texts", "文本数")),
    ]
    rows = [
        [f"{one['law']} {one['article']}", _version_cell(one), one["num_sentences"], one["num_documents"]]
        for one in articles
    ]
    return look.table(columns, rows) if rows else Html("")


def _law_table(laws: Sequence[Mapping[str, Any]]) -> Html:
    if not laws:
        return Html("")
    columns = [
        Column(Text("Law", "法律"), "text"),
        Column(Text("Version", "版本"), "text"),
        Column(Text("Sentences", "句数")),
        Column(Text("Articles", "条数")),
    ]
    rows = [[law["law"], _version_cell(law), law["num_sentences"], law["num_articles"]] for law in laws[:_NUM_LAWS]]
    return look.table(columns, rows, caption=_truncated_caption(len(rows), len(laws), Text("Laws used", "使用的法律")))


def _version_cell(one: Mapping[str, Any]) -> Html:
    return Html(f'<span class="option">{look.inline(version_text(one))}</span>')


def _truncated_caption(shown: int, num: int, words: Text) -> Words:
    if shown == num:
        return words
    return look.join(words, Text(f": the first {shown} of {num}", f"：前 {shown} 项，共 {num} 项"))


def _review_section(documents: Sequence[Mapping[str, Any]]) -> list[Section]:
    """What a person has to look at, with links."""
    lines = []
    for place, document in enumerate(documents):
        for sentence in document["sentences"]:
            if sentence["status"] == "supported":
                continue
            where: Words = Text(f"Sentence {sentence['number']}", f"第 {sentence['number']} 句")
            if len(documents) > 1:
                where = look.join(
                    document["name"], Text(", sentence ", "，第 "), str(sentence["number"]), Text("", " 句")
                )
            link = f'<a href="#{sentence_anchor(place, sentence)}">{look.inline(where)}</a>'
            said = look.inline(numbers.clip(" ".join(sentence["text"].split()), 80))
            sign = {"warn": "!", "bad": "✕"}[SEVERITY_BY_STATUS[sentence["status"]]]
            why = look.inline(Text(sentence["reason"], sentence["reason_zh"]))
            lines.append(
                Html(
                    f'<span class="sign {SEVERITY_BY_STATUS[sentence["status"]]}">{sign}</span> {link}: {said} '
                    f'<span class="soft">({why})</span>'
                )
            )
    if not lines:
        return []
    body = look.bullet_list(lines[:_NUM_REVIEWED], plain=True)
    if len(lines) > _NUM_REVIEWED:
        more = numbers.count(len(lines) - _NUM_REVIEWED)
        body = Html(body + look.paragraph(Text(f"… and {more} more.", f"……另有 {more} 句。"), note=True))
    return [Section(Text("What needs a look", "需要人工查看"), body, id="review")]


def _select_sentences(
    documents: Sequence[Mapping[str, Any]], threshold: float | None, scorer: str
) -> tuple[list[list[Html]], list[list[int]]]:
    """Of each text the sentences that the page has room for, in their order, and the numbers of those it has not."""
    every = [(place, sentence) for place, document in enumerate(documents) for sentence in document["sentences"]]
    first = (pair for pair in every if pair[1]["status"] != "supported")
    then = (pair for pair in every if pair[1]["status"] == "supported")
    kept: list[dict[int, Html]] = [{} for _ in documents]
    dropped: list[list[int]] = [[] for _ in documents]
    used = 0
    for place, sentence in chain(first, then):
        made = page_sentences.sentence_block(sentence, sentence_anchor(place, sentence), threshold, scorer)
        size = len(made.encode("utf-8"))
        if used + size <= MAX_SENTENCE_BYTES:
            kept[place][sentence["number"]] = Html(made)
            used += size
        else:
            dropped[place].append(sentence["number"])
    return [[each[number] for number in sorted(each)] for each in kept], [sorted(each) for each in dropped]


def _omission_note(dropped: Sequence[int]) -> list[Html]:
    if not dropped:
        return []
    num = numbers.count(len(dropped))
    return [
        look.empty_state(
            Text(f"{num} sentences are not on this page, for which it has no room.", f"本页放不下其余 {num} 句。"),
            Text(
                f"The first of them is sentence {dropped[0]}; sentences that need a look come in first.",
                f"其中第一句为第 {dropped[0]} 句；需要查看的句子优先列出。",
            ),
            Text("The JSON file (--json-file) has all of them.", "JSON 文件（--json-file）包含全部句子。"),
        )
    ]


def _problem_note(document: Mapping[str, Any]) -> list[Html]:
    if not document["problem"]:
        return []
    why = Text("Causes are missing: ", "没有成因数据：")
    return [look.paragraph(look.inline(look.join(why, document["problem"])))]


def _method_section(done: Mapping[str, Any]) -> Section:
    """What the words mean, and who decided."""
    means = {
        "supported": Text(
            "a clause of the corpus says it; the quote is there to be read", "语料中有条款这样规定；引文供人核对"
        ),
        "misattributed": Text(
            "a clause says it, but not the article that the sentence names", "有条款这样规定，但不是句子写出的那一条"
        ),
        "unsupported": Text(
            "no clause says it, or it names an article that is not in the corpus",
            "没有条款这样规定，或者句子写出的条文不在语料中",
        ),
    }
    lines = [
        look.verdict(SEVERITY_BY_STATUS[status], look.join(STATUS_NAMES[status], _COLON, means[status]))
        for status in SEVERITY_BY_STATUS
    ]
    least = numbers.number(done["threshold"])
    notes = Text(
        f"Support is judged by the scorer “{done['scorer']}”, from 0 to 1; a clause is cited from {least} on. A quote "
        "stands in its clause word for word, and an id comes from the corpus alone. A condition that a sentence leaves "
        "out is not seen: this page helps a reader, and does not take the decision.",
        f"支持度由评分器“{done['scorer']}”给出，范围 0 到 1，达到 {least} 才会引用。引文逐字出自条款，编号只来自语料。"
        "句子省略的条件无法识别：本页供人参考，不代替人作出决定。",
    )
    body = Html(look.bullet_list(lines, plain=True) + look.paragraph(notes, note=True))
    return Section(Text("How to read this", "如何阅读"), body, id="how")


def _sign_off() -> Html:
    return Html("<dl>" + "".join(f"<dt>{look.inline(words)}</dt>" for words in _SIGN_OFF) + "</dl>")


def _provenance_rows(done: Mapping[str, Any], many: bool) -> dict[Words, Words | Html]:
    made = done["provenance"]
    options = made["options"]
    found: dict[Words, Words | Html] = {}
    if not many:
        found |= {Text("Text", "文本"): done["name"], Text("sha256 of the text", "文本的 sha256"): done["sha256"]}
    else:
        lines = (f"{document['sha256']}  {document['name']}" for document in done["documents"][:_NUM_FILES])
        found[Text("sha256 of each text", "各文本的 sha256")] = Html(
            f'<pre class="command"><code>{look.escape(chr(10).join(lines))}</code></pre>'
        )
    clauses, articles = numbers.count(made["num_clauses"]), numbers.count(done["corpus"]["num_articles"])
    without = Text("none: words alone (BM25)", "无：仅按词检索（BM25）")
    threshold = numbers.number(made["threshold"])
    found |= {
        Text("Digest of the corpus", "语料摘要"): made["corpus_digest"],
        Text("Corpus", "语料"): Text(f"{clauses} clauses of {articles} articles", f"{articles} 条，共 {clauses} 款"),
        Text("Files without an article", "没有条文的文件"): ", ".join(done["corpus"]["skipped"]),
        Text("Embedders", "检索模型"): ", ".join(made["embedders"]) or without,
        Text("Scorer", "评分器"): Text(f"{made['scorer']}, from {threshold}", f"{made['scorer']}，阈值 {threshold}"),
        Text("Generator", "生成模型"): made["generator"] or "",
        Text("Options", "选项"): ", ".join(f"{name} {value}" for name, value in options.items()),
        Text("Made with", "生成环境"): ", ".join(f"{name} {value}" for name, value in made["versions"].items()),
        Text("Took", "用时"): numbers.duration(made["seconds"]),
        Text("Date", "日期"): made["date"],
    }
    if made["command"]:
        found[Text("Page made by", "本页生成命令")] = look.command(made["command"])
    return found
