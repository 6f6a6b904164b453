"""A dataclass from TOML and --set: values, types, sections, and what is said of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from deepseek.config import build_dataclass, merge_settings, read_toml
from deepseek.errors import InputError, MissingError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    count: int = 3
    mode: Literal["fast", "slow"] = "fast"
    shown: bool = False


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    words: tuple[str, ...] = ()
    spare: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)


def test_sections_and_settings_make_a_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('name = "n"\nwords = ["a"]\n[inner]\nrate = 1\n[args]\nwidth = 3\n')
    outer = build_dataclass(
        Outer, merge_settings(read_toml(file), ["inner.mode=slow", "inner.shown=true", "args.depth=2", "spare=x=y"])
    )
    assert outer == Outer("n", Inner(1.0, 3, "slow", True), ("a",), "x=y", {"width": 3, "depth": 2})
    assert isinstance(outer.inner.rate, float)


def test_the_table_that_is_given_stays_as_it_was() -> None:
    table = {"inner": {"rate": 1}}
    merge_settings(table, ["inner.rate=2"])
    assert table == {"inner": {"rate": 1}}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("inner.raet=1", r"inner\.raet is not known\. Did you mean 'inner\.rate'\?"),
        ("rate=1", r"rate is not known\. Did you mean 'inner\.rate'\?"),
        ("inner.rate=fast", r"inner\.rate is 'fast'\. Expected: a number"),
        ("inner.rate=true", r"inner\.rate is True\. Expected: a number"),
        ("inner.count=1.5", r"inner\.count is 1\.5\. Expected: a whole number"),
        ("inner.mode=slwo", r"inner\.mode is 'slwo'\. Did you mean 'slow'\?"),
        ("inner=1", r"inner is 1\. Expected: a section"),
        ("name.x=1", r"name in 'name\.x=1' is no section"),
        ("words=a", r"words is 'a'\. Expected: a list"),
        ("rate", r"'rate' sets nothing\. Expected: KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_named(setting: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_dataclass(Outer, merge_settings({"name": "n"}, [setting]))


def test_a_missing_value_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name is missing"):
        build_dataclass(Outer, {})
    with pytest.raises(MissingError, match=r"no file .*none\.toml"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[train\n")
    with pytest.raises(InputError, match=r"bad\.toml cannot be read: .*line 1"):
        read_toml(tmp_path / "bad.toml")


DEEP = (
    "[" * 5_000 + "]" * 5_000,
    "{a=" * 5_000 + "1" + "}" * 5_000,
    "[" * 100 + "]" * 100,
    "{a=" * 100 + "1" + "}" * 100,
)


@pytest.mark.parametrize("value", DEEP)
def test_what_is_nested_without_end_is_refused_in_words(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.lr is nested too deeply"):
        merge_settings({}, [f"train.lr={value}"])
    path = tmp_path / "run.toml"
    path.write_text(f"[train]\nlr = {value}\n")
    with pytest.raises(InputError, match=r"run\.toml is nested too deeply"):
        read_toml(path)


def test_a_key_of_thousands_of_sections_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        merge_settings({}, ["a." * 5_000 + "b=1"])
    path = tmp_path / "run.toml"
    path.write_text(f"[{'.'.join('a' * 5_000)}]\nx = 1\n")
    with pytest.raises(InputError, match="nested too deeply"):
        read_toml(path)


def test_a_number_of_thousands_of_digits_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.seed is 999"):
        merge_settings({}, [f"train.seed={'9' * 6_000}"])
    path = tmp_path / "run.toml"
    path.write_text(f"seed = {'9' * 6_000}\n")
    with pytest.raises(InputError, match=r"run\.toml cannot be read"):
        read_toml(path)
