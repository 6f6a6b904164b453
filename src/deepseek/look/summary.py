"""What a verb's result looks like in a terminal, as plain text and in a notebook: tables of facts and of figures.

    parts = ["loans: ready", fact_table([("rows", 12345)])]
    render_text(parts)                  # what the terminal shows, without colors or wrapping
    html_table(("metric", "value"), [("AUC", "0.99")], caption="loans")

rich is imported only when a table is made. Text passes look.terminal on its way out: names and labels are somebody's
data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepseek.look.numbers import UNKNOWN, count, figure, number
from deepseek.look.operating_point import fact_rows
from deepseek.look.terminal import escape_for_terminal
from deepseek.look.words import english, escape

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

    from deepseek.operating_point import OperatingPoint

Figures = Mapping[str, float]  # value, low, high
METRICS = {"auc": "AUC", "mae": "MAE", "rmse": "RMSE", "r2": "R²"}  # names that are no words
#: Reasons of values that were read as they are; those of the others were replaced.
BEYOND_TRAINING = ("outside", "far")
MAX_FLAGGED_COLUMNS = 5  # named in a line
#: Reason -> what is said of one, and of several.
_FLAG_WORDS = {
    "imputed": ("value was missing and was replaced", "values were missing and were replaced"),
    "unseen": ("value was never seen in training", "values were never seen in training"),
    "truncated": ("text was longer than the model reads", "texts were longer than the model reads"),
    "unreadable": ("text could not be read and counts as missing", "texts could not be read and count as missing"),
    "outside": ("number is outside of the training range", "numbers are outside of the training range"),
    "far": ("row is far from every training row, mostly by", "rows are far from every training row, mostly by"),
}
PIPE_WIDTH = 100_000  # characters: nothing is wrapped where there is no terminal


def make_table(*names: str, value_justify: JustifyMethod = "right") -> Table:
    """An empty table with these columns, the first one left-aligned."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(names):
        table.add_column(name, justify=value_justify if index else "left", overflow="fold")
    return table


def fact_table(rows: Iterable[tuple[str, object]]) -> Table:
    """One line per fact: its name and its value."""
    table = make_table("", "", value_justify="left")
    table.show_header = False
    for name, value in rows:
        table.add_row(name, format_value(value))
    return table


def operating_point_parts(point: OperatingPoint | None) -> list[object]:
    """What stands below a table of figures: the operating point, one line for each fact; nothing for None."""
    if point is None:
        return []
    rows = fact_rows(point)
    return ["", fact_table((english(name), escape_for_terminal(english(value), one_line=True)) for name, value in rows)]


def figure_table(metrics: Mapping[str, Figures], baseline: Mapping[str, Figures]) -> Table:
    """Measured figures with their intervals; the baseline's in the same row where there is one."""
    header, rows = figure_rows(metrics, baseline)
    table = make_table(*header)
    for row in rows:
        table.add_row(*row)
    return table


def figure_rows(
    metrics: Mapping[str, Figures], baseline: Mapping[str, Figures]
) -> tuple[tuple[str, ...], list[list[str]]]:
    """The header and the rows of a table of figures, as text."""
    rows = []
    for name, measured in metrics.items():
        row = [METRICS.get(name, name.replace("_", " ")), _format_figure(measured)]
        if baseline:
            row.append(_format_figure(baseline[name]) if name in baseline else "")
        rows.append(row)
    return ("", "this bundle", *(["baseline"] if baseline else [])), rows


def _format_figure(measured: Figures) -> str:
    return figure(measured["value"], measured["low"], measured["high"])


def format_value(value: object) -> str:
    """Any value as a person reads it.

    >>> format_value(12345), format_value(0.123456), format_value(True), format_value(None), format_value(["a", "b"])
    ('12,345', '0.123', 'yes', '–', 'a, b')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if value is None or isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_value, value)) or UNKNOWN
    return str(value)


def render_text(part: object, *, width: int | None = PIPE_WIDTH) -> str:
    """What a terminal is given for text, a rich renderable, or a list of these; each part ends with a line feed.

    `width` in characters wraps tables; None: the width of the terminal.

    >>> render_text(["rows", fact_table([("test", 12345)])]).split()
    ['rows', 'test', '12,345']
    """
    if isinstance(part, str):
        return escape_for_terminal(part) + "\n"
    if isinstance(part, Sequence):
        return "".join(render_text(item, width=width) for item in part)
    from rich.console import Console
    from rich.segment import Segment, Segments

    # Captured, for rich would end the process at a closed pipe.
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    renderable: Any = part
    pieces = console.render(renderable)
    safe = [Segment(escape_for_terminal(piece.text), piece.style, piece.control) for piece in pieces]
    with console.capture() as drawn:
        console.print(Segments(safe), end="")
    return drawn.get()


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """A small table for a notebook's cell; every cell is escaped.

    >>> html_table(("", "value"), [("a<b", "1")])
    '<table><thead><tr><th></th><th>value</th></tr></thead><tbody><tr><th>a&lt;b</th><td>1</td></tr></tbody></table>'
    """
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for first, *cells in rows
    )
    return f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def count_by_reason(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """How many flags there are of each reason that occurs.

    >>> count_by_reason({("age", "imputed"): 2, ("pay", "imputed"): 1})
    {'imputed': 3}
    """
    totals: Counter[str] = Counter()
    for (_, what), num_flags in counts.items():
        totals[what] += num_flags
    return {what: totals[what] for what in _FLAG_WORDS if totals[what]}


def flag_lines(counts: Mapping[tuple[str, str], int]) -> list[str]:
    """One line for each reason, with the columns that have most.

    >>> flag_lines({("amount", "outside"): 2, ("age", "imputed"): 1})
    ['1 value was missing and was replaced: age (1)', '2 numbers are outside of the training range: amount (2)']
    """
    lines = []
    for what, num_flags in count_by_reason(counts).items():
        columns = sorted(((n, column) for (column, why), n in counts.items() if why == what), key=lambda pair: -pair[0])
        names = ", ".join(f"{column} ({count(n)})" for n, column in columns[:MAX_FLAGGED_COLUMNS])
        more = f" and {len(columns) - MAX_FLAGGED_COLUMNS} more columns" if len(columns) > MAX_FLAGGED_COLUMNS else ""
        lines.append(f"{count(num_flags)} {_FLAG_WORDS[what][num_flags != 1]}: {names}{more}")
    return lines
