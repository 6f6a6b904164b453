"""Alerts over time: one row for each thing that was planted, one for each verdict, and below them the alerts a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.look import Html, Text, Words, numbers
from deepseek.look.dates import DAY, DateScale
from deepseek.look.svg import Canvas, Scale, bounds, shorten_words, text_width, x_axis, y_axis

ROW_PX, TOP_PX, BARS_PX, GAP_PX, AXIS_PX = 26.0, 8.0, 110.0, 34.0, 46.0
MOST_NAME_PX = 190.0
TICK_PX = 24.0  # room of a number at the axis of the bars


@dataclass(frozen=True, slots=True)
class EventRow:
    """Events of one kind. `alerts_ms` stand out, `others_ms` are faint."""

    name: Words
    alerts_ms: Sequence[int]
    others_ms: Sequence[int]
    color: str  # a class of look/style.py


def alerts_over_time(
    rows: Sequence[EventRow],
    days_ms: Sequence[int],
    num_alerts: Sequence[int],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words,
) -> Html:
    """`days_ms` (D,) begin days, of which `num_alerts` (D,) are drawn as bars."""
    bars_top = TOP_PX + ROW_PX * len(rows) + GAP_PX
    bottom = bars_top + BARS_PX
    canvas = Canvas(width, bottom + AXIS_PX, title)
    widest = max(text_width(y_label) + TICK_PX, *(text_width(row.name) for row in rows))
    name_px = min(MOST_NAME_PX, width / 3, widest + 10)
    low, high = bounds([*days_ms, *(day + DAY for day in days_ms)])
    scale = DateScale(low, high, name_px + 6, width - 8)
    x_axis(canvas, scale, TOP_PX, bottom, x_label)
    for place, row in enumerate(rows):
        y = TOP_PX + ROW_PX * (place + 0.5)
        canvas.line(scale.start, y, scale.end, y, "grid")
        canvas.text(0, y + 4, shorten_words(row.name, name_px), full=row.name)
        canvas.dots([(scale(time), y) for time in row.others_ms], "fine neutral")
        canvas.dots([(scale(time), y) for time in row.alerts_ms], f"big {row.color}")
    y_scale = Scale(0, max([*num_alerts, 1]), bottom, bars_top)
    y_axis(canvas, y_scale, scale.start, scale.end, "", num_wanted=3)
    canvas.text(0, (bars_top + bottom) / 2 + 4, shorten_words(y_label, name_px - TICK_PX), full=y_label)
    for day, number in zip(days_ms, num_alerts, strict=True):
        x, right, y = scale(day), scale(day + DAY), y_scale(number)
        tip = Text(f"{numbers.count(number)} alerts", f"{numbers.count(number)} 个告警")
        canvas.rect(x + 0.3, y, max(right - x - 0.6, 0.6), bottom - y, "bar", tip=tip)
    return canvas.svg()
