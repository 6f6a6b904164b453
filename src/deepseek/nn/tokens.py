"""A linear model on n-grams of texts and on numbers beside them, as named arrays.

    margin = bias + numbers @ number_coef + sum over blocks and tokens of weight * coef[number]

A block is a run of features that hold the numbers of n-grams, and one of their weights (data/features/texts.py). A
number that is none of the block's counts for nothing, so that any row has an answer. `coef` is rounded to float16 when
it is trained; everything is computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64

_INT64, _DOUBLE, _FLOAT = 7, 11, 1  # onnx.TensorProto's numbers of types


@dataclass(frozen=True, slots=True)
class TokenLinear:
    """B blocks of n-grams, V n-grams of them all, Q numbers."""

    blocks: NDArray[np.int64]  # (B, 4) each: first feature of the numbers, of the weights, tokens, n-grams
    coef: NDArray[np.floating]  # (V, K) float16 or float32, the blocks' n-grams one block after the other
    numbers: NDArray[np.int64]  # (Q,) features that enter as they are
    number_coef: Float64  # (Q, K)
    number_mean: Float64  # (Q,) of the training rows: the baseline of explanations
    block_mean: Float64  # (B, K) mean contribution of each block over the training rows
    bias: Float64  # (K,)

    kind: ClassVar[str] = "tokens"
    method: ClassVar[str] = "linear in n-grams, exact"

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K)."""
        total = features[:, self.numbers].astype(np.float64) @ self.number_coef + self.bias
        for _, tokens, weights in self._tokens(features):
            for row in range(len(features)):
                used = weights[row] != 0
                total[row] += weights[row, used] @ self.coef[tokens[row, used]].astype(np.float64)
        return total

    def contributions(self, features: Float32, margin: int) -> tuple[Float64, Float64]:
        """Values (N, F) and base (N,) of one margin: each n-gram's at its weight, the block's mean taken off at the
        first of them."""
        values = np.zeros(features.shape)
        numbers = features[:, self.numbers].astype(np.float64)
        values[:, self.numbers] = (numbers - self.number_mean) * self.number_coef[:, margin]
        for index, tokens, weights in self._tokens(features):
            first, size = int(self.blocks[index, 1]), int(self.blocks[index, 2])
            values[:, first : first + size] = weights * self.coef[tokens, margin].astype(np.float64)
            values[:, first] -= self.block_mean[index, margin]
        base = self.bias[margin] + self.number_mean @ self.number_coef[:, margin] + self.block_mean[:, margin].sum()
        return values, np.full(len(features), base)

    def _tokens(self, features: Float32) -> list[tuple[int, NDArray[np.int64], Float64]]:
        """Of each block: its index, the rows of `coef` (N, L), and their weights (N, L), zero where there is none."""
        tokens, start = [], 0
        for index, (first, first_weight, size, num_terms) in enumerate(self.blocks.tolist()):
            numbers = features[:, first : first + size].astype(np.float64)
            weights = features[:, first_weight : first_weight + size].astype(np.float64)
            known = (numbers > -1) & (numbers < num_terms)
            place = np.where(known, numbers, 0).astype(np.int64)
            tokens.append((index, place + start, np.where(known, weights, 0.0)))
            start += num_terms
        return tokens

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {name: getattr(self, name) for name in ("blocks", "numbers", "coef", *_WIDE_ARRAYS)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> TokenLinear:
        """The inverse of arrays(). ValueError for blocks that do not make up `coef`."""
        blocks, numbers = (np.asarray(arrays[name], np.int64) for name in ("blocks", "numbers"))
        coef: NDArray[Any] = np.asarray(arrays["coef"])
        if coef.dtype.kind != "f" or blocks[:, 3].sum() != len(coef):
            raise ValueError(f"{coef.dtype} coefficients of {len(coef)} n-grams")
        return cls(blocks, coef, numbers, *(np.asarray(arrays[name], np.float64) for name in _WIDE_ARRAYS))

    def add_to(self, graph: Any, features: str) -> str:
        """Add the nodes of margin() to an engines.graph.OnnxGraphBuilder; the name of the result (N, K), float64. Row
        by row, so that a batch takes the memory of one row."""
        tokens, weights = self._add_tokens(graph, features)
        total = graph.add("Scan", tokens, weights, body=self._row_body(graph), num_scan_inputs=2)
        if len(self.numbers):
            numbers = graph.add("Gather", features, graph.constant(self.numbers), axis=1)
            product = graph.add("MatMul", graph.add("Cast", numbers, to=_DOUBLE), graph.constant(self.number_coef))
            total = graph.add("Add", total, product)
        return str(graph.add("Add", total, graph.constant(self.bias)))

    def _add_tokens(self, graph: Any, features: str) -> tuple[str, str]:
        """All blocks side by side: rows of `coef` (N, L) int64 and weights (N, L) float32, zero for what is unknown."""
        tokens, weights, start = [], [], 0
        nothing, below = graph.constant(np.float32(0)), graph.constant(np.float32(-1))
        for first, first_weight, size, num_terms in self.blocks.tolist():
            numbers, weight = (_add_columns(graph, features, place, size) for place in (first, first_weight))
            limit = graph.constant(np.float32(num_terms))
            known = graph.add("And", graph.add("Greater", numbers, below), graph.add("Less", numbers, limit))
            place = graph.add("Cast", graph.add("Where", known, numbers, nothing), to=_INT64)
            tokens.append(graph.add("Add", place, graph.constant(np.array(start))))
            weights.append(graph.add("Where", known, weight, nothing))
            start += num_terms
        if len(tokens) == 1:
            return tokens[0], weights[0]
        return graph.add("Concat", *tokens, axis=1), graph.add("Concat", *weights, axis=1)

    def _row_body(self, graph: Any) -> Any:
        """One row: the weighted sum of the rows of `coef`, of which it reads those alone whose weight is not zero."""
        constants = (self.coef, np.float32(0), np.array([0]), np.zeros(1, np.float32))
        coef, nothing, axis, no_weight = map(graph.constant, constants)
        nodes = [
            ("Equal", ["weight", nothing], "empty"), ("Not", ["empty"], "used"),
            ("Compress", ["token", "used"], "used_token"), ("Compress", ["weight", "used"], "used_weight"),
            # a first n-gram of weight zero: a row without any still has a sum
            ("Concat", [axis, "used_token"], "tokens"), ("Concat", [no_weight, "used_weight"], "weights"),
            ("Gather", [coef, "tokens"], "rows"), ("Cast", ["rows"], "wide_rows"),
            ("Cast", ["weights"], "wide_weights"),
            ("Unsqueeze", ["wide_weights", axis], "row"), ("MatMul", ["row", "wide_rows"], "sums"),
            ("Squeeze", ["sums", axis], "sum"),
        ]  # fmt: skip
        size = int(self.blocks[:, 2].sum())
        return graph.body(
            "tokens", nodes, inputs={"token": (_INT64, (size,)), "weight": (_FLOAT, (size,))},
            output=("sum", _DOUBLE, (self.coef.shape[1],)), attributes={"Cast": {"to": _DOUBLE}, "Concat": {"axis": 0}},
        )  # fmt: skip


_WIDE_ARRAYS = ("number_coef", "number_mean", "block_mean", "bias")


def _add_columns(graph: Any, features: str, first: int, size: int) -> str:
    """`size` columns of the features from `first` on."""
    ends = (graph.constant(np.array([x])) for x in (first, first + size, 1))
    return str(graph.add("Slice", features, *ends))
