"""Drawing: a canvas that collects SVG, scales with round ticks, and a guess at how wide a text will be.

A plot is a function that takes its data and `width` in px and returns one `<svg>`. Colors and fonts come from the
page's style by class, so that the same drawing serves light, dark and print.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deepseek.look import numbers
from deepseek.look.words import Html, Text, Words, both_languages, escape, inline

FONT_PX = 12
WIDE_PX, NARROW_PX = 736, 356  # a plot's width on a screen and on a phone of 390 px
_LARGEST = sys.float_info.max
_MAX_GLYPHS = 200
_NARROW_GLYPHS = frozenset(" ijlfrtI.,:;'|()[]{}-!/`")
_WIDE_GLYPHS = frozenset("mwMWOQGD@%+=<>−×≤≥~#&")


def text_width(text: Words, font_px: float = FONT_PX) -> float:
    """About how wide `text` will be, in px; the wider language counts. Errs on the wide side (DejaVu Sans).

    >>> text_width("iii") < text_width("mmm") < text_width("均值均")
    True
    """
    if isinstance(text, Text):
        return max(text_width(text.en, font_px), text_width(text.zh, font_px))
    return font_px * sum(map(_glyph_width, text))


def _glyph_width(glyph: str) -> float:
    if unicodedata.east_asian_width(glyph) in "WF":
        return 1.02
    if glyph in _NARROW_GLYPHS:
        return 0.41
    return 0.9 if glyph in _WIDE_GLYPHS else 0.72 if glyph.isupper() else 0.645


def shorten(text: str, width: float, font_px: float = FONT_PX) -> str:
    """`text` cut in the middle so that it fits into `width` px; both ends of a name tell it from its neighbors.

    >>> shorten("age", 100), shorten("mean_of_all_the_transactions_in_30_days", 120)
    ('age', 'mean_of…30_days')
    """
    if text_width(text[:_MAX_GLYPHS], font_px) <= width and len(text) <= _MAX_GLYPHS:
        return text
    if len(text) > _MAX_GLYPHS:  # no plot holds more, and a name may have any length
        text = text[: _MAX_GLYPHS // 2] + text[-_MAX_GLYPHS // 2 :]
    head, tail = (len(text) + 1) // 2, len(text) // 2
    while head + tail > 1 and text_width(text[:head] + "…" + text[len(text) - tail :], font_px) > width:
        head, tail = (head - 1, tail) if head > tail else (head, tail - 1)
    return text[:head] + "…" + (text[len(text) - tail :] if tail else "")


def shorten_words(words: Words, width: float, font_px: float = FONT_PX) -> Words:
    """shorten() applied to each language."""
    if isinstance(words, Text):
        return Text(shorten(words.en, width, font_px), shorten(words.zh, width, font_px))
    return shorten(words, width, font_px)


def bounds(values: Iterable[float], *, margin: float = 0.0) -> tuple[float, float]:
    """Smallest and largest finite value, widened by a share `margin`; (0, 1) when there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    widened = (abs(low) / 2 or 0.5) if low == high else margin * high - margin * low
    return max(low - widened, -_LARGEST), min(high + widened, _LARGEST)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values [low, high] to pixels [start, end]; values outside are clamped to the ends."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        unit = self._unit
        share = (value * unit - self.low * unit) / (self.high * unit - self.low * unit)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    @property
    def _unit(self) -> float:
        """What values are multiplied by before they are subtracted: -1e308 to 1e308 is further than a float reaches."""
        return 1.0 if math.isfinite(self.high - self.low) else 0.25

    def ticks(self, num_wanted: int) -> list[float]:
        """Round values inside the range, about `num_wanted` of them.

        >>> Scale(0, 1, 0, 100).ticks(5)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        """
        for num in (num_wanted, 2 * num_wanted, 4 * num_wanted):
            unit = self._unit
            step = tick_step(min((self.high * unit - self.low * unit) / max(1, num) / unit, _LARGEST))
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first + 1 >= min(3, num_wanted):  # one or two tell little of the scale
                break
        return [float(f"{index * step:.12g}") + 0.0 for index in range(first, last + 1)]

    def ticks_for(self, length_px: float) -> list[float]:
        """As many ticks as a horizontal axis of that length holds."""
        return self.ticks(max(2, int(length_px / 80)))

    def labels(self, ticks: Sequence[float]) -> list[str]:
        """The texts at ticks(), all with the same number of decimals."""
        return tick_labels(ticks)


def tick_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten at or above `rough`.

    >>> tick_step(0.13), tick_step(300)
    (0.2, 500.0)
    """
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    return min(step, _LARGEST)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks as text, all with the same number of decimals.

    >>> tick_labels([0.0, 0.05, 0.1]), tick_labels([0.0, 20000.0])
    (['0.00', '0.05', '0.10'], ['0', '20,000'])
    """
    largest = max(map(abs, ticks), default=0.0)
    if len(ticks) < 2 or largest >= 1e7 or largest < 1e-4:
        return [numbers.number(tick) for tick in ticks]
    step = ticks[1] - ticks[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [numbers.fixed_decimals(tick, decimals) for tick in ticks]


@dataclass(slots=True)
class Canvas:
    """Collects the marks of one plot. Coordinates in px from the upper left."""

    width: float
    height: float
    title: Words
    marks: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, words: Words, *, anchor: str = "start", cls: str = "", full: Words | None = None
    ) -> None:
        """Text with its baseline at `y`; `full` is shown on hovering where `words` had to be shortened."""
        tip = f"<title>{escape(both_languages(full))}</title>" if full is not None and full != words else ""
        kind = f' class="{cls}"' if cls else ""
        anchor_attribute = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.marks.append(
            f'<text x="{_px(x)}" y="{_px(y)}"{anchor_attribute}{kind}>{tip}{inline(words, "tspan")}</text>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, cls: str) -> None:
        self.marks.append(f'<path class="{cls}" d="M{_px(x1)} {_px(y1)}L{_px(x2)} {_px(y2)}"/>')

    def rect(self, x: float, y: float, width: float, height: float, cls: str, *, tip: Words = "") -> None:
        label = f"<title>{escape(both_languages(tip))}</title>" if tip else ""
        size = f'width="{_px(max(0.0, width))}" height="{_px(max(0.0, height))}"'
        self.marks.append(f'<rect class="{cls}" x="{_px(x)}" y="{_px(y)}" {size}>{label}</rect>')

    def circle(self, x: float, y: float, radius: float, cls: str, *, tip: Words = "") -> None:
        label = f"<title>{escape(both_languages(tip))}</title>" if tip else ""
        self.marks.append(f'<circle class="{cls}" cx="{_px(x)}" cy="{_px(y)}" r="{_px(radius)}">{label}</circle>')

    def polyline(
        self, points: Sequence[tuple[float, float]], cls: str, *, close: bool = False, tip: Words = ""
    ) -> None:
        if not points:
            return
        label = f"<title>{escape(both_languages(tip))}</title>" if tip else ""
        path = "M" + "L".join(f"{_px(x)} {_px(y)}" for x, y in points) + ("Z" if close else "")
        self.marks.append(f'<path class="{cls}" d="{path}">{label}</path>')

    def dots(self, points: Iterable[tuple[float, float]], cls: str) -> None:
        """Many dots as one path of zero-length strokes with round caps: 10 bytes a dot instead of 50."""
        path = "".join(f"M{_px(x)} {_px(y)}h0" for x, y in points)
        if path:
            self.marks.append(f'<path class="dots {cls}" d="{path}"/>')

    def svg(self) -> Html:
        """The drawing, with its title as text for a screen reader."""
        label = escape(both_languages(self.title))
        size = f'viewBox="0 0 {_px(self.width)} {_px(self.height)}" width="{_px(self.width)}"'
        head = f'<svg class="plot" role="img" aria-label="{label}" {size} height="{_px(self.height)}">'
        return Html(f"{head}<title>{label}</title>{''.join(self.marks)}</svg>")


def x_axis(canvas: Canvas, scale: Scale, top: float, bottom: float, label: Words, *, grid: bool = True) -> None:
    """Ticks, numbers and the label with its unit under a plot that ends at `bottom`. Needs 44 px of room."""
    ticks = scale.ticks_for(scale.end - scale.start)
    labels = scale.labels(ticks)
    widest = max((text_width(text) for text in labels), default=0.0)
    apart = abs(scale(ticks[1]) - scale(ticks[0])) if len(ticks) > 1 else widest + 10
    keep = max(1, math.ceil((widest + 10) / max(1.0, apart)))
    for index, (tick, text) in enumerate(zip(ticks, labels, strict=True)):
        x = scale(tick)
        if grid:
            canvas.line(x, top, x, bottom, "grid")
        if index % keep == 0:
            half = text_width(text) / 2
            canvas.text(min(max(x, half), canvas.width - half), bottom + 18, text, anchor="middle", cls="tick")
    canvas.line(scale.start, bottom, scale.end, bottom, "axis")
    shown = shorten_words(label, canvas.width)
    middle = (scale.start + scale.end) / 2
    half = text_width(shown) / 2
    canvas.text(
        min(max(middle, half), canvas.width - half), bottom + 36, shown, anchor="middle", cls="label", full=label
    )


def y_axis(canvas: Canvas, scale: Scale, left: float, right: float, label: Words, *, num_wanted: int = 5) -> None:
    """Ticks and numbers left of the plot and the label, upright, above it: nobody reads sideways."""
    ticks = scale.ticks(num_wanted)
    for tick, text in zip(ticks, tick_labels(ticks), strict=True):
        y = scale(tick)
        canvas.line(left, y, right, y, "grid")
        canvas.text(left - 6, y + 4, text, anchor="end", cls="tick")
    shown = shorten_words(label, canvas.width)
    canvas.text(0, min(scale.start, scale.end) - 12, shown, cls="label", full=label)


def y_margin(scale_low: float, scale_high: float, num_wanted: int = 5) -> float:
    """Room in px that the numbers of a y axis need."""
    ticks = Scale(scale_low, scale_high, 0, 1).ticks(num_wanted)
    return max((text_width(text) for text in tick_labels(ticks)), default=0.0) + 8


def _px(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
