"""Skills as a radar: an axis for each module, a ring for each layer; what was proved is filled."""

from __future__ import annotations

import math
from collections.abc import Collection

from deepseek.learn.definition.lab import LAYERS, MODULES
from deepseek.learn.definition.matrix import Matrix
from deepseek.look.svg import Canvas, shorten_words
from deepseek.look.words import Html, Words

_WIDE_PX = 460.0
_MARGIN_PX, _NARROW_MARGIN_PX = 84.0, 112.0  # the names of the modules stand there


def skill_radar(matrix: Matrix, passed: Collection[str], *, title: Words, width: float) -> Html:
    """Each axis reaches one ring further for a layer whose labs are all passed, and a part of it for some of them."""
    size = min(width, _WIDE_PX)
    canvas, middle_x, middle_y = Canvas(width, size, title), width / 2, size / 2
    radius = size / 2 - (_MARGIN_PX if width >= _WIDE_PX else _NARROW_MARGIN_PX)

    def place(axis: int, share: float) -> tuple[float, float]:
        angle = 2 * math.pi * axis / len(MODULES) - math.pi / 2
        return middle_x + radius * share * math.cos(angle), middle_y + radius * share * math.sin(angle)

    for ring in range(1, len(LAYERS) + 1):
        canvas.polyline([place(axis, ring / len(LAYERS)) for axis in range(len(MODULES))], "grid", close=True)
    points = []
    for axis, module in enumerate(MODULES):
        canvas.line(middle_x, middle_y, *place(axis, 1.0), "axis")
        reached = sum(matrix.cell(module, layer).share(passed) for layer in LAYERS) / len(LAYERS)
        points.append(place(axis, reached))
        x, y = place(axis, 1.12)
        anchor = "middle" if abs(x - middle_x) < 4 else "start" if x > middle_x else "end"
        name = matrix.modules[module].text
        canvas.text(x, y + 4, shorten_words(name, width / 2 - abs(x - middle_x)), anchor=anchor, cls="soft", full=name)
    canvas.polyline(points, "curve s1", close=True)
    canvas.dots(points, "big s1")
    return canvas.svg()
