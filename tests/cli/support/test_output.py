"""What a verb prints: JSON that any parser takes, and a table that reads well in a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepseek.cli import main
from deepseek.cli.support import output

HOSTILE = "a\x1b[2J\u202eb\x9bc"
HARMLESS = "a\\x1b[2J\\u202eb\\x9bc"


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
    output.emit(
        {}, False, lambda: output.figure_table(measured, {"roc_auc": {"value": 0.98, "low": 0.97, "high": 0.99}})
    )
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == ["roc", "auc", "0.991", "[0.980,", "0.997]", "0.980", "[0.970,", "0.990]"]


@pytest.mark.parametrize("say", [output.draw, output.note, lambda text: output.warn([text]), output.escape_text])
def test_text_of_somebody_drives_no_terminal(say, capsys) -> None:
    said = say(HOSTILE) or "".join(capsys.readouterr())
    assert HARMLESS in said
    assert HOSTILE not in said


def test_names_and_cells_of_a_table_drive_no_terminal(capsys) -> None:
    output.emit({HOSTILE: 1, "name": HOSTILE, "many": [HOSTILE]}, False)
    out = capsys.readouterr().out
    assert out.count(HARMLESS) == 3
    assert not {"\x1b", "\u202e", "\x9b"} & set(out)


def test_figures_and_columns_drive_no_terminal(capsys) -> None:
    table = output.make_table(HOSTILE, "b")
    table.add_row(HOSTILE, "c")
    output.draw([table, output.figure_table({HOSTILE: {"value": 1.0, "low": 1.0, "high": 1.0}}, {})])
    assert capsys.readouterr().out.count(HARMLESS) == 3


@pytest.mark.parametrize("name", ["[/b]", "[red]", "[link=http://x]y", ":smile:", "\\[b]"])
def test_names_that_rich_would_take_for_markup_are_shown(name: str, capsys) -> None:
    output.emit({name: name}, False)
    assert capsys.readouterr().out.split() == [name, name]


def test_json_is_left_as_it_is(capsys) -> None:
    output.emit({"label": HOSTILE}, True)
    assert json.loads(capsys.readouterr().out) == {"label": HOSTILE}


@pytest.mark.parametrize("name", [f"{HOSTILE}.csv", "half\udce9.csv"])
def test_the_name_of_a_file_in_an_error_drives_no_terminal(name: str, cancer_bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", "predict", str(cancer_bundle), str(tmp_path / name)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    said = done.stderr.decode()
    assert "there is no file" in said
    assert (HARMLESS if name.startswith("a") else "half\\udce9.csv") in said


def test_a_label_drives_no_terminal_through_any_table_of_data_card(tmp_path: Path, capsys) -> None:
    path = tmp_path / "t.csv"
    rows = [f"[/b]{HOSTILE},{place % 3},{place % 2}" for place in range(40)]
    path.write_text("\n".join([f"{HOSTILE},[red]x,y", *rows]) + "\n")
    assert main(["data", "card", str(path), "--target", "y"]) == 0
    out = capsys.readouterr().out
    assert HARMLESS in out
    assert "[red]x" in out
    assert not {"\x1b", "\u202e", "\x9b"} & set(out)
