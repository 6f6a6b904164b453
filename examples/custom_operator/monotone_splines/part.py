"""The trained part: for each feature one monotone curve, and for each margin a weighted sum of them.

    z = (x[read] - centre) / scale          r = curves(z)          raw = bias + r @ coef

The sign of a coefficient says whether the answer rises or falls with its feature; it cannot do both. As the curves are
summed, the explanation is exact. Nothing here needs torch: a server runs the ONNX graph, an explanation runs numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.extras import need

OPERATOR = "MonotoneSpline"


@dataclass(frozen=True, slots=True)
class MonotoneSplines:
    """Meets deepseek.nn.model.OtherWeights. Q of the F features are read, each by K slopes; M margins."""

    kind: ClassVar[str] = "monotone_splines"
    method: ClassVar[str] = "sum of monotone curves, exact, against the mean training row"

    read: NDArray[np.int32]  # (Q,) features that have a curve
    centre: Float32  # (Q,)
    scale: Float32  # (Q,) never zero
    knots: Float32  # (K,) evenly spaced, on the scale of z
    slopes: Float32  # (Q, K) none below zero
    coef: Float32  # (Q, M)
    bias: Float32  # (M,)
    mean: Float32  # (Q,) of the curves over the training rows: the baseline of explanations

    @property
    def step(self) -> np.float32:
        return np.float32(self.knots[1] - self.knots[0])

    def curves(self, features: Float32) -> Float32:
        """r (N, Q), the operator of operator.py in numpy."""
        z = (features[:, self.read] - self.centre) / self.scale
        position = np.clip((z[:, :, None] - self.knots) / self.step, -1, 1)
        ramp = position - position * np.abs(position) / 2
        summed: Float32 = (ramp * self.slopes).sum(axis=2) * self.step
        return summed

    def margin(self, features: Float32) -> Float64:
        return (self.bias + self.curves(features) @ self.coef).astype(np.float64)

    def contributions(self, features: Float32, margin: int) -> tuple[Float64, Float64]:
        """Each curve's distance to its mean, times its coefficient."""
        coef, mean = self.coef[:, margin].astype(np.float64), self.mean.astype(np.float64)
        values = np.zeros(features.shape)
        values[:, self.read] = (self.curves(features) - mean) * coef
        return values, np.full(len(features), self.bias[margin] + mean @ coef)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> MonotoneSplines:
        return cls(**{f.name: arrays[f.name] for f in fields(cls)})

    def add_to(self, graph: Any, features: str) -> str:
        """The graph calls the operator by its name; its definition in standard operators travels in the same file."""
        graph.function(self.kind, OPERATOR, ["z", "slopes", "knots", "step"], ["curves"], _definition())
        picked = graph.add("Gather", features, graph.constant(self.read.astype(np.int64)), axis=1)
        centred = graph.add("Sub", picked, graph.constant(self.centre))
        z = graph.add("Div", centred, graph.constant(self.scale))
        tables = (graph.constant(array) for array in (self.slopes, self.knots, self.step))
        curves = graph.add(OPERATOR, z, *tables, domain=self.kind)
        product = graph.add("MatMul", curves, graph.constant(self.coef))
        return str(graph.add("Add", product, graph.constant(self.bias)))


def _definition() -> list[Any]:
    """curves() above as ONNX nodes."""
    node = need("onnx.helper", extra="tabular").make_node
    tensor = need("onnx.numpy_helper", extra="tabular").from_array

    def constant(name: str, array: Any) -> Any:
        return node("Constant", [], [name], value=tensor(array))

    return [
        constant("last", np.array([2], np.int64)),
        constant("low", np.array(-1, np.float32)),
        constant("high", np.array(1, np.float32)),
        constant("half", np.array(0.5, np.float32)),
        node("Unsqueeze", ["z", "last"], ["column"]),  # (N, Q, 1)
        node("Sub", ["column", "knots"], ["distance"]),  # (N, Q, K)
        node("Div", ["distance", "step"], ["steps"]),
        node("Clip", ["steps", "low", "high"], ["position"]),
        node("Abs", ["position"], ["size"]),
        node("Mul", ["position", "size"], ["square"]),
        node("Mul", ["square", "half"], ["rounding"]),
        node("Sub", ["position", "rounding"], ["ramp"]),
        node("Mul", ["ramp", "slopes"], ["weighted"]),
        node("ReduceSum", ["weighted", "last"], ["sum"], keepdims=0),  # (N, Q)
        node("Mul", ["sum", "step"], ["curves"]),
    ]
