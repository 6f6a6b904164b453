"""GET /v1/history: the last hours as numbers and as a part of the console, and the alerts that fire."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from time import monotonic

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError
from deepseek.observe.history.alerts import FiringAlert, ask_prometheus, firing_alerts
from deepseek.observe.history.drawing import AlertSource, ThinFrame, draw_history, thin_frame
from deepseek.observe.history.history import SLOT_S, History
from deepseek.observe.rules.thresholds import Thresholds
from deepseek.serve.core.request import Request, Response

PROMETHEUS_TIMEOUT_S = 3.0
KEPT_S = SLOT_S / 2  # for which an answer stands: many people may look


class HistoryPage:
    """The handler of the route."""

    def __init__(
        self,
        history: History,
        thresholds: Thresholds,
        *,
        prometheus_url: str = "",
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`prometheus_url`: where alerts are asked for, "" for nowhere. `refresh`: as in serve's Pages."""
        self._history, self._thresholds, self._url, self._refresh = history, thresholds, prometheus_url, refresh
        self._answer: Response | None = None
        self._answered_s = -math.inf

    async def __call__(self, _: Request) -> Response:
        if self._answer is not None and monotonic() - self._answered_s < KEPT_S:
            return self._answer
        if self._refresh is not None:
            await self._refresh()
        frame, source = self._history.frame(), AlertSource(self._url)
        alerts = firing_alerts(frame, self._thresholds)
        if self._url:
            try:
                asking = asyncio.get_running_loop().run_in_executor(None, ask_prometheus, self._url)
                alerts = await asyncio.wait_for(asking, PROMETHEUS_TIMEOUT_S)
            except DeepseekError as error:  # it is away: this server says what it knows by itself
                source = AlertSource(self._url, error.message.rpartition(": ")[2][:200])
            except TimeoutError:
                source = AlertSource(self._url, f"no answer within {PROMETHEUS_TIMEOUT_S:g} s")
        series = _series(thin_frame(frame)) if frame.num_slots else {}
        self._answer = Response.json(
            {
                "slot_s": SLOT_S, "num_slots": frame.num_slots, "series": series,
                "alerts": [_alert(each) for each in alerts],
                "alert_source": "prometheus" if source.url and not source.problem else "server",
                "html": str(draw_history(frame, alerts, source)),
            }
        )  # fmt: skip
        self._answered_s = monotonic()
        return self._answer


def _series(frame: ThinFrame) -> JsonObject:
    """Each line as JSON holds it: null where there was no request."""
    names = ThinFrame.__dataclass_fields__
    return {
        name: [None if math.isnan(value) else round(value, 6) for value in np.asarray(getattr(frame, name)).tolist()]
        for name in names
    }


def _alert(firing: FiringAlert) -> JsonObject:
    return {
        "name": firing.name, "severity": firing.severity, "summary": firing.summary.en, "since_s": firing.since_s,
        "runbook_url": firing.runbook_url,
    }  # fmt: skip
