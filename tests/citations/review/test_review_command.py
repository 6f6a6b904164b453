"""`deepseek review` on a bundle: the table, JSON, a page with its signature, decisions, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.bundle import write_bundle
from deepseek.citations.review.embedders import EncoderChoice
from deepseek.citations.review.storage import model_files
from deepseek.citations.review.training import ReviewOptions, review_manifest
from deepseek.cli import main
from support.reviewed import Reviewed


@pytest.fixture(scope="module")
def bundle(reviewed: Reviewed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, encoder = tmp_path_factory.mktemp("bundle") / "review", EncoderChoice("hashed")
    manifest = review_manifest(reviewed.checklist, reviewed.labelled, ReviewOptions(path, encoder))
    write_bundle(path, manifest, model_files(reviewed.model, encoder))
    return path


def test_json_says_what_the_table_says(bundle: Path, reviewed: Reviewed, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["review", str(bundle), str(reviewed.files.contract)]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["num_findings"] == 3
    assert {finding["id"] for finding in document["findings"] if finding["verdict"] == "breaks"} == {
        "liability-cap", "one-sided-change"
    }  # fmt: skip
    assert document["provenance"]["digest"]
    assert document["document"]["sha256"]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "3 of 8 lines are findings (2 broken, 1 missing)" in table
    assert "Cap on liability" in table


def test_a_page_is_signed_and_its_signature_is_checked(
    bundle: Path, reviewed: Reviewed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keygen", str(tmp_path / "key")]) == 0
    page, decisions = tmp_path / "findings.html", tmp_path / "d.csv"
    words = ["review", str(bundle), str(reviewed.files.contract)]
    assert main([*words, "--decisions-template", str(decisions), "--strict"]) == 3
    lines = decisions.read_text().splitlines()
    filled = [line.replace(",,,,,", ",fix,Li Wei,2026-03-02,,") for line in lines]
    decisions.write_text("\n".join(filled) + "\n")
    signed = [*words, "--decisions", str(decisions), "--html", str(page), "--sign", str(tmp_path / "key"), "--strict"]
    assert main(signed) == 0
    assert "Every finding is decided." in page.read_text()
    assert main(["verify", str(page), "--key", str(tmp_path / "key.pub")]) == 0
    page.write_text(page.read_text() + " ")
    assert main(["verify", str(page), "--key", str(tmp_path / "key.pub")]) == 3


def test_what_cannot_be_used_is_exit_code_2(
    bundle: Path, reviewed: Reviewed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("")
    for words, problem in (
        ([str(bundle), str(tmp_path / "none.pdf")], "there is no file"),
        ([str(bundle), str(tmp_path / "empty.txt")], "has no words"),
        ([str(tmp_path), str(reviewed.files.contract)], "is not a bundle"),
        ([str(bundle), str(reviewed.files.contract), "--sign", str(tmp_path / "key")], "nothing to sign"),
    ):
        assert main(["review", *words]) == 2
        assert problem in capsys.readouterr().err
    for words in (["--out", "x"], ["a.toml", "--out", "x"], ["--example", "--train", "d", "--out", "x"]):
        assert main(["recipe", "compliance", *words]) == 2
        assert "--example" in capsys.readouterr().err


@pytest.mark.slow
def test_other_verbs_say_that_a_review_is_not_theirs(
    bundle: Path, reviewed: Reviewed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(bundle), str(reviewed.files.documents), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["num_rows"] == 36
    assert figures["metrics"]["accuracy"]["value"] > 0.9
    for verb in ("predict", "explain"):
        assert main([verb, str(bundle), str(reviewed.files.documents / "labels.csv")]) == 2
        assert "deepseek review" in capsys.readouterr().err
    assert main(["serve", str(bundle), "--port", "0"]) == 2
    assert "deepseek review" in capsys.readouterr().err
