"""What a server tells Prometheus besides its requests: wired here, because the server knows no Prometheus."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.cli.support.opening import OpenedModel
    from deepseek.cli.support.serving import ServerLogs
    from deepseek.contracts import JsonObject
    from deepseek.observe.compat.collector import CompatMetrics
    from deepseek.observe.logs import AccessLog
    from deepseek.observe.metrics import Metrics
    from deepseek.serve import App, Settings
    from deepseek.serve.scoring.routes import LineRoutes, ScoringRoutes


def log_volumes(settings: Settings, audit_log: Path | None, scoring: Sequence[LineRoutes]) -> dict[str, Path]:
    """The folders that a server writes to, by the name of what it writes: their disks are watched."""
    volumes = {"tmp": Path(tempfile.gettempdir())}
    if audit_log is not None:
        volumes["log"] = audit_log.absolute().parent
    if settings.prediction_log:
        from deepseek.observe.predictions.config import PredictionLogConfig

        volumes["predictions"] = PredictionLogConfig.parse(settings.prediction_log).folder
    for routes in scoring:
        if routes.store.folder is not None:
            volumes["state"] = routes.store.folder
    return volumes


def watch_server(
    metrics: Metrics, app: App, volumes: Mapping[str, Path], scoring: Sequence[LineRoutes], logs: ServerLogs
) -> None:
    """Show queues, workers, processes and models of a server, its disks, memory, certificate, GPUs and states."""
    from deepseek.observe import metrics_status
    from deepseek.serve.status import read_status

    for log in logs.all:
        metrics.watch_lost(type(log).__name__, log)
    stores = [routes.store for routes in scoring]
    metrics.watch(
        metrics_status.StatusCollector(lambda: read_status(app)), metrics_status.DiskCollector(volumes),
        metrics_status.MemoryCollector(), *map(metrics_status.StateCollector, stores),
        *metrics_status.GpuCollector.find(),
    )  # fmt: skip
    if app.settings.tls_cert:
        metrics.watch(metrics_status.CertificateCollector(Path(app.settings.tls_cert)))


def open_compat(settings: Settings, metrics: Metrics, app: Callable[[], App]) -> list[CompatMetrics]:
    """What tells metrics under the names of other projects, where the settings ask for it; `app`: the server, once it
    is there."""
    if not settings.metrics_compat:
        return []
    from deepseek.observe.compat.collector import CompatMetrics
    from deepseek.observe.compat.names import read_projects
    from deepseek.serve.status import read_status

    compat = CompatMetrics(read_projects(settings.metrics_compat), metrics, lambda: read_status(app()))
    metrics.watch(compat)
    return [compat]


def watch_decisions(routes: ScoringRoutes, model: OpenedModel, metrics: Metrics, access: AccessLog) -> None:
    """Shows what became of decisions in the metrics, and in the log each promise that verdicts show to be broken."""
    from deepseek.contracts import Event

    monitor = routes.monitor
    version = str(getattr(model, "version", ""))
    metrics.watch_decisions((routes.name, version), lambda: monitor.figures().to_dict())
    monitor.tell = lambda text: access.emit(Event("server", routes.name, version, fields={"warning": text}))


def decision_figures(scoring: Sequence[ScoringRoutes]) -> JsonObject:
    """For /v1/stats: what became of decisions, by model; nothing where no raw events are scored."""
    return {"decisions": {each.name: each.monitor.figures().to_dict() for each in scoring}} if scoring else {}


def log_engine_choices(models: Mapping[str, OpenedModel], access: AccessLog) -> None:
    """Write to the log which engines were chosen by measurement, with the figures."""
    from deepseek.contracts import Event

    for name, model in models.items():
        if (fields := _engine_choice(model)) is not None:
            access.emit(Event("server", name, fields=fields))


def _engine_choice(model: OpenedModel) -> JsonObject | None:
    """For the log: the engines that were chosen by measurement, and the figures; None where nothing was measured."""
    from deepseek.serve.models.graph import GraphAdapter
    from deepseek.serve.models.text import TextAdapter

    if isinstance(model, TextAdapter):
        if not model.measured:
            return None
        return {"state": "a precision was chosen", "precision": model.precision, "measured": model.measured}
    measured = model.file if isinstance(model, GraphAdapter) else getattr(model, "lossy", None)
    if measured is None:
        return None
    engines = [f"{kind} from {num_rows}" for kind, num_rows in measured.engines]
    return {"state": "engines were chosen", "engines": engines, "measured": [row.to_dict() for row in measured.table]}
