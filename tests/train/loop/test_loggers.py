"""Sinks: what is written is read back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.errors import CheckError, InputError
from deepseek.train import FitResult, MLflow, Sink, TensorBoard, TrainConfig, fit

DATA = [(torch.ones(8, 2), torch.ones(8, 1))] * 10


def train(*sinks: Sink, data: Any = DATA) -> FitResult:
    config = TrainConfig(epochs=2, lr=0.01, log_every=5)
    return fit(nn.Linear(2, 1), data, config, loss=nn.functional.mse_loss, validation=DATA[:1], sinks=sinks)


def test_tensorboard_reads_back_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(TensorBoard(tmp_path))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {
        "train/loss", "train/lr", "train/grad_norm", "train/rows_per_s", "val/loss",
    }  # fmt: skip
    losses = events.Scalars("train/loss")
    assert [each.step for each in losses] == [5, 10, 15, 20]
    assert losses[-1].value < losses[0].value
    assert [each.step for each in events.Scalars("val/loss")] == [10, 20]


def test_mlflow_reads_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the one store that needs neither a server nor a database
    uri = f"file:{tmp_path}/runs"
    sink = MLflow("lines", uri=uri, run_name="first")
    train(sink)
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(sink.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2"
    assert [each.step for each in client.get_metric_history(sink.run_id, "val/loss")] == [10, 20]
    assert [each.step for each in client.get_metric_history(sink.run_id, "train/loss")] == [5, 10, 15, 20]
    assert MLflow("lines", uri=uri).run_id != sink.run_id


def test_a_store_that_mlflow_does_not_open_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere://x"):
        MLflow("lines", uri="nowhere://x")


def test_a_sink_of_ones_own_is_started_told_and_closed_even_when_the_run_fails() -> None:
    sink = Listening()
    assert isinstance(sink, Sink)
    bad = [*DATA[:7], (torch.full((8, 2), float("nan")), torch.ones(8, 1))]
    with pytest.raises(CheckError, match="batch 7"):
        train(sink, data=bad)
    assert sink.calls == [0.01, (5, ["train/grad_norm", "train/loss", "train/lr", "train/rows_per_s"]), "closed"]


class Listening:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, config: Any) -> None:
        self.calls.append(config["lr"])

    def log(self, step: int, values: Any) -> None:
        self.calls.append((step, sorted(values)))

    def close(self) -> None:
        self.calls.append("closed")


def test_a_store_that_is_lost_ends_that_sink_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    class Losing(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            for index, batch in enumerate(super().__iter__()):
                if index == 7:
                    for place in tmp_path.glob(f"runs/*/{sink.run_id}"):
                        shutil.rmtree(place)
                yield batch

    sink, other = MLflow("lines", uri=f"file:{tmp_path}/runs"), Listening()
    with pytest.warns(UserWarning, match="MLflow gets no figures from step 10 on: MLflow does not write to file:"):
        result = train(sink, other, data=Losing(DATA))
    assert result.num_steps == 20
    assert len(result.warnings) == 1, "it is said once"
    assert [call[0] for call in other.calls[1:-1]] == [5, 10, 10, 15, 20, 20]
    assert other.calls[-1] == "closed"


FULL = """
import resource, sys, warnings, torch
from torch import nn
from deepseek.train import TensorBoard, TrainConfig, fit
sink = TensorBoard(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
data = [(torch.ones(8, 2), torch.ones(8, 1))] * 100
result = fit(nn.Linear(2, 1), data, TrainConfig(epochs=1, log_every=1), loss=nn.functional.mse_loss, sinks=[sink])
print(result.num_steps, result.warnings)
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_tensorboard_and_not_the_run(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("100 ['TensorBoard gets no figures from step ")
    assert done.stdout.count("File too large") == 1
