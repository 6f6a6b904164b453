"""Strict JSON: bytes to an object, or an error that says where it breaks.

NaN and Infinity literals, bytes after the end, broken UTF-8, numbers out of range, nesting without end and duplicate
keys are refused; msgspec finds all but the last. A body above INLINE_BYTES is looked at before it is decoded, and then
decoded in slices (bodies/): it is read in a thread, which holds up nobody.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from typing import Any

import msgspec

from deepseek.errors import MalformedError
from deepseek.serve.core.bodies.slices import DuplicateKeyError, decode
from deepseek.serve.core.bodies.structure import MAX_DEPTH, scan, too_deep
from deepseek.serve.core.bodies.turns import INLINE_BYTES

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
AN_OBJECT = "a JSON object"
_BLOCK_BYTES = 1 << 18
SEE_DOCS = "see /docs for an example"
_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. MalformedError for anything else.

    >>> read_object(b'{"instances": [{"age": 61}]}')
    {'instances': [{'age': 61}]}
    >>> read_object(b"[]")
    Traceback (most recent call last):
        ...
    deepseek.errors.MalformedError: the body is an array. Expected: a JSON object. To mend it: see /docs for an example.
    """
    if not body:
        raise MalformedError("the body is empty", expected=AN_OBJECT, fix=SEE_DOCS)
    try:
        found = _checked(body) if len(body) <= INLINE_BYTES else decode(body, scan(body), _checked)
    except RecursionError:
        raise too_deep() from None
    except DuplicateKeyError as error:
        raise _stands_twice(str(error)) from None
    except ValueError as error:  # msgspec's errors and broken UTF-8
        raise MalformedError(
            _reason(error, body),
            expected="one JSON object in UTF-8, without NaN or Infinity",
            fix="write the body with a JSON library; null stands for a value that is not known",
        ) from None
    if not isinstance(found, dict):
        raise MalformedError(f"the body is {kind_of(found)}", expected=AN_OBJECT, fix=SEE_DOCS)
    return found


def _checked(data: bytes) -> Any:
    """What stands in a body or a slice of it. ValueError for what is no JSON, MalformedError for a key that stands
    twice in one object."""
    found = _decode(data)
    if type(found) is dict or type(found) is list:
        # Every key brings a colon, so as many colons as kept keys proves that no key was dropped as a duplicate. Text
        # with colons in it (a time of day) makes the counts differ too, and only then is the slow look taken.
        num_colons = data.count(b":")
        if num_colons != _num_usual_keys(found) and num_colons != num_keys(found):
            json.loads(data, object_pairs_hook=_without_duplicates)
    return found


def _num_usual_keys(found: Any) -> int:
    """Those of an object and of the objects in its arrays; the keys below are not looked for."""
    if type(found) is not dict:
        return 0
    count = len(found)
    for value in found.values():
        if type(value) is list:
            for item in value:
                if type(item) is not dict:
                    break
                count += len(item)
    return count


def num_keys(value: Any, depth: int = 0) -> int:
    """How many keys stand in the objects of a decoded body, at any depth. RecursionError above MAX_DEPTH."""
    found = 0
    if depth > MAX_DEPTH:
        raise RecursionError
    if type(value) is dict:
        found = len(value)
        value = value.values()
    elif type(value) is not list or not value or type(value[0]) not in (dict, list):
        return 0
    for item in value:
        if type(item) is dict or type(item) is list:
            found += num_keys(item, depth + 1)
    return found


def kind_of(value: Any) -> str:
    """What JSON calls a value, for messages."""
    if value is None:
        return "null"
    return _NAMES.get(type(value), type(value).__name__)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _stands_twice(next(name for name, count in counts.items() if count > 1))
    return found


def _stands_twice(key: str) -> MalformedError:
    return MalformedError(
        f"the key {key[:100]!r} stands twice in one object", expected="each key once", fix="keep one of them"
    )


def _reason(error: ValueError, body: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):  # it counts from the beginning of its string, not of the body
        return f"the body is not UTF-8 (byte {_not_utf8(body)})"
    text = str(error)
    return text[0].lower() + text[1:] if text[:4] != "JSON" else "the " + text


def _not_utf8(body: bytes) -> int:
    """Where the body stops to be UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _BLOCK_BYTES):
        num_kept = len(decoder.getstate()[0])  # of a character that the last block has begun
        try:
            decoder.decode(body[start : start + _BLOCK_BYTES], start + _BLOCK_BYTES >= len(body))
        except UnicodeDecodeError as error:
            return start - num_kept + error.start
    return len(body)
