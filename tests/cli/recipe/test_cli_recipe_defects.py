"""`deepseek recipe defects`, and what `predict` and `evaluate` do with its bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepseek.cli import main

NEEDED = ("torch", "onnxscript", "PIL", "scipy", "pycocotools")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "out"], "give either IMAGES or --example"),
        (["folder", "--example", "--out", "out"], "give either IMAGES or --example"),
        (["folder", "--out", "out", "--template", "_a=_b"], "--template needs --labels"),
    ],
)
def test_bad_usage_says_what_is_missing(words: list[str], said: str, capsys: Any) -> None:
    assert main(["recipe", "defects", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in NEEDED:
        pytest.importorskip(module)
    from deepseek.recipes.defects.example import write_example

    return write_example(tmp_path_factory.mktemp("surface"), num_defective=16, num_good=4)[0].parent


def test_a_promise_without_the_parts_for_it_is_a_failed_check(surface: Path, tmp_path: Path, capsys: Any) -> None:
    words = [str(surface / "pictures"), "--labels", str(surface / "boxes.csv"), "--out", str(tmp_path / "out")]
    assert main(["recipe", "defects", *words, "--max-miss", "0.003"]) == 3
    assert "at least 998 held defective parts" in capsys.readouterr().err
    assert main(["recipe", "defects", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2


@pytest.mark.slow
def test_the_bundle_of_the_recipe_predicts_and_is_evaluated(surface: Path, tmp_path: Path, capsys: Any) -> None:
    pictures, labels, bundle = surface / "pictures", surface / "boxes.csv", tmp_path / "line"
    words = [str(pictures), "--labels", str(labels), "--out", str(bundle), "--budget", "6s", "--trunk", "random"]
    page = tmp_path / "page.html"
    assert main(["recipe", "defects", *words, "--html", str(page), "--json"]) == 0
    shipped = json.loads(capsys.readouterr().out)
    assert (shipped["task"], shipped["classes"]) == ("detection", ["pit", "scratch"])
    assert "Worst misses first" in page.read_text("utf-8")
    out = tmp_path / "found.json"
    assert main(["predict", str(bundle), str(pictures), "--out", str(out), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["num_rows"], len(measured["parts"])) == (20, 20)
    assert all({"file_name", "category", "bbox", "score"} <= set(row) for row in json.loads(out.read_text()))
    assert main(["predict", str(bundle), str(pictures), "--out", str(tmp_path / "found.csv")]) == 2
    capsys.readouterr()
    assert main(["evaluate", str(bundle), str(labels), "--files", str(pictures), "--json"]) == 0
    assert {"map50", "part_auc"} == set(json.loads(capsys.readouterr().out)["metrics"])
    assert main(["verify", str(bundle)]) == 0
    assert main(["inspect", str(bundle)]) == 0
