"""DOCX into paragraphs: the text as it stands with all changes accepted, the numbers that Word counts, rows of tables.

An archive is looked at before it is opened: no part may unpack to more than the limits, whatever its directory says.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from deepseek.citations.documents.document import Paragraph
from deepseek.citations.documents.word_numbering import Numbering
from deepseek.errors import InputError, MalformedError, TooLargeError
from deepseek.extras import need

MAX_PARTS = 4096
MAX_UNPACKED_BYTES, MAX_XML_BYTES = 128 * 2**20, 24 * 2**20  # of the archive, and of one part that is parsed
_CHUNK_BYTES = 2**20
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_UNREAD = (_FALLBACK, f"{_W}del", f"{_W}moveFrom", f"{_W}instrText", f"{_W}delText", f"{_W}pPr", f"{_W}rPr")
_BREAKS = (f"{_W}tab", f"{_W}br", f"{_W}cr", f"{_W}ptab")


def paragraphs_of(data: bytes, name: str) -> list[Paragraph]:
    """The paragraphs of a DOCX. MalformedError for a broken one, TooLargeError for one that unpacks to too much,
    InputError for an archive of another kind."""
    check_archive(data, name)
    docx = need("docx", extra="documents")
    etree = need("lxml.etree", extra="documents")
    try:
        document = docx.Document(io.BytesIO(data))
        body = document.element.body
    except AttributeError as error:  # python-docx meets an element of another kind than it takes for certain
        raise _malformed_error(name, "a part of it is not what stands there in a Word file") from error
    except (KeyError, ValueError, etree.XMLSyntaxError, zipfile.BadZipFile) as error:
        raise _malformed_error(name, str(error)) from error
    except docx.opc.exceptions.OpcError as error:
        raise _malformed_error(name, str(error)) from error
    if body is None:
        raise _malformed_error(name, "it has no body")
    if body.getroottree().docinfo.doctype:  # what stands in an entity, and behind it, would not be read
        raise _malformed_error(name, "its XML declares entities, which no Word file may")
    numbering = Numbering.of(document)
    return list(_blocks(body, numbering))


def check_archive(data: bytes, name: str) -> None:
    """Refuse an archive that is no DOCX, is encrypted, or unpacks to more than the limits; it is unpacked in small
    parts that are thrown away, for the sizes in its directory may be false."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            if "word/document.xml" not in names:
                raise InputError(
                    f"{name} is an archive, and no Word document", expected="DOCX", fix="unpack it, or save it as .docx"
                )
            if len(names) < len(entries):
                raise _malformed_error(name, "two of its parts have one name, and which is read is anybody's guess")
            if any(entry.flag_bits & 1 for entry in entries):
                raise InputError(f"{name} is encrypted", expected="DOCX without a password", fix="save it without one")
            if len(entries) > MAX_PARTS:
                raise _too_large_error(name, f"has {len(entries)} parts", f"{MAX_PARTS} parts")
            left = MAX_UNPACKED_BYTES
            for entry in entries:
                limit = min(left, MAX_XML_BYTES if entry.filename.endswith((".xml", ".rels")) else left)
                left -= _unpacked_bytes(archive, entry, limit, name)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise _malformed_error(name, str(error)) from error
    except RuntimeError as error:
        raise InputError(
            f"{name} is encrypted", expected="DOCX without a password", fix="save it without one"
        ) from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "_bz2"):
            raise _malformed_error(name, str(error)) from error
        raise


def _unpacked_bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int, name: str) -> int:
    if entry.file_size > limit:
        raise _too_large_error(name, f"unpacks to {entry.file_size} bytes in {entry.filename}", f"{limit} bytes there")
    num_bytes = 0
    with archive.open(entry) as part:
        while chunk := part.read(_CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > limit:
                raise _too_large_error(
                    name, f"unpacks to more than {limit} bytes in {entry.filename}", f"{limit} bytes there"
                )
    return num_bytes


def _too_large_error(name: str, problem: str, most: str) -> TooLargeError:
    return TooLargeError(
        f"{name} {problem}", expected=f"at most {most}", fix="save the text without pictures, in parts"
    )


def _malformed_error(name: str, problem: str) -> MalformedError:
    return MalformedError(
        f"{name} cannot be read: {problem[:120]}",
        expected="a DOCX file that is whole",
        fix="open it in Word, save it again",
    )


def _blocks(parent: Any, numbering: Numbering) -> Iterator[Paragraph]:
    """Paragraphs and rows in their order, also those in content controls and in inserted parts."""
    for element in parent:
        if element.tag == f"{_W}p":
            words = " ".join(_text_of(element).split())
            label, level = numbering.enter(element)
            if words:
                yield Paragraph(words, label=label, level=level)
        elif element.tag == f"{_W}tbl":
            for row in element.iter(f"{_W}tr"):
                cells = [" ".join(_text_of(cell).split()) for cell in row.iter(f"{_W}tc")]
                if len(cells) == 1:
                    yield from _blocks(next(row.iter(f"{_W}tc")), numbering)
                elif any(cells):
                    yield Paragraph(" | ".join(cells), is_row=True)
        elif element.tag not in _UNREAD and isinstance(element.tag, str):
            yield from _blocks(element, numbering)


def _text_of(element: Any) -> str:
    """The text of a paragraph or cell: insertions are in it, deletions are not."""
    if element.tag in _UNREAD:
        return ""
    if element.tag == f"{_W}t":
        return element.text or ""
    if element.tag in _BREAKS:
        return " "
    if element.tag == f"{_W}noBreakHyphen":
        return "-"
    joint = " " if element.tag == f"{_W}tc" else ""
    return joint.join(_text_of(child) for child in element if isinstance(child.tag, str))
