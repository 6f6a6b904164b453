"""Metrics of what has no server of its own: runs of training and federated studies by their folders, drift by its
documents.

    exposer = Exposer([Path("runs/first"), Path("drift.json")])
    with serve_registry(exposer.registry, "127.0.0.1", 9109) as url: ...

A folder is read whenever Prometheus asks, so a run pays nothing for it, and one whose process has died is still seen.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deepseek.errors import DeepseekError, InputError, MissingError
from deepseek.observe.federation import StudyCollector, is_study_folder
from deepseek.observe.metrics_status import gauge_family
from deepseek.train.run_folder.curves import LOG_FILE
from deepseek.train.run_folder.record import is_run_folder, newest_checkpoint, read_run

#: Figures of a run's log and the metrics that they are.
FIGURES = {
    "step": "deepseek_training_step",
    "train/loss": "deepseek_training_loss",
    "val/loss": "deepseek_training_validation_loss",
    "train/lr": "deepseek_training_learning_rate",
    "train/grad_norm": "deepseek_training_gradient_norm",
    "train/rows_per_s": "deepseek_training_rows_per_second",
}


class RunLog:
    """The last figures of a run's log. Only what is new is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, float] = {}
        self._offset = 0

    def update(self) -> None:
        """Read the lines that were added; all of them where the file has become shorter: steps are taken again."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            if file.seek(0, 2) < self._offset:
                self._offset, self.figures = 0, {}
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    break
                self._offset += len(line)
                self._take(line)

    def _take(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, AttributeError):
            for name, value in json.loads(line).items():
                if name in FIGURES:
                    self.figures[name] = float("nan") if value is None else float(value)


class RunCollector(Collector):
    """Runs by name."""

    def __init__(self, runs: Mapping[str, Path]) -> None:
        self._runs = runs
        self._logs = {name: RunLog(folder / LOG_FILE) for name, folder in runs.items()}

    def collect(self) -> Iterator[Metric]:
        figures = {key: gauge_family(name) for key, name in FIGURES.items()}
        status = gauge_family("deepseek_training_status_info")
        logged = gauge_family("deepseek_training_logged_timestamp_seconds")
        saved = gauge_family("deepseek_training_checkpoint_timestamp_seconds")
        saved_step = gauge_family("deepseek_training_checkpoint_step")
        for name, log in self._logs.items():
            log.update()
            for key, value in log.figures.items():
                figures[key].add_metric([name], value)
            with contextlib.suppress(OSError):
                logged.add_metric([name], log.path.stat().st_mtime)
            with contextlib.suppress(DeepseekError, OSError):
                status.add_metric([name, read_run(self._runs[name]).status], 1.0)
            checkpoint = newest_checkpoint(self._runs[name])
            if checkpoint is not None:
                with contextlib.suppress(OSError):
                    saved.add_metric([name], checkpoint.path.stat().st_mtime)
                    saved_step.add_metric([name], checkpoint.step)
        yield from (*figures.values(), status, logged, saved, saved_step)


class DriftCollector(Collector):
    """Documents of `deepseek observe drift --json`, by name. One that is being written is read the next time."""

    def __init__(self, documents: Mapping[str, Path]) -> None:
        self._documents = documents

    def collect(self) -> Iterator[Metric]:
        psi, computed = gauge_family("deepseek_column_psi"), gauge_family("deepseek_drift_timestamp_seconds")
        for name, path in self._documents.items():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                rows = json.loads(path.read_bytes())["columns"]
                columns = [(str(row["column"]), float(row["psi"])) for row in rows if row["psi"] is not None]
                computed.add_metric([name], path.stat().st_mtime)
                for column, value in columns:
                    psi.add_metric([name, column], value)
        yield from (psi, computed)


class Exposer:
    """All paths in one exposition."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Run folders, studies and documents of drift. MissingError for what is none of them, InputError for two of one
        name."""
        self.registry = CollectorRegistry()
        self.names = _unique_names(paths)
        studies = {name: path for name, path in self.names.items() if is_study_folder(path)}
        runs = {name: path for name, path in self.names.items() if path.is_dir() and name not in studies}
        for path in runs.values():
            if not is_run_folder(path):
                raise MissingError(
                    f"{path} holds no run",
                    expected="a folder that `deepseek train` or `federate serve` writes",
                    fix="give train's --out, or the study of the coordinator",
                )
        documents = {name: path for name, path in self.names.items() if name not in runs and name not in studies}
        for path in documents.values():
            if path.suffix != ".json":
                raise MissingError(
                    f"{path} is neither a run's folder nor a document of drift",
                    expected="a folder of `deepseek train`, or what `deepseek observe drift --json` printed (.json)",
                    fix="check the path",
                )
        self.registry.register(RunCollector(runs))
        self.registry.register(StudyCollector(studies))
        self.registry.register(DriftCollector(documents))


@contextlib.contextmanager
def serve_registry(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Answer Prometheus in a thread; gives the URL. InputError when the port is taken."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise InputError(
            f"port {port} on {host} cannot be had: {error}", expected="a free port", fix="--port 0 picks one"
        ) from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _unique_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Each path by its last part without .json. InputError where two have the same."""
    names: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".json")
        if name in names:
            raise InputError(
                f"{names[name]} and {path} have one name", expected="names that differ", fix="rename one of them"
            )
        names[name] = path
    return names
