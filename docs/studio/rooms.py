"""The rooms of the package and what each imports, drawn: an arrow leads to what is used.

An arrow that others imply is left out (A uses B and B uses C: A to C is not drawn), so that what is left can be
followed. Rooms lie in layers: each above all that it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, LAYER_PX, BOX_PX, TOP = 1040.0, 74.0, 30.0, 20.0
FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'


def layers(used: Mapping[str, set[str]]) -> list[list[str]]:
    """Rooms from those that use nothing upwards: each in the lowest layer above all that it uses."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(other) for other in used[room]), default=-1)
        return heights[room]

    for room in used:
        height(room)
    rows: list[list[str]] = [[] for _ in range(max(heights.values()) + 1)]
    for room in sorted(used):
        rows[heights[room]].append(room)
    return rows


def direct(used: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Who uses whom, without what follows from the rest."""

    def reached(room: str) -> set[str]:
        below = set(used[room])
        for other in used[room]:
            below |= reached(other)
        return below

    return [
        (room, other)
        for room in sorted(used)
        for other in sorted(used[room])
        if not any(other in reached(between) for between in used[room] - {other})
    ]


def draw(used: Mapping[str, set[str]], sentences: Mapping[str, str]) -> str:
    """The drawing as SVG; hovering over a room shows what it is for."""
    rows = layers(used)
    edges = direct(used)
    column: dict[str, float] = {}
    for level, row in enumerate(rows):  # each room above the middle of what it uses; layers shifted, so that lines pass
        shift = 0.14 * (level % 3 - 1)
        below = {room: [column[other] for one, other in edges if one == room] for room in row}
        middle = {room: sum(xs) / len(xs) if xs else WIDTH / 2 for room, xs in below.items()}
        for place, room in enumerate(sorted(row, key=lambda room: (middle[room], room))):
            column[room] = WIDTH * (place + 0.5 + shift) / len(row)
    top = {room: TOP + (len(rows) - 1 - level) * LAYER_PX for level, row in enumerate(rows) for room in row}
    parts = []
    for room, other in edges:
        x1, y1, x2, y2 = column[room], top[room] + BOX_PX, column[other], top[other]
        bend = (y2 - y1) / 2
        parts.append(
            f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"/>'
        )
    for room in used:
        half, y = 7 + 4.3 * len(room), top[room]
        box = f'x="{column[room] - half:.0f}" y="{y:.0f}" width="{2 * half:.0f}" height="{BOX_PX:.0f}" rx="6"'
        parts.append(
            f"<g><title>{escape(room)}: {escape(sentences[room])}</title>"
            f'<rect {box}/><text x="{column[room]:.0f}" y="{y + 20:.0f}">{escape(room)}</text></g>'
        )
    height = TOP * 2 + (len(rows) - 1) * LAYER_PX + BOX_PX
    style = (
        f"text{{font:14px {FONT};fill:#18181b;text-anchor:middle}}rect{{fill:#eff4ff;stroke:#2563eb}}"
        "path{fill:none;stroke:#a1a1aa;stroke-width:1.2}.ground{fill:#fff;stroke:none}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="Rooms of the package and what they import"><style>{style}</style>'
        f'<rect class="ground" width="{WIDTH:.0f}" height="{height:.0f}"/>{"".join(parts)}</svg>\n'
    )
