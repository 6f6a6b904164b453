"""Text and HTML as clauses: numbers, headings, what is inside of what, and the words as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.citations.documents import (
    Document,
    find_definitions,
    read_document,
    read_documents,
    resolve_references,
)
from deepseek.errors import InputError, MalformedError, MissingError

AGREEMENT = """MUTUAL NON-DISCLOSURE AGREEMENT

This Agreement is made between Acme ("Discloser") and Beta.

1. Definitions. "Confidential Information" means all information
that is disclosed and marked, as set out in Section
3.2 of this Agreement, including:
(a) drawings;
(b) source code; and
   (i) build scripts;
   (ii) keys.
(c) prices.

2. TERM
This Agreement lasts two years. See Section 3.2(a) and Section 9.

It may be renewed.
3. Duties
3.1 The Recipient shall keep it secret.
3.2 The Recipient shall not:
(a) copy it;
(b) use it under Section 9 of the Patents Act.
"""
LAW = """反洗钱测试法
（2024年1月1日）
第一章 总则
第一条 为了测试，制定本法。
第二条 金融机构应当履行下列义务：
（一）建立制度；
（二）报告。
违反前款规定的，处罚款。
第二章 罚则
第三条 本法所称重大交易，是指超过五万元的交易。依照第二条第一项、第九条办理。
"""


def document_of(folder: Path, text: str, name: str = "a.txt") -> Document:
    (folder / name).write_text(text, encoding="utf-8")
    return read_document(folder / name)


def test_clauses_of_a_contract_have_number_heading_and_parent(tmp_path: Path) -> None:
    document = document_of(tmp_path, AGREEMENT)
    assert document.title == "MUTUAL NON-DISCLOSURE AGREEMENT"
    assert [(clause.number, clause.heading, clause.parent) for clause in document.clauses] == [
        ("", "", None),
        ("1", "Definitions", None),
        ("1(a)", "Definitions", "1"),
        ("1(b)", "Definitions", "1"),
        ("1(b)(i)", "Definitions", "1(b)"),
        ("1(b)(ii)", "Definitions", "1(b)"),
        ("1(c)", "Definitions", "1"),
        ("2", "TERM", None),
        ("", "TERM", "2"),
        ("3.1", "Duties", "3"),
        ("3.2", "Duties", "3"),
        ("3.2(a)", "Duties", "3.2"),
        ("3.2(b)", "Duties", "3.2"),
    ]
    assert all(document.text[clause.start : clause.end] == clause.text for clause in document.clauses)
    assert document.clauses[1].text.endswith("as set out in Section 3.2 of this Agreement, including:")


def test_clauses_of_a_chinese_law_have_articles_and_items(tmp_path: Path) -> None:
    document = document_of(tmp_path, LAW)
    assert [(clause.number, clause.heading, clause.parent) for clause in document.clauses[1:]] == [
        ("第一条", "第一章 总则", None),
        ("第二条", "第一章 总则", None),
        ("第二条（一）", "第一章 总则", "第二条"),
        ("第二条（二）", "第一章 总则", "第二条"),
        ("", "第一章 总则", "第二条"),
        ("第三条", "第二章 罚则", None),
    ]


def test_references_lead_to_clauses_and_those_to_other_texts_are_left_out(tmp_path: Path) -> None:
    document = document_of(tmp_path, AGREEMENT)
    found = {each.text: each.target for each in resolve_references(document)}
    assert {text: target if target is None else document.clauses[target].number for text, target in found.items()} == {
        "Section 3.2": "3.2", "Section 3.2(a)": "3.2(a)", "Section 9": None,
    }  # fmt: skip
    law = document_of(tmp_path, LAW)
    assert [(each.text, each.target is None) for each in resolve_references(law)] == [
        ("第二条第一项", False),
        ("第九条", True),
    ]


def test_definitions_are_found_where_they_stand(tmp_path: Path) -> None:
    document = document_of(tmp_path, AGREEMENT)
    terms = find_definitions(document)
    assert [(each.term, document.clauses[each.clause].number) for each in terms] == [
        ("Discloser", ""), ("Confidential Information", "1")
    ]  # fmt: skip
    assert all(document.text[each.start : each.end] == each.term for each in terms)
    assert [each.term for each in find_definitions(document_of(tmp_path, LAW))] == ["重大交易"]


def test_roman_items_and_letters_are_told_apart(tmp_path: Path) -> None:
    lines = (
        ["1. Rules apply to all:"]
        + [f"({letter}) item {letter};" for letter in "abcdefghij"]
        + ["2. Next one:", "(i) first;", "(ii) second."]
    )
    numbers = [clause.number for clause in document_of(tmp_path, "\n".join(lines)).clauses]
    assert numbers[-5:] == ["1(i)", "1(j)", "2", "2(i)", "2(ii)"]


def test_lines_of_a_contents_page_are_no_clauses(tmp_path: Path) -> None:
    document = document_of(
        tmp_path, "Agreement\n\n1. Term ........ 3\n2. Fees ........ 4\n\n1. The term is a year.\n2. Fees are due.\n"
    )
    assert [clause.text for clause in document.clauses] == ["The term is a year.", "Fees are due."]


def test_markdown_headings_and_tables_are_read(tmp_path: Path) -> None:
    text = "# Policy\n\n## Data\n\nWe keep data for a year.\n\n| Kind | Days |\n| --- | --- |\n| logs | 30 |\n"
    document = document_of(tmp_path, text, "a.md")
    assert document.title == "Policy"
    assert [(clause.heading, clause.text) for clause in document.clauses] == [
        ("Data", "We keep data for a year."), ("Data", "Kind | Days"), ("Data", "logs | 30")
    ]  # fmt: skip


def test_html_lists_have_the_numbers_that_a_browser_shows(tmp_path: Path) -> None:
    pytest.importorskip("lxml")
    page = (
        "<!DOCTYPE html><html><head><title>x</title><style>p{}</style></head><body><h1>Terms</h1><h2>Use</h2>"
        "<p>You agree<br>to this.</p>"
        "<ol start=3><li>First rule.</li><li>Second rule.<ol type=a><li>Inner.</li></ol></li>"
        "</ol><p style='display:none'>hidden</p><script>bad()</script>"
        "<table><tr><th>Fee</th><th>Due</th></tr><tr><td>10</td><td>May</td></tr></table></body></html>"
    )
    document = document_of(tmp_path, page, "a.html")
    assert document.title == "Terms"
    assert [(clause.number, clause.text) for clause in document.clauses] == [
        ("", "You agree"), ("", "to this."), ("3", "First rule."), ("4", "Second rule."), ("4 a", "Inner."),
        ("", "Fee | Due"), ("", "10 | May"),
    ]  # fmt: skip
    assert "hidden" not in document.text
    assert "bad()" not in document.text


@pytest.mark.parametrize(("data", "error", "problem"), [
    (b"", InputError, "has no words"),
    (b"...\n---\n", InputError, "has no words"),
    (b"a\x00b", MalformedError, "is no text"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), InputError, "old or an encrypted Word"),
])  # fmt: skip
def test_what_is_no_document_is_refused_in_words(tmp_path: Path, data: bytes, error: type, problem: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(error, match=problem) as refused:
        read_document(tmp_path / "a.txt")
    assert refused.value.expected
    assert refused.value.fix


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Second document.")
    (tmp_path / "a.md").write_text("First document.")
    (tmp_path / "c.csv").write_text("no,document")
    assert [document.source for document in read_documents(tmp_path)] == ["a.md", "b.txt"]
    with pytest.raises(MissingError):
        list(read_documents(tmp_path / "none"))
