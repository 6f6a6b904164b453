"""Strict JSON: bytes to an object, or an error that says where it breaks.

NaN and Infinity literals, bytes after the end, broken UTF-8, numbers out of range, nesting without end and duplicate
keys are refused; msgspec finds all but the last.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from deepseek.errors import MalformedError

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
MAX_DEPTH = 100
AN_OBJECT = "a JSON object"
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
        found = _decode(body)
        # Every key brings a colon, so as many colons as kept keys proves that no key was dropped as a duplicate. Text
        # with colons in it (a time of day) makes the counts differ too, and only then is the slow look taken.
        num_colons = body.count(b":")
        if num_colons != _num_usual_keys(found) and num_colons != num_keys(found):
            json.loads(body, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise MalformedError("the JSON is nested too deeply", expected=AN_OBJECT, fix=SEE_DOCS) from None
    except ValueError as error:  # msgspec's errors and broken UTF-8
        raise MalformedError(
            _reason(error, body),
            expected="one JSON object in UTF-8, without NaN or Infinity",
            fix="write the body with a JSON library; null stands for a value that is not known",
        ) from None
    if not isinstance(found, dict):
        raise MalformedError(f"the body is {kind_of(found)}", expected=AN_OBJECT, fix=SEE_DOCS)
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
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(
            f"the key {twice[:100]!r} stands twice in one object", expected="each key once", fix="keep one of them"
        )
    return found


def _reason(error: ValueError, body: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):  # it counts from the beginning of its string, not of the body
        return f"the body is not UTF-8 (byte {_not_utf8(body)})"
    text = str(error)
    return text[0].lower() + text[1:] if text[:4] != "JSON" else "the " + text


def _not_utf8(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(body)
