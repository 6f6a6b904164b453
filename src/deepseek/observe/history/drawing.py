"""The last hours as a part of a page: plots of requests, latencies, queue and memory, and the alerts that fire."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepseek import look
from deepseek.look import Html, Line, Text, numbers
from deepseek.observe.history.alerts import RULES, FiringAlert
from deepseek.observe.history.chinese import CHINESE_RUNBOOKS
from deepseek.observe.history.history import SLOT_S, Frame
from deepseek.observe.rules.rule_file import ALERTS
from deepseek.observe.rules.runbook import capital_sentence

MAX_POINTS = 180  # of a line: more cannot be told apart
PLOT_PX = 356
MIN_SLOTS = 2
Values = NDArray[np.float64]
Parts = tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class AlertSource:
    """Who says which alerts fire: the Prometheus at `url`, or this server where there is none or it is away."""

    url: str = ""
    problem: str = ""  # why it was not asked


def draw_history(frame: Frame, alerts: Sequence[FiringAlert], source: AlertSource) -> Html:
    """Alerts first, then the plots; what to do where there is nothing yet."""
    parts = [_alert_part(alerts, source)]
    if frame.num_slots < MIN_SLOTS or not np.nansum(frame["requests"]):
        parts.append(
            look.empty_state(
                Text("No request yet that could be drawn.", "尚无可绘制的请求。"),
                Text(
                    f"A point is added every {SLOT_S} s once there was a request, for six hours.",
                    f"有请求后每 {SLOT_S} 秒增加一个点，保留六小时。",
                ),
                Text("Send a row with the form below, or ask POST /v1/models/M:predict.",
                     "用下方表单发送一行数据，或请求 POST /v1/models/M:predict。"),
            )
        )  # fmt: skip
    else:
        parts.append(Html(f'<div class="plots">{"".join(_plots(thin_frame(frame)))}</div>'))
    return Html("".join(parts))


@dataclass(frozen=True, slots=True)
class ThinFrame:
    """A ring as it is drawn: minutes before now (N,), and each line (N,)."""

    minutes: Values
    requests_per_s: Values
    errors_per_s: Values  # answered with 4xx or 5xx
    p50_s: Values
    p95_s: Values
    p99_s: Values
    queue_rows: Values
    memory_bytes: Values


def thin_frame(frame: Frame) -> ThinFrame:
    """At most MAX_POINTS points: sums of counts, and the worst of all else, so that no peak is lost."""
    num_slots = frame.num_slots
    step = max(1, math.ceil(num_slots / MAX_POINTS))
    starts = np.arange(num_slots % step if num_slots > step else 0, num_slots, step)  # the oldest ones go first
    widths = np.diff(np.append(starts, num_slots))

    def worst(name: str) -> Values:
        column = np.nan_to_num(frame[name].astype(np.float64), nan=-1.0)
        highest = np.maximum.reduceat(column, starts)
        return np.where(highest < 0, np.nan, highest)

    def rate(name: str) -> Values:
        total = np.add.reduceat(np.nan_to_num(frame[name].astype(np.float64)), starts)
        return np.asarray(total / (widths * SLOT_S), np.float64)

    ends = starts + widths
    return ThinFrame(
        (ends - num_slots) * SLOT_S / 60, rate("requests"), rate("errors"), worst("p50_s"), worst("p95_s"),
        worst("p99_s"), worst("queue_rows"), worst("memory_bytes"),
    )  # fmt: skip


def _plots(frame: ThinFrame) -> list[Html]:
    ms = 1e3 * np.stack([frame.p50_s, frame.p95_s, frame.p99_s])
    memory, unit = frame.memory_bytes / (1 << 20), "MiB"
    if np.nanmax(memory, initial=0) >= 2_048:
        memory, unit = memory / 1_024, "GiB"
    requests = [(Text("requests", "请求"), frame.requests_per_s), (Text("errors", "错误"), frame.errors_per_s)]
    latencies = list(zip(("p50", "p95", "p99"), ms, strict=True))
    return [
        _plot(frame, Text("Requests and errors", "请求与错误"), Text("a second", "每秒"), requests),
        _plot(frame, Text("Latency of predictions", "预测延迟"), Text("ms", "毫秒"), latencies),
        _plot(frame, Text("Rows that wait or are computed", "排队或计算中的行"), Text("rows", "行"),
              [("", frame.queue_rows)]),
        _plot(frame, Text("Memory of the processes", "进程内存"), unit, [("", memory)]),
    ]  # fmt: skip


def _plot(frame: ThinFrame, title: Text, y_label: Text | str, lines: Sequence[tuple[Text | str, Values]]) -> Html:
    hours = frame.minutes[0] <= -120
    x = frame.minutes / 60 if hours else frame.minutes
    x_label = Text("hours, 0 is now", "小时（0 为现在）") if hours else Text("minutes, 0 is now", "分钟（0 为现在）")
    drawn = [Line(name, list(zip(x.tolist(), values.tolist(), strict=True))) for name, values in lines]
    plot = look.timeline(drawn, title=title, width=PLOT_PX, x_label=x_label, y_label=y_label)
    return Html(f"<figure><h3>{look.inline(title)}</h3>{plot}</figure>")


def _alert_part(alerts: Sequence[FiringAlert], source: AlertSource) -> Html:
    lines = [look.paragraph(_alert_sentence(alerts, by_prometheus=bool(source.url and not source.problem)))]
    lines += map(_one_alert, alerts)
    lines.append(look.paragraph(_source_sentence(source), note=True))
    return Html("".join(lines))


def _alert_sentence(alerts: Sequence[FiringAlert], *, by_prometheus: bool) -> Html:
    if not alerts and by_prometheus:
        return look.verdict("good", Text("No alert fires.", "没有触发的告警。"))
    if not alerts:
        return look.verdict(
            "good", Text("None of the alerts that are looked at here fires.", "此处检查的告警均未触发。")
        )
    num = len(alerts)
    words = Text("1 alert fires." if num == 1 else f"{num} alerts fire.", f"{num} 条告警正在触发。")
    is_critical = any(alert.severity == "critical" for alert in alerts)
    return look.verdict("bad" if is_critical else "warn", words)


def _one_alert(firing: FiringAlert) -> Html:
    """An alert, which opens on its runbook."""
    since = Text("", "")
    if firing.since_s is not None:
        time = numbers.duration(firing.since_s)
        since = Text(f", for {time}", f"，已持续 {time}")
    severity = Text("critical", "严重") if firing.severity == "critical" else Text("warning", "警告")
    kind: Literal["bad", "warn"] = "bad" if firing.severity == "critical" else "warn"
    head = look.join(severity, ": ", firing.summary, since)
    return Html(
        f'<details class="alert" id="alert-{look.escape(firing.name)}"><summary>{look.verdict(kind, head)}</summary>'
        f"{_runbook(firing)}</details>"
    )


def _runbook(firing: FiringAlert) -> Html:
    link = ""
    if firing.runbook_url.startswith(("http://", "https://")):
        words = Text("The runbook", "处理手册")
        link = f'<p><a href="{look.escape(firing.runbook_url)}">{look.inline(words)}</a></p>'
    alert = firing.alert
    if alert is None:
        return Html(f"<p><code>{look.escape(firing.name)}</code></p>{link}")
    checks, actions = (look.bullet_list([_sentence(text) for text in texts]) for texts in (alert.checks, alert.actions))
    english = f"<p>{look.escape(alert.meaning)}</p><p>What to look at:</p>{checks}<p>What to do:</p>{actions}"
    meaning, action = CHINESE_RUNBOOKS.get(firing.name, ("处理手册只有英文。", alert.actions[0]))
    chinese = f"<p>{look.escape(meaning)}</p><p>{look.escape(action)}</p>"
    name = f"<p><code>{look.escape(firing.name)}</code></p>"
    return Html(f'{name}<div class="en" lang="en">{english}</div><div class="zh" lang="zh">{chinese}</div>{link}')


def _sentence(text: str) -> Html:
    """A line of a runbook, with what stands between backticks as code."""
    return Html(re.sub(r"`([^`]+)`", r"<code>\1</code>", look.escape(capital_sentence(text))))


def _source_sentence(source: AlertSource) -> Html:
    url = f"<code>{look.escape(source.url)}</code>"
    if source.url and not source.problem:
        return Html(f"{look.inline(Text('As Prometheus says:', '来自 Prometheus：'))} {url}")
    here, everything = len(RULES), len(ALERTS)
    words = Text(
        f"{here} of the {everything} rules are looked at here, with their default thresholds. The others need "
        "Prometheus:",
        f"{everything} 条规则中的 {here} 条在此按默认阈值检查；其余需要 Prometheus：",
    )
    note = f"{look.inline(words)} <code>deepseek observe export</code>"
    if source.problem:
        away = look.inline(Text("Prometheus does not answer at", "Prometheus 没有响应："))
        note = f"{away} {url}: <code>{look.escape(source.problem)}</code> {note}"
    return Html(note)
