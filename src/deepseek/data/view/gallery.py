"""Many pictures at a glance: a grid that is filtered by class and sorted by size, error or expected surprise.

    pictures = read_pictures(table, "photo", "image", rows, root=root, target="defect")
    gallery = draw_gallery(pictures, max_bytes=1_200_000)     .html, .style, .script, .rows

Pictures become thumbnails on sheets, each of which is one JPEG in the style sheet: 2,000 single files would spend more
bytes on their heads than on what they show. Of a film its first frame is shown, of a scan a plane through its middle.
"""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from deepseek import look
from deepseek.data.media.source import Limits, is_missing
from deepseek.data.samples.preparer import open_cell
from deepseek.data.table.table import Table
from deepseek.data.view.media_card import Progress, describe_file
from deepseek.data.view.previews import Pixels, fit_size, make_preview
from deepseek.errors import ExtraError, InputError
from deepseek.extras import need
from deepseek.look import Html, Text, Words, numbers

PICTURE_KINDS: Final = ("image", "volume", "video")
MAX_PICTURES: Final = 2_000
MAX_CLASSES: Final = 24  # that have a button of their own; the others share one
_SHEET_COLUMNS: Final = 10  # thumbnails in a line of a sheet, and lines
_SIDES_PX: Final = ((60, 128), (250, 96), (800, 64), (MAX_PICTURES, 48))  # up to so many pictures, so many pixels
_QUALITY: Final = 72  # of JPEG, 0 to 95
_PADDING: Final = 128  # gray around a picture of another shape
_NO_CLASS: Final = Text("no class", "无类别")
_OTHER_CLASSES: Final = Text("other classes", "其他类别")
_ORDERS: Final = {
    "row": Text("row", "行号"),
    "size": Text("size", "尺寸"),
    "error": Text("error", "误差"),
    "surprise": Text("surprise", "意外程度"),
}


@dataclass(frozen=True, slots=True)
class PictureScore:
    """What a model says of one picture."""

    answer: str
    error: float | None  # 1 - probability of the truth, or |truth - value|; None where the truth is not known
    surprise: float | None  # expected: the entropy of the answer in bits; None for values


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture of the gallery."""

    row: int
    pixels: Pixels  # (H, W) or (H, W, 3), scaled down
    width_px: int  # of the file
    height_px: int
    label: str | None  # its class; None where there is none
    score: PictureScore | None = None


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery as parts of a page."""

    html: Html
    style: str
    script: str
    rows: tuple[int, ...]  # that are shown
    num_classes: int


def read_pictures(
    table: Table,
    column: str,
    kind: str,
    rows: Sequence[int],
    *,
    root: Path,
    target: str | None = None,
    limits: Limits | None = None,
    scores: Mapping[int, PictureScore] | None = None,
    progress: Progress | None = None,
) -> list[Picture]:
    """The pictures of `rows` in a column of files; missing and broken ones are left out, the card has them. `target`:
    the column of their classes. `scores` by row."""
    cells, labels = table.column(column), table.column(target) if target is not None else None
    side = _thumbnail_side(len(rows))
    pictures = []
    for done, row in enumerate(rows):
        if progress and not done % 50:
            progress("drawing pictures", done / len(rows))
        value = cells[row]
        if is_missing(value):
            continue
        try:
            source = open_cell(value, kind, root=root, row=row, column=column, limits=limits or Limits())
            facts, preview = describe_file(source, kind), make_preview(source, kind)
        except ExtraError:
            raise
        except InputError:
            continue
        width, height = (facts.get(name) for name in _SIZE_FACTS[kind])
        label = None if labels is None or is_missing(labels[row]) else numbers.format_value(labels[row])
        pictures.append(
            Picture(
                row, _shrink(preview.pictures[0], side), _as_pixels(width), _as_pixels(height), label,
                (scores or {}).get(row),
            )
        )  # fmt: skip
    return pictures


_SIZE_FACTS: Final = {
    "image": ("width_px", "height_px"), "video": ("width_px", "height_px"), "volume": ("columns", "rows"),
}  # fmt: skip


def draw_gallery(pictures: Sequence[Picture], *, max_bytes: int) -> Gallery:
    """The grid of as many pictures as fit into `max_bytes` of a page, with its buttons."""
    side = _thumbnail_side(len(pictures))
    size = _cell_size(pictures, side)
    classes = _name_classes(pictures)
    sheets: list[str] = []
    cells: list[str] = []
    shown: list[int] = []
    left = max_bytes - len(_STYLE) - len(_SCRIPT) - 4_000  # for buttons and words
    step = _SHEET_COLUMNS**2
    for first in range(0, len(pictures), step):
        some = pictures[first : first + step]
        sheet = f".sheet-{len(sheets)}{{background-image:url({_draw_sheet(some, size)})}}"
        lines = [_draw_cell(picture, len(sheets), place, classes) for place, picture in enumerate(some)]
        left -= len(sheet) + sum(len(line.encode()) for line in lines)
        if left < 0:
            break
        sheets.append(sheet)
        cells += lines
        shown += [picture.row for picture in some]
    kept = pictures[: len(shown)]
    body = Html(
        f"{_buttons(kept, classes)}"
        f'<div class="gallery side-{side}" id="gallery" tabindex="0" role="list">{"".join(cells)}</div>'
    )
    style = _STYLE + _position_rules(size) + "".join(sheets)
    return Gallery(body, style, _SCRIPT, tuple(shown), len(set(classes.values())))


def _thumbnail_side(num_pictures: int) -> int:
    return next((side for most, side in _SIDES_PX if num_pictures <= most), _SIDES_PX[-1][1])


def _shrink(pixels: Pixels, side: int) -> Pixels:
    """Pixels whose longer side is `side`, smoothed; small ones are enlarged by whole steps as far as they go."""
    image = need("PIL.Image", extra="media")
    height, width = pixels.shape[:2]
    times = max(1, side // max(height, width))
    if times > 1:
        enlarged: Pixels = np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)
        return enlarged
    high, wide = fit_size(height, width, side)
    return np.asarray(image.fromarray(np.ascontiguousarray(pixels)).resize((wide, high), image.Resampling.LANCZOS))


def _as_pixels(size: int | float | str | None) -> int:
    return int(size) if isinstance(size, (int, float)) else 0


def _cell_size(pictures: Sequence[Picture], side: int) -> tuple[int, int]:
    """Height and width of a thumbnail: the shape that most pictures have."""
    ratios = [picture.pixels.shape[0] / picture.pixels.shape[1] for picture in pictures]
    ratio = float(np.median(ratios)) if ratios else 1.0
    return fit_size(side * min(1.0, ratio), side * min(1.0, 1 / ratio), side)


def _draw_sheet(pictures: Sequence[Picture], size: tuple[int, int]) -> str:
    """A data URL of up to 100 thumbnails, in lines of ten."""
    height, width = size
    num_lines = math.ceil(len(pictures) / _SHEET_COLUMNS)
    sheet = np.full((num_lines * height, _SHEET_COLUMNS * width, 3), _PADDING, np.uint8)
    for place, picture in enumerate(pictures):
        pixels = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[:, :, None], 3, axis=2)
        pixels = _fit(pixels, size)
        top = place // _SHEET_COLUMNS * height + (height - pixels.shape[0]) // 2
        left = place % _SHEET_COLUMNS * width + (width - pixels.shape[1]) // 2
        sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    file = io.BytesIO()
    need("PIL.Image", extra="media").fromarray(sheet).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _fit(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The pixels, scaled down where they do not fit into `size`."""
    scale = min(1.0, size[0] / pixels.shape[0], size[1] / pixels.shape[1])
    if scale == 1.0:
        return pixels
    image = need("PIL.Image", extra="media")
    high, wide = (max(1, int(length * scale)) for length in pixels.shape[:2])
    return np.asarray(image.fromarray(pixels).resize((wide, high), image.Resampling.LANCZOS))


def _name_classes(pictures: Sequence[Picture]) -> dict[str | None, int]:
    """The number of each class's button: the most frequent first, the classes beyond MAX_CLASSES with one number."""
    counts = Counter(picture.label for picture in pictures)
    return {label: min(place, MAX_CLASSES) for place, (label, _) in enumerate(counts.most_common())}


def _draw_cell(picture: Picture, sheet: int, place: int, classes: Mapping[str | None, int]) -> str:
    """One thumbnail with what it is sorted by, and what is said of it when it is chosen."""
    score = picture.score
    facts = [f"#{picture.row}", f"{picture.width_px} × {picture.height_px} px"]
    facts += [numbers.clip(picture.label, 60)] if picture.label is not None else []
    if score is not None:
        facts.append(f"→ {numbers.clip(score.answer, 60)}")
    keys = {"row": picture.row, "size": picture.width_px * picture.height_px}
    values = "".join(f' data-{name}="{value}"' for name, value in keys.items())
    for name in ("error", "surprise"):
        value = None if score is None else getattr(score, name)
        values += "" if value is None else f' data-{name}="{value:.4g}"'
    words = look.escape(" · ".join(facts))
    return (
        f'<i role="listitem" class="thumb sheet-{sheet} at-{place}" data-class="{classes[picture.label]}"{values} '
        f'title="{words}" aria-label="{words}"></i>'
    )


def _buttons(pictures: Sequence[Picture], classes: Mapping[str | None, int]) -> Html:
    """Counts by class, each a button that shows that class alone; the orders; and a line for the chosen picture."""
    counts: Counter[int] = Counter(classes[picture.label] for picture in pictures)
    names: dict[int, Words] = {}
    for label, number in classes.items():
        names[number] = (
            _OTHER_CLASSES if number == MAX_CLASSES else _NO_CLASS if label is None else numbers.clip(label, 40)
        )
    parts = ""
    if len(names) > 1:
        every = _button("class", "", look.join(Text("all", "全部"), f" {numbers.count(len(pictures))}"), pressed=True)
        rest = "".join(
            _button("class", str(number), look.join(names[number], f" {numbers.count(counts[number])}"))
            for number in sorted(names)
        )
        parts += f'<div class="choices" role="group">{look.inline(Text("Show:", "显示："))} {every}{rest}</div>'
    known = {"row", "size"} | {
        name for name in ("error", "surprise")
        if any(picture.score is not None and getattr(picture.score, name) is not None for picture in pictures)
    }  # fmt: skip
    orders = "".join(
        _button("order", name, words, pressed=name == "row") for name, words in _ORDERS.items() if name in known
    )
    parts += f'<div class="choices" role="group">{look.inline(Text("Sort by:", "排序："))} {orders}</div>'
    hint = Text("Choose a picture to read what it is.", "点选图片以查看其信息。")
    return Html(f'{parts}<p class="note" id="chosen" aria-live="polite">{look.inline(hint)}</p>')


def _button(what: str, value: str, words: Words, *, pressed: bool = False) -> str:
    state = "true" if pressed else "false"
    return (
        f'<button type="button" data-{what}="{look.escape(value)}" aria-pressed="{state}">{look.inline(words)}</button>'
    )


def _position_rules(size: tuple[int, int]) -> str:
    """The size of a thumbnail, and its place on the sheet."""
    height, width = size
    rules = [f".thumb{{height:{height}px;width:{width}px}}"]
    for place in range(_SHEET_COLUMNS**2):
        left, top = place % _SHEET_COLUMNS * width, place // _SHEET_COLUMNS * height
        rules.append(f".at-{place}{{background-position:-{left}px -{top}px}}")
    return "".join(rules)


_STYLE: Final = """
.gallery{display:flex;flex-wrap:wrap;gap:4px;align-content:flex-start;max-height:640px;overflow-y:auto;margin:8px 0;
padding:3px}
.thumb{display:block;flex:none;background-repeat:no-repeat;cursor:pointer;content-visibility:auto}
.thumb[hidden]{display:none}
.thumb.chosen{outline:3px solid var(--accent);outline-offset:0}
.choices{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;font-size:14px;margin:6px 0;color:var(--soft)}
.choices button{all:unset;cursor:pointer;color:var(--ink);padding:2px 0;border-bottom:2px solid transparent;
overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.choices button[aria-pressed=true]{border-color:var(--accent)}
.choices button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
@media print{.choices,#chosen{display:none}.gallery{max-height:220mm;overflow:hidden}}
"""

_SCRIPT: Final = """
(function(){
var grid=document.getElementById("gallery"),chosen=document.getElementById("chosen");
if(!grid)return;
var all=Array.from(grid.children),group="",order="row";
function key(item){var value=item.getAttribute("data-"+order);return value===null?-Infinity:Number(value)}
function draw(){
var rising=order==="row"?1:-1;
var sorted=all.slice().sort(function(a,b){return rising*(key(a)-key(b))||a.dataset.row-b.dataset.row});
sorted.forEach(function(item){item.hidden=group!==""&&item.dataset.class!==group;grid.appendChild(item)});
grid.scrollTop=0;
}
function bind(name,set){
var buttons=Array.from(document.querySelectorAll(".choices button[data-"+name+"]"));
buttons.forEach(function(button){button.addEventListener("click",function(){
buttons.forEach(function(other){other.setAttribute("aria-pressed",String(other===button))});
set(button.getAttribute("data-"+name));draw()})});
}
bind("class",function(value){group=value});
bind("order",function(value){order=value});
grid.addEventListener("click",function(event){
var item=event.target.closest(".thumb");
if(!item)return;
all.forEach(function(other){other.classList.toggle("chosen",other===item)});
var words=item.title;
["error","surprise"].forEach(function(name){
var value=item.getAttribute("data-"+name);
var button=document.querySelector(".choices button[data-order="+name+"]");
if(value!==null&&button)words+=" · "+button.innerText+" "+value});
chosen.textContent=words;
});
})();
"""
