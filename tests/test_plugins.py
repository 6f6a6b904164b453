"""Names to objects: built-ins first, other packages after them, the near name for a wrong one."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from deepseek import plugins
from deepseek.errors import InputError, MissingError

SINKS = {"log": "logging:Handler", "nested": "pathlib:Path.cwd"}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    others = [
        EntryPoint("csv", "csv:reader", "deepseek.sinks"),
        EntryPoint("broken", "no_such_module:Sink", "deepseek.sinks"),
        EntryPoint("log", "logging:Logger", "deepseek.sinks"),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: [p for p in others if p.group == group])
    monkeypatch.setitem(plugins.TABLES, "sinks", f"{__name__}:SINKS")
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(SINKS=SINKS))
    plugins._entry_points.cache_clear()
    yield
    plugins._entry_points.cache_clear()


def test_names_lists_built_ins_first(groups) -> None:
    assert plugins.names("sinks") == ("log", "nested", "broken", "csv")


def test_find_gives_the_object(groups) -> None:
    import csv
    from pathlib import Path

    assert plugins.find("sinks", "csv") is csv.reader
    assert plugins.find("sinks", "nested")() == Path.cwd()


def test_another_package_cannot_take_the_name_of_a_built_in(groups) -> None:
    with pytest.raises(InputError, match="logging:Logger"):
        plugins.find("sinks", "log")


def test_a_wrong_name_is_told_the_near_one(groups) -> None:
    with pytest.raises(MissingError, match="Did you mean 'nested'"):
        plugins.find("sinks", "nestd")


def test_a_wrong_group_is_told_the_groups() -> None:
    with pytest.raises(MissingError, match="engines"):
        plugins.names("engine")


def test_a_plugin_that_does_not_load_is_named(groups) -> None:
    with pytest.raises(InputError, match="no_such_module"):
        plugins.find("sinks", "broken")


def test_a_table_may_hold_objects_that_carry_their_name() -> None:
    for name in plugins.names("candidates"):
        assert plugins.find("candidates", name).name == name
