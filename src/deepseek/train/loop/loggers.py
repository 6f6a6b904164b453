"""Where the figures of a run go: anything with `start`, `log` and `close`. TensorBoard and MLflow are here.

    fit(..., sinks=[TensorBoard("runs/a"), MLflow("credit", uri="sqlite:///mlflow.db")])

Names: train/loss, train/lr, train/grad_norm, train/rows_per_s, and val/NAME for each validation metric.

A sink that raises an OSError or a DeepseekError after the start gets no more figures; the run goes on and says so once.
Whatever else it raises is a fault in its code, and ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from deepseek.errors import DeepseekError, InputError
from deepseek.extras import need

#: The fields of TrainConfig by name.
Settings = Mapping[str, object]


@runtime_checkable
class Sink(Protocol):
    """Called on rank 0 alone."""

    def start(self, config: Settings) -> None:
        """Once, before the first step, with the configuration."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Figures by name, as they are after so many steps."""
        ...

    def close(self) -> None:
        """Once, whatever happened."""
        ...


class SinkGroup:
    """The sinks of a run. One that fails gets no more figures: no training is lost for a log."""

    def __init__(self, sinks: Sequence[Sink], warn: Callable[[str], None]) -> None:
        self._sinks, self._warn = list(sinks), warn

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def start(self, config: Settings, stack: ExitStack) -> None:
        """Start each, to be closed with `held`. What fails here ends the run before its first step."""
        for sink in list(self._sinks):
            stack.callback(self._call, sink, "at the end", sink.close)
            sink.start(config)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for sink in list(self._sinks):
            self._call(sink, f"from step {step} on", sink.log, step, values)

    def _call(self, sink: Sink, when: str, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except (OSError, DeepseekError) as error:
            if sink in self._sinks:
                self._sinks.remove(sink)
                self._warn(f"{type(sink).__name__} gets no figures {when}: {error}")


class TensorBoard:
    """Event files in a folder: `tensorboard --logdir FOLDER`. A resumed run adds a file, which TensorBoard joins."""

    def __init__(self, folder: str | Path) -> None:
        need("tensorboard", extra="track")
        self._writer = need("torch.utils.tensorboard", extra="train").SummaryWriter(str(folder))

    def start(self, config: Settings) -> None:
        """Writes the configuration as a text."""
        lines = "\n".join(f"    {key} = {value}" for key, value in config.items())
        self._writer.add_text("config", lines)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to the curve of each figure; what is drawn may lie two minutes behind."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what waits, and ends the file."""
        self._writer.close()


class MLflow:
    """One run of an MLflow experiment, at a tracking server or in a local store. A server that does not answer is asked
    again as often as MLFLOW_HTTP_REQUEST_MAX_RETRIES says, in some minutes by default; training waits for that once."""

    def __init__(self, experiment: str, *, uri: str | None = None, run_name: str | None = None) -> None:
        mlflow = need("mlflow", extra="track")
        self._entities = need("mlflow.entities", extra="track")
        self._address, self._is_lost = uri or "its default store", False
        with self._client_errors("open"):
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            experiment_id = known.experiment_id if known else self._client.create_experiment(experiment)
            self.run_id: str = self._client.create_run(experiment_id, run_name=run_name).info.run_id

    @contextmanager
    def _client_errors(self, what: str) -> Iterator[None]:
        """An error of MLflow inside, as an InputError that says `what` it does not do."""
        try:
            yield
        except need("mlflow.exceptions", extra="track").MlflowException as error:
            self._is_lost = True
            raise InputError(
                f"MLflow does not {what} {self._address}: {error}",
                expected="the address of a tracking server, or a store that MLflow takes",
                fix="set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000",
            ) from error

    def start(self, config: Settings) -> None:
        """Sends the configuration as parameters of the run; InputError where the server does not take them."""
        params = [self._entities.Param(key, str(value)) for key, value in config.items()]
        with self._client_errors("write to"):
            self._client.log_batch(self.run_id, params=params)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Sends the figures of a step in one request; InputError where the server does not take them."""
        import time

        now_ms = int(1e3 * time.time())
        metrics = [self._entities.Metric(name, value, now_ms, step) for name, value in values.items()]
        with self._client_errors("write to"):
            self._client.log_batch(self.run_id, metrics=metrics)

    def close(self) -> None:
        """Marks the run as finished, unless the server was lost before."""
        if not self._is_lost:  # it would be asked for minutes again
            with self._client_errors("write to"):
                self._client.set_terminated(self.run_id)
