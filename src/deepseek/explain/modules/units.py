"""What single units, channels and heads of a layer contribute, and how they hand it on to the next layer.

An edge from unit i of one layer to unit j of the next is the part of j's contribution that came through i: one backward
pass from j alone, as far as the layer before. The edges into j sum to what j contributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepseek.explain.modules.layer_traces import LayerTrace, TracedLayer

#: Modules whose answer (N, C, T) has its channels before its places.
_CHANNELS_FIRST = ("Conv", "BatchNorm", "Pool", "InstanceNorm", "GroupNorm")


@dataclass(frozen=True, slots=True)
class Edge:
    """What one unit hands on to another."""

    row: int
    source: str  # a layer
    source_unit: int
    target: str
    target_unit: int
    value: float


def unit_axis(layer: TracedLayer, part: Tensor) -> tuple[int, str]:
    """The axis of a layer's units in (N, ...), and what they are called."""
    if layer.kind == "attention heads":
        return 1, "head"
    if part.ndim >= 4 or (part.ndim == 3 and any(word in layer.kind for word in _CHANNELS_FIRST)):
        return 1, "channel"
    return part.ndim - 1, "feature" if layer.kind == "input" else "unit"


def sum_by_unit(layer: TracedLayer, part: Tensor) -> Tensor:
    """Contributions (N, U) of units, summed over places, from (N, ...)."""
    axis, _ = unit_axis(layer, part)
    moved = part.movedim(axis, 1) if part.ndim > 1 else part[:, None]
    return moved.flatten(2).sum(2) if moved.ndim > 2 else moved


def unit_mask(layer: TracedLayer, part: Tensor, units: Tensor) -> Tensor:
    """Mask over a layer's answer (N, ...) of the `units` (N, k) of each row."""
    axis, _ = unit_axis(layer, part)
    mask = torch.zeros(len(part), part.shape[axis] if part.ndim > 1 else 1, dtype=torch.bool, device=part.device)
    mask.scatter_(1, units, True)
    wide = [len(part)] + [1] * (part.ndim - 1)
    if part.ndim > 1:
        wide[axis] = part.shape[axis]
    return mask.view(wide).expand(part.shape)


def edges_between(trace: LayerTrace, source: int, target: int, num_top: int) -> list[Edge]:
    """Edges from the top units of layer `source` to each of the top `num_top` units of layer `target` (places in
    trace.layers). Needs the graph of the run."""
    before, after = trace.layers[source], trace.layers[target]
    part, run = trace.parts[after.place], trace.run
    tensor, grad = run.tensors[after.place], trace.grads[after.place]
    num_rows = len(trace.target)
    if len(part) != num_rows or len(trace.parts[before.place]) != num_rows:
        return []
    top = sum_by_unit(after, part).abs().topk(min(num_top, sum_by_unit(after, part).shape[1]), dim=1).indices
    edges: list[Edge] = []
    for rank in range(top.shape[1]):
        mask = unit_mask(after, part, top[:, rank : rank + 1])
        cotangent = grad * _expand_to_run(mask, tensor, len(run.answer))
        backs: tuple[Tensor | None, ...] = torch.autograd.grad(
            (tensor * cotangent).sum(), run.tensors[before.place], retain_graph=True, allow_unused=True
        )
        if (back := backs[0]) is None:  # it does not read that layer
            return []
        handed = sum_by_unit(before, trace.spread(before.place, back))
        best = handed.abs().topk(min(num_top, handed.shape[1]), dim=1).indices
        for row in range(num_rows):
            unit = int(top[row, rank])
            edges += [
                Edge(row, before.name, int(each), after.name, unit, float(handed[row, each])) for each in best[row]
            ]
    return edges


def _expand_to_run(mask: Tensor, tensor: Tensor, num_rows: int) -> Tensor:
    """A mask (N, ...) as the tensor of a run lies, whose `num_rows` rows are those of all steps."""
    whole = mask.repeat(num_rows // len(mask), *(1 for _ in mask.shape[1:]))
    if tensor.shape == whole.shape:
        return whole
    if num_rows in tensor.shape:
        return whole.movedim(0, list(tensor.shape).index(num_rows))
    return whole.reshape(tensor.shape)
