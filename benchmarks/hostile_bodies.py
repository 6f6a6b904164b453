"""Bodies that a stranger may send to stop a server: each within the size that is permitted, 32 MiB.

for name, make in BODIES.items():
    sent = make("tree")            # of the model "tree"
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

MAX_BYTES = 32 << 20
ROOM_BYTES = 4_096  # below the limit
PREDICT, EXPLAIN, INFER = "/v1/models/{}:predict", "/v1/models/{}:explain", "/v2/models/{}/infer"
INDEX, EMBED = "/v2/repository/index", "/v1/embeddings"
CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
FORM = b"multipart/form-data; boundary=b"
ARROW = b"application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Sent:
    """One request."""

    path: str
    body: bytes
    media: bytes = b"application/json"
    headers: bytes = b""  # further lines
    method: bytes = b"POST"
    is_chunked: bool = False  # the body has its chunks' lengths already
    num_connections: int = 1  # on which it is sent at the same time
    pause_s: float = 0.0  # between two pieces of it
    is_stream: bool = False  # it is answered while it comes: its answers are read to their end

    def head(self, host: str) -> bytes:
        length = b"transfer-encoding: chunked" if self.is_chunked else b"content-length: %d" % len(self.body)
        first = b"%b %b HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n" % (
            self.method, self.path.encode(), host.encode(),
        )  # fmt: skip
        return first + b"content-type: %b\r\n%b\r\n%b\r\n" % (self.media, length, self.headers)


def fill(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """As often `unit` as fits into the limit."""
    return begin + unit * ((MAX_BYTES - ROOM_BYTES - len(begin) - len(end)) // len(unit)) + end


def nested() -> bytes:
    return fill(b'{"instances":[', b"[[[[[[[[]]]]]]]],", b"1]}")


def packed(path: str, pack: Callable[[bytes], bytes], coding: bytes, model: str) -> Sent:
    return Sent(path.format(model), pack(nested()), headers=b"content-encoding: %b\r\n" % coding)


def plain(path: str, make: Callable[[], bytes], model: str) -> Sent:
    return Sent(path.format(model), make())


def filled(path: str, begin: bytes, unit: bytes, end: bytes, model: str) -> Sent:
    return Sent(path.format(model), fill(begin, unit, end))


def keys(num_keys: int) -> bytes:
    return b'{"instances":[{' + b",".join(b'"key %d":1' % number for number in range(num_keys)) + b"}]}"


def wide_rows(width: int) -> bytes:
    row = b"[" + b",".join([b"1.2345"] * width) + b"],"
    return b'{"rows":[' + row * (16_000 - 1) + row[:-1] + b"]}"


def texts_of_bytes(model: str) -> Sent:
    raw = b"\x02\x00\x00\x00ab" * 5_000_000
    kind = b'{"inputs":[{"name":"a","datatype":"BYTES","shape":[5000000],"parameters":{"binary_data_size":%d}}]}'
    head = kind % len(raw)
    line = b"inference-header-content-length: %d\r\n" % len(head)
    return Sent(INFER.format(model), head + raw, b"application/octet-stream", line)


def form(begin: bytes, unit: bytes, end: bytes, model: str) -> Sent:
    return Sent(PREDICT.format(model), fill(begin, unit, end), FORM)


def arrow(num_rows: int, num_columns: int, model: str) -> Sent:
    import pyarrow as pa

    table = pa.table({f"c{number}": [1.0] * num_rows for number in range(num_columns)})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return Sent(PREDICT.format(model), out.getvalue().to_pybytes()[: MAX_BYTES - ROOM_BYTES], ARROW)


def chunked(model: str) -> Sent:
    return Sent(PREDICT.format(model), b"1\r\n \r\n" * 3_000_000 + b"0\r\n\r\n", is_chunked=True)


def many_headers(model: str) -> Sent:
    lines = b"".join(b"x-%d: 1\r\n" % number for number in range(5_000))
    return Sent(PREDICT.format(model), b"{}", headers=lines, num_connections=64)


def many_at_once(model: str) -> Sent:
    return Sent(PREDICT.format(model), nested(), num_connections=8)


def slow(model: str) -> Sent:
    return Sent(PREDICT.format(model), b'{"instances":[' + b" " * 4_000, num_connections=256, pause_s=0.2)


PART = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n'
TEXT = b'{"instances":[{"feature_00":"'
Make = Callable[[str], Sent]
BODIES: dict[str, Make] = {
    "gzip_nested_predict": partial(packed, PREDICT, gzip.compress, b"gzip"),
    "gzip_nested_explain": partial(packed, EXPLAIN, gzip.compress, b"gzip"),
    "deflate_nested_infer": partial(packed, INFER, zlib.compress, b"deflate"),
    "gzip_spaces": lambda model: Sent(
        PREDICT.format(model), gzip.compress(b" " * 1_000_000_000, 6), headers=b"content-encoding: gzip\r\n"
    ),
    "nested_predict": partial(plain, PREDICT, nested),
    "nested_embeddings": partial(plain, EMBED, nested),
    "nested_chat": partial(plain, CHAT, nested),
    "nested_completions": partial(plain, COMPLETE, nested),
    "nested_index": partial(plain, INDEX, nested),
    "empty_rows": partial(filled, PREDICT, b'{"rows":[', b"[],", b"[]]}"),
    "wide_rows": partial(plain, PREDICT, partial(wide_rows, 190)),
    "empty_records": partial(filled, PREDICT, b'{"instances":[', b"{},", b"{}]}"),
    "million_keys": partial(plain, PREDICT, partial(keys, 1_000_000)),
    "many_keys": partial(plain, EXPLAIN, partial(keys, 60_000)),
    "deep_arrays": partial(filled, PREDICT, b'{"instances":', b"[", b""),
    "deep_objects": partial(filled, PREDICT, b'{"instances":', b'{"a":', b""),
    "long_number": partial(filled, PREDICT, b'{"instances":[{"feature_00":0.', b"1", b"}]}"),
    "exponents": partial(filled, PREDICT, b'{"instances":[', b"1e99999,", b"1]}"),
    "long_text": partial(filled, PREDICT, TEXT, b"a", b'"}]}'),
    "colons_in_text": partial(filled, PREDICT, TEXT, b":{", b'"}]}'),
    "surrogates": partial(filled, PREDICT, TEXT, b"\\uD83D\\uDE00", b'"}]}'),
    "lone_surrogates": partial(filled, PREDICT, TEXT, b"\\uD800", b'"}]}'),
    "backslashes": partial(filled, PREDICT, TEXT, b"\\\\", b'"}]}'),
    "base64": partial(filled, PREDICT, TEXT + b"data:image/png;base64,", b"QUFB", b'"}]}'),
    "spaces": partial(filled, PREDICT, b'{"instances":[', b" ", b"1]}"),
    "not_utf8": partial(filled, PREDICT, b'{"instances":"', b"a", b'\xff"}'),
    "no_json": partial(filled, PREDICT, b"", b"x", b""),
    "infer_numbers": partial(
        filled, INFER, b'{"inputs":[{"name":"a","datatype":"FP64","shape":[3],"data":[', b"1.234567890123,", b"1]}]}"
    ),
    "infer_inputs": partial(
        filled, INFER, b'{"inputs":[', b'{"name":"a","datatype":"FP64","shape":[1],"data":[1]},', b"1]}"
    ),
    "infer_texts": texts_of_bytes,
    "form_parts": partial(form, b"", PART + b"1\r\n", b"--b--\r\n"),
    "form_value": partial(form, PART, b"1", b"\r\n--b--\r\n"),
    "form_boundaries": partial(form, PART, b"\r\n--", b"\r\n--b--\r\n"),
    "arrow_batches": partial(arrow, 100_000, 1),
    "arrow_columns": partial(arrow, 1, 80_000),
    "small_chunks": chunked,
    "many_headers": many_headers,
    "many_bodies": many_at_once,
    "slow_bodies": slow,
    "body_of_a_get": lambda _: Sent("/v1/models", fill(b"", b"x", b""), method=b"GET"),
}
SCORE, LABEL, LINES = "/v1/models/{}:score", "/v1/models/{}:label", b"application/x-ndjson"
#: One raw event, by the columns of fraud_stream_server.py; its key and amount are scalars, whatever is sent.
EVENT = b'{"TRANSACTION_ID":1,"TX_DATETIME":1522540800,"CUSTOMER_ID":1,"TERMINAL_ID":1,"TX_AMOUNT":2.5}'
BY_COLUMN = b'{"columns":["TRANSACTION_ID","TX_DATETIME","CUSTOMER_ID","TERMINAL_ID","TX_AMOUNT"],"rows":['


def lines(unit: bytes, model: str) -> Sent:
    return Sent(SCORE.format(model), fill(b"", unit + b"\n", b""), media=LINES)


#: Lines of a stream: the client of this benchmark sends all of them before it reads, so answers have to fit between.
NUM_STREAM_LINES, NUM_STREAMS = 10_000, 16


def stream(unit: bytes, size: int, model: str) -> Sent:
    """Lines in chunks of `size` bytes, on many connections at the same time."""
    text = (unit + b"\n") * (NUM_STREAM_LINES // (unit.count(b"\n") + 1))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return Sent(SCORE.format(model), body, media=LINES, is_chunked=True, num_connections=NUM_STREAMS, is_stream=True)


#: To a server that scores raw events and keeps a state.
EVENT_BODIES: dict[str, Make] = {
    "score_nested": partial(plain, SCORE, nested),
    "label_nested": partial(plain, LABEL, nested),
    "score_events": partial(filled, SCORE, b"[", EVENT + b",", EVENT + b"]"),
    "score_instances": partial(filled, SCORE, b'{"instances":[', EVENT + b",", EVENT + b"]}"),
    "score_nested_amount": partial(filled, SCORE, EVENT.replace(b"2.5}", b"["), b"[[[[[[[[]]]]]]]],", b"1]}"),
    "score_columns": partial(filled, SCORE, BY_COLUMN, b"[1,2,3,4,5],", b"[1,2,3,4,5]]}"),
    "score_empty_rows": partial(filled, SCORE, BY_COLUMN, b"[],", b"[]]}"),
    "score_twice": partial(filled, SCORE, b"{", b'"TRANSACTION_ID":1,', EVENT[1:]),
    "score_deep": partial(filled, SCORE, b"", b"[", b""),
    "score_long_id": partial(
        filled, SCORE, b'[{"TRANSACTION_ID":"', b"a", b'",' + EVENT[len(b'{"TRANSACTION_ID":1,') :] + b"]"
    ),
    "score_lines": partial(lines, EVENT),
    "score_nested_lines": partial(lines, b"[[[[[[[[]]]]]]]]"),
    "score_blank_lines": partial(lines, b""),
    "score_one_line": partial(lines, b"[[[[[[[[]]]]]]]]," * 100_000),
    "stream_events": partial(stream, EVENT, 65_536),
    "stream_bad_lines": partial(stream, b"[]", 65_536),
    "stream_mixed": partial(stream, EVENT + b'\n{"TRANSACTION_ID":1,"TX_FRAUD":1}\n[]', 65_536),
    "stream_small_chunks": partial(stream, b"[]", 1),
    "label_verdicts": partial(
        filled, LABEL, b"[", b'{"TRANSACTION_ID":1,"TX_FRAUD":1},', b'{"TRANSACTION_ID":1,"TX_FRAUD":1}]'
    ),
}


def grpc_inputs() -> bytes:
    """An infer message of sixteen million empty inputs."""
    return fill(b"\n\x04tree", b"*\x00", b"")


def grpc_numbers() -> bytes:
    """One of thirty million numbers of a byte."""
    packed = bytes(MAX_BYTES - ROOM_BYTES)
    contents = b"\x1a" + _varint(len(packed)) + packed
    tensor = b"\n\x01a\x12\x05INT64" + b"*" + _varint(len(contents)) + contents
    return b"\n\x04tree*" + _varint(len(tensor)) + tensor


def grpc_texts() -> bytes:
    """One of five million texts of two letters."""
    raw = struct.pack("<I", 2) + b"ab"
    return b"\n\x04tree*\x0e\n\x01a\x12\x05BYTES\x1a\x02\x80\x01:" + _varint(len(raw) * 5_000_000) + raw * 5_000_000


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


GRPC_BODIES = {"grpc_inputs": grpc_inputs, "grpc_numbers": grpc_numbers, "grpc_texts": grpc_texts}
