"""What a verb prints: JSON that any parser takes, and a table that reads well in a pipe."""

from __future__ import annotations

import json

import numpy as np

from deepseek.cli import output


def test_json_holds_numpy_values_and_no_nan(capsys) -> None:
    output.emit({"a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": {"e": (np.int64(3),)}}, True)
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [0, 1], "c": None, "d": {"e": [3]}}


def test_the_table_is_not_made_when_json_is_asked_for(capsys) -> None:
    output.emit({"ok": True}, True, lambda: 1 / 0)
    assert capsys.readouterr().out == '{"ok": true}\n'


def test_chinese_is_printed_as_it_is(capsys) -> None:
    output.emit({"名称": "贷款"}, True)
    assert capsys.readouterr().out == '{"名称": "贷款"}\n'


def test_a_long_value_is_not_cut_or_wrapped_in_a_pipe(capsys) -> None:
    output.emit({"digest": "f" * 300}, False)
    assert "f" * 300 in capsys.readouterr().out


def test_figures_stand_beside_the_baseline(capsys) -> None:
    measured = {"roc_auc": {"value": 0.991, "low": 0.98, "high": 0.997}}
    output.emit({}, False, lambda: output.figures(measured, {"roc_auc": {"value": 0.98, "low": 0.97, "high": 0.99}}))
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == ["roc", "auc", "0.991", "[0.980,", "0.997]", "0.980", "[0.970,", "0.990]"]
