"""Rows as multipart/form-data: files as they are, a third smaller than base64 and without a copy as text.

    curl -F scan=@7.png -F note='coughs at night' -F age=61 .../v1/models/M:predict
    curl -F scan=@7.png -F scan=@8.png -F note=one -F note=two -F age=61 -F age=48 .../v1/models/M:predict

A part is a value, its name a column. Parts of one name are rows in their order, so every column has as many. An empty
part without a file stands for a value that is missing. A file of a request is its bytes: its name is not looked at.

Source: RFC 7578; the package multipart reads it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from deepseek.contracts import Record
from deepseek.errors import InputError, MalformedError
from deepseek.extras import need
from deepseek.serve.core.bodies.structure import PAUSE_S
from deepseek.serve.protocols.rows import check_num_rows

if TYPE_CHECKING:
    from deepseek.bundle.manifest import Input
    from deepseek.serve.models.served_model import ServedModel

FORM_TYPE = b"multipart/form-data"
FILE_MODALITIES = frozenset(["image", "audio", "video", "volume", "series"])  # modalities whose values are files
BLOCK_BYTES = 64 * 1024
MAX_DIGITS = 400  # of a number: float() would copy a longer text into its error
EMPTY_PART = "an empty part where the value is missing"


def is_form(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the content-type is a form."""
    return headers.get(b"content-type", b"")[: len(FORM_TYPE) + 1].lower().strip(b"; ") == FORM_TYPE


def read_form(body: bytes, headers: Mapping[bytes, bytes], model: ServedModel, max_rows: int) -> list[Record]:
    """The rows of a form. MalformedError when the body is none, InputError for an unusable part or where columns have
    different numbers of parts, TooLargeError above `max_rows`."""
    columns = {item.name: item for item in model.card.inputs}
    values_by_name: dict[str, list[Any]] = {}
    for name, is_file, data in _iter_parts(body, headers, (max_rows + 1) * (len(columns) + 1)):
        values_by_name.setdefault(name, []).append(_part_value(columns.get(name), name, is_file, data))
        check_num_rows(len(values_by_name[name]), max_rows)
    if not values_by_name:
        raise InputError(
            "the form has no part", expected=f"one for each of {_list_columns(columns)}", fix="send the columns"
        )
    counts = {name: len(values) for name, values in values_by_name.items()}
    most = max(counts, key=lambda name: counts[name])
    fewest = min(counts, key=lambda name: counts[name])
    if counts[most] != counts[fewest]:
        raise InputError(
            f"the form has {counts[most]} parts {most[:100]!r} and {counts[fewest]} {fewest[:100]!r}",
            expected="one part of each column for each row", fix=f"send {EMPTY_PART}",
        )  # fmt: skip
    return [{name: values[row] for name, values in values_by_name.items()} for row in range(counts[most])]


def _iter_parts(body: bytes, headers: Mapping[bytes, bytes], max_parts: int) -> Iterator[tuple[str, bool, bytes]]:
    """Name, whether it is a file, and bytes of each part, one after the other, so that a form with too many parts fills
    no memory before it is refused."""
    multipart = need("multipart", extra="serve")
    name, is_file = "", False
    try:
        _, options = multipart.parse_options_header(headers[b"content-type"].decode("latin-1"))
        with multipart.PushMultipartParser(
            options.get("boundary", ""), strict=True, max_segment_count=max_parts
        ) as parser:
            chunks: list[bytes] = []
            for event in chain.from_iterable(map(parser.parse, _iter_blocks(body))):
                if event is None:
                    yield name, is_file, b"".join(chunks)
                elif isinstance(event, (bytes, bytearray)):
                    chunks.append(bytes(event))
                else:
                    chunks, name, is_file = [], event.name or "", bool(event.filename)
    except multipart.MultipartError as error:
        raise MalformedError(
            f"the body is no form: {str(error)[:200]}", expected="multipart/form-data with the boundary of its header",
            fix="let an HTTP client write it: curl -F COLUMN=@FILE",
        ) from error  # fmt: skip


def _iter_blocks(body: bytes) -> Iterator[bytes]:
    """A body in blocks: the parser searches all bytes that it gets for the boundary, anew for each part."""
    for start in range(0, len(body), BLOCK_BYTES):
        time.sleep(PAUSE_S)
        yield body[start : start + BLOCK_BYTES]


def _part_value(column: Input | None, name: str, is_file: bool, data: bytes) -> Any:
    """A column's value as in JSON, or bytes for a file; None for an empty part."""
    if not data and not is_file:
        return None
    if column is not None and column.modality in FILE_MODALITIES:
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the part {name[:100]!r} is not UTF-8",
            expected="text, a number, or " + EMPTY_PART,
            fix="write it as UTF-8",
        ) from error
    if column is not None and column.dtype.startswith(("float", "int")) and len(text) <= MAX_DIGITS:
        try:
            return float(text)
        except ValueError:
            return text  # preparing the column raises the error
    return text


def _list_columns(columns: Collection[str]) -> str:
    return ", ".join(list(columns)[:20])
