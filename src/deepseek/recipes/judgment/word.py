"""A draft as DOCX: its text, a number behind each sentence that states law, a mark on each that needs a look, then the
clauses word for word with their versions, and where the draft comes from.

    write_word(Path("draft.docx"), result)
    read_draft(Path("draft.docx"))                 # its text again, without what write_word() has added
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from deepseek.citations.documents import read_document
from deepseek.extras import need
from deepseek.files import atomic_file
from deepseek.recipes.judgment.checking import CheckedSentence
from deepseek.recipes.judgment.run import JudgmentDraft

CLAUSES = ("Clauses cited", "引用条文")
_ADDED = re.compile(r"\s?[\[【](?:to be checked: |待核：)[^\]】]*[\]】]|\s?\[\d{1,4}\](?=\s|$|[“”])|\[\d{1,4}\]")


def write_word(path: Path, result: JudgmentDraft) -> None:
    """Write the draft. ExtraError without python-docx."""
    docx = need("docx", extra="documents")
    document = docx.Document()
    text = result.checked.text
    is_chinese = sum("一" <= letter <= "鿿" for letter in text) > len(text) // 5
    _set_fonts(document, is_chinese)
    numbers = {name: place for place, name in enumerate(result.cited_clauses(), 1)}
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        if line.strip():
            _add_line(docx, document, result, line, start, end, numbers, is_chinese)
        start = end + 1
    _add_clauses(document, result, numbers, is_chinese)
    _add_provenance(document, result, is_chinese)
    properties = document.core_properties
    properties.title = text.strip().splitlines()[0].lstrip("# ")[:120]
    properties.author, properties.comments = "", "draft, to be checked and signed by a person"
    properties.created = properties.modified = datetime.fromisoformat(result.provenance.date).replace(tzinfo=None)
    with atomic_file(path) as part:
        document.save(str(part))


def read_draft(path: Path) -> str:
    """The text of a draft in a DOCX or text file, one paragraph a line, without marks and clauses that write_word() has
    added. The errors of read_document()."""
    text = read_document(path).text
    for heading in CLAUSES:
        if (place := text.find(f"\n{heading}\n")) >= 0:
            text = text[:place]
    return _ADDED.sub("", text)


def _set_fonts(document: Any, is_chinese: bool) -> None:
    names, lengths = need("docx.oxml.ns", extra="documents"), need("docx.shared", extra="documents")
    style = document.styles["Normal"]
    style.font.name, style.font.size = "Times New Roman", lengths.Pt(11)
    if is_chinese:
        style.element.get_or_add_rPr().get_or_add_rFonts().set(names.qn("w:eastAsia"), "SimSun")


def _add_line(
    docx: Any, document: Any, result: JudgmentDraft, line: str, start: int, end: int, numbers: dict[str, int],
    is_chinese: bool,
) -> None:  # fmt: skip
    level = len(line) - len(line.lstrip("#"))
    if level and line[level : level + 1] == " ":
        document.add_heading(line[level:].strip(), level=min(level, 3))
        return
    paragraph = document.add_paragraph()
    place = start
    for sentence in result.checked.sentences:
        if sentence.end <= start or sentence.start >= end:
            continue
        first, last = max(sentence.start, start), min(sentence.end, end)
        paragraph.add_run(result.checked.text[place:first])
        run = paragraph.add_run(result.checked.text[first:last])
        if sentence.is_flagged:
            run.font.highlight_color = docx.enum.text.WD_COLOR_INDEX.YELLOW
        if last == sentence.end:
            _add_marks(paragraph, sentence, numbers, is_chinese)
        place = last
    paragraph.add_run(result.checked.text[place:end])


def _add_marks(paragraph: Any, sentence: CheckedSentence, numbers: dict[str, int], is_chinese: bool) -> None:
    """Behind a sentence: its clauses, and why it needs a look."""
    for name in dict.fromkeys(each.id for each in sentence.citations):
        if name in numbers:
            run = paragraph.add_run(f"[{numbers[name]}]")
            run.font.superscript = True
    if sentence.is_flagged:
        reason = sentence.reason.zh if is_chinese else sentence.reason.en
        words = f"【待核：{reason}】" if is_chinese else f" [to be checked: {reason}]"
        paragraph.add_run(words.replace("\n", " ")).bold = True


def _add_clauses(document: Any, result: JudgmentDraft, numbers: dict[str, int], is_chinese: bool) -> None:
    document.add_heading(CLAUSES[is_chinese], level=2)
    for name, number in numbers.items():
        clause = result.law.corpus[name]
        since = result.law.since(clause)
        if is_chinese:
            state = f"自{since}起施行，{result.law.day}有效" if since else "版本日期不详"
            where = f"[{number}] {clause.law} {clause.article} 第{clause.paragraph}款（{state}）"
        else:
            state = f"in force since {since}, and on {result.law.day}" if since else "undated version"
            where = f"[{number}] {clause.law}, {clause.article}, paragraph {clause.paragraph} ({state})"
        paragraph = document.add_paragraph()
        paragraph.add_run(where).bold = True
        document.add_paragraph(clause.text, style="Quote")
        document.add_paragraph(name).runs[0].italic = True


def _add_provenance(document: Any, result: JudgmentDraft, is_chinese: bool) -> None:
    each = result.provenance
    document.add_heading("来源" if is_chinese else "Where this comes from", level=2)
    rows = [
        ("事实" if is_chinese else "Facts", f"sha256 {each.facts_sha256}"),
        ("模板" if is_chinese else "Template", f"{each.template}, sha256 {each.template_sha256}"),
        ("法律" if is_chinese else "Laws", f"{result.law.day}, sha256 {each.corpus_digest}"),
        ("生成" if is_chinese else "Made", f"{each.date}, deepseek {each.versions['deepseek']}"),
        ("核对与签署" if is_chinese else "Checked and signed by", "________________________"),
    ]
    table = document.add_table(rows=0, cols=2)
    for name, value in rows:
        cells = table.add_row().cells
        cells[0].text, cells[1].text = name, value
