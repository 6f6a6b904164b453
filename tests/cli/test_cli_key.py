"""Signatures where bundles are used: --key asks who signed, a signature that does not fit is refused, and one that
nobody has checked is said to be unchecked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepseek.bundle import open_bundle
from deepseek.bundle.sign import generate_keys, is_public_key_file, sign
from deepseek.cli import main
from deepseek.data.table.examples import load_example


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    private, public, _ = generate_keys(tmp_path_factory.mktemp("keys") / "maker")
    return private, public


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_keys(tmp_path_factory.mktemp("other") / "other")[1]


@pytest.fixture(scope="module")
def signed(cancer_bundle: Path, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signed") / "cancer"
    shutil.copytree(cancer_bundle, path)
    (path / "bundle.sig").write_bytes(sign((path / "bundle.json").read_bytes(), keys[0]))
    return path


@pytest.fixture(scope="module")
def misfitting(signed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signed over other bytes, as when bundle.json was replaced and bundle.sig left."""
    path = tmp_path_factory.mktemp("misfitting") / "cancer"
    shutil.copytree(signed, path)
    document = json.loads((path / "bundle.sig").read_bytes())
    document["signature"] = document["signature"][::-1]
    (path / "bundle.sig").write_text(json.dumps(document, sort_keys=True, indent=2) + "\n")
    return path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pandas as pd

    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pd.DataFrame(load_example("cancer")[0].records(40)).to_csv(path, index=False)
    return path


def words(verb: str, bundle: Path, rows: Path, tmp_path: Path) -> list[str]:
    """A call of a verb on rows: with the target for those who measure, without it for the others."""
    import pandas as pd

    frame = pd.read_csv(rows)
    if verb != "evaluate":
        frame = frame.drop(columns=[load_example("cancer")[1]])
    frame.to_csv(tmp_path / "given.csv", index=False)
    return [
        verb,
        str(bundle),
        str(tmp_path / "given.csv"),
        *(["--row", "0", "--no-trust"] if verb == "explain" else []),
    ]


VERBS = ("predict", "evaluate", "explain")


@pytest.mark.parametrize("verb", VERBS)
def test_the_makers_key_is_asked_for(
    verb: str, signed: Path, cancer_bundle: Path, rows: Path, keys: tuple[Path, Path], other_key: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call = words(verb, signed, rows, tmp_path)
    assert main([*call, "--key", str(keys[1]), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["digest"] == open_bundle(signed).digest
    assert "--key" not in said.err
    assert main([*call, "--key", str(other_key)]) == 3
    assert "by another key" in capsys.readouterr().err
    assert main([*words(verb, cancer_bundle, rows, tmp_path), "--key", str(keys[1])]) == 3
    assert "not signed" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_key_a_signature_is_said_to_be_unchecked(
    verb: str, signed: Path, cancer_bundle: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(verb, signed, rows, tmp_path)) == 0
    assert "nobody has checked by whom" in capsys.readouterr().err
    assert main(words(verb, cancer_bundle, rows, tmp_path)) == 0
    assert "signed" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", [*VERBS, "inspect", "verify"])
def test_a_signature_that_does_not_fit_is_refused_without_a_key(
    verb: str, misfitting: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = words(verb, misfitting, rows, tmp_path) if verb in VERBS else [verb, str(misfitting)]
    assert main(call) == 3
    said = capsys.readouterr()
    assert "bundle.sig does not fit bundle.json" in said.out + said.err


def served(bundle: Path, *more: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, lines of the log and all of stderr of a server that is stopped as soon as it is ready."""
    command = [sys.executable, "-m", "deepseek", "serve", str(bundle), "--port", "0", "--workers", "0", *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"DEEPSEEK_LOG_LEVEL": "info"},
    )  # fmt: skip
    assert process.stdout is not None
    if process.stdout.readline():
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    return process.returncode, [json.loads(line) for line in err.splitlines() if line.startswith("{")], err


@pytest.mark.slow
def test_a_server_says_what_it_has_not_checked(signed: Path, cancer_bundle: Path, keys: tuple[Path, Path]) -> None:
    for bundle, more, num_warnings in ((signed, [], 1), (signed, ["--key", str(keys[1])], 0), (cancer_bundle, [], 0)):
        code, lines, err = served(bundle, *more)
        assert code == 0, err
        said = [line for line in lines if "a signature was not checked" in json.dumps(line)]
        assert len(said) == num_warnings
        assert all(line["log.level"] == "warning" and "--key" in json.dumps(line) for line in said)


def test_a_server_refuses_a_signature_that_does_not_fit(misfitting: Path) -> None:
    code, _, err = served(misfitting)
    assert code == 3
    assert "bundle.sig does not fit bundle.json" in err


def test_explain_takes_a_key_to_check_and_one_to_sign_with(
    signed: Path, rows: Path, keys: tuple[Path, Path], other_key: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert [is_public_key_file(key) for key in (*keys, tmp_path / "absent")] == [False, True, False]
    call = [*words("explain", signed, rows, tmp_path), "--json-file", str(tmp_path / "why.json")]
    assert main([*call, "--key", str(keys[1]), "--key", str(keys[0])]) == 0
    assert main(["verify", str(tmp_path / "why.json"), "--key", str(keys[1])]) == 0
    assert main([*call, "--key", str(keys[1]), "--key", str(other_key)]) == 2
    assert "2 public keys" in capsys.readouterr().err
