"""Plots with one row for each column of the data: bars, intervals, beeswarm, waterfall.

On a screen the name stands left of its marks and the number right of them; on a phone both stand above. Names that do
not fit are cut in the middle and shown in full on hovering; nothing overlaps, whatever a column is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from deepseek.look import numbers
from deepseek.look.svg import Canvas, Scale, bounds, shorten_words, text_width, x_axis
from deepseek.look.words import Html, Text, Words

_PHONE_PX = 480  # below this width names stand above their marks
_DOT_PX = 4.4
MAX_NARROW_STEPS = 6  # of a waterfall on a phone and on half a sheet of paper; the others are summed


@dataclass(slots=True)
class RowLayout:
    """Where the names, the marks and the numbers of each row lie."""

    canvas: Canvas
    labels: Sequence[Words]
    values: Sequence[Words]
    marks_px: float  # height of the marks in a row
    label_px: float = field(init=False)  # room for a name that stands left of its marks
    left: float = field(init=False)
    right: float = field(init=False)
    stacked: bool = field(init=False)
    top: float = 4.0

    def __post_init__(self) -> None:
        width = self.canvas.width
        value_px = max((text_width(value) for value in self.values), default=0.0)
        self.stacked = width < _PHONE_PX
        self.label_px = min(max((text_width(label) for label in self.labels), default=0.0), 0.38 * width)
        if self.stacked:
            self.left, self.right = 4.0, width - 4.0
        else:
            self.left, self.right = self.label_px + 14, width - value_px - (14 if value_px else 4)
        self.canvas.height = self.bottom + 44

    @property
    def step(self) -> float:
        return self.marks_px + (26 if self.stacked else 8)

    @property
    def bottom(self) -> float:
        return self.top + self.step * len(self.labels)

    def center(self, row: int) -> float:
        """The middle of the marks of a row, from above."""
        return self.top + self.step * row + (20 if self.stacked else 4) + self.marks_px / 2

    def axis(self, scale: Scale, label: Words) -> None:
        """The x axis under all rows, its grid behind the marks."""
        x_axis(self.canvas, scale, self.top, self.bottom, label, grid=False)
        for tick in scale.ticks_for(scale.end - scale.start):
            self.vertical_line(scale(tick), "grid")

    def vertical_line(self, x: float, cls: str) -> None:
        """A vertical line through all rows, that leaves out the names where they stand above the marks."""
        if not self.stacked:
            self.canvas.line(x, self.top, x, self.bottom, cls)
            return
        half = self.marks_px / 2
        for row in range(len(self.labels)):
            self.canvas.line(x, self.center(row) - half, x, self.center(row) + half, cls)

    def write(self, row: int, *, cls: str = "", strong: bool = False) -> None:
        """The name and the number of a row; `cls` colors the number."""
        label, value = self.labels[row], self.values[row]
        canvas = self.canvas
        y = self.top + self.step * row + 14 if self.stacked else self.center(row) + 4
        room = canvas.width - text_width(value) - 12 if self.stacked else self.label_px
        kind = "strong" if strong else ""
        shown = shorten_words(label, room)
        if self.stacked:
            canvas.text(0, y, shown, cls=kind, full=label)
        else:
            canvas.text(self.left - 12, y, shown, anchor="end", cls=kind, full=label)
        if value:
            canvas.text(canvas.width, y, value, anchor="end", cls=f"{cls} {kind}".strip())


def bars(names: Sequence[Words], values: Sequence[float], *, title: Words, width: float, label: Words) -> Html:
    """Horizontal bars from zero, one per name, in the given order. Values must not be negative."""
    rows = RowLayout(Canvas(width, 0, title), names, [numbers.number(value) for value in values], marks_px=16)
    scale = Scale(0.0, max([*values, 0.0]) or 1.0, rows.left, rows.right)
    rows.axis(scale, label)
    for row, value in enumerate(values):
        rows.canvas.rect(scale.start, rows.center(row) - 7, scale(value) - scale.start, 14, "bar")
        rows.write(row)
    return rows.canvas.svg()


def intervals(
    names: Sequence[Words],
    figures: Sequence[tuple[float, float, float]],
    *,
    title: Words,
    width: float,
    label: Words,
    guide: float | None = None,
) -> Html:
    """A dot with its interval (value, low, high) per name; `guide` draws a line to compare with, e.g. the whole."""
    texts = [numbers.figure(*figure) for figure in figures]
    rows = RowLayout(Canvas(width, 0, title), names, texts, marks_px=14)
    everything = [value for figure in figures for value in figure] + ([] if guide is None else [guide])
    scale = Scale(*bounds(everything, margin=0.05), rows.left, rows.right)
    rows.axis(scale, label)
    if guide is not None:
        rows.vertical_line(scale(guide), "guide")
    for row, (value, low, high) in enumerate(figures):
        y = rows.center(row)
        if math.isfinite(low) and math.isfinite(high):
            rows.canvas.line(scale(low), y, scale(high), y, "whisker")
        if math.isfinite(value):
            rows.canvas.dots([(scale(value), y)], "big accent")
        rows.write(row)
    return rows.canvas.svg()


def beeswarm(
    names: Sequence[Words],
    points: Sequence[Sequence[tuple[float, float | None]]],
    *,
    title: Words,
    width: float,
    label: Words,
) -> Html:
    """Every dot is one row of the data: its attribution, and how high its value is within the column.

    `points[i]` holds (attribution, level) of names[i]; a level lies in 0..1, None for values that have no order.
    """
    points = [[point for point in row if math.isfinite(point[0])] for row in points]
    ordered = any(level is not None for row in points for _, level in row)
    rows = RowLayout(Canvas(width, 0, title), names, [""] * len(names), marks_px=26, top=26.0 if ordered else 4.0)
    canvas = rows.canvas
    if ordered:
        _level_legend(canvas, Text("value: low", "取值：低"), Text("high", "高"))
    low, high = bounds([0.0, *(value for row in points for value, _ in row)], margin=0.02)
    scale = Scale(low, high, rows.left + 3, rows.right - 3)
    rows.axis(scale, label)
    rows.vertical_line(scale(0.0), "axis")
    for row, dots in enumerate(points):
        dots_xy = _swarm_positions([scale(value) for value, _ in dots], rows.center(row), rows.marks_px)
        for step, members in _group_by_level(dots_xy, [level for _, level in dots]).items():
            canvas.dots(members, f"fine {step}")
        rows.write(row)
    return canvas.svg()


@dataclass(frozen=True, slots=True)
class Contribution:
    """One step of a waterfall."""

    label: Words  # "worst radius = 25.4"
    value: float


def waterfall(
    contributions: Sequence[Contribution],
    *,
    base: float,
    output: float,
    title: Words,
    width: float,
    label: Words,
    num_shown: int = 10,
    others: tuple[int, float] = (0, 0.0),
) -> Html:
    """How one answer comes about: from the base value (below) to the output (above), the largest steps on top.

    What is not shown in a row of its own is summed into one, together with `others`: how many columns the caller has
    summed already, and their sum. What all of it leaves of `output` (the residual) is a row where it can be seen.
    """
    # Where names stand above their bars, fewer fill the same height.
    num_shown = min(num_shown, MAX_NARROW_STEPS) if width < _PHONE_PX else num_shown
    steps = _largest_contributions(contributions, num_shown, others)
    steps += _residual_contribution(steps, base, output)
    labels: list[Words] = [Text("Output", "输出"), *(step.label for step in steps), Text("Base value", "基准值")]
    values = [numbers.number(output), *(numbers.signed_number(step.value) for step in steps), numbers.number(base)]
    rows = RowLayout(Canvas(width, 0, title), labels, values, marks_px=18)
    ends = [output]
    for step in steps:
        ends.append(ends[-1] - step.value)
    scale = Scale(*bounds([*ends, base], margin=0.04), rows.left, rows.right)
    canvas = rows.canvas
    rows.axis(scale, label)
    for value in (base, output):
        rows.vertical_line(scale(value), "guide")
    canvas.dots([(scale(output), rows.center(0)), (scale(base), rows.center(len(labels) - 1))], "big neutral")
    for row, step in enumerate(steps, start=1):
        sign = "positive" if step.value >= 0 else "negative"
        canvas.polyline(
            _arrow_points(scale(ends[row]), scale(ends[row - 1]), rows.center(row)), f"fill-{sign}", close=True
        )
        rows.write(row, cls=sign)
    rows.write(0, strong=True)
    rows.write(len(labels) - 1)
    return canvas.svg()


def _largest_contributions(
    contributions: Sequence[Contribution], num_shown: int, others: tuple[int, float]
) -> list[Contribution]:
    """The largest steps, and the sum of the others as one."""
    ordered = sorted(contributions, key=lambda step: -abs(step.value))
    num = max(0, len(ordered) - num_shown) + others[0]
    if num == 0 or (num == 1 and others[0] == 0):
        return ordered
    rest = ordered[num_shown:]
    label = Text("1 other column" if num == 1 else f"{num} other columns", f"其余 {num} 列")
    return [*ordered[:num_shown], Contribution(label, others[1] + sum(step.value for step in rest))]


def _residual_contribution(steps: Sequence[Contribution], base: float, output: float) -> list[Contribution]:
    """The residual of the explanation as a step, where it is large enough to be seen."""
    left = output - base - sum(step.value for step in steps)
    span = max((abs(step.value) for step in steps), default=0.0)
    return [Contribution(Text("Not explained", "未解释部分"), left)] if abs(left) > 1e-3 * span else []


def _arrow_points(start: float, end: float, y: float) -> list[tuple[float, float]]:
    """A bar that points where it pushes, so that its sign needs no color."""
    half, direction = 8.0, 1 if end >= start else -1
    neck = end - direction * min(6.0, abs(end - start))
    return [(start, y - half), (neck, y - half), (end, y), (neck, y + half), (start, y + half)]


def _level_legend(canvas: Canvas, low: Words, high: Words) -> None:
    """Low and high with the colors between them, at the upper right."""
    x = canvas.width - text_width(high)
    canvas.text(x, 12, high, cls="soft")
    for step in range(6, -1, -1):
        x -= 10
        canvas.rect(x - 6, 3, 10, 10, f"fill-v{step}")
    canvas.text(x - 12, 12, low, anchor="end", cls="soft")


def _group_by_level(
    points: Sequence[tuple[float, float]], levels: Sequence[float | None]
) -> dict[str, list[tuple[float, float]]]:
    groups: dict[str, list[tuple[float, float]]] = {}
    for point, level in zip(points, levels, strict=True):
        known = level is not None and math.isfinite(level)
        name = f"v{min(6, max(0, int((level or 0.0) * 7)))}" if known else "neutral"
        groups.setdefault(name, []).append(point)
    return dict(sorted(groups.items()))


def _swarm_positions(xs: Sequence[float], center: float, height: float) -> list[tuple[float, float]]:
    """Dots that would lie on each other move up and down in turn, closer together where the row is full."""
    cells = [round(x / _DOT_PX) for x in xs]
    fullest = max((cells.count(cell) for cell in set(cells)), default=1)
    gap = min(_DOT_PX, (height - _DOT_PX) / max(1, fullest - 1))
    num_in_bin: dict[int, int] = {}
    positions = []
    for x, cell in zip(xs, cells, strict=True):
        turn = num_in_bin[cell] = num_in_bin.get(cell, -1) + 1
        positions.append((x, center + (turn + 1) // 2 * gap * (1 if turn % 2 else -1)))
    return positions
