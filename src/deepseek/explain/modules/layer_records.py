"""What layer_path finds, as data: layers with their contributions, the ledger, margins, edges. Without torch.

Shapes: N rows. A residual is the change to be explained, f(input) - f(baseline), less the sum of a layer's
contributions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import Float64, JsonObject
from deepseek.explain.records import JsonRecord

if TYPE_CHECKING:
    from deepseek.explain.modules.units import Edge


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LedgerLine(JsonRecord):
    """What one layer's contributions sum to, beside the change that they explain, of the row that misses most."""

    layer: str
    kind: str
    is_cut: bool  # the whole answer passes through the layer
    row: int  # place of the row that stands for all
    sum: float
    change: float  # output - base_value of that row
    residual: float | None  # change less sum; None for a branch
    relative: float | None  # size of the residual by the scale of the path
    bypassed: float | None  # of a branch: what passes it by
    passes: bool | None  # every row keeps to the tolerance; None for a branch


@dataclass(frozen=True, slots=True)
class LayerPathRecord:
    """The decision path of N rows, as data."""

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

    def ledger(self) -> list[LedgerLine]:
        """One line a layer. Of several rows the one with the largest residual stands for all. Several inputs have a
        line each, and one of all of them: "inputs"."""
        lines: list[LedgerLine] = []
        inputs = [layer for layer in self.layers if layer.kind == "input"]
        for layer in self.layers:
            lines.append(self._line(layer.name, layer.kind, layer.is_cut, layer.sum))
            if len(inputs) > 1 and layer is inputs[-1]:  # each is a part, all of them are the whole
                lines.append(self._line("inputs", "input", True, np.sum([each.sum for each in inputs], axis=0)))
        return lines

    def _line(self, name: str, kind: str, is_cut: bool, total: Float64) -> LedgerLine:
        """The line of a layer whose contributions sum to `total` (N,)."""
        change = self.output - self.base_value
        residual = change - total
        relative = np.nan_to_num(np.abs(residual) / self.scale, nan=np.inf)
        row = int(relative.argmax())
        return LedgerLine(
            layer=name, kind=kind, is_cut=is_cut, row=row, sum=float(total[row]), change=float(change[row]),
            residual=float(residual[row]) if is_cut else None, relative=float(relative[row]) if is_cut else None,
            bypassed=None if is_cut else float(residual[row]),
            passes=bool((relative <= self.tolerance).all()) if is_cut else None,
        )  # fmt: skip

    @property
    def passes(self) -> bool:
        return all(line.passes is not False for line in self.ledger())

    def to_dict(self) -> JsonObject:
        """As JSON, without the single values."""
        return {
            "method": self.method, "why": self.why, "num_steps": self.num_steps, "is_partial": self.is_partial,
            "output": self.output.tolist(), "base_value": self.base_value.tolist(), "target": list(self.target),
            "margin": self.margin.tolist(), "decided_at": list(self.decided_at), "passes": self.passes,
            "tolerance": self.tolerance, "ledger": [line.to_dict() for line in self.ledger()],
            "notes": list(self.notes),
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


@dataclass(frozen=True, slots=True, eq=False)
class BundleLayerPath(JsonRecord):
    """A layer path with what a page and a bundle say of it beside the path itself."""

    path: LayerPathRecord
    part: int | None = None  # place of the perceptron among the model's parts; None outside of a bundle
    weight: float = 1.0  # of that part in the model's answer
    columns: tuple[str, ...] = ()  # raw column of each place of the input

    def _items(self) -> JsonObject:
        return {"part": self.part, "weight": self.weight, "columns": list(self.columns), **self.path.to_dict()}
