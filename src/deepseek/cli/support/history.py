"""The last hours of a server for its console: wired here, because the server knows nothing of alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.cli.support.serving import ServerLogs
    from deepseek.observe.history.history import History
    from deepseek.observe.history.pages import HistoryPage
    from deepseek.observe.live import GroupState, LiveStats
    from deepseek.serve import App, Settings
    from deepseek.serve.http.group import GroupMember


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


def history_page(history: History, settings: Settings, child: GroupMember | None) -> HistoryPage:
    """GET /v1/history."""
    from deepseek.observe.history.pages import HistoryPage
    from deepseek.observe.rules.thresholds import read_thresholds

    return HistoryPage(
        history, read_thresholds([]), prometheus_url=settings.prometheus_url or "",
        refresh=None if child is None else child.refresh_counts,
    )  # fmt: skip


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
