"""`deepseek compare` from the shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from deepseek.cli import main
from deepseek.data.table.examples import load_example


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "cancer.csv"
    table, _, _ = load_example("cancer")
    pd.DataFrame(table.columns).to_csv(path, index=False)
    return path


def test_one_object_one_page_and_exit_code_0(
    cancer_bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(cancer_bundle, tmp_path / "copy")
    page = tmp_path / "page.html"
    verb = ["compare", str(cancer_bundle), str(copy), str(data), "--no-speed", "--html", str(page)]
    assert main([*verb, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["comparisons"][0]["verdict"] == "identical"
    assert document["num_rows"] == 569
    assert "the same model" in page.read_text("utf-8")
    assert main(verb) == 0
    said = capsys.readouterr()
    assert said.out.startswith("copy is as good as cancer: they are the same model")
    assert f"the page is in {page}" in said.err
    assert "has learned from" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "two bundles"),
        (["BUNDLE", "DATA"], "two bundles"),
        (["BUNDLE", "BUNDLE", "BUNDLE"], "DATA, a file of labelled rows, is missing"),
        (["BUNDLE", "gone", "DATA"], "gone"),
        (["BUNDLE", "BUNDLE", "gone.csv"], "gone.csv"),
        (["BUNDLE", "BUNDLE", "DATA", "--metric", "rmse"], "does not fit"),
        (["BUNDLE", "BUNDLE", "DATA", "--by", "mean_radios"], "mean_radius"),
        (["BUNDLE", "BUNDLE", "DATA", "--html", "BUNDLE/page.html"], "would lie in a bundle"),
    ],
)
def test_what_cannot_be_compared_is_said(
    words: list[str], message: str, cancer_bundle: Path, data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    paths = {"BUNDLE": str(cancer_bundle), "DATA": str(data), "BUNDLE/page.html": str(cancer_bundle / "page.html")}
    assert main(["compare", *(paths.get(word, word) for word in words)]) == 2
    assert message in capsys.readouterr().err
