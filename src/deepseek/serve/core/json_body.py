"""Strict JSON: bytes to an object, or an error that says where it breaks.

NaN and Infinity literals, bytes after the end, broken UTF-8, numbers out of range, nesting without end and duplicate
keys are refused; msgspec finds all but the last. A body above INLINE_ROWS_BYTES is looked at before it is decoded, and
then decoded in slices (bodies/): it is read in a thread, which holds up nobody.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from typing import Any

import msgspec

from deepseek.contracts import JsonObject
from deepseek.errors import MalformedError
from deepseek.serve.core.bodies.offload import INLINE_BYTES
from deepseek.serve.core.bodies.slices import DuplicateKeyError, decode_in_slices
from deepseek.serve.core.bodies.structure import MAX_DEPTH, nesting_error, scan

_decode = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode
EXPECTED_OBJECT = "a JSON object"
_UTF8_BLOCK_BYTES = 1 << 18
SEE_DOCS = "see /docs for an example"
_JSON_TYPE_NAMES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def decode_object(body: bytes) -> JsonObject:
    """The JSON object in `body`. MalformedError for anything else.

    >>> decode_object(b'{"instances": [{"age": 61}]}')
    {'instances': [{'age': 61}]}
    >>> decode_object(b"[]")
    Traceback (most recent call last):
        ...
    deepseek.errors.MalformedError: the body is an array. Expected: a JSON object. To mend it: see /docs for an example.
    """
    value = decode_value(body)
    if not isinstance(value, dict):
        raise MalformedError(f"the body is {json_type_name(value)}", expected=EXPECTED_OBJECT, fix=SEE_DOCS)
    return value


def decode_value(body: bytes) -> Any:
    """The JSON value in `body`. MalformedError for what is no JSON and for a key that stands twice in one object,
    TooLargeError for what would fill too much memory."""
    if not body:
        raise MalformedError("the body is empty", expected=EXPECTED_OBJECT, fix=SEE_DOCS)
    try:
        return (
            _decode_strictly(body)
            if len(body) <= INLINE_BYTES
            else decode_in_slices(body, scan(body), _decode_strictly)
        )
    except RecursionError:
        raise nesting_error() from None
    except DuplicateKeyError as error:
        raise _duplicate_key_error(str(error)) from None
    except ValueError as error:  # msgspec's errors and broken UTF-8
        raise MalformedError(
            _decode_error_text(error, body),
            expected="one JSON object in UTF-8, without NaN or Infinity",
            fix="write the body with a JSON library; null stands for a value that is not known",
        ) from None


def _decode_strictly(data: bytes) -> Any:
    """The value of a body, or of a slice of it. ValueError for what is no JSON, MalformedError for a key that stands
    twice in one object."""
    value = _decode(data)
    if type(value) is dict or type(value) is list:
        # Every key brings a colon, so as many colons as kept keys proves that no key was dropped as a duplicate. Text
        # with colons in it (a time of day) makes the counts differ too, and only then is the slow look taken.
        num_colons = data.count(b":")
        if num_colons != _count_shallow_keys(value) and num_colons != count_keys(value):
            json.loads(data, object_pairs_hook=_reject_duplicate_keys)
    return value


def _count_shallow_keys(document: Any) -> int:
    """The number of keys of an object and of the objects in its arrays; keys further down are not counted."""
    if type(document) is not dict:
        return 0
    count = len(document)
    for value in document.values():
        if type(value) is list:
            for item in value:
                if type(item) is not dict:
                    break
                count += len(item)
    return count


def count_keys(value: Any, depth: int = 0) -> int:
    """The number of keys in the objects of a decoded body, at any depth. RecursionError above MAX_DEPTH."""
    num_found = 0
    if depth > MAX_DEPTH:
        raise RecursionError
    if type(value) is dict:
        num_found = len(value)
        value = value.values()
    elif type(value) is not list or not value or type(value[0]) not in (dict, list):
        return 0
    for item in value:
        if type(item) is dict or type(item) is list:
            num_found += count_keys(item, depth + 1)
    return num_found


def json_type_name(value: Any) -> str:
    """The JSON type of a value in words, for messages."""
    if value is None:
        return "null"
    return _JSON_TYPE_NAMES.get(type(value), type(value).__name__)


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _duplicate_key_error(next(name for name, count in counts.items() if count > 1))
    return members


def _duplicate_key_error(key: str) -> MalformedError:
    return MalformedError(
        f"the key {key[:100]!r} stands twice in one object", expected="each key once", fix="keep one of them"
    )


def _decode_error_text(error: ValueError, body: bytes) -> str:
    # It counts from the beginning of its string, not of the body; from msgspec 0.23 on it is an error of msgspec's own,
    # which does not count.
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):
        return f"the body is not UTF-8 (byte {_first_invalid_byte(body)})"
    text = str(error)
    return text[0].lower() + text[1:] if text[:4] != "JSON" else "the " + text


def _first_invalid_byte(body: bytes) -> int:
    """The offset of the first byte that is not UTF-8, or the length of the body."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _UTF8_BLOCK_BYTES):
        num_kept = len(decoder.getstate()[0])  # of a character that the last block has begun
        try:
            decoder.decode(body[start : start + _UTF8_BLOCK_BYTES], start + _UTF8_BLOCK_BYTES >= len(body))
        except UnicodeDecodeError as error:
            return start - num_kept + error.start
    return len(body)
