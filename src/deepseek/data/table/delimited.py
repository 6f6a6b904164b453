"""CSV and its relatives: the encoding, the separator and each column's type are found, a broken line is named.

    bytes -> decoded to UTF-8 -> separator from the first lines -> every cell as text (pyarrow.csv) -> types

Encodings: UTF-8 with or without a mark, UTF-16, GB 18030 (so GBK and GB 2312), and Latin-1 when nothing else fits.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from deepseek.data.table.arrow import check_names, from_arrow
from deepseek.data.table.table import Table
from deepseek.errors import InputError, MalformedError
from deepseek.extras import need

SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_BYTES = 256_000
_NUM_SAMPLE_LINES = 50
BLOCK_BYTES = 32 * 2**20  # no row may be longer
PART_BYTES = 2**20  # that are looked at together
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_delimited(data: bytes, where: str) -> Table:
    """The Table in the bytes of a CSV file. MalformedError names the line that is broken."""
    encoding = find_encoding(data)
    if encoding != "utf-8":
        data = b"".join(transcode_file(io.BytesIO(data), encoding, where))
    check_no_nul(io.BytesIO(data), where)
    data = data.lstrip(b"\r\n")
    layout = find_layout(io.BytesIO(data), where)
    cells = _read_cells(data, layout, where)
    table = from_arrow(cells, cells=True, decimal_comma=layout.has_decimal_commas)
    if table.num_rows == 0:
        raise header_only_error(where)
    notes = [f"{where} is not UTF-8; it is read as {encoding}"] if encoding in ("gb18030", "latin-1") else []
    notes += [
        f"column {number} of {where} has no name; it is called {name!r}" for number, name in layout.unnamed_columns
    ]
    return Table(table.columns, table.types, (*notes, *table.notes))


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is laid out."""

    separator: str
    names: tuple[str, ...]
    unnamed_columns: tuple[tuple[int, str], ...]  # place from 1 and name of the columns that were named here

    @property
    def has_decimal_commas(self) -> bool:
        return self.separator == ";"


def find_layout(file: BinaryIO, where: str) -> CsvLayout:
    """Separator and names of a file in UTF-8, from where it stands. InputError when there is nothing but blanks."""
    head = file.read(4 * _SAMPLE_BYTES)
    while head.find(b"\n", 1) < 0 and (more := file.read(len(head))):
        head += more
    head += file.read(4 * (head.find(b"\n", 1) + 1) - len(head)) if head.find(b"\n", 1) * 4 > len(head) else b""
    if not head.strip():
        raise InputError(
            f"{where} is empty", expected="a line of column names, then one line for each row", fix="export it again"
        )
    separator = find_separator(head)
    names, unnamed = _read_header(head, separator, where)
    return CsvLayout(separator, tuple(names), tuple(unnamed))


def header_only_error(where: str) -> InputError:
    return InputError(
        f"{where} has column names but no rows",
        expected="one line for each row",
        fix="export it again, with its rows",
    )


def find_encoding(data: bytes) -> str:
    """
    >>> find_encoding("年龄,城市".encode("gbk")), find_encoding("Zürich,café".encode("latin-1")), find_encoding(b"a,b")
    ('gb18030', 'latin-1', 'utf-8')
    """
    return find_file_encoding(io.BytesIO(data))


def find_file_encoding(file: BinaryIO) -> str:
    """The encoding of a whole file, which is read a part at a time."""
    file.seek(0)
    sample = file.read(2_000)
    for byte_order_mark, encoding in _BYTE_ORDER_MARKS.items():
        if sample.startswith(byte_order_mark):
            return encoding
    if len(sample) > 3 and sample[1::2].count(0) > 0.4 * len(sample) / 2 and not sample[::2].count(0):
        return "utf-16-le"
    if _decodes(file, "utf-8"):
        return "utf-8"
    return "gb18030" if _decodes(file, "gb18030") and _looks_chinese(file) else "latin-1"


def find_separator(data: bytes) -> str:
    """The one of SEPARATORS that cuts the first lines into equally many fields, and most of them.

    >>> find_separator(b"a;b\\n1,5;2\\n2,5;3\\n"), find_separator(b"one\\n1\\n")
    (';', ',')
    """
    sample = data[:_SAMPLE_BYTES].decode("utf-8", "replace")
    best, best_score = ",", (0.0, 1)
    for separator in SEPARATORS:
        counts = _field_counts(sample, separator)
        if counts and counts[0] > 1:
            score = (sum(count == counts[0] for count in counts) / len(counts), counts[0])
            if score > best_score:
                best, best_score = separator, score
    return best


def _field_counts(sample: str, separator: str) -> list[int]:
    """Fields in each of the first lines. The last one may be cut off and is left out, but for the header."""
    counts: list[int] = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator):
            if row:
                counts.append(len(row))
            if len(counts) > _NUM_SAMPLE_LINES:
                break
    except csv.Error:  # a field longer than the sample
        pass
    return counts if len(counts) < 2 else counts[:-1]


def _read_header(head: bytes, separator: str, where: str) -> tuple[list[str], list[tuple[int, str]]]:
    """Column names, and which of them were made here because the file has none (the index of a saved frame)."""
    text = io.StringIO(head.decode("utf-8", "replace"), newline="")
    try:
        header = next(csv.reader(text, delimiter=separator))
    except csv.Error as error:
        raise MalformedError(
            f"{where}, line 1: {error}",
            expected="a line of column names",
            fix="mend the line, or export the file again",
        ) from error
    names = check_names(header)
    return names, [(position, names[position - 1]) for position, name in enumerate(header, 1) if not name.strip()]


def _read_cells(data: bytes, layout: CsvLayout, where: str) -> Any:
    """Every cell as text, in a pyarrow.Table."""
    pa, csv_reader = need("pyarrow", extra="tabular"), need("pyarrow.csv", extra="tabular")
    options = csv_options(layout, block_bytes=min(len(data) + 1, BLOCK_BYTES), has_quotes=b'"' in data)
    try:
        table = csv_reader.read_csv(pa.BufferReader(data), *options)
    except pa.ArrowInvalid as error:
        raise broken_line_error(io.BytesIO(data), layout, where, str(error)) from error
    if data.count(b'"') % 2:
        check_quotes_closed(io.BytesIO(data), layout, where)
    return table.rename_columns(list(layout.names))


def csv_options(layout: CsvLayout, *, block_bytes: int, has_quotes: bool) -> tuple[Any, Any, Any]:
    """Arrow's options for reading, parsing and converting: every cell as text, columns called by their place."""
    pa, csv_reader = need("pyarrow", extra="tabular"), need("pyarrow.csv", extra="tabular")
    column_numbers = [str(index) for index in range(len(layout.names))]
    return (
        csv_reader.ReadOptions(column_names=column_numbers, skip_rows_after_names=1, block_size=block_bytes),
        csv_reader.ParseOptions(delimiter=layout.separator, newlines_in_values=has_quotes),
        csv_reader.ConvertOptions(column_types=dict.fromkeys(column_numbers, pa.string()), strings_can_be_null=False),
    )


def check_quotes_closed(file: BinaryIO, layout: CsvLayout, where: str) -> None:
    """MalformedError when a quote opens a field that never ends: the rest of the file would be one value."""
    reader = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""), delimiter=layout.separator, strict=True)
    line = 1
    try:
        for _ in reader:
            line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise MalformedError(
                f"{where}, line {line}: a quote opens a field that never ends",
                expected="quotes in pairs",
                fix="close it, or write it twice",
            ) from error


def broken_line_error(file: BinaryIO, layout: CsvLayout, where: str, reason: str) -> MalformedError:
    """Find the line that does not fit, with the slower reader of the standard library, which counts lines."""
    reader = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""), delimiter=layout.separator)
    num_columns = len(layout.names)
    line = 1
    try:
        for row in reader:
            if row and len(row) != num_columns:
                return MalformedError(
                    f"{where}, line {line}: {len(row)} fields",
                    expected=f"{num_columns}, as in the line of column names (separator {layout.separator!r})",
                    fix="mend the line; a field that holds the separator or a quote is put between double quotes",
                )
            line = reader.line_num + 1
    except csv.Error as error:
        reason = str(error)
    return MalformedError(
        f"{where}, line {line} or later: {reason[:200]}",
        expected="one row of fields for each line",
        fix="mend the line, or export the file again",
    )


def transcode_file(file: BinaryIO, encoding: str, where: str) -> Iterator[bytes]:
    """A whole file in UTF-8, a part at a time. MalformedError when it is not in `encoding` throughout."""
    try:
        for text in _decode_parts(file, encoding):
            yield text.encode("utf-8")
    except UnicodeError as error:
        raise MalformedError(
            f"{where} is not {encoding} throughout: {error.args[-1]}", expected="one encoding", fix="save it as UTF-8"
        ) from error


def check_no_nul(file: BinaryIO, where: str) -> None:
    """MalformedError with the line of the first NUL byte in a whole file."""
    file.seek(0)
    line = 1
    while part := file.read(PART_BYTES):
        offset = part.find(b"\x00")
        line += part.count(b"\n", 0, None if offset < 0 else offset)
        if offset >= 0:
            raise MalformedError(
                f"{where}, line {line}: a NUL byte", expected="text", fix="export the file again as UTF-8 CSV"
            )


def _decode_parts(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The text of a whole file, a part at a time. UnicodeError where it is not in `encoding`."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    while part := file.read(PART_BYTES):
        yield decoder.decode(part)
    yield decoder.decode(b"", final=True)


def _decodes(file: BinaryIO, encoding: str) -> bool:
    try:
        for _ in _decode_parts(file, encoding):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _looks_chinese(file: BinaryIO) -> bool:
    """Whether most letters beyond ASCII are the common ones of GB 2312: Latin-1 read as GB 18030 gives rare ones."""
    letters = list(
        islice((letter for text in _decode_parts(file, "gb18030") for letter in text if letter > "\x7f"), 10_000)
    )
    known = sum(_decodes_to_gb2312(letter) for letter in letters)
    return known > 0.8 * len(letters)


def _decodes_to_gb2312(letter: str) -> bool:
    try:
        letter.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True
