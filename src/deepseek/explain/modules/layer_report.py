"""The result of layer_path: the records of layer_records.py, with their check and their page.

path = layer_path(module, inputs, baseline)
path.ledger(); path.to_dict(); path.write_report("path.html", columns=["age", "income"])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import CheckError
from deepseek.explain.modules.layer_records import BundleLayerPath, LayerPathRecord
from deepseek.look.numbers import number
from deepseek.look.words import Words


@dataclass(frozen=True, slots=True)
class LayerPath(LayerPathRecord):
    """The decision path of N rows."""

    def check(self) -> LayerPath:
        """Itself, or CheckError that names the layer whose sum misses by the most."""
        lines = [line for line in self.ledger() if line.passes is False]
        if lines:
            worst = max(lines, key=lambda line: line.relative or 0.0)
            raise CheckError(
                f"the contributions of layer {worst.layer!r} sum to {number(worst.sum)}, and the change of the "
                f"answer is {number(worst.change)}",
                expected=f"a difference of at most {self.tolerance:g} of the change",
                fix='do not use this path; try rule="integral" with more max_steps, or float64 where the change is tiny'
                + _notes_text(self.notes),
            )
        return self

    def write_report(self, path: str | Path | None, *, columns: Sequence[str] = (), title: Words = "") -> str:
        """The page of this path, written to `path` (None: only returned). `columns` name the places of the input."""
        from deepseek.explain.modules.layer_page import write_layer_page

        return write_layer_page(path, BundleLayerPath(self, columns=tuple(columns)), title=title)


def _notes_text(notes: tuple[str, ...]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""
