"""init, sign and simulate, as a shell calls them; serve and join are in tests/privacy/test_processes.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.cli import main
from support.federation import party_frame


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.csv"
    party_frame("sample", 300).to_csv(path, index=False)
    return path


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = main(["federate", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_study_is_made_signed_and_refused_to_strangers(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("hub", "ada", "bob", "eve"):
        assert main(["keygen", str(tmp_path / name)]) == 0
    study, parties = tmp_path / "study", [f"--party={name}={tmp_path / name}.pub" for name in ("ada", "bob")]
    words = ("--sample", sample, "--target", "default", "--coordinator", tmp_path / "hub.pub", *parties)
    code, report = run_json(capsys, "init", study, *words)
    assert code == 0
    assert report["unsigned"] == report["parties"] == ["ada", "bob"]
    code, signed = run_json(capsys, "sign", study, "--key", tmp_path / "ada")
    assert (code, signed["party"], signed["unsigned"]) == (0, "ada", ["bob"])
    assert signed["sha256"] == report["sha256"]
    code, refused = run_json(capsys, "sign", study, "--key", tmp_path / "eve")
    assert code == 2
    assert "no party" in str(refused["error"])
    code, refused = run_json(capsys, "serve", study, "--key", tmp_path / "hub", "--port", 0)
    assert code == 3
    assert "1 of 2 parties have signed" in str(refused["error"])
    code, refused = run_json(capsys, "serve", study, "--key", tmp_path / "ada", "--port", 0)
    assert code == 2
    code, refused = run_json(capsys, "join", "https://127.0.0.1:1", "--study", study, "--data", sample,
                             "--key", tmp_path / "bob")  # fmt: skip
    assert code == 2
    assert "has not signed" in str(refused["error"])
    code, refused = run_json(capsys, "init", study, *words)
    assert code == 2
    assert "not empty" in str(refused["error"])


def test_simulate_says_what_to_expect(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study"
    assert main(["federate", "init", str(study), "--sample", str(sample), "--target", "default",
                 "--set", "rounds.num_rounds=3"]) == 0  # fmt: skip
    words = ("simulate", study, "--data", sample, "--parties", 3, "--split", "by:region")
    code, report = run_json(capsys, *words)
    assert code == 0
    assert set(report) >= {"parties", "metrics", "central", "alone", "curves", "bytes_by_party", "bundle"}
    assert set(report["parties"]) == {"region-east", "region-north", "region-south"}  # type: ignore[call-overload]
    assert main(["federate", *map(str, words)]) == 0
    assert "beside all data in one place" in capsys.readouterr().out
    code, refused = run_json(capsys, *words[:-1], "by:regoin")
    assert code == 2
    assert "regoin" in str(refused["error"])
