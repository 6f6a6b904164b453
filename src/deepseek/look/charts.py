"""Plots with two numeric axes: curves, reliability, dependence, histogram, search trace, line with band, sparkline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from deepseek.look import numbers
from deepseek.look.dates import DAY, DateScale
from deepseek.look.palette import SERIES_COLORS
from deepseek.look.svg import Canvas, Scale, bounds, shorten_words, text_width, x_axis, y_axis, y_margin
from deepseek.look.words import Html, Text, Words

Point = tuple[float, float]
_LegendEntry = tuple[Words, str]  # a name in the legend and the class of its sample
_NUM_CURVE_POINTS = 400  # more cannot be seen and would only make the page larger
_SQUARE_PX = 420
_MAX_DOTS = 40  # points of a line that are marked one by one
ROWS = Text("rows", "行数")


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; at most four on one plot can be told apart."""

    name: Words
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose predictions are alike: what was predicted, what was observed with its interval, how many."""

    predicted: float
    observed: float
    low: float
    high: float
    num_rows: int


class _IntegerScale(Scale):
    """A scale of counts: every tick is a whole number."""

    __slots__ = ()

    def ticks(self, num_wanted: int) -> list[float]:
        return [tick for tick in super().ticks(num_wanted) if tick.is_integer()]

    def labels(self, ticks: Sequence[float]) -> list[str]:
        return [numbers.count(tick) for tick in ticks]


@dataclass(frozen=True, slots=True)
class _Frame:
    canvas: Canvas
    x: Scale
    y: Scale


def curve(
    lines: Sequence[Line],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words,
    guide: tuple[Point, Point] | None = None,
    marked: Point | None = None,
    marked_name: Words = "",
) -> Html:
    """Lines over the unit square: ROC, precision against recall.

    A single line needs no name. `guide` is what chance gives; `marked` is where the threshold stands.
    """
    names = [(line.name, f"curve {series}") for line, series in zip(lines, SERIES_COLORS, strict=False) if line.name]
    if marked:
        names.append((marked_name, "big neutral"))
    frame = _frame(min(width, _SQUARE_PX), title, (0.0, 1.0), (0.0, 1.0), x_label, y_label, names, square=True)
    if guide:
        _line(frame, guide, "guide")
    for line, series in zip(lines, SERIES_COLORS, strict=False):
        _line(frame, _thin_points(line.points), f"curve {series}")
    if marked:
        frame.canvas.dots([(frame.x(marked[0]), frame.y(marked[1]))], "big neutral")
    return frame.canvas.svg()


def reliability(bins: Sequence[Bin], *, title: Words, width: float, x_label: Words, y_label: Words) -> Html:
    """Observed share against predicted probability, with intervals; a calibrated model keeps to the diagonal."""
    frame = _frame(min(width, _SQUARE_PX), title, (0.0, 1.0), (0.0, 1.0), x_label, y_label, square=True)
    _line(frame, ((0.0, 0.0), (1.0, 1.0)), "guide")
    for part in bins:
        x = frame.x(part.predicted)
        frame.canvas.line(x, frame.y(part.low), x, frame.y(part.high), "whisker")
    _line(frame, [(part.predicted, part.observed) for part in bins], "curve thin s1")
    frame.canvas.dots([(frame.x(part.predicted), frame.y(part.observed)) for part in bins], "big accent")
    return frame.canvas.svg()


def scatter(
    points: Sequence[Point],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words,
    zero_line: bool = False,
    diagonal: bool = False,
    dates: bool = False,
) -> Html:
    """One dot per row: a column's value against its attribution, or predicted against observed.

    With `dates` x is in milliseconds since 1970, UTC.
    """
    shown = [point for point in points if math.isfinite(point[0]) and math.isfinite(point[1])]
    days = {x for x, _ in shown} if dates else set()
    widened = [x + side * DAY / 2 for x in days for side in (-1, 1)] if len(days) == 1 else []
    x_range = bounds([*(x for x, _ in shown), *widened], margin=0.03)
    y_range = bounds([y for _, y in shown] + ([0.0] if zero_line else []), margin=0.05)
    if diagonal:
        x_range = y_range = bounds([*x_range, *y_range])
    frame = _frame(width, title, x_range, y_range, x_label, y_label, kind=DateScale if dates else Scale)
    if zero_line:
        _line(frame, ((x_range[0], 0.0), (x_range[1], 0.0)), "axis")
    if diagonal:
        _line(frame, ((x_range[0], x_range[0]), (x_range[1], x_range[1])), "guide")
    frame.canvas.dots([(frame.x(x), frame.y(y)) for x, y in shown], "fine accent")
    return frame.canvas.svg()


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words = ROWS,
    guides: Sequence[float] = (),
) -> Html:
    """Counts between edges (one more edge than counts); `guides` are values to mark, e.g. an interval's ends."""
    frame = _frame(width, title, (edges[0], edges[-1]), (0.0, max([*counts, 1.0])), x_label, y_label)
    for low, high, num in zip(edges, edges[1:], counts, strict=False):
        x, right, y = frame.x(low), frame.x(high), frame.y(num)
        tip = f"{numbers.number(low)} … {numbers.number(high)}: {numbers.count(num)}"
        frame.canvas.rect(x + 0.5, y, right - x - 1, frame.y.start - y, "bar", tip=tip)
    for value in guides:
        frame.canvas.line(frame.x(value), frame.y.end, frame.x(value), frame.y.start, "guide mark")
    return frame.canvas.svg()


def trace(
    values: Sequence[float],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words,
    rival: float | None = None,
    rival_name: Words = "",
    minimize: bool = True,
) -> Html:
    """A search: a dot per trial, a line for the best so far, a dashed line for the rival's value."""
    best: list[Point] = []
    for trial, value in enumerate(values, start=1):
        before = best[-1][1] if best else value
        after = min(before, value) if minimize else max(before, value)
        best += [(trial, before), (trial, after)]
    y_range = bounds([*values, *([] if rival is None else [rival])], margin=0.06)
    names: list[_LegendEntry] = [
        (Text("one trial", "单次试验"), "neutral"),
        (Text("best so far", "目前最佳"), "curve s1"),
    ]
    if rival is not None:
        names.append((rival_name, "curve s2"))
    end = max(1, len(values)) + 0.5
    frame = _frame(width, title, (0.5, end), y_range, x_label, y_label, names, kind=_IntegerScale)
    frame.canvas.dots([(frame.x(trial), frame.y(value)) for trial, value in enumerate(values, start=1)], "neutral")
    _line(frame, best, "curve s1")
    if rival is not None:
        _line(frame, ((0.5, rival), (end, rival)), "curve s2")
    return frame.canvas.svg()


def band(
    xs: Sequence[float],
    ys: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words,
) -> Html:
    """A line within its band of uncertainty; x in rising order."""
    frame = _frame(width, title, bounds(xs), bounds([*ys, *lows, *highs], margin=0.04), x_label, y_label)
    outline = [*zip(xs, highs, strict=True), *reversed(list(zip(xs, lows, strict=True)))]
    frame.canvas.polyline([(frame.x(x), frame.y(y)) for x, y in outline], "band", close=True)
    _line(frame, list(zip(xs, ys, strict=True)), "curve s1")
    return frame.canvas.svg()


def progress(lines: Sequence[Line], *, title: Words, width: float, x_label: Words, y_label: Words) -> Html:
    """Lines over whole numbers that rise, such as epochs or steps; a dot for each point where a line has few."""
    points = [point for line in lines for point in line.points]
    names = [(line.name, f"curve {series}") for line, series in zip(lines, SERIES_COLORS, strict=False) if line.name]
    x_range, y_range = bounds([x for x, _ in points]), bounds([y for _, y in points], margin=0.06)
    frame = _frame(width, title, x_range, y_range, x_label, y_label, names, kind=_IntegerScale)
    for line, series in zip(lines, SERIES_COLORS, strict=False):
        _line(frame, _thin_points(line.points), f"curve {series}")
        if len(line.points) <= _MAX_DOTS:
            frame.canvas.dots([(frame.x(x), frame.y(y)) for x, y in line.points], "neutral")
    return frame.canvas.svg()


def timeline(lines: Sequence[Line], *, title: Words, width: float, x_label: Words, y_label: Words) -> Html:
    """Lines over time from zero upwards, in rising order of x; NaN is a gap, and a point between two gaps a dot."""
    points = [point for line in lines for point in line.points]
    names = [(line.name, f"curve {series}") for line, series in zip(lines, SERIES_COLORS, strict=False) if line.name]
    top = max((1.06 * y for _, y in points if math.isfinite(y)), default=0.0) or 1.0
    frame = _frame(width, title, bounds([x for x, _ in points]), (0.0, top), x_label, y_label, names)
    for line, series in zip(lines, SERIES_COLORS, strict=False):
        for is_gap, part in groupby(line.points, lambda point: math.isnan(point[1])):
            run = list(part)
            if not is_gap:
                _line(frame, run if len(run) > 1 else [run[0], run[0]], f"curve thin {series}")
    return frame.canvas.svg()


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """One of several things to choose from, by two numbers of which more is better."""

    name: Words
    x: float
    y: float
    is_good: bool  # whether it may be chosen


def pareto(
    choices: Sequence[ParetoPoint],
    *,
    title: Words,
    width: float,
    x_label: Words,
    y_label: Words,
    limits: Point | None = None,
) -> Html:
    """Choices by name, a line through those that no other beats in both numbers; `limits` are the least of x and y."""
    xs, ys = [choice.x for choice in choices], [choice.y for choice in choices]
    ends = ([limits[0]], [limits[1]]) if limits else ([], [])
    x_range, y_range = bounds([*xs, *ends[0]], margin=0.12), bounds([*ys, *ends[1]], margin=0.12)
    names: list[_LegendEntry] = [(Text("accepted", "已接受"), "big accent"), (Text("refused", "被拒绝"), "big neutral")]
    frame = _frame(width, title, x_range, y_range, x_label, y_label, names)
    if limits:
        _line(frame, ((limits[0], y_range[0]), (limits[0], y_range[1])), "guide")
        _line(frame, ((x_range[0], limits[1]), (x_range[1], limits[1])), "guide")
    front = [choice for choice in choices if choice.is_good and not any(_dominates(other, choice) for other in choices)]
    _line(frame, sorted((choice.x, choice.y) for choice in front), "curve thin s1")
    placed: list[tuple[float, float, float]] = []  # left, right and baseline of the names that stand
    for choice in sorted(choices, key=lambda choice: -choice.y):
        x, y = frame.x(choice.x), frame.y(choice.y)
        frame.canvas.dots([(x, y)], "big accent" if choice.is_good else "big neutral")
        shown = shorten_words(choice.name, width / 2)
        size = text_width(shown)
        left = min(max(x - size / 2, 0.0), width - size)
        lines = [y - 9, y + 18, *(y + 18 + 13 * step for step in range(1, len(choices)))]
        line = next(
            line
            for line in lines
            if not any(
                abs(line - other) < 13 and left < right and start < left + size for start, right, other in placed
            )
            or line == lines[-1]
        )
        placed.append((left, left + size, line))
        frame.canvas.text(left, line, shown, cls="tick", full=choice.name)
    return frame.canvas.svg()


def _dominates(one: ParetoPoint, other: ParetoPoint) -> bool:
    return one.is_good and one.x >= other.x and one.y >= other.y and (one.x, one.y) != (other.x, other.y)


def sparkline(values: Sequence[float], *, title: Words, width: float = 120, height: float = 24) -> Html:
    """A line without axes that stands beside its number in a table."""
    canvas = Canvas(width, height, title)
    finite = [value for value in values if math.isfinite(value)]
    x, y = Scale(0, max(1, len(finite) - 1), 2, width - 2), Scale(*bounds([0.0, *finite]), height - 3, 3)
    canvas.polyline([(x(index), y(value)) for index, value in enumerate(finite)], "curve thin s1")
    return canvas.svg()


def _frame(
    width: float,
    title: Words,
    x_range: Point,
    y_range: Point,
    x_label: Words,
    y_label: Words,
    names: Sequence[_LegendEntry] = (),
    *,
    square: bool = False,
    kind: type[Scale] = Scale,
) -> _Frame:
    """Axes with a legend above them."""
    canvas = Canvas(width, 0, title)
    top = _legend(canvas, names) + 26
    left, right = y_margin(*y_range), width - 6
    bottom = top + (right - left if square else min(260, 0.62 * width))
    canvas.height = bottom + 44
    frame = _Frame(canvas, kind(*x_range, left, right), Scale(*y_range, bottom, top))
    y_axis(canvas, frame.y, left, right, y_label)
    x_axis(canvas, frame.x, top, bottom, x_label)
    return frame


def _legend(canvas: Canvas, names: Sequence[_LegendEntry]) -> float:
    """Names beside a sample of their mark, wrapped into rows; returns the height used in px."""
    x, y = 0.0, 0.0
    for name, cls in names:
        shown = shorten_words(name, canvas.width - 34)
        needed = 30 + text_width(shown)
        if x and x + needed > canvas.width:
            x, y = 0.0, y + 20
        if cls.startswith("curve"):
            canvas.line(x, y + 8, x + 22, y + 8, cls)
        else:
            canvas.dots([(x + 11, y + 8)], cls)
        canvas.text(x + 28, y + 12, shown, full=name)
        x += needed + 16
    return y + 22 if names else 0.0


def _line(frame: _Frame, points: Sequence[Point], cls: str) -> None:
    frame.canvas.polyline([(frame.x(x), frame.y(y)) for x, y in points], cls)


def _thin_points(points: Sequence[Point]) -> Sequence[Point]:
    """At most _NUM_CURVE_POINTS of the points, evenly chosen, with both ends."""
    if len(points) <= _NUM_CURVE_POINTS:
        return points
    step = (len(points) - 1) / (_NUM_CURVE_POINTS - 1)
    return [points[round(index * step)] for index in range(_NUM_CURVE_POINTS)]
