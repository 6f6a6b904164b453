"""Compressed bodies: gzip and deflate, in requests and, where a client accepts it, in responses.

    await inflate_body(request)                            # request.body is then inflated, up to max_body_bytes
    response = compress_response(response, request.headers)

JSON is scanned while it is inflated: 78 KB may stand for 32 MiB of empty arrays, and inflating stops at the block in
which they become too many.

Source: RFC 9110, section 8.4.1 (deflate is the zlib format) and 12.5.3.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from deepseek.errors import MalformedError
from deepseek.http_errors import MediaTypeError
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.bodies.structure import BLOCK_BYTES, StructureScanner
from deepseek.serve.core.errors import body_too_large_error
from deepseek.serve.core.request import JSON_TYPE, Request, Response

#: zlib's window bits of each coding. In requests both are read, whichever is named.
WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_DETECT_WINDOW_BITS = 47
MIN_COMPRESSED_BYTES = 1_024  # a smaller response fits into one packet anyway
_COMPRESSION_LEVEL = 1  # level 6 takes three times as long for a tenth less
_INLINE_BYTES = 4 * 1024  # compressed, which may be a thousand times as many
_READ_BYTES = 64 * 1024  # compressed, that are read at a time


async def inflate_body(request: Request) -> None:
    """Replace a compressed body by the inflated one. MediaTypeError, MalformedError, TooLargeError."""
    coding = request.headers.get(b"content-encoding", b"").strip().lower()
    if coding in (b"", b"identity"):
        return
    if coding not in WINDOW_BITS and coding != b"x-gzip":  # its older name
        raise MediaTypeError(
            f"content-encoding is {coding[:40].decode('latin-1')!r}",
            expected="gzip, deflate, or a body that is not compressed",
            fix="compress the body with gzip, or send it as it is without the header content-encoding",
        )
    media = request.headers.get(b"content-type", JSON_TYPE).split(b";")[0].strip().lower()
    is_json = media in (JSON_TYPE, b"") and b"inference-header-content-length" not in request.headers
    scanner = StructureScanner() if is_json else None
    num_bytes = INLINE_BYTES if len(request.body) <= _INLINE_BYTES else INLINE_BYTES + 1
    request.body = await offload(num_bytes, inflate_bytes, request.body, request.settings.max_body_bytes, scanner)
    request.headers = {name: value for name, value in request.headers.items() if name != b"content-encoding"}


def inflate_bytes(body: bytes, max_bytes: int, scanner: StructureScanner | None = None) -> bytes:
    """The bytes that were compressed, at most max_bytes. TooLargeError, MalformedError; `scanner` gets each
    block as it is inflated, and may refuse it.

    >>> inflate_bytes(zlib.compress(b"rows"), 4)
    b'rows'
    """
    reader = zlib.decompressobj(_DETECT_WINDOW_BITS)
    inflated = bytearray()
    for start in range(0, len(body), _READ_BYTES):
        if reader.eof:
            raise _inflate_error("bytes follow its end")
        for block in _inflate_blocks(reader, body[start : start + _READ_BYTES]):
            inflated += block
            if len(inflated) > max_bytes:
                raise body_too_large_error(max_bytes)
            if scanner is not None:
                scanner.feed(block)
    if not reader.eof:
        raise _inflate_error("it ends too early")
    if reader.unused_data:
        raise _inflate_error("bytes follow its end")
    return bytes(inflated)


def _inflate_blocks(reader: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """The inflated bytes of `data`, up to BLOCK_BYTES at a time."""
    while True:
        try:
            block = reader.decompress(data, BLOCK_BYTES)
        except zlib.error as error:
            raise _inflate_error(str(error)) from error
        yield block
        data = reader.unconsumed_tail
        if not data and len(block) < BLOCK_BYTES:
            return


def _inflate_error(reason: str) -> MalformedError:
    return MalformedError(
        f"the body does not decompress: {reason[:100]}",
        expected="one gzip or deflate (zlib) stream, as content-encoding says",
        fix="compress the whole body once, or send it as it is without content-encoding",
    )


def compress_response(response: Response, headers: Mapping[bytes, bytes]) -> Response:
    """The response in the coding that the client prefers of gzip and deflate; unchanged when it accepts neither."""
    coding = preferred_coding(headers.get(b"accept-encoding", b""))
    if coding is None or len(response.body) < MIN_COMPRESSED_BYTES:
        return response
    writer = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, WINDOW_BITS[coding])
    body = writer.compress(response.body) + writer.flush()
    coding_headers = ((b"content-encoding", coding), (b"vary", b"accept-encoding"))
    return replace(response, body=body, headers=response.headers + coding_headers)


def preferred_coding(accepted: bytes) -> bytes | None:
    """The coding that an Accept-Encoding header prefers among those that we can write; None for none.

    >>> preferred_coding(b"gzip;q=0.5, deflate"), preferred_coding(b"gzip;q=0, br"), preferred_coding(b"")
    (b'deflate', None, None)
    """
    best, best_weight = None, 0.0
    for part in accepted.lower().split(b","):
        name, _, parameters = part.partition(b";")
        weight = _coding_weight(parameters)
        if name.strip() in WINDOW_BITS and weight > best_weight:
            best, best_weight = name.strip(), weight
    return best


def _coding_weight(parameters: bytes) -> float:
    key, _, value = parameters.strip().partition(b"=")
    if key.strip() != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
