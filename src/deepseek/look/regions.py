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
    largest = max((value for line in values for value in line), default=0.0)
    framed = False
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            cell = (column * width / len(line), row * height / len(values), width / len(line), height / len(values))
            if step := _shade_level(value, largest):
                location = Text(f"row {row + 1}, column {column + 1}", f"第 {row + 1} 行，第 {column + 1} 列")
                canvas.rect(*cell, f"heat heat-{step}", tip=join(location, f": {numbers.number(value)}"))
            if largest > 0 and value == largest and not framed:
                canvas.rect(*cell, "heat-most")
                framed = True
    return canvas.svg()


def shade_text(text: str, parts: Sequence[tuple[tuple[int, int], float]], *, largest: float | None = None) -> Html:
    """`text` with its parts (first letter, end) shaded by their values, as a paragraph. `largest` is the value of the
    full shade, by default the largest of the parts."""
    largest = max((value for _, value in parts), default=0.0) if largest is None else largest
    pieces, end_of_last = [], 0
    for (start, end), value in sorted(parts):
        if start < end_of_last or end <= start:
            continue
        step = _shade_level(value, largest)
        word = escape(text[start:end])
        pieces.append(escape(text[end_of_last:start]))
        pieces.append(
            f'<span class="word-{step}" title="{escape(numbers.number(value))}">{word}</span>' if step else word
        )
        end_of_last = end
    return Html(f"<p>{''.join(pieces)}{escape(text[end_of_last:])}</p>")


def image_with_text(image: Html, text: Html, caption: Words = "") -> Html:
    """A picture beside the text that belongs to it."""
    caption_html = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
    return Html(f'<div class="pair"><figure>{image}{caption_html}</figure>{text}</div>')


def _shade_level(value: float, largest: float) -> int:
    """0 for nothing, else 1 to NUM_SHADES."""
    return 0 if largest <= 0 or value <= 0 else max(1, min(NUM_SHADES, round(NUM_SHADES * value / largest)))
