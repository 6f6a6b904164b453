"""Measured figures as a table of a card.

figure_table({"auc": {"value": 0.9, "low": 0.88, "high": 0.92}}, {}, caption=row_count(114, "test"))
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.look import numbers
from deepseek.look.figures import metric_title
from deepseek.look.notebook.card import lines
from deepseek.look.tables import Cell, Column, table
from deepseek.look.words import Html, Text, Words

MeasuredFigure = Mapping[str, float]  # value, low, high


def figure_table(
    metrics: Mapping[str, MeasuredFigure], baseline: Mapping[str, MeasuredFigure], *, caption: Words = ""
) -> Html:
    """Figures with their intervals, those of the baseline in the same row where there is one; a line without any."""
    if not metrics:
        return lines(Text("It carries no measured figures.", "其中没有测得的指标。"), cls="soft")
    columns = [Column(Text("metric", "指标"), "text"), Column(Text("this bundle", "本模型包"))]
    columns += [Column(Text("baseline", "基准"))] if baseline else []
    rows: list[list[Cell]] = []
    for name, values in metrics.items():
        row: list[Cell] = [metric_title(name), _in_words(values)]
        rows.append([*row, _in_words(baseline[name]) if name in baseline else ""] if baseline else row)
    return table(columns, rows, caption=caption)


def row_count(num_rows: int, kind: str) -> Text:
    """The caption of figures: on how many rows of which kind."""
    return Text(
        f"{numbers.count(num_rows)} {kind} rows, with intervals of 95 %", f"{numbers.count(num_rows)} 行，附 95 % 区间"
    )


def _in_words(values: MeasuredFigure) -> str:
    return numbers.figure(values["value"], values["low"], values["high"])
