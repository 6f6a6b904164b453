"""A file as a document, whatever its kind; a folder of files as documents.

    read_document(Path("contract.pdf"))

The kind is known by the file's first bytes, not by its name. What cannot be read is refused in words: an encrypted,
scanned or broken PDF, one of too many pages, an archive that unpacks to more than it should, a document without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deepseek.citations.corpus.law_text import decode_text
from deepseek.citations.documents import html, pdf, plain, word
from deepseek.citations.documents.clauses import build_document
from deepseek.citations.documents.document import Document, Paragraph
from deepseek.errors import InputError, MissingError, TooLargeError
from deepseek.files import read_bounded

SUFFIXES = (".txt", ".md", ".html", ".htm", ".docx", ".pdf")
MAX_FILE_BYTES = 64 * 2**20
MAX_TEXT_CHARS = 8 * 2**20
_OLD_WORD = b"\xd0\xcf\x11\xe0"
_SMALLER = "give it in parts"


def read_document(path: Path) -> Document:
    """The document in a .txt, .md, .html, .docx or .pdf file.

    MissingError without the file; InputError for an encrypted or scanned PDF, and for a document without words;
    MalformedError for a broken file; TooLargeError above 64 MB, 1,000 pages, 8 million letters; ExtraError where the
    kind's library is not installed."""
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"there is no file {path}", expected=", ".join(SUFFIXES), fix="give its path")
    data = read_bounded(path, MAX_FILE_BYTES, what="a document", smaller=_SMALLER)
    paragraphs, notes = _paragraphs(data, path.name)
    document = build_document(paragraphs, source=path.name, notes=notes)
    if not document.clauses:
        raise InputError(
            f"{path.name} has no words", expected="a document with at least one clause", fix="look whether it is empty"
        )
    if len(document.text) > MAX_TEXT_CHARS:
        raise TooLargeError(
            f"{path.name} has {len(document.text)} letters", expected=f"at most {MAX_TEXT_CHARS}", fix=_SMALLER
        )
    return document


def read_documents(path: Path) -> Iterator[Document]:
    """The document of a file, or those of a folder in the order of their names; other files are passed over."""
    path = Path(path)
    if not path.exists():
        raise MissingError(f"there is no {path}", expected="a document or a folder of them", fix="give its path")
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    for file in files:
        if file == path or (file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")):
            yield read_document(file)


def _paragraphs(data: bytes, name: str) -> tuple[list[Paragraph], list[str]]:
    """The paragraphs, and what was not read."""
    if b"%PDF-" in data[:1024]:
        return pdf.paragraphs_of(data, name)
    if data.startswith(b"PK\x03\x04"):
        return word.paragraphs_of(data, name), []
    if data.startswith(_OLD_WORD):
        raise InputError(
            f"{name} is of an old or an encrypted Word format",
            expected="DOCX without a password",
            fix="save it as .docx without a password",
        )
    text = decode_text(data, name)
    if Path(name).suffix.lower() in (".html", ".htm") or text.lstrip()[:15].lower().startswith(
        ("<!doctype html", "<html")
    ):
        return html.paragraphs_of(text, name), []
    return plain.paragraphs_of(text), []
