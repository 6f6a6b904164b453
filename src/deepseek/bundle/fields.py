"""JSON values into typed dataclasses, by their annotations: one checker for every field of a manifest.

    @dataclass
    class Point:
        x: int
        names: tuple[str, ...] = ()

    parse_value(Point, {"x": 3, "names": ["a"]}, "point")      # Point(3, ("a",)), or InputError: "point.names[0]"

Known kinds: str, int, float, bool, Any (JSON of any shape), Literal, X | None, tuple[X, ...], dict[str, X] and
dataclasses. parse_json_object() reads the bytes of a file that lies beside a manifest.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from deepseek.config import MAX_NESTING_LEVELS, DataclassReader
from deepseek.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject


def parse_json_object(data: bytes, name: str, *, finite: bool = True) -> JsonObject:
    """The JSON object in the bytes of the file `name`.

    IntegrityError, which names the file, when the bytes are no JSON object, are nested without end or, unless `finite`
    is False, hold a number that is not finite: NaN, Infinity, or one too large, such as 1e999.
    """
    try:
        hooks: dict[str, Any] = {"parse_constant": reject_constant, "parse_float": _finite_float} if finite else {}
        document = json.loads(data, **hooks)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} was cut or changed: {str(error)[:200] or type(error).__name__}",
            expected="a JSON object of finite numbers",
            fix="copy the bundle again from where it was made, or make it again",
        ) from error
    if not isinstance(document, dict):
        raise IntegrityError(
            f"{name} was changed: it is not a JSON object",
            expected="a JSON object",
            fix="copy the bundle again from where it was made, or make it again",
        )
    return document


def reject_constant(text: str) -> NoReturn:
    """ValueError for NaN and Infinity, which Python's reader takes and JSON does not have."""
    raise ValueError(f"{text} is not a number in JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


MAX_INTEGER = 1 << 64  # a longer one is nobody's count or seed, and floats end before the longest


class _JsonReader(DataclassReader):
    """Reads what JSON can hold and nothing else: finite numbers, text that UTF-8 can hold, names that are text."""

    type_names = MappingProxyType({int: "a whole number", float: "a finite number", str: "text", bool: "true or false"})

    def read_table(self, value: Any, where: str, expected: str) -> JsonObject:
        if not isinstance(value, dict):
            raise self.wrong_value(value, where, "an object")
        for key in value:
            self.read_scalar(str, key, f"a name in {where}")
        return dict(value)

    def read_scalar(self, kind: Any, value: Any, where: str) -> Any:
        if kind is Any:
            return self._copy_json(value, where)
        # In Python True is an int; in JSON it is not.
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
            return float(value)
        fits = fits and (kind is not int or abs(value) < MAX_INTEGER)
        if not fits or (kind is float and not math.isfinite(value)) or (kind is str and not _is_utf8(value)):
            raise self.wrong_value(value, where, self.type_names[kind])
        return kind(value)

    def _copy_json(self, value: Any, where: str, depth: int = 0) -> Any:
        """A copy in JSON's own types; refused when JSON could not hold it or it is nested without end."""
        if depth > MAX_NESTING_LEVELS:
            raise InputError(
                f"{where[:200]} is nested too deeply", expected=f"at most {MAX_NESTING_LEVELS} levels",
                fix="make it flatter",
            )  # fmt: skip
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, dict):
            items = self.read_table(value, where, "an object").items()
            return {key: self._copy_json(item, f"{where}.{key}", depth + 1) for key, item in items}
        if isinstance(value, (list, tuple)):
            return [self._copy_json(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
        kind = next((kind for kind in (str, int, float) if isinstance(value, kind)), None)
        if kind is None:
            raise self.wrong_value(value, where, "text, a number, a list or an object")
        return self.read_scalar(kind, value, where)

    def item_name(self, where: str, index: int) -> str:
        return f"{where}[{index}]"

    def wrong_value(self, value: object, where: str, expected: str, choices: Iterable[object] = ()) -> InputError:
        return InputError(f"{where[:200]} is {repr(value)[:80]}", expected=expected, fix="give it such a value")

    def unknown_field(self, kind: Any, name: str, where: str) -> InputError:
        from deepseek.plugins import did_you_mean  # reads what is installed, which only an error is worth

        names = _field_names(kind)
        return InputError(
            f"{where} has a field {name[:100]!r} that is not known here.{did_you_mean(name[:100], names)}",
            expected=", ".join(names),
            fix="update deepseek: a newer version may have written it",
        )

    def default_value(self, kind: Any, name: str, where: str) -> NoReturn:
        expected = ", ".join(_field_names(kind))
        raise InputError(f"{where} has no {name!r}", expected=expected, fix=f"give it {name!r}")


_READER = _JsonReader()


def parse_value(kind: Any, value: Any, where: str) -> Any:
    """`value`, made of JSON types (a tuple is a list), as `kind`. InputError names the place that does not fit."""
    return _READER.read(kind, value, where)


def _field_names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _is_utf8(value: str) -> bool:
    """Half a surrogate pair is a str in Python and in JSON, but no UTF-8 can hold it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
