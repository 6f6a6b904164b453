"""What layer_path finds: layers with their contributions, the ledger, margins, edges; for Python and as JSON.

Shapes: N rows. A residual is the change to be explained, f(input) - f(baseline), less the sum of a layer's
contributions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float64
from deepseek.errors import CheckError
from deepseek.explain.modules.units import Edge
from deepseek.look.numbers import number
from deepseek.look.words import Words


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer of a path. N rows."""

    name: str
    kind: str  # the module's class; "input"; "attention heads"
    is_cut: bool  # the whole answer passes through it
    shape: tuple[int, ...]  # of a row
    values: np.ndarray[Any, np.dtype[np.float32]]  # (N, *shape)
    sum: Float64  # (N,)
    residual: Float64  # (N,) change to be explained less sum; of a branch what passes it by
    unit_name: str  # "unit", "channel", "head", "feature"
    units: tuple[tuple[tuple[int, float], ...], ...]  # for each row the strongest, as (place, contribution)
    margin: Float64 | None = None  # (N,) after this layer
    margin_by: str = ""  # "logit lens" or "linear rest"
    ablation: Mapping[str, Float64] | None = None  # predicted, measured, random (N,)


@dataclass(frozen=True, slots=True)
class LayerPath:
    """The decision path of N rows."""

    layers: tuple[LayerReport, ...]
    edges: tuple[Edge, ...]
    output: Float64  # (N,) what is explained
    base_value: Float64  # (N,) the same for the baseline
    target: tuple[int, ...]  # (N,) the output that is explained
    margin: Float64  # (N,) of the whole net
    decided_at: tuple[str | None, ...]  # (N,)
    method: str
    why: str  # why this rule
    tolerance: float
    scale: Float64  # (N,) what a residual is measured by
    num_steps: int
    is_partial: bool
    notes: tuple[str, ...] = ()

    def ledger(self) -> list[dict[str, Any]]:
        """One line a layer: {"layer", "kind", "is_cut", "sum", "change", "residual", "relative", "bypassed",
        "passes"}. Of several rows the one with the largest residual stands for all; "passes" is None for a branch, the
        rest of which is "bypassed". Several inputs have a line each, and one of all of them: "inputs"."""
        lines: list[dict[str, Any]] = []
        inputs = [layer for layer in self.layers if layer.kind == "input"]
        for layer in self.layers:
            lines.append(self._line(layer.name, layer.kind, layer.is_cut, layer.sum))
            if len(inputs) > 1 and layer is inputs[-1]:  # each is a part, all of them are the whole
                lines.append(self._line("inputs", "input", True, np.sum([each.sum for each in inputs], axis=0)))
        return lines

    def _line(self, name: str, kind: str, is_cut: bool, total: Float64) -> dict[str, Any]:
        """Of a layer whose contributions sum to `total` (N,)."""
        change = self.output - self.base_value
        residual = change - total
        relative = np.nan_to_num(np.abs(residual) / self.scale, nan=np.inf)
        row = int(relative.argmax())
        line = {"layer": name, "kind": kind, "is_cut": is_cut, "row": row}
        line |= {"sum": float(total[row]), "change": float(change[row])}
        if is_cut:
            passes = bool((relative <= self.tolerance).all())
            return line | {
                "residual": float(residual[row]), "relative": float(relative[row]), "bypassed": None, "passes": passes,
            }  # fmt: skip
        return line | {"residual": None, "relative": None, "bypassed": float(residual[row]), "passes": None}

    @property
    def passes(self) -> bool:
        return all(line["passes"] is not False for line in self.ledger())

    def check(self) -> LayerPath:
        """Itself, or CheckError that names the layer whose sum misses by the most."""
        lines = [line for line in self.ledger() if line["passes"] is False]
        if lines:
            worst = max(lines, key=lambda line: float(line["relative"]))
            raise CheckError(
                f"the contributions of layer {worst['layer']!r} sum to {number(worst['sum'])}, and the change of the "
                f"answer is {number(worst['change'])}",
                expected=f"a difference of at most {self.tolerance:g} of the change",
                fix='do not use this path; try rule="integral" with more max_steps, or float64 where the change is tiny'
                + _notes_text(self.notes),
            )
        return self

    def write_report(self, path: str | Path | None, *, columns: Sequence[str] = (), title: Words = "") -> str:
        """The page of this path, written to `path` (None: only returned). `columns` name the places of the input."""
        from deepseek.explain.modules.layer_page import write_layer_page

        return write_layer_page(path, self.to_dict() | {"columns": list(columns)}, title=title)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the single values."""
        return {
            "method": self.method, "why": self.why, "num_steps": self.num_steps, "is_partial": self.is_partial,
            "output": self.output.tolist(), "base_value": self.base_value.tolist(), "target": list(self.target),
            "margin": self.margin.tolist(), "decided_at": list(self.decided_at), "passes": self.passes,
            "tolerance": self.tolerance, "ledger": self.ledger(), "notes": list(self.notes),
            "layers": [
                {
                    "layer": layer.name, "kind": layer.kind, "shape": list(layer.shape), "is_cut": layer.is_cut,
                    "sum": layer.sum.tolist(), "unit_name": layer.unit_name,
                    "units": [[{"unit": unit, "value": value} for unit, value in row] for row in layer.units],
                    "margin": None if layer.margin is None else layer.margin.tolist(), "margin_by": layer.margin_by,
                    "ablation": layer.ablation
                    and {name: values.tolist() for name, values in layer.ablation.items()},
                }
                for layer in self.layers
            ],
            "edges": [asdict(edge) for edge in self.edges],
        }  # fmt: skip


def _notes_text(notes: tuple[str, ...]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""
