"""A dataclass from a TOML file and `--set key=value`; an unknown key names the near one.

    table = merge_settings(read_toml(Path("run.toml")), ("train.lr=0.1",))
    config = build_dataclass(RunConfig, table)

A field that is a dataclass itself is a section of the file: its keys are written with a dot, as `train.lr`.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepseek.errors import InputError, MissingError

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject

T = TypeVar("T")
MAX_NESTING_LEVELS = 32  # of tables and lists


def read_toml(path: Path) -> JsonObject:
    """The tables of a file. MissingError or InputError name it, and the line that is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_depth(table, str(path))
        return table
    except FileNotFoundError as error:
        raise MissingError(
            f"there is no file {path}", expected="a TOML file", fix="check the name and the folder"
        ) from error
    except RecursionError as error:
        raise _too_deep(str(path)) from error
    except (OSError, ValueError) as error:  # not UTF-8, no TOML, or a number of thousands of digits
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be read: {reason}", expected="a TOML file, such as: [train] and below it epochs = 10",
            fix="mend that line",
        ) from error  # fmt: skip


def merge_settings(table: JsonObject, settings: Iterable[str]) -> JsonObject:
    """A copy of the tables with KEY=VALUE pairs put over them; a value is TOML, or text where it is none.

    >>> merge_settings({"train": {"lr": 0.1}}, ["train.lr=1e-3", "train.precision=bf16"])
    {'train': {'lr': 0.001, 'precision': 'bf16'}}
    """
    merged = _copy_table(table)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key.count(".") >= MAX_NESTING_LEVELS:
            raise _too_deep(repr(setting[:40]))
        *sections, last = (part.strip() for part in key.split("."))
        if not equals or not all((*sections, last)):
            raise InputError(
                f"{setting!r} sets nothing", expected="KEY=VALUE, such as train.lr=0.01", fix="write it so"
            )
        target = merged
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise InputError(
                    f"{section} in {setting!r} is no section", expected="the key of a section", fix="see the file"
                )
        target[last] = _parse_value(key.strip(), text.strip())
    return merged


def build_dataclass(kind: type[T], table: JsonObject) -> T:
    """A dataclass with the values of a table. InputError names an unknown key, a wrong type, or what is missing."""
    return typing.cast("T", DataclassReader().read(kind, table, ""))


class DataclassReader:
    """Turns tables of TOML or JSON into dataclasses, by the annotations of their fields.

    Known kinds: str, int, float, bool, Any, Literal, X | None, X | Y, tuple[X, ...], dict[str, X], Mapping[str, X] and
    dataclasses. The methods after `read` say which values pass and how a refusal is worded: here as settings that a
    person has written, in bundle/fields.py as the files of a bundle.
    """

    type_names: Mapping[type, str] = types.MappingProxyType(
        {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    )

    def read(self, kind: Any, value: Any, where: str) -> Any:
        """`value` as `kind`. InputError names `where`, the dotted name of the value, or the name below it at fault."""
        if dataclasses.is_dataclass(kind):
            return self._read_dataclass(kind, self.read_table(value, where, "a section"), where)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            kinds = [argument for argument in arguments if argument is not types.NoneType]
            kind = next((argument for argument in kinds if type(value) is argument), kinds[0])
            return None if value is None else self.read(kind, value, where)
        if origin is typing.Literal:
            if value not in arguments:
                raise self.wrong_value(value, where, f"one of {', '.join(map(str, arguments))}", arguments)
            return value
        if origin is tuple:
            if not isinstance(value, (list, tuple)):
                raise self.wrong_value(value, where, "a list")
            return tuple(self.read(arguments[0], item, self.item_name(where, i)) for i, item in enumerate(value))
        if origin in (dict, Mapping):
            table = self.read_table(value, where, "a table")
            return {key: self.read(arguments[1], item, _join(where, key)) for key, item in table.items()}
        return self.read_scalar(kind, value, where)

    def _read_dataclass(self, kind: Any, table: JsonObject, where: str) -> Any:
        hints = _type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        for name in table:
            if name not in fields:
                raise self.unknown_field(kind, name, where)
        values = {name: self.read(hints[name], value, _join(where, name)) for name, value in table.items()}
        for name, field in fields.items():
            is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if is_needed and name not in values:
                values[name] = self.default_value(kind, name, where)
        return kind(**values)

    def read_table(self, value: Any, where: str, expected: str) -> JsonObject:
        """The value as a dict with text for keys."""
        if not isinstance(value, dict):
            raise self.wrong_value(value, where, expected)
        return value

    def read_scalar(self, kind: Any, value: Any, where: str) -> Any:
        """The value, a whole number as a float where a float is meant."""
        if kind is Any:
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong_value(value, where, self.type_names.get(kind, str(kind)))
        return value

    def item_name(self, where: str, index: int) -> str:
        """What an error calls an item of the list `where`."""
        return where

    def default_value(self, kind: Any, name: str, where: str) -> Any:
        """What a field without a default is when the table lacks it: a section of defaults, or InputError."""
        hint = _type_hints(kind)[name]
        if dataclasses.is_dataclass(hint):
            return self.read(hint, {}, _join(where, name))
        raise InputError(f"{_join(where, name)} is missing", expected="a value for it", fix=f"add {name} = ...")

    def wrong_value(self, value: object, where: str, expected: str, choices: Iterable[object] = ()) -> InputError:
        """The error for a value that is not as `expected`; `choices` are the values that would be."""
        near = _did_you_mean(str(value), map(str, choices))
        return InputError(f"{where} is {value!r}.{near}", expected=expected, fix="give such a value")

    def unknown_field(self, kind: Any, name: str, where: str) -> InputError:
        """The error for a key that is no field of the dataclass `kind`."""
        key, known = _join(where, name), _all_keys(kind, where)
        below = [path for path in known if path.endswith(f".{key}")]
        near = f" Did you mean {below[0]!r}?" if below else _did_you_mean(key, known)
        expected = ", ".join(_join(where, field.name) for field in dataclasses.fields(kind))
        return InputError(f"{key} is not known.{near}", expected=expected, fix="take one of these")


@functools.cache
def _type_hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    from deepseek.plugins import did_you_mean  # reads what is installed, which only an error is worth

    return did_you_mean(name, known)


def _all_keys(kind: Any, where: str) -> list[str]:
    """The dotted keys of a section, and of the sections below it."""
    hints = _type_hints(kind)
    keys = []
    for field in dataclasses.fields(kind):
        key = _join(where, field.name)
        keys += _all_keys(hints[field.name], key) if dataclasses.is_dataclass(hints[field.name]) else [key]
    return keys


def _copy_table(table: JsonObject) -> JsonObject:
    return {key: _copy_table(value) if isinstance(value, dict) else value for key, value in table.items()}


def _parse_value(key: str, text: str) -> Any:
    """TOML, or text where it is none. InputError for what is nested without end, or no computer holds."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except RecursionError as error:
        raise _too_deep(key) from error
    except ValueError as error:
        raise InputError(
            f"{key} is {text[:40]}...: {error}", expected="a number that fits into 64 bits", fix="give such a value"
        ) from error
    _check_depth(value, key)
    return value


def _check_depth(value: Any, where: str) -> None:
    """InputError for a value that is nested deeper than any setting is."""
    level = [value] if isinstance(value, (Mapping, list)) else []
    for _ in range(MAX_NESTING_LEVELS + 1):
        inner = [nested.values() if isinstance(nested, Mapping) else nested for nested in level]
        level = [item for items in inner for item in items if isinstance(item, (Mapping, list))]
        if not level:
            return
    raise _too_deep(where)


def _too_deep(where: str) -> InputError:
    return InputError(
        f"{where} is nested too deeply", expected=f"at most {MAX_NESTING_LEVELS} levels", fix="make it flatter"
    )
