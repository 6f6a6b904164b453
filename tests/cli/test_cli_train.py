"""`deepseek train`: a module of the user's from a TOML file to weights, again after Ctrl-C, and under torchrun."""

from __future__ import annotations

import io
import json
import shlex
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from deepseek.cli import main

NET = """
import time
import torch
from torch import nn

def build(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

def broken():
    return 1 / 0

class Slow(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 3))
    def forward(self, x):
        time.sleep(0.05)
        print("step", flush=True)
        return super().forward(x)

def batches(count=5):
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    return [(x, x[:, :3].argmax(1))] * count
"""
DYING = """
import os, signal

class Dying(nn.Sequential):
    steps = 0
    def __init__(self):
        super().__init__(nn.Linear(4, 3))
    def forward(self, x):
        Dying.steps += 1
        if Dying.steps == 9 and (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""
RUN = """
loss = "torch.nn:CrossEntropyLoss"
[model]
build = "net.py:build"
[data]
train = "rows.npz"
validation = "rows.npz"
[train]
epochs = 8
lr = 0.02
"""


def written(folder: Path) -> Path:
    inputs = np.random.default_rng(0).normal(size=(256, 4))
    np.savez(folder / "rows.npz", x=inputs, y=inputs[:, :3].argmax(1))
    (folder / "net.py").write_text(NET)
    (folder / "run.toml").write_text(RUN)
    return folder / "run.toml"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is told of two processes none of which is killed."""
    file = written(tmp_path_factory.mktemp("alone"))
    verb = ["train", str(file), "--json", "--processes", "2", "--set", "train.checkpoint_every=3"]
    said = io.StringIO()
    with redirect_stdout(said):
        assert main([*verb, "--set", "model.build=net.py:Slow", "--out", str(file.parent / "Slow")]) == 0
    document: dict[str, Any] = json.loads(said.getvalue().splitlines()[-1])
    return document


def said(capsys: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_run_leaves_its_figures_its_curves_and_a_page(run: Path, capsys: Any) -> None:
    out = run.parent / "out"
    assert main(["train", str(run), "--out", str(out), "--json", "--set", "train.log_every=4"]) == 0
    first = said(capsys)
    assert first["report"] == str(out / "report.html")
    curves = json.loads((out / "curves.json").read_text())
    assert [row["epoch"] for row in curves["epochs"]] == list(range(1, 9))
    assert curves["epochs"][-1]["val_loss"] == first["metrics"]["val_loss"]["value"]
    steps = [entry["step"] for entry in curves["steps"] if "train/lr" in entry]
    assert steps == list(range(4, 33, 4))
    assert all(entry["train/rows_per_s"] > 0 for entry in curves["steps"] if "train/lr" in entry)
    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["job"]["train"]["epochs"], record["home"]) == ("finished", 8, "..")
    page = (out / "report.html").read_text()
    for words in ("Training run", "训练记录", "Learning rate", "学习率", "每秒行数", first["digest"], "<svg"):
        assert words in page
    before = {name: (out / name).read_bytes() for name in ("run.json", "curves.jsonl", "curves.json", "report.html")}
    assert main(["train", str(run), "--out", str(out), "--json"]) == 2  # the folder is another run's
    capsys.readouterr()
    assert {name: (out / name).read_bytes() for name in before} == before
    assert main(["train", str(run), "--out", str(out), "--json", "--resume", "--set", "train.epochs=9"]) == 0
    curves = json.loads((out / "curves.json").read_text())
    assert [row["epoch"] for row in curves["epochs"]] == list(range(1, 10))
    assert [entry["step"] for entry in curves["steps"] if "train/lr" in entry][:8] == steps


def test_weights_are_trained_and_described_and_a_longer_run_goes_on(run: Path, capsys: Any) -> None:
    out = run.parent / "out"
    assert main(["train", str(run), "--out", str(out), "--json"]) == 0
    first = said(capsys)
    assert first["weights"] == str(out / "model.safetensors")
    assert first["metrics"]["val_loss"]["value"] < 1.0
    assert (first["num_epochs"], first["num_steps"], first["target"]) == (8, 32, "y")
    assert load_file(out / "model.safetensors")["0.weight"].shape == (8, 4)
    assert main(["train", str(run), "--out", str(out), "--json", "--resume", "--set", "train.epochs=9"]) == 0
    again = said(capsys)
    assert again["num_steps"] == 36
    assert again["digest"] != first["digest"]


def test_a_run_is_the_same_from_the_same_file(run: Path, capsys: Any) -> None:
    digests = set()
    for name in ("a", "b"):
        assert main(["train", str(run), "--out", str(run.parent / name), "--json"]) == 0
        digests.add(said(capsys)["digest"])
    assert len(digests) == 1


def test_without_json_a_person_reads_the_figures(run: Path, capsys: Any) -> None:
    assert main(["train", str(run)]) == 0
    assert "val loss" in capsys.readouterr().out
    assert (run.parent / "run" / "model.safetensors").exists()  # the folder has the file's name


def test_parquet_and_a_function_of_batches_are_data_too(run: Path, capsys: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with np.load(run.parent / "rows.npz") as arrays:
        columns = {f"x{i}": arrays["x"][:, i] for i in range(4)} | {"kind": arrays["y"]}
    pq.write_table(pa.table(columns), run.parent / "rows.parquet")
    pairs = (["data.train=rows.parquet", "data.target=kind"], ["data.train=net.py:batches", "data.args.count=4"])
    for name, settings in zip("pq", pairs, strict=True):
        sets = [part for each in settings for part in ("--set", each)]
        sets += ["--set", 'data.validation="rows.npz"' if name == "q" else "data.validation=rows.parquet"]
        assert main(["train", str(run), "--out", str(run.parent / name), "--json", *sets]) == 0
        assert said(capsys)["num_steps"] == 32


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.epoch=3", "train.epoch is not known. Did you mean 'train.epochs'?"),
        ("lr=3", "lr is not known. Did you mean 'train.lr'?"),
        ("train.epochs=0", "train.epochs is 0"),
        ("model.build=net.py:biuld", "net.py has no 'biuld'. Did you mean 'build'?"),
        (
            "model.build=net.py:broken",
            "model.build: net.py:broken fails: ZeroDivisionError: division by zero (net.py, line",
        ),
        ("model.build=nt.py:build", "nt.py"),
        ("model.build=build", "FILE.py:NAME"),
        ("model.build=net.py:batches", "gives a list"),
        ("model.args.widht=3", "unexpected keyword argument 'widht'"),
        ("loss=torch.nn:CrossEntropyLos", "Did you mean 'CrossEntropyLoss'?"),
        ("loss=torch.nn:GaussianNLLLoss", "fails on a batch of (float32 [64, 4], int64 [64])"),
        ("optimizer.build=torch.optim:SDG", "Did you mean 'SGD'?"),
        ("optimizer.args.lrr=1", None),
        ("data.train=row.npz", "there is no file"),
        ("data.target=z", "has no 'z'"),
        ("data.batch_size=0", "data.batch_size is 0"),
        ("device=cuda:99", "device is 'cuda:99'"),
        ('track=["wandb"]', "track has 'wandb'"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(setting: str, words: str | None, run: Path, capsys: Any) -> None:
    more = ["--set", "optimizer.build=torch.optim:SGD"] if words is None else []
    assert main(["train", str(run), "--out", str(run.parent / "o"), "--set", setting, *more]) == 2
    err = capsys.readouterr().err
    assert (words or "torch.optim:SGD refuses its arguments") in err
    assert "Traceback" not in err


def test_rows_that_are_not_finite_and_objects_are_refused(run: Path, capsys: Any) -> None:
    with np.load(run.parent / "rows.npz") as arrays:
        inputs, target = arrays["x"].copy(), arrays["y"]
    inputs[7, 1] = np.nan
    np.savez(run.parent / "rows.npz", x=inputs, y=target)
    assert main(["train", str(run), "--out", str(run.parent / "o")]) == 2
    assert "'x' is not finite in row 7" in capsys.readouterr().err
    np.savez(run.parent / "rows.npz", x=np.array([{}, {}]), y=np.zeros(2))
    assert main(["train", str(run), "--out", str(run.parent / "p")]) == 2
    assert "without objects" in capsys.readouterr().err
    (run.parent / "rows.npz").write_bytes(b"PK no")
    assert main(["train", str(run), "--out", str(run.parent / "q")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_saves_exits_with_130_and_resume_goes_on_to_the_same_weights(run: Path, capsys: Any) -> None:
    sets = ["--set", "model.build=net.py:Slow", "--set", "data.train=net.py:batches"]
    verb = ["train", str(run), "--json", *sets]
    process = subprocess.Popen(
        [sys.executable, "-m", "deepseek", *verb, "--out", str(run.parent / "cut")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(14):
        assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    record = json.loads((run.parent / "cut" / "run.json").read_text())
    assert record["status"] == "stopped"
    step = record["stopped_step"]
    assert step > 0
    checkpoint = run.parent / "cut" / "checkpoints" / f"step-{step:08d}"
    assert f"stopped after step {step} (epoch {(step - 1) // 5 + 1} of 8), which is saved in {checkpoint}\n" in err
    error = json.loads(out.splitlines()[-1])["error"]
    assert error["code"] == "interrupted"
    command = error["fix"].removeprefix("go on with: ")
    assert f"go on with: {command}" in err
    name, *words = shlex.split(command)
    assert name == "deepseek"
    assert main([*words, "--json"]) == 0  # the command itself, as it is printed
    assert main([*verb, "--out", str(run.parent / "whole")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert answers[0]["digest"] == answers[1]["digest"]
    assert answers[0]["metrics"] == answers[1]["metrics"]


@pytest.mark.slow
def test_two_processes_train_one_model_and_go_on_after_a_kill(run: Path, left_alone: dict[str, Any]) -> None:
    """torchrun starts both again after one is killed, with the command line that began the run; the weights are those
    of a run of two that was left alone."""
    (run.parent / "net.py").write_text(NET + DYING)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1",
        "-m", "deepseek", "train", str(run), "--json", "--set", "train.checkpoint_every=3",
        "--set", "model.build=net.py:Dying", "--out", str(run.parent / "Dying"),
    ]  # fmt: skip

    def ended() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)

    done = ended()
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["digest"] == left_alone["digest"]
    assert document["metrics"] == left_alone["metrics"]
    assert sorted(path.name for path in (run.parent / "Dying" / "checkpoints" / "step-00000016").iterdir()) == [
        "checkpoint.json", "shard-00001-model-00001-of-00001.safetensors",
        "shard-00002-model-00001-of-00001.safetensors",
    ]  # fmt: skip

    done = ended()  # started again or not, it does not go on with a run that another command began
    assert done.returncode != 0
    assert done.stderr.count("already holds the checkpoints of a run") >= 2


@pytest.mark.slow
def test_processes_are_started_again_without_torchrun_and_their_errors_come_out_as_they_are(
    run: Path, left_alone: dict[str, Any], capsys: Any
) -> None:
    (run.parent / "net.py").write_text(NET + DYING)
    verb = ["train", str(run), "--json", "--processes", "2", "--set", "train.checkpoint_every=3"]
    verb += ["--set", "model.build=net.py:Dying", "--out", str(run.parent / "Dying")]
    assert main([*verb, "--max-restarts", "1"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["digest"] == left_alone["digest"]
    assert document["num_steps"] == left_alone["num_steps"] == 16
    assert main(verb) == 2
    assert "already holds" in json.loads(capsys.readouterr().out)["error"]["message"]
