"""The structure of a JSON body: offsets of its brackets, commas and colons, and the memory that decoding it takes.

    structure = scan(body)        # MalformedError above MAX_DEPTH, TooLargeError above MAX_DECODED_BYTES

A body of 32 MiB may hold sixteen million empty arrays, which fill 1.4 GB and hold Python's lock for 20 s while they are
decoded, and compressed it has 78 KB. Counting is done by numpy, a block at a time: it takes 10 ns a byte, other threads
run meanwhile, and what is too much is refused at the block in which it becomes so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import MalformedError, TooLargeError

MAX_DEPTH = 100
#: Limit of the memory of one decoded body, estimated from its structure: three million numbers.
MAX_DECODED_BYTES = 96 << 20
MAX_KEYS = 65_536  # of one object
#: Bytes that each fills in CPython at most: an object of 1 to 5 keys, an array, a text besides its letters, a key's
#: place in its object, a number with its place in an array.
OBJECT_BYTES, ARRAY_BYTES, TEXT_BYTES, KEY_BYTES, VALUE_BYTES = 320, 96, 40, 60, 32
BLOCK_BYTES = 1 << 17
#: Pause between two blocks or slices, so that another thread gets Python's lock. Releasing it for no time wakes none.
PAUSE_S = 2e-5
OPEN, CLOSE, COMMA, COLON = 1, 2, 3, 4
_QUOTE, _BACKSLASH = b'"'[0], b"\\"[0]

_KINDS = np.zeros(256, np.uint8)
for _characters, _kind in (("[{", OPEN), ("]}", CLOSE), (",", COMMA), (":", COLON)):
    for _character in _characters:
        _KINDS[ord(_character)] = _kind
_DEPTH_STEPS = np.array([0, 1, -1, 0, 0], np.int8)  # what each kind does to the depth
_KIND_COST_BYTES = np.array([0, ARRAY_BYTES + VALUE_BYTES, 0, VALUE_BYTES, KEY_BYTES], np.int64)


@dataclass(frozen=True, slots=True)
class JsonStructure:
    """The characters that divide a body and stand outside of its texts, in their order, N of them."""

    places: NDArray[np.uint32]  # (N,) bytes before each
    kinds: NDArray[np.uint8]  # (N,) OPEN, CLOSE, COMMA or COLON
    depths: NDArray[np.uint8]  # (N,) of the array or object that each belongs to, the outermost 1
    decoded_bytes: int  # that the decoded body may fill


class StructureScanner:
    """Scans a body block by block. From block to block it keeps whether it is in a text and behind a backslash, the
    depth, and the sum of decoded bytes."""

    def __init__(self, max_decoded_bytes: int = MAX_DECODED_BYTES) -> None:
        self.decoded_bytes = 0
        self._max_decoded_bytes = max_decoded_bytes
        self._num_bytes = 0
        self._in_text = False
        self._is_escaped = False  # whether the next byte is escaped
        self._depth = 0
        self._parts: list[tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]]] = []

    def feed(self, block: bytes) -> None:
        """Scan the next block. MalformedError for nesting above MAX_DEPTH, TooLargeError for what would fill
        more than the limit."""
        plain = self._without_escapes(block)
        letters = np.frombuffer(plain, np.uint8)
        is_quote = letters == _QUOTE
        num_quotes = int(np.count_nonzero(is_quote))
        kinds = _KINDS[letters]
        if num_quotes:
            inside = np.bitwise_xor.accumulate(is_quote.view(np.uint8))
            kinds[inside != self._in_text] = 0
            self._in_text ^= bool(num_quotes & 1)
        elif self._in_text:
            kinds[:] = 0
        self._take(plain, kinds, num_quotes)
        self._num_bytes += len(block)

    def finish(self) -> JsonStructure:
        """The structure of all blocks."""
        parts, self._parts = self._parts, []
        places, kinds, depths = zip(*parts, strict=True) if parts else (np.zeros((1, 0), np.uint8),) * 3
        return JsonStructure(
            np.concatenate(places), np.concatenate(kinds), np.concatenate(depths), self.decoded_bytes
        )  # fmt: skip

    def _take(self, plain: bytes, kinds: NDArray[np.uint8], num_quotes: int) -> None:
        places = np.flatnonzero(kinds)
        found_kinds = kinds[places]
        depths = np.cumsum(_DEPTH_STEPS[found_kinds], dtype=np.int32) + self._depth
        if len(found_kinds):
            self._depth = int(depths[-1])
            depths += found_kinds == CLOSE  # it belongs to what it closes
            if depths.max() > MAX_DEPTH:
                raise nesting_error()
            if depths.min() < 1 or self._depth < 0:
                raise MalformedError(
                    "the JSON has a comma, a colon or a closing bracket outside of every array and object",
                    expected="one JSON object", fix="write the body with a JSON library",
                )  # fmt: skip
        num_objects = int(np.count_nonzero(np.frombuffer(plain, np.uint8)[places] == b"{"[0]))
        self.decoded_bytes += (
            int(_KIND_COST_BYTES[found_kinds].sum())
            + num_objects * (OBJECT_BYTES - ARRAY_BYTES)
            + num_quotes // 2 * TEXT_BYTES
        )
        if self.decoded_bytes > self._max_decoded_bytes:
            raise TooLargeError(
                f"the JSON holds too many values: decoded it would fill more than {self._max_decoded_bytes >> 20} MiB",
                expected=f"about {self._max_decoded_bytes // VALUE_BYTES:,} numbers in one body, or fewer texts, arrays"
                " and objects",
                fix="send the rows in several requests, or as an Arrow stream or binary tensors",
            )
        self._parts.append(((places + self._num_bytes).astype(np.uint32), found_kinds, depths.astype(np.uint8)))

    def _without_escapes(self, block: bytes) -> bytes:
        """The block with every escape sequence overwritten by underscores, so that its quotes count for nothing."""
        if not self._is_escaped and _BACKSLASH not in block:
            return block
        if self._is_escaped and block:
            block = b"_" + block[1:]
        block = block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        self._is_escaped = block.endswith(b"\\")
        return block


def scan(body: bytes) -> JsonStructure:
    """The structure of a body. Whether it is JSON is for its decoder to say. Errors as StructureScanner.feed()'s.

    >>> structure = scan(b'{"a": [1, "],"]}')
    >>> structure.places.tolist(), structure.depths.tolist()
    ([0, 4, 6, 8, 14, 15], [1, 1, 2, 2, 2, 1])
    """
    scanner = StructureScanner()
    for start in range(0, len(body), BLOCK_BYTES):
        scanner.feed(body[start : start + BLOCK_BYTES])
        time.sleep(PAUSE_S)
    return scanner.finish()


def nesting_error() -> MalformedError:
    """The error for nesting without end."""
    return MalformedError(
        "the JSON is nested too deeply",
        expected=f"a JSON object, of arrays and objects up to {MAX_DEPTH} deep",
        fix="see /docs for an example",
    )
