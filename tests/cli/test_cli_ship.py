"""`deepseek ship` from the shell: the promised JSON, and a clear word for what cannot be shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from deepseek.cli import main

FAMILIES = ("--candidates", "linear", "--candidates", "xgboost")
PROMISED = {
    "bundle", "digest", "task", "target", "model", "engine", "metrics", "baseline", "size_bytes", "cpu_s", "wall_s",
    "seed", "warnings",
}  # fmt: skip


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "cancer.csv"
    load_breast_cancer(as_frame=True).frame.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_json_holds_what_is_promised(cancer: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "cancer"
    assert (
        main(["ship", str(cancer), "--target", "target", "--out", str(out), "--trials", "2", *FAMILIES, "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert set(said) >= PROMISED
    assert said["bundle"] == str(out)
    assert said["task"] == "binary"
    for figures in (said["metrics"], said["baseline"]):
        assert all(set(figure) == {"value", "low", "high"} for figure in figures.values())
    assert main(["evaluate", str(out), str(cancer), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert set(measured) >= {"bundle", "digest", "num_rows", "metrics"}
    assert measured["digest"] == said["digest"]
    assert measured["num_rows"] == 569


@pytest.mark.slow
def test_the_table_reads_from_the_answer_to_the_provenance(tmp_path: Path, capsys) -> None:
    path = tmp_path / "sugar.csv"
    load_diabetes(as_frame=True).frame.to_csv(path, index=False)
    verb = ["ship", str(path), "--target", "target", "--out", str(tmp_path / "sugar"), "--trials", "2"]
    assert main(verb) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "predicts target (regression)" in lines[0]
    assert any(line.startswith("digest") for line in lines)
    assert main(verb) == 2, "a bundle that is there is not replaced unasked"
    assert main([*verb, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([], "--example"),
        (["rows.csv", "--example", "cancer"], "not both"),
        (["rows.csv"], "--target"),
        (["rows.csv", "--target", "y"], "rows.csv"),
        (["rows.csv", "--target", "y", "--budget", "soon"], "120s"),
        (["rows.csv", "--target", "y", "--kind", "age=number"], "numeric"),
        (["rows.csv", "--target", "y", "--monotone", "age=2"], "+1"),
        (["rows.csv", "--target", "y", "--max-fpr", "5"], "0.05"),
        (["rows.csv", "--target", "y", "--costs", "{"], "JSON"),
    ],
)
def test_what_cannot_be_shipped_is_said_before_any_work(
    args: list[str], word: str, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ship", *args]) == 2
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_target_names_the_columns(cancer: Path, tmp_path: Path, capsys) -> None:
    assert main(["ship", str(cancer), "--target", "diagnosis", "--out", str(tmp_path / "x"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert "mean radius" in json.loads(out)["error"]["expected"]
    assert "diagnosis" in err


def test_the_kinds_and_examples_offered_are_those_that_exist() -> None:
    from deepseek.cli import ship
    from deepseek.data import KINDS
    from deepseek.data.table.examples import EXAMPLES

    assert set(ship.KINDS) == set(KINDS)
    assert set(ship.EXAMPLES) == set(EXAMPLES)
