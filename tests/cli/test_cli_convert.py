"""`deepseek convert`, and a server of what it has written."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from deepseek.cli import VERBS, main
from deepseek.engines.text import TextEngine, TextModel
from support.nets.convertible import make_convertible
from support.nets.textfolders import make_text_folder
from support.servers.serving import started

SOURCE = Path(__file__).resolve().parents[2] / "src" / "deepseek"
TEXTS = ["the cat sat on a mat", "berlin is big", "not very bad " * 40]


@pytest.mark.slow
def test_a_server_takes_what_it_has_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = make_convertible(tmp_path / "source", "mpnet"), tmp_path / "mpnet"
    labels = make_convertible(tmp_path / "labels", "deberta-v2", "sequence-classification")
    assert main(["convert", str(source), "--out", str(out), "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["bundle"], result["task"], result["engine"]) == (str(out), "embedding", "openvino")
    assert result["parity"] == json.loads((out / "converted.json").read_text())["parity"]
    assert result["parity"]["difference"] < result["parity"]["limit"]
    assert main(["convert", str(labels), "--out", str(tmp_path / "deberta")]) == 0
    assert "least cosine" in capfd.readouterr().out
    model, engine = TextModel.open(out), TextEngine.open(out)
    tokens = model.prepare(TEXTS)
    expected = engine.run(model.join(tokens))["embedding"]
    with started(out, tmp_path / "deberta", "--workers", "1") as server:
        said = {row["id"]: row["digest"] for row in httpx.get(f"{server.url}/v1/models").json()["data"]}
        assert said["mpnet"] == result["digest"]
        body = httpx.post(f"{server.url}/v1/embeddings", json={"model": "mpnet", "input": TEXTS}, timeout=600).json()
        embeddings = np.array([row["embedding"] for row in body["data"]])
        np.testing.assert_allclose(embeddings, expected, atol=1e-5)
        body = {"instances": [{"text": text} for text in TEXTS]}
        answers = httpx.post(f"{server.url}/v1/models/deberta:predict", json=body, timeout=600).json()["predictions"]
        assert all(abs(sum(answer["probabilities"].values()) - 1) < 1e-5 for answer in answers)
        explained = httpx.post(f"{server.url}/v1/models/deberta:explain", json=body, timeout=600).json()["explanations"]
        assert len(explained) == len(TEXTS)
        for each in explained:
            total = each["base_value"] + sum(each["values"].values()) + each["residual"]
            assert total == pytest.approx(each["output"], abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [("bert", 2, "served as it is"), ("none", 2, "no folder"), ("nystromformer", 3, "differ")],
)
def test_a_refusal_says_why_and_has_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, code: int, words: str
) -> None:
    if kind == "bert":
        make_text_folder(tmp_path / kind)
    elif kind != "none":
        make_convertible(tmp_path / kind, kind)
    assert main(["convert", str(tmp_path / kind), "--out", str(tmp_path / "out"), "--json"]) == code
    said = capsys.readouterr()
    assert words in json.loads(said.out)["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    make_convertible(tmp_path / "source", "electra")
    code = (
        "import sys; sys.modules['torch'] = None\nfrom deepseek.cli import main\n"
        "sys.exit(main(['convert', sys.argv[1], '--out', sys.argv[2]]))"
    )
    command = [sys.executable, "-c", code, tmp_path / "source", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "[convert]" in done.stderr


def test_every_verb_that_a_text_of_the_program_names_exists() -> None:
    named = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "deepseek " in text else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= {
                    (verb, path.name) for verb in re.findall(r"(?:`|: |^ {2,})deepseek ([a-z]+)\b", node.value, re.M)
                }
    assert {verb for verb, _ in named} >= {"convert", "serve", "ship"}
    assert [entry for entry in sorted(named) if entry[0] not in VERBS] == []
