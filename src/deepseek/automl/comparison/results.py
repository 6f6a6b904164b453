"""What `compare` returns: the comparison as JSON, as text and in a notebook."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.automl.comparison.records import Comparison
from deepseek.automl.comparison.text import comparison_parts, difference_rows, headline
from deepseek.contracts import JsonObject
from deepseek.look.summary import html_table, render_text
from deepseek.look.words import Text
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
        tables = [
            html_table(*difference_rows(self, comparison), caption=line.en)
            for comparison, line in zip(self.comparisons, self.headlines(), strict=True)
        ]
        return "".join(tables)
