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
_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. MalformedError for anything else.

    >>> read_object(b'{"instances": [{"age": 61}]}')
    {'instances': [{'age': 61}]}
    >>> read_object(b'{"age": 61, "age": 16}')
    Traceback (most recent call last):
        ...
    deepseek.errors.MalformedError: the key 'age' stands twice in one object. To mend it: keep one of them.
    """
    if not body:
        raise MalformedError("the body is empty", expected="a JSON object", fix="see /docs for an example")
    try:
        found = _decode(body)
        # Every key brings a colon, so as many colons as kept keys proves that no key was dropped as a duplicate. Text
        # with colons in it (a time of day) makes the counts differ too, and only then is the slow look taken.
        if body.count(b":") != num_keys(found):
            json.loads(body, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise MalformedError("the JSON is nested too deeply", expected="an object of records") from None
    except ValueError as error:  # msgspec's errors and broken UTF-8
        raise MalformedError(_reason(error), expected="one JSON object in UTF-8, without NaN or Infinity") from None
    if not isinstance(found, dict):
        raise MalformedError(f"the body is {kind_of(found)}", expected="a JSON object", fix="see /docs for an example")
    return found


def num_keys(value: Any) -> int:
    """How many keys stand in the objects of a decoded body, at any depth."""
    if isinstance(value, dict):
        return len(value) + sum(num_keys(item) for item in value.values() if isinstance(item, (dict, list)))
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return sum(num_keys(item) for item in value)
    return 0


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
        raise MalformedError(f"the key {twice!r} stands twice in one object", fix="keep one of them")
    return found


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"the body is not UTF-8 (byte {error.start})"
    text = str(error)
    return text[0].lower() + text[1:] if text[:4] != "JSON" else "the " + text
