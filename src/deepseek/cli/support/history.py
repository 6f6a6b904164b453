"""The last hours of a server for its console: wired here, because the server knows nothing of alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from time import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.cli.support.serving import ServerLogs
    from deepseek.observe.drift.console import DriftPage
    from deepseek.observe.history.history import History
    from deepseek.observe.history.pages import HistoryPage
    from deepseek.observe.live import GroupState, LiveStats
    from deepseek.observe.running_page import RunningPage
    from deepseek.serve import App, Settings
    from deepseek.serve.http.group import GroupMember
    from deepseek.serve.models.adapter import ModelAdapter
    from deepseek.serve.scoring.routes import ScoringRoutes


def open_history(
    live: LiveStats,
    app: Callable[[], App],
    logs: ServerLogs,
    volumes: Mapping[str, Path],
    tls_cert: str | None,
    child: GroupMember | None,
) -> History:
    """The ring of a front end; `app`: the server, once it is there, `child`: its place in a group."""
    from deepseek.observe.history.gauges import GaugeReader
    from deepseek.observe.history.history import History
    from deepseek.serve.status import read_status

    reader = GaugeReader(lambda: read_status(app()), volumes, logs.all, Path(tls_cert) if tls_cert else None)
    return History(live, reader, others=lambda: group_states(child))


def console_parts(
    history: History, settings: Settings, child: GroupMember | None, app: Callable[[], App],
    scoring: Sequence[ScoringRoutes],
) -> Mapping[str, HistoryPage | DriftPage | RunningPage]:  # fmt: skip
    """Routes of the parts of the console that the server draws, with their handlers."""
    return {
        "/v1/history": history_page(history, settings, child),
        "/v1/drift": drift_page(settings, app, scoring),
        **running_pages(settings),
    }


def history_page(history: History, settings: Settings, child: GroupMember | None) -> HistoryPage:
    """GET /v1/history."""
    from deepseek.observe.history.pages import HistoryPage
    from deepseek.observe.rules.thresholds import read_thresholds

    return HistoryPage(
        history, read_thresholds([]), prometheus_url=settings.prometheus_url or "",
        refresh=None if child is None else child.refresh_counts,
    )  # fmt: skip


def drift_page(settings: Settings, app: Callable[[], App], scoring: Sequence[ScoringRoutes]) -> DriftPage:
    """GET /v1/drift, of what this server knows of its models: events that it scored, documents beside its log."""
    from deepseek.observe.drift.console import DriftPage, InputDrift, drift_of_events, read_document
    from deepseek.observe.predictions.config import PredictionLogConfig
    from deepseek.observe.reading.files import DRIFT_DOCUMENT

    log = settings.prediction_log
    folder = PredictionLogConfig.parse(log).folder if log else None
    monitors = {routes.name: routes.monitor for routes in scoring}

    def measure() -> list[InputDrift]:
        drifts = []
        for model in app().models.values():
            name = model.name
            if name in monitors:
                drifts.append(drift_of_events(name, monitors[name].figures(), time()))
            elif not _has_card(model.adapter):  # nothing is known of the rows that it was trained on
                continue
            elif folder is not None and Path(name).name == name:  # no way out of the folder
                drifts.append(read_document(name, folder / f"{name}{DRIFT_DOCUMENT}", model.digest))
            else:
                drifts.append(InputDrift(name, "none"))
        return drifts

    return DriftPage(measure, has_log=folder is not None)


def _has_card(adapter: ModelAdapter) -> bool:
    """Whether it serves a bundle that says what its training rows were like."""
    from deepseek.observe.drift.reference import CARD

    bundle = getattr(adapter.runtime, "bundle", None)
    return bundle is not None and (bundle.path / CARD).is_file()


def running_pages(settings: Settings) -> Mapping[str, RunningPage]:
    """GET /v1/running, of a server that this machine alone reaches: what else runs here is nobody else's business."""
    from deepseek.observe.running_page import RunningPage

    return {"/v1/running": RunningPage()} if is_loopback(settings.host) else {}


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_url(settings: Settings, listener: socket) -> str:
    """Where the console of this server is."""
    from deepseek.serve.run import listener_url

    return listener_url(listener, settings.host, "https" if settings.tls_cert else "http")


def group_states(child: GroupMember | None) -> Sequence[GroupState]:
    """What the other front ends have sent; of those that have ended the counts alone."""
    if child is None:
        return ()
    from deepseek.observe.live import GroupState

    states: list[GroupState] = []
    for key, (_, state) in child.others.items():
        if state:
            whole = GroupState.read(state)
            states.append(GroupState(whole.live, started_s=whole.started_s) if key in child.ended else whole)
    return states


def live_states(child: GroupMember | None) -> list[Any]:
    """The figures of the last minutes of the other front ends."""
    return [state.live for state in group_states(child)]
