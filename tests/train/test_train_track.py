"""Sinks: what is written is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.errors import CheckError, InputError
from deepseek.train import MLflow, Sink, TensorBoard, TrainConfig, fit

DATA = [(torch.ones(8, 2), torch.ones(8, 1))] * 10


def train(*sinks: Sink, data: Any = DATA) -> nn.Module:
    model = nn.Linear(2, 1)
    config = TrainConfig(epochs=2, lr=0.01, log_every=5)
    fit(model, data, config, loss=nn.functional.mse_loss, validation=DATA[:1], sinks=sinks)
    return model


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
    class Listening:
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def start(self, config: Any) -> None:
            self.calls.append(config["lr"])

        def log(self, step: int, values: Any) -> None:
            self.calls.append((step, sorted(values)))

        def close(self) -> None:
            self.calls.append("closed")

    sink = Listening()
    assert isinstance(sink, Sink)
    bad = [*DATA[:7], (torch.full((8, 2), float("nan")), torch.ones(8, 1))]
    with pytest.raises(CheckError, match="batch 7"):
        train(sink, data=bad)
    assert sink.calls == [0.01, (5, ["train/grad_norm", "train/loss", "train/lr", "train/rows_per_s"]), "closed"]
