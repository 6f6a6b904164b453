"""What raised and what lowered an answer, drawn on the text or the picture itself: signed, and readable without color.

    tokens(text, [(0, 5, 0.8, None), (6, 9, -0.3, None)], [(0, 9, 0.5)], title="note")
    image_saliency([((0, 0, 112, 112), 0.4), ((112, 0, 224, 112), -0.1)], title="scan",
    picture="data:image/png;base64,...")

A token that lowers is hatched and one that raises is flat; a sentence that lowers has a dashed line below; a region
bears its sign. The caption says the strongest of both in words: it is the text alternative. Shades are shares of the
largest value.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from deepseek.look import numbers
from deepseek.look.svg import Canvas
from deepseek.look.tables import as_json
from deepseek.look.words import Html, Text, Words, escape, inline, join

Token = tuple[int, int, float, float | None]  # first letter, end, value, its standard error
Sentence = tuple[int, int, float]
Region = tuple[Sequence[float], float]  # (left, top, right, bottom) from the upper left, value
NUM_SHADES = 6  # of shade, beside none
MAX_TOKENS, MAX_REGIONS = 400, 196  # that are drawn; of regions the strongest
MAX_CHARACTERS = 6_000
_NUM_NAMED = 3  # of each sign in the caption
_SIDE_PX, _WIDE_PX, _GAP_PX = 224.0, 464.0, 16.0
_MIN_SIDE_PX, _MAX_SIDE_PX = 160.0, 256.0  # of a picture whose own size is known
_SIGN_PX = 15.0  # the smallest side of a region that bears its sign
_COLUMN_NAMES = (Text("left", "左"), Text("middle", "中"), Text("right", "右"))
_ROW_NAMES = (Text("upper", "上"), Text("centre", "中"), Text("lower", "下"))

STYLE = (
    "p.marked{line-height:2.1;max-width:72ch;white-space:pre-wrap}"
    ".legend{display:flex;flex-wrap:wrap;align-items:center;gap:4px 8px;font-size:14px;color:var(--soft);margin:8px 0}"
    ".legend i{display:inline-block;width:18px;height:14px}"
    ".said{text-decoration:underline;text-underline-offset:6px;text-decoration-thickness:1.5px;"
    "text-decoration-skip-ink:none}"
    ".said.up{text-decoration-color:var(--positive)}"
    ".said.down{text-decoration-color:var(--negative);text-decoration-style:dashed}"
    ".amount{font-size:12px;color:var(--soft);font-variant-numeric:tabular-nums;vertical-align:super;line-height:1;"
    "padding:0 2px;white-space:nowrap}"
    + "".join(
        f".up-{step}{{background:color-mix(in srgb,var(--positive) {7 * step}%,transparent)}}"
        f".down-{step}{{background:repeating-linear-gradient(135deg,"
        f"color-mix(in srgb,var(--negative) {10 * step}%,transparent) 0 2px,"
        f"color-mix(in srgb,var(--negative) {3 * step}%,transparent) 2px 5px)}}"
        f".flat-{step}{{background:color-mix(in srgb,var(--negative) {10 * step}%,transparent)}}"
        f".over-{step}{{background:color-mix(in srgb,var(--positive) {10 * step}%,transparent)}}"
        f"svg.plot .lit-{step}{{fill-opacity:{0.1 * step:.1f}}}"
        for step in range(1, NUM_SHADES + 1)
    )
    + "svg.plot .lit-up{fill:var(--positive)}svg.plot .lit-down{fill:var(--negative)}"
    "svg.plot .under{filter:grayscale(1);opacity:.55}"
    "svg.plot .most-up{fill:none;stroke:var(--positive);stroke-width:2}"
    "svg.plot .most-down{fill:none;stroke:var(--negative);stroke-width:2;stroke-dasharray:5 3}"
    "svg.plot text.sign-mark{font-weight:600}"
    "@media print{p.marked{break-inside:auto}}"
)


def text_saliency(
    text: str,
    parts: Sequence[Token],
    sentences: Sequence[Sentence] = (),
    *,
    title: Words,
    label: Words = "",
    data: Any = None,
) -> Html:
    """`text` with its tokens shaded by their values and its sentences underlined, a legend, and the strongest in words.

    `label` says what the values are, with their unit. A token without a finite value stays as it is; so does one that
    overlaps the one before. Texts are shown as far as MAX_COUNTERFACTUAL_TOKENS tokens or MAX_CHARACTERS letters; the
    rest is summed up.
    """
    drawable = _drawable_tokens(text, parts)
    drawn = [token for token in drawable[:MAX_TOKENS] if token[1] <= MAX_CHARACTERS]
    end = len(text) if len(drawn) == len(drawable) and len(text) <= MAX_CHARACTERS else (drawn[-1][1] if drawn else 0)
    end = end or min(len(text), MAX_CHARACTERS)
    largest = max((abs(value) for _, _, value, _ in drawable), default=0.0)
    body = _mark_sentences(
        text[:end], drawn, [sentence for sentence in sentences if sentence[0] < sentence[1] <= end], largest
    )
    if end < len(text):
        body += f"<span class=soft>{inline(_hidden_tokens_note(drawable[len(drawn) :]))}</span>"
    named: list[tuple[Words, float]] = [
        (f"“{numbers.clip(text[low:high].strip(), 24)}”", value) for low, high, value, _ in drawable
    ]
    body = f'<p class="marked">{body}</p>'
    return _render_figure(title, body, largest, named, label, data, is_text=True, sentences=bool(sentences))


def image_saliency(
    regions: Sequence[Region],
    *,
    title: Words,
    picture: str = "",
    size: Sequence[float] = (),
    picture_size: Sequence[float] = (),
    names: Sequence[Words] = (),
    label: Words = "",
    data: Any = None,
) -> Html:
    """`picture` (a data URL, or none) and beside it the same in gray under its regions, shaded by their values.

    `size` (width, height) is what the boxes are counted in; by default they reach the lower right corner.
    `picture_size` (width, height) in pixels is that of the picture, which a model may see squashed: both are drawn as
    large as the picture is, between 160 and 256 pixels; by default 224 pixels in the shape of `size`. Of many regions
    the MAX_REGIONS strongest are drawn. `names` are those of the regions, by default where they lie. ValueError
    for a picture that the page would have to ask for.
    """
    if picture and not picture.startswith("data:image/"):
        raise ValueError("a page asks for nothing: the picture must stand in it as data:image/...")
    kept = [index for index, (box, value) in enumerate(regions) if _is_box(box) and math.isfinite(value)]
    drawable = [regions[index] for index in kept]
    extent = (
        float(size[0] if size else max((box[2] for box, _ in drawable), default=1.0)) or 1.0,
        float(size[1] if size else max((box[3] for box, _ in drawable), default=1.0)) or 1.0,
    )
    largest = max((abs(value) for _, value in drawable), default=0.0)
    region_names = [names[index] if names else _describe_location(regions[index][0], extent) for index in kept]
    named = [(name, value) for name, (_, value) in zip(region_names, drawable, strict=True)]
    strongest = sorted(drawable, key=lambda region: -abs(region[1]))[:MAX_REGIONS]
    drawn_size = _drawn_size(extent, picture, picture_size)
    body = _draw_regions(strongest, extent, drawn_size, picture, largest, title)
    return _render_figure(title, body, largest, named, label, data)


def grid_regions(grid: Sequence[Sequence[float]], most_cells: int = 14) -> list[Region]:
    """The regions of a grid[row][column] of values, as of pixels: joined to `most_cells` a side at most, by their sums.

    >>> grid_regions([[1.0, 2.0], [3.0, 4.0]], 1)
    [((0, 0, 2, 2), 10.0)]
    """
    high, wide = len(grid), len(grid[0]) if grid else 0
    downs, acrosses = (sorted({num * k // most_cells for k in range(most_cells)} | {num}) for num in (high, wide))
    return [
        ((left, top, right, bottom), math.fsum(value for line in grid[top:bottom] for value in line[left:right]))
        for top, bottom in pairwise(downs)
        for left, right in pairwise(acrosses)
    ]


def _drawable_tokens(text: str, parts: Sequence[Token]) -> list[Token]:
    kept: list[Token] = []
    for token in sorted(parts, key=lambda token: token[:2]):
        start, end, value, _ = token
        if (kept[-1][1] if kept else 0) <= start < end <= len(text) and math.isfinite(value):
            kept.append(token)
    return kept


def _mark_sentences(text: str, parts: Sequence[Token], sentences: Sequence[Sentence], largest: float) -> str:
    """Tokens inside of sentences; a sentence's amount stands behind it."""
    pieces, at = [], 0
    for start, end, value in sorted(sentences):
        if start < at:
            continue
        pieces.append(_shade_tokens(text, at, start, parts, largest))
        lead = start + len(text[start:end]) - len(text[start:end].lstrip())
        tail = start + len(text[start:end].rstrip())
        if not math.isfinite(value) or lead >= tail:
            pieces.append(_shade_tokens(text, start, end, parts, largest))
        else:
            kind = "down" if value < 0 else "up"
            inside = _shade_tokens(text, lead, tail, parts, largest)
            pieces.append(_shade_tokens(text, start, lead, parts, largest))
            pieces.append(f'<span class="said {kind}">{inside}</span>')
            pieces.append(f'<span class="amount">{escape(numbers.signed_number(value))}</span>')
            pieces.append(escape(text[tail:end]))
        at = end
    return "".join(pieces) + _shade_tokens(text, at, len(text), parts, largest)


def _shade_tokens(text: str, low: int, high: int, parts: Sequence[Token], largest: float) -> str:
    pieces, at = [], low
    for start, end, value, error in parts:
        first, last = max(start, low), min(end, high)
        step = _shade_level(value, largest)
        if not step or first >= last:
            continue
        tip = numbers.signed_number(value) + (f" ± {numbers.number(error)}" if error else "")
        kind = "down" if value < 0 else "up"
        pieces.append(escape(text[at:first]))
        pieces.append(f'<span class="{kind}-{step}" title="{escape(tip)}">{escape(text[first:last])}</span>')
        at = last
    return "".join(pieces) + escape(text[at:high])


def _hidden_tokens_note(hidden: Sequence[Token]) -> Text:
    total = numbers.signed_number(math.fsum(value for _, _, value, _ in hidden))
    num = numbers.count(len(hidden))
    return Text(f" … {num} more tokens, {total} in all", f" …… 其余 {num} 个词元，合计 {total}")


def _drawn_size(extent: tuple[float, float], picture: str, picture_size: Sequence[float]) -> tuple[float, float]:
    """Width and height of the drawn picture and of its map.

    >>> _drawn_size((96, 96), "data:", (300, 150)), _drawn_size((32, 32), "data:", (32, 32))
    ((256.0, 128.0), (160.0, 160.0))
    """
    if picture and picture_size:
        longest = max(picture_size)
        scale = min(_MAX_SIDE_PX, max(_MIN_SIDE_PX, longest)) / longest
        return float(picture_size[0] * scale), float(picture_size[1] * scale)
    is_wide = extent[0] > 2 * extent[1]
    width = _WIDE_PX if is_wide else _SIDE_PX * min(1.0, extent[0] / extent[1])
    return width, width * extent[1] / extent[0]


def _draw_regions(
    regions: Sequence[Region],
    extent: tuple[float, float],
    drawn_size: tuple[float, float],
    picture: str,
    largest: float,
    title: Words,
) -> str:
    """The picture and its shaded copy, side by side; below each other where they are wide."""
    width, height = drawn_size
    is_wide = width > 2 * height
    over = (0.0, height + _GAP_PX) if is_wide else (width + _GAP_PX, 0.0)
    left, top = over if picture else (0.0, 0.0)
    canvas = Canvas(left + width, top + height, title)
    if picture:
        name = f"picture-{hashlib.sha256(picture.encode()).hexdigest()[:12]}"
        shape = f'width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none"'
        canvas.marks.append(f'<image id="{name}" href="{escape(picture)}" {shape}/>')
        canvas.marks.append(f'<use href="#{name}" x="{left:.1f}" y="{top:.1f}" class="under"/>')
    canvas.rect(left, top, width, height, "frame")
    framed: set[str] = set()
    for box, value in regions:
        x, y = left + box[0] * width / extent[0], top + box[1] * height / extent[1]
        wide, high = (box[2] - box[0]) * width / extent[0], (box[3] - box[1]) * height / extent[1]
        step, kind = _shade_level(value, largest), "down" if value < 0 else "up"
        if step:
            canvas.rect(x, y, wide, high, f"lit-{kind} lit-{step}", tip=numbers.signed_number(value))
        if step and kind not in framed:  # the strongest come first
            canvas.rect(x, y, wide, high, f"most-{kind}")
            framed.add(kind)
        if step > 1 and min(wide, high) >= _SIGN_PX:
            sign = "+" if value > 0 else numbers.MINUS
            canvas.text(x + wide / 2, y + high / 2 + 4, sign, anchor="middle", cls="sign-mark")
    return canvas.svg()


def _render_figure(
    title: Words,
    body: str,
    largest: float,
    named: Sequence[tuple[Words, float]],
    label: Words,
    data: Any,
    *,
    is_text: bool = False,
    sentences: bool = False,
) -> Html:
    caption = inline(_describe_strongest(named, label))
    legend = _legend(largest, is_text=is_text, sentences=sentences) if largest else ""
    return Html(
        f'<figure class="parts"><h3>{inline(title)}</h3>{body}{legend}<figcaption>{caption}</figcaption>{as_json(data)}'
        "</figure>"
    )


def _legend(largest: float, *, is_text: bool, sentences: bool) -> str:
    low, high = numbers.signed_number(-largest), numbers.signed_number(largest)
    names = ("down", "up") if is_text else ("flat", "over")
    down = "".join(f'<i class="{names[0]}-{step}"></i>' for step in range(NUM_SHADES, 0, -2))
    up = "".join(f'<i class="{names[1]}-{step}"></i>' for step in range(2, NUM_SHADES + 1, 2))
    lowers, raises = Text("lowers", "降低"), Text("raises", "提高")
    parts = f"<span>{inline(lowers)} {low}</span>{down}<span>0</span>{up}<span>{inline(raises)} {high}</span>"
    if sentences:
        lines = Text("underlined: whole sentences, with their sum", "下划线：整句及其合计")
        parts += f"<span>· {inline(lines)}</span>"
    return f'<div class="legend">{parts}</div>'


def _describe_strongest(named: Sequence[tuple[Words, float]], label: Words) -> Words:
    """The strongest of both signs, and what is counted."""
    ups = sorted((pair for pair in named if pair[1] > 0), key=lambda pair: -pair[1])[:_NUM_NAMED]
    downs = sorted((pair for pair in named if pair[1] < 0), key=lambda pair: pair[1])[:_NUM_NAMED]
    if not ups and not downs:
        return Text("Nothing here moved the answer.", "此处没有影响结果的部分。")
    caption: Words = ""
    for pairs, words in (
        (ups, Text("Raises it most: ", "提高最多：")),
        (downs, Text("Lowers it most: ", "降低最多：")),
    ):
        if pairs:
            items: Words = ""
            for index, (name, value) in enumerate(pairs):
                comma: Words = Text("; ", "；") if index else ""
                items = join(items, comma, name, f" {numbers.signed_number(value)}")
            caption = join(caption, words, items, Text(". ", "。"))
    return join(caption, Text("Scale: ", "尺度："), label, Text(".", "。")) if label else caption


def _describe_location(box: Sequence[float], extent: tuple[float, float]) -> Words:
    """Where a region lies, in words."""
    across = _COLUMN_NAMES[min(2, int(3 * (box[0] + box[2]) / 2 / extent[0]))]
    down = _ROW_NAMES[min(2, int(3 * (box[1] + box[3]) / 2 / extent[1]))]
    exact = f"{box[0]:.3g}–{box[2]:.3g} × {box[1]:.3g}–{box[3]:.3g}"
    zh = "中央" if down.zh == across.zh == "中" else f"{across.zh}{down.zh}部"
    return Text(f"{down.en} {across.en} ({exact})", f"{zh}（{exact}）")


def _is_box(box: Sequence[float]) -> bool:
    return len(box) == 4 and all(map(math.isfinite, box)) and 0 <= box[0] < box[2] and 0 <= box[1] < box[3]


def _shade_level(value: float, largest: float) -> int:
    """0 for next to nothing, else 1 to NUM_SHADES."""
    return min(NUM_SHADES, round(NUM_SHADES * abs(value) / largest)) if largest > 0 and math.isfinite(value) else 0
