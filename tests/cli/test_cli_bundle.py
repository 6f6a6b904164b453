"""inspect, verify, keygen and migrate, as a shell calls them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepseek.bundle import Bundle, EngineEntry, Input, Lineage, Manifest, Output, write_bundle
from deepseek.cli import main

METRICS = {"metrics": {"auc": {"value": 0.9123, "low": 0.88, "high": 0.94}}, "baseline": {}}


@pytest.fixture
def loans(tmp_path: Path) -> Bundle:
    manifest = Manifest(
        name="loans", version="1", created="2026-01-31T12:00:00+00:00", task="binary", target="default",
        inputs=(Input("age", "numeric", "float64"), Input("收入", "numeric", "float64", required=False)),
        outputs=(Output("probabilities", "float32", (2,)),), labels=("no", "yes"), threshold=0.25,
        engines=(EngineEntry("onnxruntime", "model.onnx", 1e-7),), lineage=Lineage(data="ab" * 32, seed=7),
    )  # fmt: skip
    files = {"model.onnx": b"graph", "evidence/metrics.json": json.dumps(METRICS).encode()}
    return write_bundle(tmp_path / "loans", manifest, files)


def run_json(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, Any]:
    """Exit code and the one JSON object on stdout."""
    code = main([*map(str, args), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_verify_says_ok_and_exits_with_0(loans: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run_json(capsys, "verify", loans.path)
    assert code == 0
    assert result == {
        "ok": True,
        "problems": [],
        "digest": loans.digest,
        "signature": "none",
        "num_files": len(loans.sizes),
    }
    assert main(["verify", str(loans.path)]) == 0
    assert "all 3 files are as they were written; not signed" in capsys.readouterr().out


def test_the_python_functions_are_the_verbs(loans: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    import deepseek as ds

    assert run_json(capsys, "verify", loans.path)[1] == ds.verify(loans.path)
    assert run_json(capsys, "inspect", loans.path)[1] == json.loads(json.dumps(ds.inspect(loans.path).to_dict()))
    (loans.path / "model.onnx").write_bytes(b"other")
    assert ds.verify(str(loans.path)) == {
        "ok": False,
        "problems": run_json(capsys, "verify", loans.path)[1]["problems"],
    }


def test_verify_lists_problems_and_exits_with_3(loans: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    (loans.path / "model.onnx").write_bytes(b"grapH")
    (loans.path / "extra").touch()
    code, result = run_json(capsys, "verify", loans.path)
    assert code == 3
    assert result["ok"] is False
    assert any("model.onnx" in problem for problem in result["problems"])
    assert main(["verify", str(loans.path)]) == 3
    assert "2 problems" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["inspect", "verify", "migrate"])
def test_no_bundle_there_exits_with_2(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run_json(capsys, verb, tmp_path / "gone")
    assert code == 2
    assert result["error"]["code"] == "not_found"


def test_a_key_pair_signs_and_verifies(loans: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, keys = run_json(capsys, "keygen", tmp_path / "key")
    assert code == 0
    assert len(keys["key"]) == 64
    assert run_json(capsys, "keygen", tmp_path / "key")[0] == 2
    assert run_json(capsys, "verify", loans.path, "--key", keys["public"])[0] == 3
    signed = write_bundle(tmp_path / "signed", loans.manifest, {"model.onnx": b"graph"}, key=Path(keys["private"]))
    assert run_json(capsys, "verify", signed.path, "--key", keys["public"]) == (
        0,
        {"ok": True, "problems": [], "digest": signed.digest, "signature": "good", "num_files": 3},
    )
    assert run_json(capsys, "verify", signed.path)[1]["signature"] == "not checked"
    assert run_json(capsys, "verify", signed.path, "--key", keys["private"])[0] == 2
    assert run_json(capsys, "inspect", loans.path, "--key", keys["public"])[0] == 3


def test_inspect_tells_what_the_bundle_is(loans: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run_json(capsys, "inspect", loans.path)
    assert code == 0
    assert result["digest"] == loans.digest
    assert result["size_bytes"] == loans.size_bytes
    assert result["metrics"] == METRICS["metrics"]
    assert result["inputs"][1] == {
        "name": "收入", "modality": "numeric", "dtype": "float64", "shape": [], "required": False,
    }  # fmt: skip
    assert main(["inspect", str(loans.path)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "loans 1: binary, default is no, yes",
        "0.912 [0.880, 0.940]",
        "收入",
        "yes from 0.250 on",
        "not signed",
    ):
        assert words in shown
    assert "\x1b" not in shown


def test_a_name_out_of_the_data_neither_breaks_the_table_nor_drives_the_terminal(
    loans: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = replace(
        loans.manifest, target="[/]\x1b[2J", labels=("[red]", "[/no]\x07"), engines=(),
        inputs=(Input("[/bold]", "[x]", "[/y]"), Input("a\x1b]0;b\x07", "numeric", "float64")),
    )  # fmt: skip
    figures = {"metrics": {"[/auc]\x1b": {"value": 1, "low": 0, "high": 1}}}
    bundle = write_bundle(tmp_path / "hostile", hostile, {"evidence/metrics.json": json.dumps(figures).encode()})
    assert main(["inspect", str(bundle.path)]) == 0
    shown = capsys.readouterr().out
    assert "[/bold]" in shown
    assert "[red]" in shown
    assert not {"\x1b", "\x07"} & set(shown)


def test_inspect_without_evidence_has_no_figures(
    loans: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = write_bundle(tmp_path / "bare", loans.manifest, {"model.onnx": b"graph"})
    assert run_json(capsys, "inspect", bare.path)[1]["metrics"] == {}


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"metrics": 3}', b'{"metrics": {"auc": {"value": "x"}}}'])
def test_inspect_survives_evidence_that_holds_no_figures(
    loans: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    odd = write_bundle(tmp_path / "odd", loans.manifest, {"model.onnx": b"graph", "evidence/metrics.json": content})
    assert main(["inspect", str(odd.path)]) in (0, 3)
    assert "Traceback" not in capsys.readouterr().err


def test_migrate_writes_beside_and_says_what_changed(
    loans: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_json(capsys, "migrate", loans.path)[1]["changes"] == []
    old = tmp_path / "old"
    old.mkdir()
    (old / "model.onnx").write_bytes(b"graph")
    top = loans.manifest.to_dict()
    del top["digest"], top["engines"][0]["num_rows"], top["engines"][0]["from_rows"]
    (old / "bundle.json").write_text(
        json.dumps({**top, "format": 1, "files": {"model.onnx": hashlib.sha256(b"graph").hexdigest()}})
    )
    assert main(["migrate", str(old), "--dry-run"]) == 0
    assert "would write" in capsys.readouterr().out
    code, result = run_json(capsys, "migrate", old)
    assert code == 0
    assert (result["from_format"], result["to_format"], result["written"]) == (1, 2, True)
    assert main(["verify", result["out"]]) == 0
