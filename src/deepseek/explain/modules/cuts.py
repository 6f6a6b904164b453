"""Which tensors a whole answer passes through: every path of the graph from input to output leads through each of them.

    paths = PathCounts(output, leaves)
    paths.is_cut(tensor)          only then must what it carries sum to the whole change of the output

Paths are counted, not followed: below[node] to the leaves, above[node] to the output; a tensor is a cut when the
product of both is the number of all paths. A branch beside a residual sum is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

#: Calls after which a residual stream is still the same stream.
_RESIDUAL_NODES = frozenset(
    ["AddBackward0", "CloneBackward0", "AliasBackward0", "_NormBackward", "NativeLayerNormBackward0", "MulBackward0",
     "NativeDropoutBackward0", "TransposeBackward0", "PermuteBackward0"]
)  # fmt: skip


class PathCounts:
    """Numbers of paths through each tensor of an autograd graph, which it keeps alive."""

    def __init__(self, output: Tensor, leaves: Iterable[Tensor]) -> None:
        self._ids = {id(leaf) for leaf in leaves}
        self._root = output
        self._order = _postorder(output.grad_fn)
        self._below: dict[Any, int] = {}
        for node in self._order:
            variable = getattr(node, "variable", None)
            if variable is not None:
                self._below[node] = int(id(variable) in self._ids)
            else:
                self._below[node] = sum(self._below[other] for other, _ in node.next_functions if other is not None)
        self._above: dict[tuple[Any, int], int] = defaultdict(int)
        through: dict[Any, int] = defaultdict(int)
        self._above[output.grad_fn, output.output_nr] = through[output.grad_fn] = 1
        for node in reversed(self._order):
            for other, place in node.next_functions:
                if other is not None:
                    self._above[other, place] += through[node]
                    through[other] += through[node]

    @property
    def num_paths(self) -> int:
        """From the leaves to the output."""
        return self._below.get(self._root.grad_fn, 0)

    def num_through(self, tensor: Tensor) -> int:
        """Paths that lead through a tensor."""
        node = tensor.grad_fn
        return self._above.get((node, tensor.output_nr), 0) * self._below.get(node, 0)

    def is_cut(self, tensor: Tensor) -> bool:
        return self.num_paths > 0 and self.num_through(tensor) == self.num_paths

    @staticmethod
    def in_same_stream(last: Tensor, earlier: Sequence[Tensor]) -> list[bool]:
        """Which of `earlier` reach `last` by sums and norms alone: the same residual stream, of the same meaning."""
        seen: set[Any] = set()
        waiting = [last.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node.name() in _RESIDUAL_NODES:
                waiting += [other for other, _ in node.next_functions]
        return [tensor.grad_fn in seen for tensor in earlier]


def _postorder(root: Any) -> list[Any]:
    """Every node below `root`, each after those that it leads to."""
    order: list[Any] = []
    done: set[Any] = set()
    waiting: list[tuple[Any, bool]] = [(root, False)] if root is not None else []
    while waiting:
        node, is_after = waiting.pop()
        if is_after:
            order.append(node)
        elif node not in done:
            done.add(node)
            waiting.append((node, True))
            waiting += [(other, False) for other, _ in node.next_functions if other is not None and other not in done]
    return order
