"""Documents for tests, written by hand: a PDF with lines at their places, a DOCX with its parts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

LINE_STEP, TOP, LEFT = 14, 720, 72
Placed = tuple[float, float, str]  # from the lower left corner, in points

CONTENT_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/>'
    '<Override PartName="/word/numbering.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.numbering+xml"/>'
    '<Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.styles+xml"/></Types>'
)
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf_lines(lines: Sequence[str]) -> list[Placed]:
    """Lines beneath each other; an empty one is a gap."""
    return [(LEFT, TOP - LINE_STEP * row, line) for row, line in enumerate(lines) if line]


PICTURE = (
    b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /Length 1 >>\n"
    b"stream\n0\nendstream"
)


def pdf_bytes(pages: Sequence[Sequence[Placed]], *, trailer: str = "", picture: bool = False) -> bytes:
    """A PDF of pages with text at places, in Helvetica of 11 points; with `picture`, pages without text are one."""
    objects: list[bytes] = [b"", b""]  # catalog and pages, filled at the end
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    objects.append(PICTURE)
    kids = []
    for page in pages:
        words = b"".join(
            b"BT /F1 11 Tf %g %g Td (%s) Tj ET\n" % (x, y, _escape(text).encode("cp1252")) for x, y, text in page
        )
        words = words or (b"q 500 0 0 700 0 0 cm /Im Do Q" if picture else b"")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(words), words))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> /XObject << /Im 4 0 R >> >> >>" % len(objects)
        )
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids))
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(
        b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, trailer.encode(), start)
    )
    return out.getvalue()


def _escape(text: str) -> str:
    for letter in "\\()":
        text = text.replace(letter, "\\" + letter)
    return text


def docx_bytes(body: str, *, numbering: str = "", styles: str = "", extra: Mapping[str, bytes] | None = None) -> bytes:
    """A DOCX whose document, lists and styles are the inner XML that is given; `extra` are more parts."""
    main = f'<?xml version="1.0" encoding="UTF-8"?><w:document {WORD}><w:body>{body}</w:body></w:document>'
    parts = {
        "[Content_Types].xml": CONTENT_TYPES,
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" Type="{_OFFICE}/officeDocument" '
        'Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/numbering" Target="numbering.xml"/><Relationship Id="rId2" Type="{_OFFICE}/styles" '
        'Target="styles.xml"/></Relationships>',
        "word/document.xml": main,
        "word/numbering.xml": f"<w:numbering {WORD}>{numbering}</w:numbering>",
        "word/styles.xml": f"<w:styles {WORD}>{styles}</w:styles>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**parts, **(extra or {})}.items():
            archive.writestr(name, data)
    return out.getvalue()


def word_paragraph(text: str, *, style: str = "", level: int | None = None, list_id: int = 1) -> str:
    """One paragraph; `level` of its list."""
    listed = "" if level is None else f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{list_id}"/></w:numPr>'
    properties = (f'<w:pStyle w:val="{style}"/>' if style else "") + listed
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
