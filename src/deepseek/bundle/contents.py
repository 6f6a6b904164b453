"""What may stand inside a file: never a pickle, and no safetensors header that is too long or points outside.

A pickle runs code when it is loaded, so it is refused by its name and by its first bytes, even though nothing here
would ever load it. The safetensors format: https://huggingface.co/docs/safetensors (8 bytes of length, a JSON header,
then the tensors without gaps).
"""

from __future__ import annotations

import json
import math
import re
from pathlib import PurePosixPath
from typing import Any, BinaryIO

MAX_HEADER_BYTES = 8 * 2**20
_NUM_LENGTH_BYTES = 8
_NUM_HEAD_BYTES = 256
_PICKLE_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".pck", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt", ".sav", ".npz"}
)
# Protocols 0 and 1 have no magic bytes. Where code would run stands a global, "cMODULE\nNAME\n", then its arguments or
# a memo; before it, containers and memos. The alternatives exclude each other, so nothing is tried twice.
_OLD_PICKLE = re.compile(
    rb"(?:[(\]})dl]|q.|p\d+\n|V[^\n]*\n)*+c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n(?:\(|\)|p\d+\n|q.)", re.DOTALL
)
_ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def content_problem(name: str, file: BinaryIO, size_bytes: int) -> str | None:
    """What is wrong with the file `name`, open at its start; None when it may be in a bundle. Reads only its head."""
    if set(PurePosixPath(name.casefold()).suffixes) & _PICKLE_SUFFIXES:
        return f"{name} may be a pickle by its name; a bundle never holds one"
    if name.endswith(".safetensors"):
        return _safetensors_problem(name, file, size_bytes)
    what = _pickle_container(file.read(_NUM_HEAD_BYTES))
    return f"{name} is {what}; a bundle never holds one" if what else None


def _pickle_container(head: bytes) -> str | None:
    """What could hold a pickle, by its first bytes."""
    if (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1) or _OLD_PICKLE.match(head):
        return "a pickle"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "a zip archive, as torch.save makes them"
    if head[:6] == b"\x93NUMPY" and re.search(rb"'\|?O\d*'", head):
        return "a numpy array of pickled objects"
    return None


def _safetensors_problem(name: str, file: BinaryIO, size_bytes: int) -> str | None:
    length = int.from_bytes(file.read(_NUM_LENGTH_BYTES), "little")
    if size_bytes < _NUM_LENGTH_BYTES or length > size_bytes - _NUM_LENGTH_BYTES:
        return f"{name} has a header that is longer than the file"
    if length > MAX_HEADER_BYTES:
        return f"{name} has a header of {length} bytes, more than {MAX_HEADER_BYTES}"
    try:
        header = json.loads(file.read(length).decode("utf-8"))
        header.pop("__metadata__", None)
        spans = sorted(_tensor_span(entry) for entry in header.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return f"{name} has a header that does not fit the safetensors format: {str(error)[:100]}"
    end = 0
    for first, last in spans:
        if first != end:
            return f"{name} has tensors that overlap or leave a gap"
        end = last
    if end != size_bytes - _NUM_LENGTH_BYTES - length:
        return f"{name} does not hold what its header says: {end} bytes of tensors"
    return None


def _tensor_span(entry: Any) -> tuple[int, int]:
    """First byte and end of one tensor, which must be as many bytes as its shape needs."""
    first, last = entry["data_offsets"]
    sizes = [first, last, *entry["shape"]]
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63 for size in sizes):
        raise ValueError("a size is not a whole number")
    if (last - first) * 8 != math.prod(entry["shape"]) * _ITEM_BITS[entry["dtype"]]:
        raise ValueError("a tensor has another size than its shape needs")
    return first, last
