"""Layers one below the other, their strongest units as dots, and what these hand on to the next layer as lines.

    flow([Layer("input", [Unit("age", 0.8), Unit("income", -0.3)]), Layer("hidden.0", [...], note="+0.4")],
         [Link(0, "age", "3", 0.5)], title="Row 0", width=736)

A unit that raises is full and one that lowers is hollow, lines that lower are dashed: no sign needs its colour. Sizes
are shares of the largest in the layer, widths of lines of the largest between the two layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.look import numbers
from deepseek.look.svg import Canvas, shorten, shorten_words, text_width
from deepseek.look.words import Html, Text, Words, join

MAX_UNITS, MAX_LINKS = 8, 24  # of a layer, and between two
_PHONE_PX = 480
_STEP_PX, _HEAD_PX = 108.0, 22.0
_ABOVE_PX, _BELOW_PX = 13.0, 46.0  # of a dot's middle: where lines end and begin, clear of its name
_RADII_PX = (4.0, 12.0)
_WIDTHS = 4  # classes of lines: hand-1 .. hand-4

STYLE = (
    "svg.plot .unit-up{fill:var(--positive)}"
    "svg.plot .unit-down{fill:var(--ground);stroke:var(--negative);stroke-width:2.5}"
    "svg.plot .unit-none{fill:var(--neutral)}"
    "svg.plot .hand{opacity:.75}svg.plot .hand.far{opacity:.4}svg.plot .hand.up{stroke:var(--positive)}"
    "svg.plot .hand.down{stroke:var(--negative);stroke-dasharray:5 3}"
    + "".join(f"svg.plot .hand-{step}{{stroke-width:{0.25 + step:.2f}}}" for step in range(1, _WIDTHS + 1))
    + "svg.plot .marked-layer{fill:var(--wash);stroke:var(--ink);stroke-width:1.5}"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One dot; without a value it only hands on."""

    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of dots."""

    name: str
    units: Sequence[Unit]
    note: Words = ""  # at the right
    mark: Words = ""  # in a frame: what happened here


@dataclass(frozen=True, slots=True)
class Link:
    """From a unit of layer `place` to a unit of layer `to`, by default the next."""

    place: int
    source: str
    target: str
    value: float
    to: int = 0

    @property
    def end(self) -> int:
        return self.to or self.place + 1


def flow(layers: Sequence[Layer], links: Sequence[Link], *, title: Words, width: float) -> Html:
    """The path from above (the input) to below (the answer). Of each layer the MAX_UNITS first units are drawn."""
    canvas = Canvas(width, 0, title)
    stacked = width < _PHONE_PX
    name_px = 0.0 if stacked else min(max((text_width(layer.name) for layer in layers), default=0.0), 0.24 * width) + 20
    note_px = 0.0 if stacked else max((_note_px(layer) for layer in layers), default=0.0) + 12
    step = _STEP_PX + (_HEAD_PX if stacked else 0.0)
    canvas.height = step * len(layers) - 24
    left, right = name_px, width - note_px
    shown = [[unit for unit in layer.units if _is_known(unit)][:MAX_UNITS] for layer in layers]
    positions = [
        {unit.name: _unit_x(index, len(units), left, right) for index, unit in enumerate(units)} for units in shown
    ]
    for index, layer in enumerate(layers):
        _draw_background(canvas, layer, step * index, step, stacked=stacked)
    first = (_HEAD_PX if stacked else 0.0) + 22
    for index, end in sorted({(link.place, link.end) for link in links}):
        pair_links = [link for link in links if (link.place, link.end) == (index, end)]
        cls = "far" if end > index + 1 else ""
        _draw_links(canvas, pair_links, positions[index], positions[end], first + step * index, first + step * end, cls)
    for index, units in enumerate(shown):
        y = first + step * index
        room = (right - left) / max(1, len(units)) - 6
        _draw_units(canvas, units, positions[index], y, min(room, 150.0))
        _draw_names(canvas, layers[index], step * index, y, name_px, stacked=stacked)
    return canvas.svg()


def _is_known(unit: Unit) -> bool:
    return unit.value is None or math.isfinite(unit.value)


def _unit_x(index: int, count: int, left: float, right: float) -> float:
    return left + (right - left) * (index + 0.5) / count


def _note_px(layer: Layer) -> float:
    return max(text_width(layer.note), text_width(layer.mark) + 12)


def _draw_background(canvas: Canvas, layer: Layer, top: float, step: float, *, stacked: bool) -> None:
    if layer.mark:
        canvas.rect(
            0.75, top + (0 if stacked else 4), canvas.width - 1.5, step - (22 if stacked else 36), "marked-layer"
        )


def _draw_links(
    canvas: Canvas,
    links: Sequence[Link],
    above: dict[str, float],
    below: dict[str, float],
    y: float,
    end: float,
    cls: str,
) -> None:
    """Draw the links between two layers, the strongest last, on top."""
    known = [link for link in links if link.source in above and link.target in below and math.isfinite(link.value)]
    known = sorted(known, key=lambda link: -abs(link.value))[:MAX_LINKS]
    largest = max((abs(link.value) for link in known), default=0.0)
    for link in reversed(known):
        if not link.value:
            continue
        width = max(1, math.ceil(_WIDTHS * abs(link.value) / largest))
        kind = "down" if link.value < 0 else "up"
        canvas.line(
            above[link.source],
            y + _BELOW_PX,
            below[link.target],
            end - _ABOVE_PX,
            f"hand hand-{width} {kind} {cls}".strip(),
        )


def _draw_units(canvas: Canvas, units: Sequence[Unit], xs: dict[str, float], y: float, room: float) -> None:
    largest = max((abs(unit.value or 0.0) for unit in units), default=0.0)
    for unit in units:
        share = abs(unit.value or 0.0) / largest if largest else 0.0
        radius = _RADII_PX[0] + (_RADII_PX[1] - _RADII_PX[0]) * math.sqrt(share)
        kind = "none" if not unit.value else "down" if unit.value < 0 else "up"
        tip = f"{unit.name}: {numbers.signed_number(unit.value)}"
        canvas.circle(xs[unit.name], y, radius - (1 if kind == "down" else 0), f"unit-{kind}", tip=tip)
        shown = shorten(unit.name, room)
        canvas.text(xs[unit.name], y + 28, shown, anchor="middle", cls="tick", full=unit.name)
        if unit.value is not None and room > text_width(numbers.signed_number(unit.value)):
            sign = "negative" if unit.value < 0 else "positive" if unit.value else "tick"
            canvas.text(xs[unit.name], y + 41, numbers.signed_number(unit.value), anchor="middle", cls=sign)


def _draw_names(canvas: Canvas, layer: Layer, top: float, y: float, name_px: float, *, stacked: bool) -> None:
    note = join(layer.mark, " · " if layer.mark and layer.note else "", layer.note)
    if stacked:
        shown = shorten_words(note, 0.55 * canvas.width)
        room = canvas.width - text_width(shown) - 20
        canvas.text(6, top + 14, shorten(layer.name, room), cls="strong", full=layer.name)
        if note:
            canvas.text(canvas.width - 6, top + 14, shown, anchor="end", cls="soft", full=note)
        return
    canvas.text(6, y + 4, shorten(layer.name, name_px - 14), cls="strong", full=layer.name)
    if layer.note:
        canvas.text(canvas.width - 6, y + 4, layer.note, anchor="end")
    if layer.mark:
        canvas.text(canvas.width - 6, y + 22, layer.mark, anchor="end", cls="strong")


LEGEND = Text(
    "Full dots and lines raise the answer, hollow dots and dashed lines lower it; size is the share in the layer.",
    "实心圆点与实线提高结果，空心圆点与虚线降低结果；大小表示在该层所占份额。",
)
