"""The confusion matrix: what each true class was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.look import numbers
from deepseek.look.svg import Canvas, shorten_words, text_width
from deepseek.look.words import Html, Text, Words, join

_MAX_CLASSES = 12
_LARGEST_CELL_PX = (96.0, 48.0)
_TOP_PX = 44.0
_HEADING = Text(
    "true class down, predicted class across, rows in all at the right", "行：真实类别；列：预测类别；右：总行数"
)
_HEADING_PHONE = Text("true class down, predicted across", "行：真实类别；列：预测类别")


@dataclass(frozen=True, slots=True)
class _Grid:
    labels: Sequence[Words]
    counts: Sequence[Sequence[int]]
    left: float
    cell_width: float
    cell_height: float


def confusion_matrix(labels: Sequence[Words], counts: Sequence[Sequence[int]], *, title: Words, width: float) -> Html:
    """counts[i][j]: rows of true class i that were predicted as class j. Shading: the share of the true class.

    The smaller classes are summed into "other" where the numbers would not fit into `width`, at most 12 stay.
    """
    grid = _fit_grid(labels, counts, width)
    canvas = Canvas(width, _TOP_PX + grid.cell_height * len(grid.labels) + 8, title)
    canvas.text(0, 12, _HEADING if text_width(_HEADING) < width else _HEADING_PHONE, cls="label")
    numbered = any(text_width(label) > grid.cell_width - 4 for label in grid.labels)
    right = grid.left + grid.cell_width * len(grid.labels)
    total_px = max(text_width(numbers.count(sum(row))) for row in grid.counts)
    for index, label in enumerate(grid.labels):
        y = _TOP_PX + grid.cell_height * (index + 0.5) + 4
        name = join(f"{index + 1} · ", label) if numbered else label
        canvas.text(grid.left - 10, y, shorten_words(name, grid.left - 12), anchor="end", full=name)
        middle = grid.left + grid.cell_width * (index + 0.5)
        head = str(index + 1) if numbered else label
        canvas.text(middle, _TOP_PX - 8, head, anchor="middle", cls="soft", full=label)
        canvas.text(right + total_px + 10, y, numbers.count(sum(grid.counts[index])), anchor="end", cls="soft")
        _draw_row(canvas, grid, index)
    return canvas.svg()


def _draw_row(canvas: Canvas, grid: _Grid, index: int) -> None:
    row = grid.counts[index]
    y, width, height = _TOP_PX + grid.cell_height * index, grid.cell_width - 2, grid.cell_height - 2
    for column, value in enumerate(row):
        x = grid.left + grid.cell_width * column
        # A shade of at most a quarter keeps the number on it readable in both themes.
        share = value / (sum(row) or 1)
        canvas.rect(x, y, width, height, f"{'cell' if column == index else 'cell-wrong'} shade-{round(10 * share)}")
        canvas.rect(x, y, width, height, "frame")
        if value:
            canvas.text(x + width / 2, y + height / 2 + 4, numbers.count(value), anchor="middle", cls="on-fill")


def _fit_grid(labels: Sequence[Words], counts: Sequence[Sequence[int]], width: float) -> _Grid:
    """The grid with as many classes as can show their numbers within `width`."""
    if not labels:
        raise ValueError("a confusion matrix has classes")
    for num in range(min(_MAX_CLASSES, len(labels)), 0, -1):
        shown, merged = _merge_classes(labels, counts, num)
        left = min(max(text_width(label) for label in shown) + 36, 0.3 * width) + 12
        total_px = max(text_width(numbers.count(sum(row))) for row in merged)
        cell_width = (width - left - total_px - 12) / num
        needed = max(text_width(numbers.count(value)) for row in merged for value in row) + 6
        if cell_width >= needed:
            break
    wide, high = _LARGEST_CELL_PX
    return _Grid(shown, merged, left, min(cell_width, wide), min(max(cell_width, 24.0), high))


def _merge_classes(
    labels: Sequence[Words], counts: Sequence[Sequence[int]], num_shown: int
) -> tuple[Sequence[Words], Sequence[Sequence[int]]]:
    """Labels and counts of the largest classes, with the others summed into one."""
    if len(labels) <= num_shown:
        return labels, counts
    ordered = sorted(range(len(labels)), key=lambda index: -sum(counts[index]))
    kept = sorted(ordered[: num_shown - 1])
    groups = [[index] for index in kept] + [sorted(ordered[num_shown - 1 :])]
    merged = [[sum(counts[i][j] for i in rows for j in cols) for cols in groups] for rows in groups]
    other = Text(f"{len(groups[-1])} other", f"其余 {len(groups[-1])} 类")
    return [*(labels[index] for index in kept), other], merged
