"""What `deepseek serve` takes for a model besides a bundle."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from deepseek.cli import main
from support.nets.onnxgraphs import convnet, pictures
from support.nets.textfolders import make_text_folder
from support.servers.serving import started


@pytest.fixture(scope="module")
def booster_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Small, of two columns, and the model itself."""
    path = tmp_path_factory.mktemp("xgboost") / "cells.ubj"
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 2))
    data = xgboost.DMatrix(features, features[:, 0] > 0, feature_names=["age", "dose"])
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 5)
    booster.save_model(path)
    return path, booster


def ask_json(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_a_file_of_xgboost_is_served(booster_file: tuple[Path, Any], tmp_path: Path) -> None:
    path, booster = booster_file
    expected = booster.inplace_predict(np.array([[0.5, np.nan], [np.nan, 1.0]], np.float32))
    with started(path, "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path)}) as server:
        assert server.models == ["cells"]
        url = f"{server.url}/v1/models/cells"
        example = ask_json(f"{url}/example")
        assert ask_json(f"{url}:explain", example)["explanations"]
        rows = [{"age": 0.5, "dose": None}, {"age": None, "dose": 1.0}]
        answer = ask_json(f"{url}:predict", {"instances": rows})["predictions"]
        np.testing.assert_allclose([row["probabilities"]["1"] for row in answer], expected, atol=1e-6)
        assert server.stop() == 0


def test_a_file_cannot_be_signed(
    booster_file: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key.pub"
    key.write_text("")
    assert main(["serve", str(booster_file[0]), "--key", str(key), "--port", "0"]) == 2
    assert "no bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "says"), [("m.onnx", 3, "m.onnx is no ONNX file"), ("m.pkl", 2, "no model that is known here")]
)
def test_other_files_are_refused_by_what_they_are(
    name: str, code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert main(["serve", str(tmp_path / name), "--port", "0"]) == code
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_a_text_model_runs_in_what_the_gate_lets_pass(tmp_path: Path) -> None:
    folder, texts = make_text_folder(tmp_path / "tiny", "bert", "embedding"), tmp_path / "texts"
    texts.write_text("the cat sat on a mat\nberlin is big\n")
    options = ("--lossy", "cosine=-1,difference=1", "--lossy-texts", texts, "--workers", "1", "--log-level", "info")
    with started(folder, *options, environ={"XDG_CACHE_HOME": str(tmp_path)}) as server:
        answer = ask_json(f"{server.url}/v1/models/tiny:predict", {"instances": [{"text": "berlin"}]})
        assert len(answer["predictions"][0]["embedding"]) > 1
        assert server.stop() == 0
        assert server.process.stderr is not None
        events = [json.loads(line) for line in server.process.stderr if "a precision was chosen" in line]
    assert {row["precision"] for row in events[0]["deepseek"]["measured"]} >= {"f32", "int8"}
    assert list((tmp_path / "deepseek" / "lossy").glob("*.json"))


@pytest.mark.slow
def test_an_onnx_file_runs_in_the_int8_that_the_gate_lets_pass(tmp_path: Path) -> None:
    path, rows = convnet(tmp_path / "seen.onnx"), pictures(tmp_path / "rows.npz")
    options = ("--lossy", "cosine=0.9,difference=1,agreement=0.5", "--lossy-rows", rows, "--workers", "1")
    with started(path, *options, "--log-level", "info", environ={"XDG_CACHE_HOME": str(tmp_path)}) as server:
        x = np.load(rows)["x"][:1].tolist()
        answer = ask_json(f"{server.url}/v1/models/seen:predict", {"instances": [{"x": x[0]}]})
        assert len(answer["predictions"][0]["y"]) == 4
        assert server.stop() == 0
        assert server.process.stderr is not None
        events = [json.loads(line) for line in server.process.stderr if "engines were chosen" in line]
    passed = {row["kind"] for row in events[0]["deepseek"]["measured"] if row["passes"]}
    assert {"onnxruntime-int8", "openvino-int8"} <= passed
    is_chosen = any("-int8" in engine for engine in events[0]["deepseek"]["engines"])  # by speed, which differs
    assert bool(list((tmp_path / "deepseek" / "onnx").glob("*.int8.onnx"))) == is_chosen


def test_texts_without_a_tolerance_and_words_that_are_none_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts").write_text("one")
    assert main(["serve", str(tmp_path), "--port", "0", "--lossy-texts", str(tmp_path / "texts")]) == 2
    assert "--lossy" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--port", "0", "--lossy-rows", str(tmp_path / "texts")]) == 2
    assert "--lossy-rows" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--port", "0", "--lossy", "much"]) == 2
    assert "cosine=0.99" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--workers", "\u00b2"), "is not a number of processes"),
        (("--host", "a..b"), "the host 'a..b' is not known"),
        (("--host", "a" * 64 + ".invalid"), "is not known"),
    ],
)
def test_what_only_looks_like_a_number_or_a_host_is_refused_by_name(
    options: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "loans", "--port", "0", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("/models/bert-base", "there is no model at /models/bert-base"),
        ("loans=absent", "there is no model at absent"),
        ("loans=", "'loans=' names no path"),
        ("", "'' names no path"),
    ],
)
def test_a_path_without_a_model_is_said_with_all_that_may_stand_there(
    argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", argument, "--port", "0"]) == 2
    stderr = capsys.readouterr().err
    assert said in stderr
    assert "Hugging Face folder" in stderr
    assert "in a container it is the path inside" in stderr
