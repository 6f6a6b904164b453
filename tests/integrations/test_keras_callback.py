"""Keras' fit writes a run's folder as `deepseek train` does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest

from deepseek.errors import InputError
from deepseek.integrations.keras import RunLogger, keras
from deepseek.observe.expose import Exposer
from deepseek.train.run_folder.curves import read_log
from deepseek.train.run_folder.record import read_run


def fit(*callbacks: Any, epochs: int = 2, **options: Any) -> Any:
    """32 rows in batches of 8, so 4 steps an epoch."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(32, 3)), random.normal(size=(32, 1))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="line")
    model.compile(keras.optimizers.SGD(0.25), "mse", metrics=["mae"])
    return model.fit(
        x,
        y,
        batch_size=8,
        epochs=epochs,
        validation_data=(x[:8], y[:8]),
        callbacks=list(callbacks),
        verbose=0,
        **options,
    )


class Collected:
    """A sink that keeps what it gets, or fails from a step on."""

    def __init__(self, fails_from: int = 10**9) -> None:
        self.config: Mapping[str, object] = {}
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.num_closed, self._fails_from = 0, fails_from

    def start(self, config: Mapping[str, object]) -> None:
        self.config = config

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self._fails_from:
            raise OSError("no space")
        self.rows.append((step, values))

    def close(self) -> None:
        self.num_closed += 1


def test_a_fit_leaves_a_run_that_others_read(tmp_path: Path) -> None:
    folder, sink = tmp_path / "run", Collected()
    history = fit(RunLogger(folder, log_steps=2, sinks=[sink])).history
    record = read_run(folder)
    assert record.status == "finished"
    assert record.job["keras"]["model"] == "line"
    assert record.job["keras"]["steps_per_epoch"] == 4
    entries = read_log(folder / "curves.jsonl")
    assert [entry.step for entry in entries] == [2, 4, 4, 6, 8, 8]  # each second batch, and the ends of epochs
    assert entries[0].values["train/lr"] == 0.25
    assert entries[2].values["train/loss"] == pytest.approx(history["loss"][0])
    assert entries[5].values["val/mae"] == pytest.approx(history["val_mae"][1])
    curves = json.loads((folder / "curves.json").read_text())
    assert [row["val_loss"] for row in curves["epochs"]] == pytest.approx(history["val_loss"])
    assert [row["epoch"] for row in curves["epochs"]] == [1, 2]
    assert [step for step, _ in sink.rows] == [2, 4, 4, 6, 8, 8]
    assert (sink.num_closed, sink.config["model"]) == (1, "line")
    text = generate_latest(Exposer([folder]).registry).decode()
    (line,) = [line for line in text.splitlines() if line.startswith("deepseek_training_learning_rate{")]
    assert float(line.split()[-1]) == 0.25


def test_a_run_goes_on_where_it_was_and_no_other_is_overwritten(tmp_path: Path) -> None:
    fit(RunLogger(tmp_path / "run"), epochs=1)
    with pytest.raises(InputError, match="holds a run already"):
        RunLogger(tmp_path / "run")
    fit(RunLogger(tmp_path / "run", go_on=True), epochs=2, initial_epoch=1)
    assert [entry.step for entry in read_log(tmp_path / "run" / "curves.jsonl")] == [4, 8]


def test_a_run_that_is_cut_off_is_still_running_for_who_reads_it(tmp_path: Path) -> None:
    class Stops(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(RunLogger(tmp_path / "run", log_steps=1), Stops())
    assert read_run(tmp_path / "run").status == "running"
    assert read_log(tmp_path / "run" / "curves.jsonl")[-1].step == 4


def test_a_sink_that_fails_takes_no_training_with_it(tmp_path: Path) -> None:
    sink = Collected(fails_from=4)
    with pytest.warns(UserWarning, match="Collected gets no figures from step 4 on: no space"):
        fit(RunLogger(tmp_path / "run", log_steps=2, sinks=[sink]))
    assert [step for step, _ in sink.rows] == [2]
    assert read_run(tmp_path / "run").status == "finished"


def test_no_batches_between_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="log_steps is 0"):
        RunLogger(tmp_path / "run", log_steps=0)
