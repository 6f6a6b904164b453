"""`deepseek recipe process` from the shell: begin, ask, tell by hand and by table, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
from deepseek.automl.study.press import STUDY, Press
from deepseek.cli import main


@pytest.fixture
def study(tmp_path: Path, capsys: Any) -> Path:
    (tmp_path / "press.toml").write_text(STUDY, encoding="utf-8")
    assert main(["recipe", "process", "init", str(tmp_path / "line"), "--from", str(tmp_path / "press.toml")]) == 0
    capsys.readouterr()
    return tmp_path / "line"


def say(*words: object) -> int:
    return main(["recipe", "process", *map(str, words)])


def test_a_study_from_the_first_trial_to_the_page(study: Path, tmp_path: Path, capsys: Any) -> None:
    assert say("ask", study, "--json") == 0
    [trial] = json.loads(capsys.readouterr().out)["trials"]
    assert (trial["trial"], trial["reason"], trial["recipe"]["pressure"]) == (1, "start", 7.4)
    values = [f"{name}={value}" for name, value in Press().measure(trial["recipe"]).items()]
    assert say("tell", study, 1, *values) == 0
    assert "holds every limit" in capsys.readouterr().out
    assert say("ask", study, "--num", 3, "--json") == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert all(each["chance"] > 0.9 for each in trials)
    rows = [{"trial": each["trial"], **Press().measure(each["recipe"])} for each in trials]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (tmp_path / "results.csv").write_text("\n".join(lines), encoding="utf-8")
    assert say("tell", study, "--csv", tmp_path / "results.csv") == 0
    assert say("report", study, "--html", tmp_path / "page.html", "--json") == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(report["trials"]) == 4
    assert report["gain"] >= 0
    assert "Study of press" in (tmp_path / "page.html").read_text("utf-8")
    assert say("ask", study) == 0
    assert "temperature [°C]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tell", "STUDY", 1, "material_yield=nan", "bond=1", "blister=0", "tear=0"), "--failed"),
        (("tell", "STUDY", 9, "material_yield=1", "bond=1", "blister=0", "tear=0"), "was never asked for"),
        (("tell", "STUDY", 1, "material_yield"), "is not NAME=VALUE"),
        (("tell", "STUDY"), "give either TRIAL with its values, or --csv"),
        (("tell", "STUDY", 1, "--history"), "--history needs --csv"),
        (("tell", "STUDY", "--csv", "nowhere.csv"), "nowhere.csv"),
        (("ask", "nowhere"), "deepseek recipe process init"),
        (("init", "STUDY"), "is there already"),
        (("report", "nowhere"), "holds no study"),
        (("askk", "STUDY"), "Did you mean 'ask'"),
        ((), "give --example or a command"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(study: Path, words: tuple[object, ...], said: str, capsys: Any) -> None:
    say("ask", study)
    capsys.readouterr()
    assert say(*(study if word == "STUDY" else word for word in words)) == 2
    assert said in capsys.readouterr().err


def test_a_table_with_a_wrong_row_keeps_none_of_it(study: Path, tmp_path: Path, capsys: Any) -> None:
    names = "temperature,pressure,dwell,moisture,margin,material_yield,bond,blister,tear"
    rows = ["186,7,110,5.2,12,77,0.8,0.1,0.1", "186,7,110,5.2,12,,0.8,0.1,0.1"]
    (tmp_path / "old.csv").write_text("\n".join([names, *rows]), encoding="utf-8")
    assert say("tell", study, "--csv", tmp_path / "old.csv", "--history") == 2
    assert "row 2 of old.csv" in capsys.readouterr().err
    assert not (study / "log.ndjson").read_bytes() if (study / "log.ndjson").exists() else True
    (tmp_path / "old.csv").write_text("\n".join([names, rows[0]]), encoding="utf-8")
    assert say("tell", study, "--csv", tmp_path / "old.csv", "--history") == 0
    assert "1 of 1 rows are new" in capsys.readouterr().out


def test_the_example_reports_a_gain(capsys: Any) -> None:
    assert say("--example", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["gain"] > 0
    assert report["risk"]["num_trials"] == 12
