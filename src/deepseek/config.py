"""A dataclass from a TOML file and `--set key=value`; an unknown key names the near one.

    table = merged(read_toml(Path("run.toml")), ("train.lr=0.1",))
    config = build(RunConfig, table)

A field that is a dataclass itself is a section of the file: its keys are written with a dot, as `train.lr`.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deepseek.errors import InputError, MissingError
from deepseek.plugins import did_you_mean

T = TypeVar("T")
MAX_NESTING_LEVELS = 32  # levels of tables and lists


def read_toml(path: Path) -> dict[str, Any]:
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


def merge_settings(table: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """The tables with KEY=VALUE pairs put over them; a value is TOML, or text where it is none.

    >>> merge_settings({"train": {"lr": 0.1}}, ["train.lr=1e-3", "train.precision=bf16"])
    {'train': {'lr': 0.001, 'precision': 'bf16'}}
    """
    found = _copy_table(table)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key.count(".") >= MAX_NESTING_LEVELS:
            raise _too_deep(repr(setting[:40]))
        *sections, last = (part.strip() for part in key.split("."))
        if not equals or not all((*sections, last)):
            raise InputError(
                f"{setting!r} sets nothing", expected="KEY=VALUE, such as train.lr=0.01", fix="write it so"
            )
        place = found
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InputError(
                    f"{section} in {setting!r} is no section", expected="the key of a section", fix="see the file"
                )
        place[last] = _parse_value(key.strip(), text.strip())
    return found


def build_dataclass(kind: type[T], table: Mapping[str, Any], *, section: str = "") -> T:
    """A dataclass with the values of a table. InputError names an unknown key, a wrong type, or what is missing."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        name = f"{section}{key}"
        if key not in fields:
            raise InputError(
                f"{name} is not known.{_suggest_key(name, _all_keys(kind, section))}",
                expected=", ".join(f"{section}{each}" for each in fields), fix="take one of these",
            )  # fmt: skip
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise _wrong_value_error(name, value, "a section")
            values[key] = build_dataclass(typing.cast("type[Any]", hint), value, section=f"{name}.")
        else:
            values[key] = _check_value(name, value, hint)
    for key, field in fields.items():
        is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if key not in values and is_needed:
            if not dataclasses.is_dataclass(hints[key]):
                raise InputError(f"{section}{key} is missing", expected="a value for it", fix=f"add {key} = ...")
            values[key] = build_dataclass(hints[key], {}, section=f"{section}{key}.")
    return kind(**values)


def _check_value(name: str, value: Any, hint: Any) -> Any:
    """The value, whole numbers as floats where a float is meant."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            near = did_you_mean(str(value), arguments)
            raise _wrong_value_error(name, value, f"one of {', '.join(map(str, arguments))}", near)
        return value
    if origin in (typing.Union, types.UnionType):
        (hint,) = (each for each in arguments if each is not type(None))
        return _check_value(name, value, hint)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is tuple and isinstance(value, list):
        return tuple(_check_value(name, each, arguments[0]) for each in value)
    plain = origin or hint
    if plain is dict or plain is Mapping:
        plain = dict
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise _wrong_value_error(name, value, _TYPE_NAMES.get(plain, str(plain)))
    return value


_TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a table",
    tuple: "a list",
}


def _wrong_value_error(name: str, value: object, expected: str, near: str = "") -> InputError:
    return InputError(f"{name} is {value!r}.{near}", expected=expected, fix="give such a value")


def _suggest_key(name: str, known: list[str]) -> str:
    """The key of that name in a section, else the one that looks like it."""
    below = [each for each in known if each.endswith(f".{name}")]
    return f" Did you mean {below[0]!r}?" if below else did_you_mean(name, known)


def _all_keys(kind: Any, section: str) -> list[str]:
    """Those of the section, and of the sections below it."""
    hints = typing.get_type_hints(kind)
    keys = []
    for field in dataclasses.fields(kind):
        below = dataclasses.is_dataclass(hints[field.name])
        name = f"{section}{field.name}"
        keys += _all_keys(hints[field.name], f"{name}.") if below else [name]
    return keys


def _copy_table(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy_table(value) if isinstance(value, Mapping) else value for key, value in table.items()}


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
        inner = [each.values() if isinstance(each, Mapping) else each for each in level]
        level = [item for items in inner for item in items if isinstance(item, (Mapping, list))]
        if not level:
            return
    raise _too_deep(where)


def _too_deep(where: str) -> InputError:
    return InputError(
        f"{where} is nested too deeply", expected=f"at most {MAX_NESTING_LEVELS} levels", fix="make it flatter"
    )
