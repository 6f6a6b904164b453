"""Tables, lists of facts, figures with captions, and the same data as JSON beside each."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deepseek.look import numbers
from deepseek.look.svg import NARROW_PX, WIDE_PX
from deepseek.look.words import Html, Text, Words, escape, inline

_JSON = Text("Data as JSON", "JSON 数据")
Cell = Words | Html | float | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: numbers stand right-aligned, with equal digit widths."""

    title: Words
    kind: Literal["text", "number"] = "number"


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, caption: Words = "", data: Any = None) -> Html:
    """A table that scrolls by itself where the page is too narrow; the first cell of a row is its heading.

    Numbers may be given as numbers (three significant digits are shown) or as text that is already formatted.
    `data` is offered as JSON beneath. A table without rows says so.
    """
    if not rows:
        return empty_state(Text("There is nothing to list here.", "此处没有可列出的内容。"))
    heads = "".join(f'<th scope="col"{_kind(column)}>{inline(column.title)}</th>' for column in columns)
    body = "".join(f"<tr>{_row(columns, row)}</tr>" for row in rows)
    title = f"<caption>{inline(caption)}</caption>" if caption else ""
    # A region that scrolls must be reachable by keyboard.
    return Html(
        f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        f"</div>{as_json(data)}"
    )


def facts(pairs: Mapping[Words, Cell]) -> Html:
    """A list with one line for each fact: its name and its value. Facts without a value are left out."""
    lines = (
        f"<dt>{inline(name)}</dt><dd>{_cell(value)}</dd>" for name, value in pairs.items() if value not in (None, "")
    )
    return Html(f'<dl class="facts">{"".join(lines)}</dl>')


def figure(
    draw: Callable[..., Html], *args: Any, title: Words, caption: Words | Html = "", data: Any = None, **kwargs: Any
) -> Html:
    """A plot drawn for a screen and for a phone (the style shows one), its caption, and its data as JSON.

    `draw(*args, title=title, width=px, **kwargs)` is one of the plots of this room.
    """
    wide = draw(*args, title=title, width=WIDE_PX, **kwargs)
    narrow = draw(*args, title=title, width=NARROW_PX, **kwargs)
    legend = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
    return Html(
        f'<figure><h3>{inline(title)}</h3><div class="wide">{wide}</div><div class="narrow">{narrow}</div>{legend}'
        f"{as_json(data)}</figure>"
    )


def as_json(data: Any, title: Words = _JSON) -> Html:
    """The data as JSON behind a disclosure; nothing for None. Not-finite numbers become null."""
    if data is None:
        return Html("")
    text = json.dumps(to_json_values(data), ensure_ascii=False, indent=1, allow_nan=False)
    return Html(
        f'<details class="json"><summary>{inline(title)}</summary><pre tabindex="0">{escape(text)}</pre></details>'
    )


def empty_state(what: Words, why: Words = "", do: Words = "") -> Html:
    """The state of a part that has nothing to show: what is missing, why, what to do."""
    lines = "".join(f"<p>{inline(part)}</p>" for part in (what, why, do) if part)
    return Html(f'<div class="state">{lines}</div>')


def verdict(kind: Literal["good", "warn", "bad"], words: Words) -> Html:
    """A verdict: a sign in its color, and words that say it without either."""
    sign = {"good": "✓", "warn": "!", "bad": "✕"}[kind]
    return Html(f'<span class="sign {kind}">{sign}</span> {inline(words)}')


def bullet_list(items: Sequence[Words | Html], *, plain: bool = False) -> Html:
    """A list; `plain` where each item brings its own sign."""
    lines = "".join(f"<li>{inline(item)}</li>" for item in items)
    return Html(f"<ul{' class=plain' if plain else ''}>{lines}</ul>")


def paragraph(words: Words | Html, *, note: bool = False) -> Html:
    """A paragraph of text in both languages; a note is small and gray."""
    kind = ' class="note"' if note else ""
    return Html(f"<p{kind}>{inline(words)}</p>")


def command(text: str) -> Html:
    """A command line to copy."""
    return Html(f'<pre class="command"><code>{nowrap_options(text)}</code></pre>')


def nowrap_options(words: Words) -> Html:
    """Words whose options (--split) are not cut at the end of a line."""
    return Html(re.sub(r"--[a-z-]+", r'<span class="option">\g<0></span>', inline(words)))


def _kind(column: Column) -> str:
    return ' class="num"' if column.kind == "number" else ""


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    cells = [f'<th scope="row"{_kind(columns[0])}>{_cell(row[0])}</th>']
    cells += [f"<td{_kind(column)}>{_cell(value)}</td>" for column, value in zip(columns[1:], row[1:], strict=True)]
    return "".join(cells)


def _cell(value: Cell) -> str:
    if value is None:
        return numbers.UNKNOWN
    if isinstance(value, bool):
        return inline(Text("yes", "是") if value else Text("no", "否"))
    if isinstance(value, int):
        return escape(numbers.count(value))
    if isinstance(value, float):
        return escape(numbers.number(value))
    return inline(value)


def to_json_values(data: Any) -> Any:
    """`data` with numpy's scalars and arrays as Python's, and NaN as null."""
    if isinstance(data, Mapping):
        return {str(key): to_json_values(value) for key, value in data.items()}
    if hasattr(data, "tolist"):
        return to_json_values(data.tolist())
    if isinstance(data, str):
        return str(data)
    if isinstance(data, Sequence):
        return [to_json_values(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, bool | int) else str(data)
