"""What words and regions of a picture have to do with each other: a picture under a grid of heat, a text under shade.

    heat("data:image/jpeg;base64,...", values, title="lesion", size=(224, 224))     # values[row][column]
    shaded("a lesion", [((0, 1), .1), ((2, 8), 1.)])                                # what of it, and how much

Both are shaded from nothing at zero and below to the full at the largest value: they say where, the page says how much.
A page that shows them adds STYLE to its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.look import numbers
from deepseek.look.svg import Canvas
from deepseek.look.words import Html, Text, Words, escape, inline, join

NUM_SHADES = 6  # of shade, beside none
STYLE = (
    "svg.plot .heat{fill:var(--positive);stroke:none}"
    "svg.plot .heat-most{fill:none;stroke:var(--positive);stroke-width:2}"
    + "".join(f"svg.plot .heat-{step}{{fill-opacity:{0.1 * step:.1f}}}" for step in range(1, NUM_SHADES + 1))
    + "".join(
        f".word-{step}{{background:color-mix(in srgb,var(--positive) {6 * step}%,transparent)}}"
        for step in range(1, NUM_SHADES + 1)
    )
    + f".word-{NUM_SHADES}{{border-bottom:2px solid var(--positive)}}"
    ".pair{display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start;margin:8px 0}"
    ".pair figure{margin:0;max-width:224px}.pair p{flex:1 1 260px;min-width:0;margin:0}"
    "@media print{.pair{break-inside:avoid}}"
)


def heat_grid(picture: str, values: Sequence[Sequence[float]], *, title: Words, size: tuple[int, int]) -> Html:
    """`picture`, a data URL of `size` (width, height in px) under a grid of values[row][column]. The cell of the
    largest value has a frame. Which values they are is told on hovering."""
    width, height = size
    canvas = Canvas(width, height, title)
    if not picture.startswith("data:image/"):
        raise ValueError("a page asks for nothing: the picture must stand in it as data:image/...")
    canvas.marks.append(
        f'<image href="{escape(picture)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    )
    most = max((value for line in values for value in line), default=0.0)
    framed = False
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            place = (column * width / len(line), row * height / len(values), width / len(line), height / len(values))
            if step := _shade_level(value, most):
                said = Text(f"row {row + 1}, column {column + 1}", f"第 {row + 1} 行，第 {column + 1} 列")
                canvas.rect(*place, f"heat heat-{step}", tip=join(said, f": {numbers.number(value)}"))
            if most > 0 and value == most and not framed:
                canvas.rect(*place, "heat-most")
                framed = True
    return canvas.svg()


def shade_text(text: str, parts: Sequence[tuple[tuple[int, int], float]], *, most: float | None = None) -> Html:
    """`text` with its parts (first letter, end) shaded by their values, as a paragraph. `most`: the value of the full
    shade, by default the largest."""
    most = max((value for _, value in parts), default=0.0) if most is None else most
    found, at = [], 0
    for (start, end), value in sorted(parts):
        if start < at or end <= start:
            continue
        step = _shade_level(value, most)
        word = escape(text[start:end])
        found.append(escape(text[at:start]))
        found.append(
            f'<span class="word-{step}" title="{escape(numbers.number(value))}">{word}</span>' if step else word
        )
        at = end
    return Html(f"<p>{''.join(found)}{escape(text[at:])}</p>")


def image_with_text(picture: Html, text: Html, caption: Words = "") -> Html:
    """A picture beside the text that belongs to it."""
    said = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
    return Html(f'<div class="pair"><figure>{picture}{said}</figure>{text}</div>')


def _shade_level(value: float, most: float) -> int:
    """0 for nothing, else 1 to NUM_SHADES."""
    return 0 if most <= 0 or value <= 0 else max(1, min(NUM_SHADES, round(NUM_SHADES * value / most)))
