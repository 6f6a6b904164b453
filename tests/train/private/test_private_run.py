"""`train --dp` from the shell to a bundle: what it says of the budget, and what it does not keep of the rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.cli import main

NET = """
import torch
def build(): return torch.nn.Linear(4, 2)
def mixing(): return torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
def batches(): return []
"""
RUN = """
loss = "torch.nn:CrossEntropyLoss"
model.build = "net.py:build"
data.train = "rows.npz"
data.validation = "shown.npz"
data.batch_size = 500
train.epochs = 4
train.lr = 0.05
dp.epsilon = 3.0
dp.delta = 1e-5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run within a budget."""
    place = tmp_path_factory.mktemp("private")
    rng = np.random.default_rng(0)
    for name, num, shift in (("rows", 500, 1e6), ("shown", 200, 0.0)):
        inputs = rng.normal(size=(num, 4)).astype(np.float32)
        target = (inputs[:, 0] > 0).astype(np.int64)
        inputs[:, 3] += shift  # what tells rows of training from those that may be shown
        np.savez(place / f"{name}.npz", x=inputs, y=target)
    (place / "net.py").write_text(NET)
    (place / "run.toml").write_text(RUN)
    assert main(["train", str(place / "run.toml"), "--out", str(place / "run"), "--json"]) == 0
    return place


def test_the_run_says_what_was_spent_and_no_training_loss(folder: Path) -> None:
    report = json.loads((folder / "run" / "run.json").read_text())["report"]
    assert 2.9 < report["privacy"]["epsilon"] <= 3.0
    assert set(report["metrics"]) == {"val_loss"}
    curves = json.loads((folder / "run" / "curves.json").read_text())
    assert {epoch["train_loss"] for epoch in curves["epochs"]} == {None}


@pytest.mark.slow
def test_the_bundle_says_what_was_spent_and_describes_no_training_row(folder: Path, tmp_path: Path) -> None:
    """They lie about a million in the last column; the rows that may be shown about 0."""
    words = ["export", str(folder / "run"), "--input", "4", "--labels", "no,yes", "--out", str(tmp_path / "bundle")]
    assert main([*words, "--json"]) == 0
    assert verify_bundle(tmp_path / "bundle") == []
    bundle = open_bundle(tmp_path / "bundle")
    report = json.loads((folder / "run" / "run.json").read_text())["report"]
    assert bundle.manifest.lineage.config["privacy"]["epsilon"] == report["privacy"]["epsilon"]
    assert bundle.manifest.lineage.data is None
    assert json.loads(bundle.read("evidence/privacy.json"))["num_steps"] == 4
    for name in ("card.json", "preprocess.json", "example.json"):
        assert max(map(abs, numbers_in(json.loads(bundle.read(name))))) < 1e5, name


def numbers_in(document: object) -> list[float]:
    """Every number of a JSON document, at any depth."""
    if isinstance(document, dict):
        return numbers_in(list(document.values()))
    if isinstance(document, list):
        return [number for each in document for number in numbers_in(each)]
    return [float(document)] if isinstance(document, int | float) else []


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--set", 'model.build="net.py:mixing"'), "BatchNorm"), (("--set", 'data.train="net.py:batches"'), "function"),
     (("--processes", "2"), "processes"), (("--set", "train.accumulate=2"), "accumulate"),
     (("--set", "dp.delta=0.01"), "delta")],
)  # fmt: skip
def test_runs_that_no_budget_can_promise_for_are_refused(
    folder: Path, words: tuple[str, ...], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(folder / "run.toml"), "--out", str(tmp_path / "run"), *words]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "run" / "privacy.json").exists()


@pytest.mark.slow
def test_a_private_run_without_rows_that_may_be_shown_makes_no_bundle(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RUN.replace('data.validation = "shown.npz"\n', "").replace("epochs = 4", "epochs = 1")
    (folder / "alone.toml").write_text(text)
    assert main(["train", str(folder / "alone.toml"), "--out", str(folder / "alone")]) == 0
    words = ["export", str(folder / "alone"), "--input", "4", "--labels", "no,yes", "--out", str(tmp_path / "bundle")]
    assert main(words) == 2
    assert "may be shown" in capsys.readouterr().err
