"""Predictions and training as a notebook shows them.

prediction_card(classes=..., labels=..., probabilities=...)      # the first rows of a prediction
training_card(losses, validation, num_steps=...)                 # the curve of a finished training
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deepseek.look.charts import Line, progress
from deepseek.look.notebook.card import card, lines
from deepseek.look.numbers import count, number
from deepseek.look.tables import Cell, Column, figure, table
from deepseek.look.words import Html, Text, Words

MAX_ROWS, MAX_CLASSES = 10, 6  # of a prediction that are shown


def prediction_card(
    *, classes: Sequence[str] = (), labels: Sequence[str] = (), probabilities: Sequence[Sequence[float]] = (),
    values: Sequence[float] = (), intervals: Sequence[Sequence[float]] | None = None, flags: Sequence[str] = (),
) -> str:  # fmt: skip
    """The first MAX_ROWS answers: labels (N,) with probabilities (N, C) in the order of `classes`, or values (N,) with
    intervals (N, 2). `flags`: what to know of the rows, a line each."""
    row = Column(Text("row", "行"))
    rows: list[list[Cell]]
    if classes:
        columns = [row, Column(Text("answer", "答案"), "text"), *map(Column, classes[:MAX_CLASSES])]
        rows = [
            [place, label, *map(number, probabilities[place][:MAX_CLASSES])]
            for place, label in enumerate(labels[:MAX_ROWS])
        ]
        counts = Counter(labels).most_common(MAX_CLASSES)
        answer: Words = ", ".join(f"{label}: {count(many)}" for label, many in counts)
    else:
        columns = [row, Column(Text("value", "数值")), *([Column(Text("interval", "区间"))] if intervals else [])]
        rows = [[place, number(value)] for place, value in enumerate(values[:MAX_ROWS])]
        for place, ends in enumerate((intervals or ())[:MAX_ROWS]):
            rows[place].append(f"{number(ends[0])} … {number(ends[1])}")
        low, high = min(values, default=0.0), max(values, default=0.0)
        answer = Text(f"from {number(low)} to {number(high)}", f"从 {number(low)} 到 {number(high)}")
    num_rows = max(len(labels), len(values))
    more = num_rows - len(rows)
    caption: Words = Text(f"and {count(more)} more rows", f"另有 {count(more)} 行") if more > 0 else ""
    title = Text(f"{count(num_rows)} answers", f"{count(num_rows)} 个答案")
    return card(title, answer, lines(*flags, cls="warn"), table(columns, rows, caption=caption))


def training_card(
    losses: Sequence[float], validation: Sequence[tuple[float, float]], *, num_steps: int, notes: Sequence[str] = ()
) -> str:
    """How a training went: the mean loss of each epoch (from 1), beside the validation's loss as (epoch, loss)."""
    if not losses:
        return card(
            Text("Training", "训练"), Text("No epoch was finished.", "没有完成任何一轮。"), lines(*notes, cls="warn")
        )
    answer = Text(
        f"{count(len(losses))} epochs, {count(num_steps)} steps: the loss went from {number(losses[0])} "
        f"to {number(losses[-1])}.",
        f"{count(len(losses))} 轮，{count(num_steps)} 步：损失从 {number(losses[0])} 变为 {number(losses[-1])}。",
    )
    points = [(float(epoch), loss) for epoch, loss in enumerate(losses, start=1)]
    curves = [
        Line(Text("training", "训练"), points),
        *([Line(Text("validation", "验证"), validation)] if validation else []),
    ]
    loss_words = Text("loss", "损失")
    plot = Html("")
    if len(losses) > 1:
        plot = figure(progress, curves, title=loss_words, x_label=Text("epoch", "轮"), y_label=loss_words)
    return card(Text("Training", "训练"), answer, lines(*notes, cls="warn"), plot)
