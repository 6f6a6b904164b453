"""A page to look at data: which files are broken, all pictures, what the columns hold, single rows as they look.

    page = data_page(table, kinds, card, root=Path("patients"), name="patients.csv", num_rows=24, seed=0)
    page.html, page.rows, page.pictures

One offline file of MAX_PAGE_BYTES bytes at most: rows are added until it is full. Pictures are JPEG or PNG inside of
it, 160 pixels at most; names and texts out of the data are escaped and cut. A film is a strip of frames, a volume its
three middle planes, a sound its waveform and log-mel bands (numpy alone, no torch).
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from deepseek import look
from deepseek.contracts import Float64
from deepseek.data.media.source import Limits, is_missing
from deepseek.data.samples.preparer import open_cell
from deepseek.data.table.table import Table
from deepseek.data.view.card_schema import DataCard, FactSummary
from deepseek.data.view.gallery import MAX_PICTURES, PICTURE_KINDS, PictureScore, draw_gallery, read_pictures
from deepseek.data.view.media_card import FILE_KINDS, Progress, describe_file
from deepseek.data.view.media_words import (
    broken_list,
    clip_sentence,
    columns_table,
    copies_note,
    describe_facts,
    format_range,
    headline,
)
from deepseek.data.view.previews import Pixels, Preview, make_preview
from deepseek.errors import ExtraError, InputError
from deepseek.extras import need
from deepseek.look import Html, Section, Text, Words, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.svg import Canvas, Scale, bounds, shorten_words

MAX_PAGE_BYTES: Final = 2_000_000  # bytes
MAX_GALLERY_BYTES: Final = 1_400_000  # of these
ScoreFunction = Callable[[list[int]], Mapping[int, PictureScore]]
MAX_FILES: Final = 24  # columns of files of a row
MAX_VALUES: Final = 60  # values of a row
NUM_OPEN_VALUES: Final = 10  # of these, that are seen at once
MAX_TEXT_CHARACTERS, MAX_VALUE_CHARACTERS = 300, 80  # characters
_LINE_SIZE_PX: Final = (240, 56)
_STYLE: Final = """
.row{display:flex;flex-wrap:wrap;gap:16px 24px;align-items:flex-start;margin:8px 0}
.row figure{margin:0;max-width:100%}
.row figcaption{max-width:34ch;font-variant-numeric:tabular-nums}
.row figcaption b{color:var(--ink);font-weight:600}
.strip{display:flex;flex-wrap:wrap;gap:4px;align-items:flex-end}
.strip img,.strip svg{max-width:100%;display:block}
img.pixel{image-rendering:pixelated}
.stack{display:grid;gap:4px}
path.wave{stroke:var(--s1);stroke-width:1}
#rows h3{border-top:1px solid var(--rule);padding-top:16px}
@media print{.row{break-inside:avoid}}
@media (max-width:560px){#columns tr{display:grid;grid-template-columns:minmax(0,1fr) 5.5em 4.5em 4em;
border-bottom:1px solid var(--rule)}#columns th,#columns td{border:0;min-width:0}
#columns tr>:last-child{grid-column:1/-1;padding-top:0}}
"""


@dataclass(frozen=True, slots=True)
class DataPage:
    """A page and what it shows."""

    html: str
    rows: tuple[int, ...]  # one by one
    pictures: tuple[int, ...] = ()  # the rows in the gallery


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """Which pictures a gallery shows."""

    column: str | None = None  # by default the first one of pictures, films or scans
    target: str | None = None  # the column of their classes
    num_pictures: int = MAX_PICTURES  # at most; of more rows as many are drawn by the seed
    score: ScoreFunction | None = None  # what a model says of rows, by row


def data_page(
    table: Table,
    kinds: Mapping[str, str],
    card: DataCard,
    *,
    root: Path,
    name: str,
    num_rows: int = 24,
    seed: int = 0,
    gallery: GalleryOptions | None = None,
    limits: Limits | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> DataPage:
    """The page: a gallery where a column holds pictures, and `num_rows` rows of the table drawn by `seed`, or as many
    as fit. `card` is make_media_card()'s. InputError for a gallery of a column without pictures."""
    rng = np.random.default_rng(seed)
    drawn_rows = rng.choice(table.num_rows, min(num_rows, table.num_rows), replace=False)
    limits = limits or Limits()
    shown_pictures, extras = _make_gallery(table, kinds, root, gallery or GalleryOptions(), seed, limits, progress)
    first_sections = [*_broken_section(card), *extras.sections, *_columns_section(card)]
    provenance = _provenance(table, name, seed, command)
    page = _render_page(name, card, first_sections, provenance, extras)
    room = MAX_PAGE_BYTES - len(page.encode("utf-8", "replace")) - 2_000  # for the last section's own words
    shown: list[int] = []
    parts: list[Html] = []
    for done, row in enumerate(sorted(int(row) for row in drawn_rows)):
        if progress:
            progress("drawing rows", done / len(drawn_rows))
        section_html = _render_row(table, kinds, row, root, limits)
        room -= len(section_html.encode("utf-8", "replace"))
        if room < 0:
            break
        shown.append(row)
        parts.append(section_html)
    rows = _rows_section(parts, len(drawn_rows), table.num_rows, seed, folded=bool(extras.sections))
    html = _render_page(name, card, [*first_sections, rows], provenance, extras)
    return DataPage(html, tuple(shown), shown_pictures)


@dataclass(frozen=True, slots=True)
class _GalleryParts:
    """What a gallery adds to the page; nothing where there are no pictures."""

    sections: tuple[Section, ...] = ()
    style: str = ""
    script: str = ""


def _make_gallery(
    table: Table,
    kinds: Mapping[str, str],
    root: Path,
    options: GalleryOptions,
    seed: int,
    limits: Limits,
    progress: Progress | None,
) -> tuple[tuple[int, ...], _GalleryParts]:
    """(the rows whose pictures are shown, the section with its style and script)."""
    columns = [name for name in table.names if kinds.get(name) in PICTURE_KINDS and name != options.target]
    if options.column is not None and options.column not in columns:
        table.column(options.column)
        raise InputError(
            f"column {options.column!r} holds no pictures", expected=", ".join(columns) or "a column of pictures",
            fix="name one of these" if columns else "give --files, or the kind: --kind COL=image",
        )  # fmt: skip
    if not columns:
        return (), _GalleryParts()
    column = options.column or columns[0]
    present = np.flatnonzero(~table.missing_mask(column))
    num = min(options.num_pictures, len(present))
    rows = np.sort(np.random.default_rng(seed).choice(present, num, replace=False)).tolist()
    scores = options.score(rows) if options.score else None
    pictures = read_pictures(
        table, column, kinds[column], rows, root=root, target=options.target, limits=limits, scores=scores,
        progress=progress,
    )  # fmt: skip
    if not pictures:
        return (), _GalleryParts()
    gallery = draw_gallery(pictures, max_bytes=MAX_GALLERY_BYTES)
    few, many, shown_name = numbers.count(len(gallery.rows)), numbers.count(len(present)), numbers.clip(column, 40)
    words: Words = Text(f"{few} of {many} pictures of {shown_name}", f"{shown_name}：{many} 张图片中的 {few} 张")
    if len(gallery.rows) < len(pictures):
        size = numbers.size(MAX_GALLERY_BYTES)
        words = look.join(words, Text(f"; the gallery is full at {size}", f"；图库上限为 {size}"))
    elif num < len(present):
        words = look.join(words, Text(f", drawn by seed {seed}", f"，随机种子 {seed}"))
    body = Html(look.paragraph(look.join(words, Text(".", "。")), note=True) + gallery.html)
    section = Section(Text("Pictures", "图片"), body, id="pictures")
    return gallery.rows, _GalleryParts((section,), gallery.style, gallery.script)


def _render_page(
    name: str,
    card: DataCard,
    sections: Sequence[Section],
    provenance: Mapping[Words, Words | Html],
    gallery: _GalleryParts,
) -> str:
    title = look.join(Text("Data: ", "数据："), numbers.clip(name, 60))
    return look.page(
        title, headline(card, numbers.clip(name, 60)), sections, provenance=provenance, style=_STYLE + gallery.style,
        script=gallery.script,
    )  # fmt: skip


def _broken_section(card: DataCard) -> list[Section]:
    body = broken_list(card)
    return [Section(Text("Broken files", "损坏的文件"), body, id="broken")] if body else []


def _columns_section(card: DataCard) -> list[Section]:
    body = Html(columns_table(card) + copies_note(card))
    return [Section(Text("Columns", "各列"), body, id="columns")]


def _rows_section(parts: Sequence[Html], num_drawn: int, num_rows: int, seed: int, *, folded: bool) -> Section:
    many, few = numbers.count(num_rows), numbers.count(len(parts))
    words: Words = Text(f"{few} of {many} rows, drawn by seed {seed}.", f"{many} 行中的 {few} 行，随机种子 {seed}。")
    if len(parts) < num_drawn:
        words = look.join(
            words,
            Text(
                f" {num_drawn} were asked for; the page is full at {numbers.size(MAX_PAGE_BYTES)}.",
                f"要求显示 {num_drawn} 行；页面上限为 {numbers.size(MAX_PAGE_BYTES)}。",
            ),
        )
    body = Html(look.paragraph(words, note=True) + "".join(parts))
    return Section(Text("Rows", "样本行"), body, folded=folded, id="rows")


def _provenance(table: Table, name: str, seed: int, command: str) -> dict[Words, Words | Html]:
    from deepseek.version import __version__

    facts: dict[Words, Words | Html] = {
        Text("Data", "数据"): numbers.clip(name, 200),
        Text("Data digest", "数据摘要"): table.digest(),
        Text("Seed", "随机种子"): str(seed),
        Text("Version", "版本"): f"deepseek {__version__}",
    }
    return facts | ({Text("Page made by", "本页生成命令"): look.command(command)} if command else {})


def _render_row(table: Table, kinds: Mapping[str, str], row: int, root: Path, limits: Limits) -> Html:
    (record,) = table.take(np.array([row])).records()
    files = [name for name in table.names if kinds.get(name) in FILE_KINDS]
    figures = [_render_file(record[name], kinds[name], name, row, root, limits) for name in files[:MAX_FILES]]
    if len(files) > MAX_FILES:
        more = len(files) - MAX_FILES
        figures.append(look.paragraph(Text(f"and {more} more columns of files", f"另有 {more} 列文件"), note=True))
    values = {name: _format_value(record[name]) for name in table.names if kinds.get(name) not in FILE_KINDS}
    names = list(values)[:MAX_VALUES]
    rest = names[NUM_OPEN_VALUES:]
    body = look.facts({numbers.clip(name, 40): values[name] for name in names[:NUM_OPEN_VALUES]})
    if rest:
        head = look.inline(
            Text(f"{len(values) - NUM_OPEN_VALUES} more values", f"其余 {len(values) - NUM_OPEN_VALUES} 个值")
        )
        hidden = look.facts({numbers.clip(name, 40): values[name] for name in rest})
        body = Html(f"{body}<details><summary>{head}</summary>{hidden}</details>")
    title = look.inline(Text(f"Row {row}", f"第 {row} 行"))
    gallery = f'<div class="row">{"".join(figures)}</div>' if figures else ""
    return Html(f"<h3>{title}</h3>{gallery}{body if values else ''}")


def _format_value(value: Any) -> Words:
    if value is None:
        return Text("missing", "缺失")
    if isinstance(value, str):
        return numbers.clip(" ".join(value.split()), MAX_TEXT_CHARACTERS)
    return numbers.clip(numbers.format_value(value), MAX_VALUE_CHARACTERS)


def _render_file(value: Any, kind: str, column: str, row: int, root: Path, limits: Limits) -> Html:
    """A figure of one value with its facts; in words where it is missing or broken."""
    label = look.inline(numbers.clip(column, 40))
    if is_missing(value):
        return _render_figure(label, "", look.inline(Text("missing", "缺失")))
    file = look.inline(numbers.clip(str(value), MAX_VALUE_CHARACTERS))
    try:
        source = open_cell(value, kind, root=root, row=row, column=column, limits=limits)
        preview, facts = make_preview(source, kind), describe_file(source, kind)
    except ExtraError:
        raise
    except InputError as error:
        why = look.verdict("bad", clip_sentence(error.message, MAX_TEXT_CHARACTERS))
        return _render_figure(label, "", Html(f"{file}<br>{why}"))
    words = [describe_facts({name: _as_card_fact(fact) for name, fact in facts.items() if fact is not None})]
    if preview.shown_s is not None:
        shown = numbers.duration(preview.shown_s)
        words.append(Text(f"; the first {shown} are shown", f"；仅显示前 {shown}"))
    if preview.num_hidden:
        words.append(Text(f"; {preview.num_hidden} more channels", f"；另有 {preview.num_hidden} 个通道"))
    image = _render_preview(preview, kind, numbers.clip(column, 40), row)
    return _render_figure(label, image, Html(f"{file}<br>{look.inline(look.join(*words))}"))


def _as_card_fact(fact: int | float | str) -> FactSummary:
    """A fact of one file in the form in which the card sums up those of many."""
    if isinstance(fact, (str, bool)):
        return {"yes" if fact is True else "no" if fact is False else fact: 1}
    return {"min": fact, "median": fact, "max": fact}


def _render_figure(label: Html, image: str, caption: Html) -> Html:
    return Html(f"<figure>{image}<figcaption><b>{label}</b> {caption}</figcaption></figure>")


def _render_preview(preview: Preview, kind: str, column: str, row: int) -> str:
    images = "".join(
        _render_image(pixels, f"{column}, row {row}", exact=kind == "audio") for pixels in preview.pictures
    )
    if not preview.lines:
        return f'<div class="strip">{images}</div>'
    lines = "".join(
        _render_line(line, kind, f"{column}, row {row} {name}".strip(), numbers.clip(name, 24))
        for line, name in zip(preview.lines, preview.names, strict=True)
    )
    return f'<div class="stack">{lines}<div class="strip">{images}</div></div>' if images else f"<div>{lines}</div>"


def _render_image(pixels: Pixels, alt: str, *, exact: bool = False) -> str:
    """An <img> element: PNG for small or `exact` pictures, small ones enlarged by a whole factor; else JPEG."""
    height, width = pixels.shape[:2]
    times = max(1, 96 // max(height, width))
    kind = ' class="pixel"' if times > 1 else ""
    return (
        f'<img{kind} width="{width * times}" height="{height * times}" alt="{look.escape(alt)}" '
        f'src="{data_url(pixels, exact=exact or times > 1)}">'
    )


def data_url(pixels: Pixels, *, exact: bool = False) -> str:
    """uint8 (H, W) or (H, W, 3) as an address that holds the picture: PNG where it must be `exact`, else JPEG."""
    file = io.BytesIO()
    image = need("PIL.Image", extra="media").fromarray(np.ascontiguousarray(pixels))
    image.save(file, "PNG", optimize=True) if exact else image.save(file, "JPEG", quality=80)
    return f"data:image/{'png' if exact else 'jpeg'};base64,{base64.b64encode(file.getvalue()).decode()}"


def _render_line(line: Float64, kind: str, title: str, name: str) -> str:
    """Strokes from the lowest to the highest value of each part; a sound stands about zero, a series in its range."""
    width, height = _LINE_SIZE_PX
    canvas = Canvas(width, height, title)
    finite = line[:, np.isfinite(line).all(axis=0)]
    low, high = bounds(finite.ravel().tolist())
    if kind == "audio":
        high = max(abs(low), abs(high)) if finite.any() else 1.0
        low = -high
    top = 4 if kind == "audio" else 18
    x, y = Scale(0, max(1, line.shape[1] - 1), 0.5, width - 0.5), Scale(low, high, height - 3, top)
    if kind != "audio":
        shown = format_range(float(finite.min()), float(finite.max())) if finite.size else "–"
        range_text = look.join(in_both_languages(name), Text(": ", "："), shown)
        canvas.text(0, 12, shorten_words(range_text, width), cls="soft", full=range_text)
    canvas.marks.append(f'<path class="wave" d="{_line_path(line, x, y, joined=kind != "audio")}"/>')
    return canvas.svg()


def _line_path(line: Float64, x: Scale, y: Scale, *, joined: bool) -> str:
    """The path data of a line (2, N). `joined`: consecutive parts are one stroke; missing ones leave a gap."""
    commands, was_drawn = [], False
    for index, (low, high) in enumerate(line.T.tolist()):
        if not (math.isfinite(low) and math.isfinite(high)):
            was_drawn = False
            continue
        top, bottom = y(high), y(low)
        bottom = max(bottom, top + 1) if not joined else bottom
        commands.append(f"{'L' if was_drawn and joined else 'M'}{x(index):.1f} {top:.1f}V{max(bottom, top + 0.5):.1f}")
        was_drawn = True
    return "".join(commands)
