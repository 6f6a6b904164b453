"""Plots of benchmarks/results: how far each claim lies above or below its bar.

One row a claim, on a scale of ratios: 1 is the bar itself, to the right the claim holds, to the left it is missed. What
is measured (a ratio to the rival, or the figure alone) and in which direction the bar speaks stands in the table below
each plot.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from deepseek.look.rows import RowLayout
from deepseek.look.svg import Canvas, Scale, x_axis

WIDTH_PX = 720
TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)  # a claim that is further from its bar is drawn at the edge
TITLES = {
    "en": ("{name}: each claim against its bar", "figure over bar"),
    "zh": ("{name}：各项结论与其标准之比", "数值与标准之比"),
}


@dataclass(frozen=True, slots=True)
class Margin:
    """How far a claim is from its bar: above 1 it holds."""

    claim: str
    margin: float
    holds: bool


def margins(result: Path) -> list[Margin]:
    """The claims of a result that have a bar by which they can be divided."""
    rows = []
    for claim in json.loads(result.read_text("utf-8"))["claims"]:
        bar = claim.get("bar")
        value = claim["ours"] if claim.get("ratio") is None else claim["ratio"]
        if not bar or not value or value < 0 or bar < 0 or claim.get("holds") is None:
            continue
        margin = value / bar if claim["op"] == ">=" else bar / value
        rows.append(Margin(claim["claim"], margin, claim["holds"]))
    return rows


class _RatioScale(Scale):
    """Ticks at powers of two, on a logarithm."""

    def ticks_for(self, span: float) -> list[float]:
        return [math.log2(tick) for tick in TICKS]

    def labels(self, ticks: list[float]) -> list[str]:
        return [f"{2**tick:g}" for tick in ticks]


def plot(rows: list[Margin], name: str, language: str) -> str:
    """The claims of one benchmark as SVG for a page."""
    title, label = TITLES[language]
    title = title.format(name=name)
    texts = [f"{row.margin:.2f} × {'✓' if row.holds else '✗'}" for row in rows]
    layout = RowLayout(Canvas(WIDTH_PX, 0, title), [row.claim for row in rows], texts, marks_px=12)
    scale = _RatioScale(math.log2(TICKS[0]), math.log2(TICKS[-1]), layout.left, layout.right)
    x_axis(layout.canvas, scale, layout.top, layout.bottom, label, grid=True)
    layout.vertical_line(scale(0.0), "guide mark")
    for index, row in enumerate(rows):
        end = scale(math.log2(row.margin))
        start = scale(0.0)
        kind = "fill-negative" if row.holds else "fill-positive"
        layout.canvas.rect(min(start, end), layout.center(index) - 5, max(abs(end - start), 2), 10, kind)
        layout.write(index)
    return str(layout.canvas.svg())


def with_plots(page: str, results: Path, language: str) -> str:
    """The page of all benchmarks with a plot below each heading of a result."""

    def add(match: re.Match[str]) -> str:
        file = results / f"{match[1]}.json"
        rows = margins(file) if file.is_file() else []
        if not rows:
            return match[0]
        return f'{match[0]}\n<div class="look">{plot(rows, match[1], language)}</div>\n'

    return re.sub(r"^## (\w+)\n", add, page, flags=re.MULTILINE)
