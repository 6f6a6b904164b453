"""The citations of a text, or of several, as one offline page that can be printed, signed and kept.

    write_page(Path("report.html"), cite_drafts(...))

Order: how many sentences hold and by which laws, what needs a look, every sentence with its clauses
(sentences.py), how it was judged, a place for a signature in print, where it comes from. A page stays below 2 MB:
sentences that need a look come in before supported ones, and what is left out is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from deepseek import look
from deepseek.citations.corpus.drafts import SkippedFile
from deepseek.citations.page.report import ArticleUse, CitationReport, CitedDocument, LawUse
from deepseek.citations.page.sentences import (
    SENTENCE_STYLE,
    SEVERITY_BY_STATUS,
    STATUS_NAMES,
    sentence_anchor,
    sentence_block,
    version_text,
)
from deepseek.citations.support.results import STATUSES, CitedText
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell

MAX_SENTENCE_BYTES = 1_600_000  # of the sentences
_NUM_REVIEWED, _NUM_FILES, _NUM_LAWS = 200, 500, 50  # lines of a list
_SIGN_OFF = (Text("Checked by", "审核人"), Text("Date", "日期"), Text("Signature", "签名"))
_COLON = Text(": ", "：")
STYLE = SENTENCE_STYLE + (
    "#sign-off{display:none}@media print{#sign-off{display:block;break-inside:avoid}}"
    "#sign-off dl{display:grid;grid-template-columns:repeat(3,1fr);gap:24px;margin:48px 0 0}"
    "#sign-off dt{border-top:1px solid var(--ink);padding-top:4px;font-size:10pt;color:var(--soft)}"
)


def write_page(path: str | Path | None, report: CitationReport) -> str:
    """The page of cite_drafts(), written to `path` (None: only returned)."""
    html = _render_page(report)
    if path is not None:
        with atomic_file(Path(path)) as part:
            part.write_text(html, encoding="utf-8")
    return html


def _render_page(report: CitationReport) -> str:
    is_batch, documents = report.kind == "batch", report.documents
    title: Words = Text("Citation report", "引用核对报告")
    name = numbers.count(len(documents)) if is_batch else documents[0].draft.name
    if is_batch:
        title = look.join(title, Text(f": {name} texts", f"：{name} 份文本"))
    elif name:
        title = look.join(title, _COLON, name)
    blocks, dropped = _select_sentences(documents)
    sections = [_summary_section(report), *_review_section(report)]
    for index, document in enumerate(documents):
        body = Html("".join([*_problem_note(document), *blocks[index], *_omission_note(dropped[index])]))
        heading: Words = Text("Every sentence", "逐句核对")
        if is_batch:
            heading = look.join(document.draft.name, _COLON, _support_count(document.cited))
        sections.append(Section(heading, body, folded=is_batch, id=f"text{index + 1}"))
    sections += [_method_section(report), Section(Text("Sign-off", "签署"), _sign_off(), id="sign-off")]
    return look.page(
        title, _headline(report), sections, provenance=_provenance_rows(report), lead=_lead(report), style=STYLE
    )


def _headline(report: CitationReport) -> Text:
    """How many of the sentences hold."""
    every, good = numbers.count(report.num_sentences), numbers.count(report.count("supported"))
    other, none, against = (report.count(status) for status in ("misattributed", "unsupported", "contradicted"))
    en, zh = [], []
    if other:
        en.append(f"{numbers.count(other)} cite{'s' if other == 1 else ''} another article than the one that says it")
        zh.append(f"{numbers.count(other)} 句写出的条文并非实际规定它的条文")
    if against:
        en.append(f"{numbers.count(against)} {'says' if against == 1 else 'say'} the opposite of a clause")
        zh.append(f"{numbers.count(against)} 句与条文相反")
    if none:
        en.append(f"{numbers.count(none)} {'is' if none == 1 else 'are'} not supported")
        zh.append(f"{numbers.count(none)} 句没有条款支持")
    sentences = "sentence" if report.num_sentences == 1 else "sentences"
    rest, rest_zh = "; ".join(en), "；".join(zh)
    are = "is" if report.count("supported") == 1 else "are"
    return Text(
        f"{good} of {every} {sentences} {are} supported by the corpus{f'; {rest}' if en else ''}.",
        f"{every} 句中有 {good} 句得到语料支持{f'；{rest_zh}' if zh else ''}。",
    )


def _lead(report: CitationReport) -> Words:
    laws = report.laws()
    if not laws:
        return Text("No law of the corpus was cited.", "没有引用语料中的任何法律。")
    first = laws[:3]
    more = len(laws) - len(first)
    en, zh = ([f"{law.law} ({version_text(law.version)[tongue]})" for law in first] for tongue in (0, 1))
    return Text(
        f"Laws cited: {', '.join(en)}{f' and {more} more' if more else ''}.",
        f"引用的法律：{'、'.join(zh)}{f'，另有 {more} 部' if more else ''}。",
    )


def _support_count(cited: CitedText) -> Text:
    """The counts of one text, in its heading."""
    good, every = numbers.count(cited.count("supported")), numbers.count(len(cited.sentences))
    return Text(f"{good} of {every} supported", f"{every} 句中 {good} 句得到支持")


def _summary_section(report: CitationReport) -> Section:
    """How many sentences have each status; of a batch the counts of each text, then the laws."""
    counts = {status: report.count(status) for status in STATUSES}
    statuses: list[list[Cell]] = [
        [
            look.verdict(SEVERITY_BY_STATUS[status], STATUS_NAMES[status]),
            num,
            f"{numbers.number(100 * num / report.num_sentences)} %",
        ]
        for status, num in counts.items()
    ]
    columns = [
        Column(Text("Status", "状态"), "text"),
        Column(Text("Sentences", "句数")),
        Column(Text("Share of all", "占全部")),
    ]
    parts = [look.table(columns, statuses)]
    if report.kind == "batch":
        parts += [
            _file_table(report.documents), *_skipped_table(report.skipped), _most_cited_table(report.most_cited())
        ]  # fmt: skip
    parts.append(_law_table(report.laws()))
    return Section(Text("Summary", "概要"), Html("".join(parts)), id="summary")


def _file_table(documents: Sequence[CitedDocument]) -> Html:
    columns = [Column(Text("Text", "文本"), "text"), Column(Text("Sentences", "句数"))]
    columns += [Column(STATUS_NAMES[status]) for status in STATUSES]
    rows: list[list[Cell]] = [
        [
            Html(f'<a href="#text{number}">{look.escape(document.draft.name)}</a>'),
            len(document.cited.sentences),
            *(document.cited.count(status) for status in STATUSES),
        ]
        for number, document in enumerate(documents[:_NUM_FILES], 1)
    ]
    return look.table(columns, rows, caption=_truncated_caption(len(rows), len(documents), Text("Each text", "各文本")))


def _skipped_table(skipped: Sequence[SkippedFile]) -> Iterator[Html]:
    if skipped:
        columns = [Column(Text("Left out", "未检查的文件"), "text"), Column(Text("Why", "原因"), "text")]
        rows: list[list[Cell]] = [[file.name, file.problem] for file in skipped[:_NUM_FILES]]
        yield look.table(
            columns, rows, caption=_truncated_caption(len(rows), len(skipped), Text("Not checked", "未检查"))
        )


def _most_cited_table(articles: Sequence[ArticleUse]) -> Html:
    columns = [
        Column(Text("Most cited article", "引用最多的条文"), "text"),
        Column(Text("Version", "版本"), "text"),
        Column(Text("Sentences", "句数")),
        Column(Text("Texts", "文本数")),
    ]
    rows: list[list[Cell]] = [
        [f"{use.law} {use.article}", _version_cell(use.version), use.num_sentences, use.num_documents]
        for use in articles
    ]
    return look.table(columns, rows) if rows else Html("")


def _law_table(laws: Sequence[LawUse]) -> Html:
    if not laws:
        return Html("")
    columns = [
        Column(Text("Law", "法律"), "text"),
        Column(Text("Version", "版本"), "text"),
        Column(Text("Sentences", "句数")),
        Column(Text("Articles", "条数")),
    ]
    rows: list[list[Cell]] = [
        [use.law, _version_cell(use.version), use.num_sentences, use.num_articles] for use in laws[:_NUM_LAWS]
    ]
    return look.table(columns, rows, caption=_truncated_caption(len(rows), len(laws), Text("Laws used", "使用的法律")))


def _version_cell(version: str) -> Html:
    return Html(f'<span class="option">{look.inline(version_text(version))}</span>')


def _truncated_caption(shown: int, num: int, words: Text) -> Words:
    if shown == num:
        return words
    return look.join(words, Text(f": the first {shown} of {num}", f"：前 {shown} 项，共 {num} 项"))


def _review_section(report: CitationReport) -> list[Section]:
    """What a person has to look at, with links."""
    lines = []
    for item in report.review():
        sentence = item.sentence
        where: Words = Text(f"Sentence {item.number}", f"第 {item.number} 句")
        if len(report.documents) > 1:
            name = report.documents[item.document].draft.name
            where = look.join(name, Text(", sentence ", "，第 "), str(item.number), Text("", " 句"))
        link = f'<a href="#{sentence_anchor(item.document, item.number)}">{look.inline(where)}</a>'
        words = look.inline(numbers.clip(" ".join(sentence.text.split()), 80))
        severity = SEVERITY_BY_STATUS[sentence.status]
        sign = {"warn": "!", "bad": "✕"}[severity]
        reason = look.inline(Text(sentence.reason, sentence.reason_zh))
        lines.append(
            Html(f'<span class="sign {severity}">{sign}</span> {link}: {words} <span class="soft">({reason})</span>')
        )
    if not lines:
        return []
    body = look.bullet_list(lines[:_NUM_REVIEWED], plain=True)
    if len(lines) > _NUM_REVIEWED:
        more = numbers.count(len(lines) - _NUM_REVIEWED)
        body = Html(body + look.paragraph(Text(f"… and {more} more.", f"……另有 {more} 句。"), note=True))
    return [Section(Text("What needs a look", "需要人工查看"), body, id="review")]


def _select_sentences(documents: Sequence[CitedDocument]) -> tuple[list[list[Html]], list[list[int]]]:
    """The blocks of the sentences that the page has room for, by document and in their order, and the numbers of
    those it has not. Sentences that need a look come in first."""
    numbered = [
        (index, number, sentence.status)
        for index, document in enumerate(documents)
        for number, sentence in document.numbered_sentences()
    ]
    blocks: list[dict[int, Html]] = [{} for _ in documents]
    dropped: list[list[int]] = [[] for _ in documents]
    used_bytes = 0
    for index, number, _ in sorted(numbered, key=lambda entry: entry[2] == "supported"):
        block = sentence_block(documents[index], number, sentence_anchor(index, number))
        size_bytes = len(block.encode("utf-8"))
        if used_bytes + size_bytes <= MAX_SENTENCE_BYTES:
            blocks[index][number] = Html(block)
            used_bytes += size_bytes
        else:
            dropped[index].append(number)
    ordered = [[by_number[number] for number in sorted(by_number)] for by_number in blocks]
    return ordered, [sorted(of_document) for of_document in dropped]


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


def _problem_note(document: CitedDocument) -> list[Html]:
    if not document.cited.problem:
        return []
    why = Text("Causes are missing: ", "没有成因数据：")
    return [look.paragraph(look.inline(look.join(why, document.cited.problem)))]


def _method_section(report: CitationReport) -> Section:
    """What the words mean, and who decided."""
    means = {
        "supported": Text(
            "a clause of the corpus says it; the quote is there to be read", "语料中有条款这样规定；引文供人核对"
        ),
        "misattributed": Text(
            "a clause says it, but not the article that the sentence names", "有条款这样规定，但不是句子写出的那一条"
        ),
        "unsupported": Text(
            "no clause says it, or it names an article that is not in the corpus; the nearest clause stands below it",
            "没有条款这样规定，或者句子写出的条文不在语料中；下方列出最接近的条款",
        ),
        "contradicted": Text(
            "no clause says it, and one that speaks of the same thing says the opposite; it stands below it",
            "没有条款这样规定，而且有条款就同一事项作出相反规定；该条款列在下方",
        ),
    }
    lines = [
        look.verdict(SEVERITY_BY_STATUS[status], look.join(STATUS_NAMES[status], _COLON, means[status]))
        for status in SEVERITY_BY_STATUS
    ]
    scorer, least = report.common.scorer, numbers.number(report.common.threshold)
    notes = Text(
        f"Support is judged by the scorer “{scorer}”, from 0 to 1; a clause is cited from {least} on. A quote "
        "stands in its clause word for word, and an id comes from the corpus alone. A condition that a sentence leaves "
        "out is not seen, nor is every opposite: this page helps a reader, and does not take the decision.",
        f"支持度由评分器“{scorer}”给出，范围 0 到 1，达到 {least} 才会引用。引文逐字出自条款，编号只来自语料。"
        "句子省略的条件无法识别，也并非所有相反的说法都能识别：本页供人参考，不代替人作出决定。",
    )
    body = Html(look.bullet_list(lines, plain=True) + look.paragraph(notes, note=True))
    return Section(Text("How to read this", "如何阅读"), body, id="how")


def _sign_off() -> Html:
    return Html("<dl>" + "".join(f"<dt>{look.inline(words)}</dt>" for words in _SIGN_OFF) + "</dl>")


def _provenance_rows(report: CitationReport) -> dict[Words, Words | Html]:
    provenance, common = report.provenance, report.common
    facts = provenance.to_dict(common)
    rows: dict[Words, Words | Html] = {}
    if report.kind == "text":
        draft = report.documents[0].draft
        rows |= {Text("Text", "文本"): draft.name, Text("sha256 of the text", "文本的 sha256"): draft.sha256}
    else:
        lines = (f"{document.draft.sha256}  {document.draft.name}" for document in report.documents[:_NUM_FILES])
        rows[Text("sha256 of each text", "各文本的 sha256")] = Html(
            f'<pre class="command"><code>{look.escape(chr(10).join(lines))}</code></pre>'
        )
    clauses, articles = numbers.count(common.corpus.num_clauses), numbers.count(common.corpus.num_articles)
    without = Text("none: words alone (BM25)", "无：仅按词检索（BM25）")
    threshold = numbers.number(common.threshold)
    rows |= {
        Text("Digest of the corpus", "语料摘要"): common.corpus.digest,
        Text("Corpus", "语料"): Text(f"{clauses} clauses of {articles} articles", f"{articles} 条，共 {clauses} 款"),
        Text("Files without an article", "没有条文的文件"): ", ".join(common.corpus.skipped),
        Text("Embedders", "检索模型"): ", ".join(facts["embedders"]) or without,
        Text("Scorer", "评分器"): Text(f"{common.scorer}, from {threshold}", f"{common.scorer}，阈值 {threshold}"),
        Text("Generator", "生成模型"): provenance.generator or "",
        Text("Options", "选项"): ", ".join(f"{name} {value}" for name, value in facts["options"].items()),
        Text("Made with", "生成环境"): ", ".join(f"{name} {value}" for name, value in facts["versions"].items()),
        Text("Took", "用时"): numbers.duration(provenance.seconds),
        Text("Date", "日期"): provenance.date,
    }
    if provenance.command:
        rows[Text("Page made by", "本页生成命令")] = look.command(provenance.command)
    return rows
