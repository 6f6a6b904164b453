"""Word and PDF files as clauses, with automatic numbers, pages and places; those that cannot be read are refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from deepseek.citations.documents import Document, read_document
from deepseek.citations.documents import pdf as pdf_reader
from deepseek.citations.documents import word as word_reader
from deepseek.errors import InputError, MalformedError, TooLargeError
from support.documents import docx_bytes, pdf_bytes, pdf_lines, word_paragraph

LEVELS = (
    '<w:abstractNum w:abstractNumId="7">'
    '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>'
    '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1.%2"/></w:lvl>'
    '<w:lvl w:ilvl="2"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="(%3)"/></w:lvl>'
    '</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>'
)
STYLES = (
    '<w:style w:type="paragraph" w:styleId="H1"><w:name w:val="heading 1"/><w:pPr>'
    '<w:numPr><w:numId w:val="1"/></w:numPr>'
    "</w:pPr></w:style>"
)


def docx(folder: Path, body: str, **parts: str) -> Document:
    pytest.importorskip("docx")
    (folder / "a.docx").write_bytes(docx_bytes(body, **parts))  # type: ignore[arg-type]
    return read_document(folder / "a.docx")


def pdf(folder: Path, data: bytes) -> Document:
    pytest.importorskip("pypdfium2")
    (folder / "a.pdf").write_bytes(data)
    return read_document(folder / "a.pdf")


def test_word_counts_its_numbers_and_they_are_read(tmp_path: Path) -> None:
    body = "".join((
        word_paragraph("Duties", style="H1"), word_paragraph("The supplier delivers:", level=1),
        word_paragraph("on time;", level=2), word_paragraph("in whole.", level=2),
        word_paragraph("The customer pays.", level=1), word_paragraph("Term", style="H1"),
        word_paragraph("Two years.", level=1),
    ))  # fmt: skip
    document = docx(tmp_path, body, numbering=LEVELS, styles=STYLES)
    assert [(clause.number, clause.heading, clause.text) for clause in document.clauses] == [
        ("1.1", "Duties", "The supplier delivers:"), ("1.1(a)", "Duties", "on time;"),
        ("1.1(b)", "Duties", "in whole."),
        ("1.2", "Duties", "The customer pays."), ("2.1", "Term", "Two years."),
    ]  # fmt: skip


def test_insertions_are_read_deletions_are_not_and_tables_are_rows(tmp_path: Path) -> None:
    run = "<w:r><w:t>{}</w:t></w:r>"
    body = (
        f"<w:p>{run.format('The fee is ')}<w:del><w:r><w:delText>10</w:delText></w:r></w:del>"
        f"<w:ins>{run.format('12')}</w:ins>{run.format(' percent.')}</w:p>"
        f"<w:sdt><w:sdtContent><w:p>{run.format('In a content control.')}</w:p></w:sdtContent></w:sdt>"
        f"<w:tbl><w:tr><w:tc><w:p>{run.format('Item')}</w:p></w:tc><w:tc><w:p>{run.format('Price')}</w:p></w:tc></w:tr>"
        "</w:tbl>"
    )
    document = docx(tmp_path, body)
    assert [clause.text for clause in document.clauses] == [
        "The fee is 12 percent.",
        "In a content control.",
        "Item | Price",
    ]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_reader, "MAX_UNPACKED_BYTES", 2**20)
    bomb = docx_bytes("<w:p/>", extra={"word/media/a.bin": bytes(2**21)})
    assert len(bomb) < 2**14
    (tmp_path / "a.docx").write_bytes(bomb)
    with pytest.raises(TooLargeError, match="unpacks to 2097152 bytes"):
        read_document(tmp_path / "a.docx")


def test_an_archive_whose_directory_lies_is_refused(tmp_path: Path) -> None:
    honest = docx_bytes("<w:p/>", extra={"word/media/a.bin": bytes(2**20)})
    size = (2**20).to_bytes(4, "little")
    assert honest.count(size) == 2
    (tmp_path / "a.docx").write_bytes(honest.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(MalformedError, match="cannot be read"):
        read_document(tmp_path / "a.docx")


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(200), docx_bytes("<w:p/>")[:-40], docx_bytes("<w:p>")])
def test_a_broken_word_file_is_refused(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("docx")
    (tmp_path / "a.docx").write_bytes(data)
    with pytest.raises(MalformedError, match="cannot be read"):
        read_document(tmp_path / "a.docx")


def test_a_word_file_whose_parts_are_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    pytest.importorskip("docx")
    (tmp_path / "a.docx").write_bytes(docx_bytes("<w:p/>", extra={"[Content_Types].xml": b"<Types/>"}))
    with pytest.raises(MalformedError, match="cannot be read: a part of it"):
        read_document(tmp_path / "a.docx")


@pytest.mark.parametrize("entity", ['"inner words"', 'SYSTEM "file:///etc/hostname"', f'"{"&lt;" * 10}"'])
def test_a_word_file_that_declares_entities_is_refused_and_no_word_is_lost(tmp_path: Path, entity: str) -> None:
    pytest.importorskip("docx")
    body, declared = "<w:p><w:r><w:t>Words {} here.</w:t></w:r></w:p>", f"<!DOCTYPE d [<!ENTITY x {entity}>]>"
    xml = zipfile.ZipFile(io.BytesIO(docx_bytes(body.format("&x;")))).read("word/document.xml").decode()
    root = xml.index("<w:document")
    changed = docx_bytes(body.format(""), extra={"word/document.xml": (xml[:root] + declared + xml[root:]).encode()})
    (tmp_path / "a.docx").write_bytes(changed)
    with pytest.raises(MalformedError, match="declares entities"):
        read_document(tmp_path / "a.docx")


def test_a_word_file_with_two_texts_of_one_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(docx_bytes(word_paragraph("The fee is 10 euros.")))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.docx", "a") as archive:
        archive.writestr("word/document.xml", archive.read("word/document.xml").replace(b"10", b"90"))
    with pytest.raises(MalformedError, match="two of its parts"):
        read_document(tmp_path / "a.docx")


def test_another_archive_is_no_word_document(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("notes.txt", "text")
    with pytest.raises(InputError, match="no Word document"):
        read_document(tmp_path / "a.docx")


def test_clauses_of_a_pdf_have_their_page_and_place(tmp_path: Path) -> None:
    pages = [
        pdf_lines(["SUPPLY AGREEMENT", "", "1. Payment", "1.1 The Customer pays each invoice within thirty days of its",
                   "receipt, and not later than the end of the month that follows.",
                   "1.2 Late amounts bear interest."]),
        pdf_lines(["2. Liability", "2.1 The Supplier is liable up to the fees."]),
    ]  # fmt: skip
    document = pdf(tmp_path, pdf_bytes(pages))
    assert [(clause.number, clause.heading, clause.page) for clause in document.clauses] == [
        ("1.1", "Payment", 1), ("1.2", "Payment", 1), ("2.1", "Liability", 2)
    ]  # fmt: skip
    first = document.clauses[0]
    assert first.text.endswith(
        "within thirty days of its receipt, and not later than the end of the month that follows."
    )
    assert first.box is not None
    left, top, right, bottom = first.box
    assert (round(left), 792 - 720 + 3 * 14 - 14 < top < bottom < 792 - 720 + 5 * 14, right > 300) == (72, True, True)


def test_heads_feet_and_page_numbers_of_a_pdf_are_left_out(tmp_path: Path) -> None:
    pages = [
        [
            (72, 760, "Acme confidential draft"),
            *pdf_lines([f"{page}. The rule of part {page} applies to all."]),
            (300, 30, f"Page {page} of 4"),
        ]
        for page in range(1, 5)
    ]
    document = pdf(tmp_path, pdf_bytes(pages))
    assert [clause.text for clause in document.clauses] == [
        f"The rule of part {page} applies to all." for page in range(1, 5)
    ]


def test_rows_of_a_table_in_a_pdf_are_clauses(tmp_path: Path) -> None:
    rows = [[(72, 600 - 20 * row, left), (300, 600 - 20 * row, right)] for row, (left, right) in enumerate(
        [("Service", "Fee in euros"), ("Hosting", "120"), ("Support", "80")]
    )]  # fmt: skip
    document = pdf(tmp_path, pdf_bytes([[cell for row in rows for cell in row]]))
    assert [clause.text for clause in document.clauses] == ["Service | Fee in euros", "Hosting | 120", "Support | 80"]


def test_an_encrypted_pdf_is_refused(tmp_path: Path) -> None:
    locked = pdf_bytes(
        [pdf_lines(["Secret."])],
        trailer="/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <" + "ab" * 32 + "> /U <" + "cd" * 32 + "> >> "
        "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]",
    )
    with pytest.raises(InputError, match="is encrypted"):
        pdf(tmp_path, locked)


def test_a_scan_without_a_reader_of_pictures_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypdfium2")
    from deepseek.citations.documents import scan

    monkeypatch.setattr(scan, "is_installed", lambda name: False)
    with pytest.raises(InputError, match="is scanned") as refused:
        pdf(tmp_path, pdf_bytes([[]], picture=True))
    assert "rapidocr" in refused.value.fix
    partly = pdf(tmp_path, pdf_bytes([pdf_lines(["1. The first page is text."]), []], picture=True))
    assert [clause.text for clause in partly.clauses] == ["The first page is text."]
    assert "pages that are pictures were not read: 2" in partly.notes[0]
    with pytest.raises(InputError, match="has no words"):
        pdf(tmp_path, pdf_bytes([[], []]))


@pytest.mark.parametrize("data", [b"%PDF-1.4\n" + bytes(300), b"%PDF-1.7 and nothing else"])
def test_a_broken_pdf_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(MalformedError, match="cannot be read"):
        pdf(tmp_path, data)


def test_a_pdf_of_too_many_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLargeError, match="has 1001 pages"):
        pdf(tmp_path, pdf_bytes([[]] * (pdf_reader.MAX_PAGES + 1)))
