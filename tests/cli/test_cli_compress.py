"""`deepseek compress`: what it prints and writes, and that what it writes is served as it was judged."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from deepseek.cli import main
from support.nets.compress_models import make_digits
from support.servers.serving import started

pytest.importorskip("nncf")


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timings of 10 rounds instead of 200 show what is printed and written as well."""
    monkeypatch.setattr("deepseek.compress.timing.MAX_ROUNDS", 10)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"))


@pytest.mark.slow
def test_a_compressed_graph_is_served_in_the_engine_that_it_was_judged_in(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["compress", str(digits / "net.onnx"), "--data", str(digits / "validation.npz"), "--keep", "0.97"]
    assert main([*words, "--out", str(tmp_path / "small"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bundle"] == str(tmp_path / "small")
    assert document["model"] == "int8"
    assert set(document["metrics"]) == set(document["baseline"]) == {"accuracy"}
    assert document["size_bytes"] < document["given"][0]["size_bytes"]
    assert main(["verify", str(tmp_path / "small")]) == 0
    assert main(["inspect", str(tmp_path / "small"), "--json"]) == 0
    capsys.readouterr()
    arrays = np.load(digits / "validation.npz")
    rows = [{"x": row.tolist()} for row in arrays["x"]]
    with started(tmp_path / "small", "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as server:
        answer = httpx.post(f"{server.url}/v1/models/net:predict", json={"instances": rows}).json()
        listed = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert [(one["id"], one["task"], one["digest"]) for one in listed] == [("net", "tensors", document["digest"])]
    scores = np.array([next(iter(row.values())) for row in answer["predictions"]])
    judged = document["metrics"]["accuracy"]  # on three quarters of these rows; another quarter calibrates
    served = (scores.argmax(axis=1) == arrays["y"]).mean()
    assert judged["low"] - 0.01 <= served <= judged["high"] + 0.01
    # a changed byte is refused at the start
    model = tmp_path / "small" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    assert main(["serve", str(tmp_path / "small"), "--port", "0"]) == 3
    assert "not a whole bundle" in capsys.readouterr().err


@pytest.mark.slow
def test_limits_that_nothing_meets_end_with_3_and_say_which(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["compress", str(digits / "net.onnx"), "--data", str(digits / "validation.npz"), "--min-speedup", "900"]
    assert main([*words, "--out", str(tmp_path / "small")]) == 3
    said = capsys.readouterr()
    assert "below the limit of 900x" in said.out or "slower" in said.out
    assert "nothing is written" in said.err
    assert not (tmp_path / "small").exists()
    assert main([*words, "--json"]) == 3
    document = json.loads(capsys.readouterr().out)  # one object: what was tried, and why it is not enough
    assert document["bundle"] is None
    assert document["error"]["code"] == "check_failed"
    assert "nothing is written" in document["error"]["message"]
    assert document["given"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net.onnx"], "no data to judge on"),
        (["net.onnx", "--data", "validation.npz", "--keep", "99"], "for 99 % write 0.99"),
        (["net.onnx", "--data", "validation.npz", "--max-mb", "0.01"], "can make no less than"),
        (["net.onnx", "--data", "validation.npz", "--methods", "int3"], "Did you mean 'int8'"),
        (["net.onnx", "--data", "absent.npz"], "no file"),
        (["absent.onnx", "--data", "validation.npz"], "no model at"),
        (["net.onnx", "--data", "validation.npz", "--out", "."], "the folder you are in"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(
    digits: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(digits)
    assert main(["compress", *words]) == 2
    assert said in capsys.readouterr().err
