"""Paths of the last release that the guides named: they import, warn, and are the very modules of today."""

from __future__ import annotations

import importlib
import sys

import pytest

from deepseek.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_is_the_module_of_today(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = importlib.import_module(MOVED[old])
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        assert importlib.import_module(old) is new
    monkeypatch.delitem(sys.modules, old, raising=False)


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("deepseek.data.no_such_module")


def test_an_old_name_is_the_one_of_today_with_a_warning() -> None:
    module = importlib.import_module("deepseek.train.multimodal.fusion")
    with pytest.warns(DeprecationWarning, match="fusion.FusionConfig is now MultimodalConfig"):
        assert module.FusionConfig is module.MultimodalConfig
    with pytest.raises(AttributeError, match="no attribute 'fuse'"):
        module.fuse  # noqa: B018 - asking is the test
