"""Lines over steps, one panel under the other, as an image: look/'s scales and colors, drawn by pillow.

Drawn SAMPLES times as large in each direction and scaled down, which smooths the lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepseek.extras import need
from deepseek.look import numbers
from deepseek.look.palette import LIGHT
from deepseek.look.svg import WIDE_PX, Scale, bounds, tick_labels

PIXELS, SAMPLES = 2, 2  # of the image for each px of the drawing; of the drawing for each of those
UNIT = PIXELS * SAMPLES
LEFT, RIGHT, TOP, PANEL, GAP, BOTTOM = 72, 24, 40, 130, 48, 52  # px
FONT, TITLE = 12, 15
_GLYPHS = str.maketrans("−–⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "---0123456789")  # those that pillow's own font lacks
MIN_RANGE_SHARE = 0.02  # a flat line gets at least this share of its value above and below


@dataclass(frozen=True)
class Panel:
    """A line with its name; `log` where factors count more than differences."""

    name: str
    values: Sequence[float]
    log: bool = False


def draw_panels(title: str, steps: Sequence[int], panels: Sequence[Panel]) -> Any:
    """A PIL.Image.Image. Values that are not finite, or not above 0 on a logarithmic scale, leave a gap."""
    image_module, fonts = need("PIL.Image", extra="track"), need("PIL.ImageFont", extra="track")
    height = TOP + len(panels) * (GAP + PANEL) + BOTTOM
    image = image_module.new("RGB", (WIDE_PX * UNIT, height * UNIT), LIGHT["ground"])
    canvas = need("PIL.ImageDraw", extra="track").Draw(image)
    small, large = fonts.load_default(FONT * UNIT), fonts.load_default(TITLE * UNIT)

    def text(x: float, y: float, words: str, anchor: str, colour: str = "soft", font: Any = small) -> None:
        words = words.replace(" × 10", "e").translate(_GLYPHS)
        canvas.text((x * UNIT, y * UNIT), words, fill=LIGHT[colour], font=font, anchor=anchor)

    def line(points: Sequence[tuple[float, float]], colour: str, width: float) -> None:
        canvas.line([(x * UNIT, y * UNIT) for x, y in points], LIGHT[colour], round(width * UNIT), joint="curve")

    text(RIGHT, TOP / 2 + 8, title, "lm", "ink", large)
    x_scale = Scale(*bounds(steps), LEFT, WIDE_PX - RIGHT)
    for index, panel in enumerate(panels):
        top = TOP + index * PANEL + (index + 1) * GAP
        bottom = top + PANEL
        axis_values = [_axis_value(value, panel.log) for value in panel.values]
        low, high = _axis_range(axis_values, panel.log)
        y_scale = Scale(low, high, bottom, top)
        text(RIGHT, top - 18, panel.name + (" (logarithmic)" if panel.log else ""), "lm", "ink")
        for tick, words in _log_ticks(low, high) if panel.log else _ticks(y_scale):
            line([(LEFT, y_scale(tick)), (WIDE_PX - RIGHT, y_scale(tick))], "rule", 1)
            text(LEFT - 8, y_scale(tick), words, "rm")
        for start, end in _finite_runs(axis_values):
            points = [(x_scale(steps[at]), y_scale(axis_values[at])) for at in range(start, end)]
            line([*points, (points[-1][0] + 1.5, points[-1][1])], "accent", 1.5)  # one point alone is seen, too
        line([(LEFT, bottom), (WIDE_PX - RIGHT, bottom)], "axis", 1)
    for tick in x_scale.ticks(8):
        if tick.is_integer():
            text(x_scale(tick), height - BOTTOM + 14, numbers.count(tick), "mm")
    text((LEFT + WIDE_PX - RIGHT) / 2, height - BOTTOM + 34, "step", "mm", "ink")
    return image.resize((WIDE_PX * PIXELS, height * PIXELS), image_module.Resampling.LANCZOS)


def _axis_value(value: float, log: bool) -> float:
    if not log:
        return value
    return math.log10(value) if 0 < value < math.inf else math.nan


def _axis_range(axis_values: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = bounds(axis_values, margin=0.05)
    least = 0.15 if log else MIN_RANGE_SHARE * max(abs(low), abs(high))  # of a decade, so that two ticks are seen
    middle = (low + high) / 2
    return min(low, middle - least), max(high, middle + least)


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    ticks = scale.ticks(4)
    return list(zip(ticks, tick_labels(ticks), strict=True))


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """1, 2, 5 times powers of ten; powers alone where those are many.

    >>> [words for _, words in _log_ticks(-3.1, -1.9)], [words for _, words in _log_ticks(-6.5, -2.5)]
    (['0.001', '0.002', '0.005', '0.01'], ['1e-6', '1e-5', '0.0001', '0.001'])
    """
    powers = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1, 2, 5), (1,)):
        values = [digit * 10.0**power for power in powers for digit in digits]
        inside = [value for value in values if low <= math.log10(value) <= high]
        if len(inside) <= 5:
            break
    if len(inside) < 2:
        inside = [10**low, 10**high]
    shown = inside[:: math.ceil(len(inside) / 6)]
    return [(math.log10(value), f"{value:.3g}".replace("e-0", "e-")) for value in shown]


def _finite_runs(axis_values: Sequence[float]) -> list[tuple[int, int]]:
    """The runs of finite values without a gap, each as [start, end)."""
    runs, start = [], None
    for index, axis_value in enumerate([*axis_values, math.nan]):
        if math.isfinite(axis_value) and start is None:
            start = index
        elif not math.isfinite(axis_value) and start is not None:
            runs.append((start, index))
            start = None
    return runs
