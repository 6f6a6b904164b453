"""What `compare` returns: the comparison as JSON, as text and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepseek.automl.comparison.records import Comparison, ModelComparison
from deepseek.automl.comparison.text import comparison_parts, format_difference, format_figure, headline
from deepseek.contracts import Figure, JsonObject
from deepseek.look.figures import VERDICTS, metric_title
from deepseek.look.notebook.card import card, lines
from deepseek.look.summary import render_text
from deepseek.look.tables import Cell, Column, table
from deepseek.look.words import Html, Text, Words
from deepseek.results import Result


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonResult(Comparison, Result):
    """Models on the same rows, the first one as the reference. `result.comparisons[0].differences["log_loss"].low`
    reads the typed fields, `result["comparisons"]` the JSON object."""

    def to_dict(self) -> JsonObject:
        """The object that --json prints; each comparison has its sentence as "headline", in both languages."""
        document = Comparison.to_dict(self)
        for entry, line in zip(document["comparisons"], self.headlines(), strict=True):
            entry["headline"] = line._asdict()
        return document

    def headlines(self) -> list[Text]:
        """Of each model after the first: which is better, in one sentence."""
        return [headline(self, comparison) for comparison in self.comparisons]

    def summary(self) -> str:
        """What `deepseek compare` prints: who is better, the differences, segments, rows to look at, size and speed."""
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """The lines and tables of summary(), for a terminal that wraps them to its width."""
        return comparison_parts(self)

    def _repr_html_(self) -> str:
        """The sentences, then the differences of each model after the first, for a notebook."""
        title = Text("Comparison", "比较")
        return card(
            title, "", lines(*self.headlines()), lines(*self.warnings, cls="warn"), *map(self._table, self.comparisons)
        )

    def _table(self, comparison: ModelComparison) -> Html:
        names: list[Words] = ["", self.reference.name, comparison.model, Text("difference", "差异"), ""]
        columns = [Column(name, "number" if 0 < place < 4 else "text") for place, name in enumerate(names)]
        rows: list[list[Cell]] = [
            [
                metric_title(name), format_figure(self.reference.metrics[name]),
                format_figure(self._metrics_of(comparison.model)[name]), format_difference(difference),
                VERDICTS[difference.verdict],
            ]
            for name, difference in comparison.differences.items()
        ]  # fmt: skip
        return table(columns, rows)

    def _metrics_of(self, model: str) -> Mapping[str, Figure]:
        return next(each.metrics for each in self.models if each.name == model)
