"""JSON values into typed dataclasses, by their annotations: one checker for every field of a manifest.

    @dataclass
    class Point:
        x: int
        names: tuple[str, ...] = ()

    parse(Point, {"x": 3, "names": ["a"]}, "point")      # Point(3, ("a",)), or InputError that names "point.names[0]"

Known kinds: str, int, float, bool, Any (JSON of any shape), Literal, X | None, tuple[X, ...], dict[str, X] and
dataclasses. parse_json_object() reads the bytes of a file that lies beside a manifest.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from deepseek.errors import InputError, IntegrityError

MAX_NESTING_LEVELS = 32
_TYPE_NAMES = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def parse_json_object(data: bytes, name: str, *, finite: bool = True) -> dict[str, Any]:
    """The JSON object in the bytes of the file `name`. IntegrityError, which names the file, when it is none, is nested
    without end or, unless `finite` is False, holds a number that is not: NaN, Infinity, or one too large as 1e999."""
    try:
        found = (
            json.loads(data, parse_constant=_reject_constant, parse_float=_parse_finite_float)
            if finite
            else json.loads(data)
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} was cut or changed: {str(error)[:200] or type(error).__name__}",
            expected="a JSON object of finite numbers",
            fix="copy the bundle again from where it was made, or make it again",
        ) from error
    if not isinstance(found, dict):
        raise IntegrityError(
            f"{name} was changed: it is not a JSON object",
            expected="a JSON object",
            fix="copy the bundle again from where it was made, or make it again",
        )
    return found


def _reject_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number in JSON")


def _parse_finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def parse_value(kind: Any, value: Any, where: str) -> Any:
    """`value`, made of JSON types (a tuple is a list), as `kind`. InputError names the place that does not fit."""
    if dataclasses.is_dataclass(kind):
        return _parse_object(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        inner = next(arg for arg in args if arg is not types.NoneType)
        return None if value is None else parse_value(inner, value, where)
    if origin is Literal:
        return value if isinstance(value, str) and value in args else _refuse(value, where, f"one of {', '.join(args)}")
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else _refuse(value, where, "a list")
        return tuple(parse_value(args[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if origin is dict:
        return {key: parse_value(args[1], item, f"{where}.{key}") for key, item in _parse_mapping(value, where).items()}
    return _copy_json(value, where) if kind is Any else _parse_scalar(kind, value, where)


def _parse_object(kind: Any, value: Any, where: str) -> Any:
    given = _parse_mapping(value, where)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            from deepseek.plugins import did_you_mean  # reads what is installed, which only an error is worth

            raise InputError(
                f"{where} has a field {name[:100]!r} that is not known here.{did_you_mean(name[:100], fields)}",
                expected=", ".join(fields),
                fix="update deepseek: a newer version may have written it",
            )
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in given:
            raise InputError(f"{where} has no {name!r}", expected=", ".join(fields), fix=f"give it {name!r}")
    kinds = _field_types(kind)
    return kind(**{name: parse_value(kinds[name], item, f"{where}.{name}") for name, item in given.items()})


def _parse_mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(value, where, "an object")
    for key in value:
        _parse_scalar(str, key, f"a name in {where}")
    return dict(value)


def _parse_scalar(kind: Any, value: Any, where: str) -> Any:
    # In Python True is an int; in JSON it is not.
    good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    if not good or (kind is float and not math.isfinite(value)) or (kind is str and not _is_text(value)):
        _refuse(value, where, _TYPE_NAMES[kind])
    return kind(value)


def _copy_json(value: Any, where: str, depth: int = 0) -> Any:
    """A copy in JSON's own types; refused when JSON could not hold it or it is nested without end."""
    if depth > MAX_NESTING_LEVELS:
        raise InputError(
            f"{where[:200]} is nested too deeply",
            expected=f"at most {MAX_NESTING_LEVELS} levels",
            fix="make it flatter",
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {
            key: _copy_json(item, f"{where}.{key}", depth + 1) for key, item in _parse_mapping(value, where).items()
        }
    if isinstance(value, (list, tuple)):
        return [_copy_json(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    kind = next((kind for kind in (str, int, float) if isinstance(value, kind)), None)
    return _parse_scalar(kind, value, where) if kind else _refuse(value, where, "text, a number, a list or an object")


def _is_text(value: str) -> bool:
    """Half a surrogate pair is a str in Python and in JSON, but no UTF-8 can hold it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _refuse(value: Any, where: str, expected: str) -> Any:
    raise InputError(f"{where[:200]} is {repr(value)[:80]}", expected=expected, fix="give it such a value")


@cache
def _field_types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
