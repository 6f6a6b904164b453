"""A callback of Keras, on any backend, that writes a run's folder as `deepseek train` does.

    from deepseek.integrations.keras import RunLogger
    model.fit(x, y, validation_data=held, epochs=9, callbacks=[RunLogger("runs/first")])

`deepseek observe expose runs/first` then tells Prometheus how far it is, also of one whose process has died. The folder
holds run.json, curves.jsonl while the run goes, and curves.json at the end. Names are those of deepseek.train:
train/loss, train/lr, train/rows_per_s, and val/NAME for each validation metric.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from deepseek.errors import InputError
from deepseek.files import atomic_file
from deepseek.optimizers.keras_backend import import_keras
from deepseek.train.loop.loggers import Sink, SinkGroup
from deepseek.train.run_folder.curves import CURVES_FILE, Curves, RunFolderSink
from deepseek.train.run_folder.record import RunRecord, is_run_folder

__all__ = ["RunLogger"]

keras = import_keras()
Logs = Mapping[str, float]  # Keras' figures by name
_VALIDATION = "val_"  # before the names of Keras' figures of validation


class RunLogger(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
    """Figures of `fit` in a folder, and in further sinks (deepseek.train: TensorBoard, MLflow, or your own).

    `log_steps`: batches between two lines of figures. `train/loss` is Keras' own: the mean since the epoch began. A
    sink that fails gets no more figures, and training goes on. InputError where the folder holds a run already, unless
    `go_on` says that this is its continuation, from `initial_epoch` on.
    """

    def __init__(
        self, folder: str | Path, *, log_steps: int = 20, sinks: Sequence[Sink] = (), go_on: bool = False
    ) -> None:
        super().__init__()
        if log_steps < 1:
            raise InputError(f"log_steps is {log_steps}", expected="1 or more", fix="give a number of batches")
        self.folder = Path(folder)
        if is_run_folder(self.folder) and not go_on:
            raise InputError(
                f"{self.folder} holds a run already", expected="a new folder",
                fix="choose another one, or give go_on=True where this fit continues it",
            )  # fmt: skip
        self._log_steps, self._more, self._go_on = log_steps, tuple(sinks), go_on
        self._stack = ExitStack()
        self._step = self._since_step = 0
        self._since_s = 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self._describe_run()
        self._record = RunRecord("running", ".", {"keras": config})
        self._own = RunFolderSink(self.folder, self._record, go_on=self._go_on)
        self._sinks = SinkGroup([self._own, *self._more], _warn)
        self._sinks.start(config, self._stack)
        entries = self._own.entries()
        self._step = entries[-1].step if entries else 0
        self._losses: list[float] = []
        self._validations: list[dict[str, float]] = []
        self._since_step, self._since_s = self._step, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step += 1
        if self._step % self._log_steps == 0:
            self._sinks.log(self._step, self._training_figures(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        validation = {
            name.removeprefix(_VALIDATION): value for name, value in figures.items() if name.startswith(_VALIDATION)
        }
        self._sinks.log(
            self._step, self._training_figures(figures) | {f"val/{name}": value for name, value in validation.items()}
        )
        if validation:
            self._validations.append({"epoch": len(self._losses), **validation})
        self._losses.append(figures.get("loss", float("nan")))
        self._since_step, self._since_s = self._step, time.monotonic()  # validation is no training

    def on_train_end(self, logs: Logs | None = None) -> None:
        import json

        curves = Curves.of(self._losses, self._validations, self._own.entries())
        with atomic_file(self.folder / CURVES_FILE) as part:
            part.write_text(json.dumps(curves.to_dict(), indent=2) + "\n")
        replace(self._record, status="finished").write(self.folder)
        self._stack.close()

    def _training_figures(self, logs: Logs) -> dict[str, float]:
        """Keras' running figures, the learning rate as it is, and rows a second since the last line."""
        figures = {
            f"train/{name}": float(value) for name, value in logs.items()
            if not name.startswith(_VALIDATION) and name != "learning_rate"
        }  # fmt: skip
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            figures["train/lr"] = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        now_s, num_rows = time.monotonic(), self.params.get("batch_size") or 0
        if num_rows and self._step > self._since_step and now_s > self._since_s:
            figures["train/rows_per_s"] = num_rows * (self._step - self._since_step) / (now_s - self._since_s)
        self._since_step, self._since_s = self._step, now_s
        return figures

    def _describe_run(self) -> dict[str, object]:
        """What run.json and sinks say of the run."""
        optimizer, loss = getattr(self.model, "optimizer", None), getattr(self.model, "loss", None)
        return {
            "model": self.model.name, "num_parameters": self.model.count_params(), "backend": keras.config.backend(),
            "keras": keras.__version__, "optimizer": getattr(optimizer, "name", None),
            "loss": loss if isinstance(loss, str) else getattr(loss, "name", type(loss).__name__),
            "epochs": self.params.get("epochs"), "steps_per_epoch": self.params.get("steps"),
        }  # fmt: skip


def _warn(words: str) -> None:
    import warnings

    warnings.warn(words, stacklevel=2)
