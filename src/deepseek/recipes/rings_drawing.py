"""A ring as a drawn graph over time: one row for each card, one line for each meeting, a letter for each terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.look import Html, Words
from deepseek.look.dates import DateScale
from deepseek.look.svg import Canvas, bounds, shorten, text_width, x_axis

ROW_PX, TOP_PX, AXIS_PX = 22.0, 44.0, 46.0
MOST_NAME_PX = 110.0
LETTER_PX, NUM_LETTER_ROWS = 14.0, 3  # room of a letter, and rows of letters where meetings stand close
COLORS = ("s2", "s1", "s3", "s4")  # of the terminals, in turn; the letter says it without color


@dataclass(frozen=True, slots=True)
class MeetingMark:
    """A meeting of several of the ring's cards."""

    letter: str  # of the terminal: A, B, ...
    rows: Sequence[int]  # cards that took part
    times_ms: Sequence[float]  # when each of them paid, since 1970


def ring_over_time(
    names: Sequence[str],
    meetings: Sequence[MeetingMark],
    others_ms: Sequence[Sequence[float]],
    *,
    title: Words,
    width: float,
    x_label: Words,
) -> Html:
    """Cards by their `names`, the meetings in the order of time, and the other payments of each card as faint dots."""
    bottom = TOP_PX + ROW_PX * len(names)
    canvas = Canvas(width, bottom + AXIS_PX, title)
    name_px = min(MOST_NAME_PX, width / 3, max((text_width(name) for name in names), default=0.0) + 10)
    times = [time for meeting in meetings for time in meeting.times_ms] + [time for row in others_ms for time in row]
    scale = DateScale(*bounds(times, margin=0.01), name_px + 6, width - 8)
    x_axis(canvas, scale, TOP_PX - 8, bottom, x_label)
    for row, name in enumerate(names):
        y = _row_y(row)
        canvas.line(scale.start, y, scale.end, y, "grid")
        canvas.text(0, y + 4, shorten(name, name_px), full=name)
        canvas.dots([(scale(time), y) for time in others_ms[row]], "fine neutral")
    letters = sorted({meeting.letter for meeting in meetings})
    last_px = [-LETTER_PX] * NUM_LETTER_ROWS
    for meeting in meetings:
        _draw_meeting(canvas, scale, meeting, COLORS[letters.index(meeting.letter) % len(COLORS)], last_px)
    return canvas.svg()


def _draw_meeting(canvas: Canvas, scale: DateScale, meeting: MeetingMark, color: str, last_px: list[float]) -> None:
    """The dots of those who took part, a line that joins them, and the terminal's letter above."""
    points = sorted(
        ((scale(time), _row_y(row)) for row, time in zip(meeting.rows, meeting.times_ms, strict=True)),
        key=lambda point: point[1],
    )
    canvas.polyline(points, f"curve thin {color}")
    canvas.dots(points, f"big {color}")
    middle = sum(x for x, _ in points) / len(points)
    level = next((place for place, end in enumerate(last_px) if middle - end >= LETTER_PX), 0)
    last_px[level] = middle
    canvas.text(middle, TOP_PX - 10 - LETTER_PX * level, meeting.letter, anchor="middle", cls="strong")


def _row_y(row: int) -> float:
    return TOP_PX + ROW_PX * (row + 0.5)
