"""Small tensors of one kind in one stack: what a step of a small net costs is calls, and a stack takes one for many.

    units = arrange(params, whole, states, stacked=True, before=())  # every tensor is in one of them
    grad = unit.gather(grads)                                        # of all its tensors, in the shape of its state
    unit.state                                                       # a stack's; those of its tensors are views of it

Matrices with eigenbases of one shape (m, n) make a stack (k, m, n); all other tensors lie in a row, one after the
other. What is in a stack depends on the tensors that have a gradient, their shapes and their own steps alone, and not
on the steps before: a run that is resumed rounds as one that goes on. A tensor that is alone of its kind, large, in
half precision or sharded is a unit of its own, and its state stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepseek.optimizers.config import PIECE_ELEMENTS, ParameterState

#: Elements up to which a tensor is put into a stack, and up to which a stack grows: both stay in a CPU's cache.
MAX_TENSOR_ELEMENTS, MAX_STACK_ELEMENTS = PIECE_ELEMENTS // 2, PIECE_ELEMENTS
_STACKED = ("exp_avg", "exp_avg_sq", "direction", "left", "left_basis", "right", "right_basis")  # of a state


@dataclass
class Unit:
    """Tensors of a slice that are worked on as one."""

    places: list[int]  # of its tensors in the slice
    state: ParameterState  # (k, m, n), (elements,), or that of its only tensor
    eigen: bool
    views: dict[str, list[Tensor]] = field(default_factory=dict)  # what the states of a stack's tensors are

    @property
    def is_stack(self) -> bool:
        return bool(self.views)

    def is_valid(self, states: Sequence[ParameterState]) -> bool:
        """Whether the states of a slice still are views of the stack, and of one step."""
        first = states[self.places[0]]["step"]
        return all(states[place]["step"] == first for place in self.places) and all(
            states[place].get(name) is view
            for name, views in self.views.items()
            for place, view in zip(self.places, views, strict=True)
        )

    def advance(self, states: Sequence[ParameterState]) -> int:
        """Count a step of its tensors. Returns the number of theirs."""
        step: int = states[self.places[0]]["step"] + 1
        for place in self.places:
            states[place]["step"] = step
        return step

    def gather(self, grads: Sequence[Tensor]) -> Tensor:
        """The gradients of its tensors, of those of a slice."""
        if not self.is_stack:
            return grads[self.places[0]]
        if self.eigen:
            return torch.stack([grads[place] for place in self.places])
        return torch.cat([grad if grad.ndim == 1 else grad.reshape(-1) for grad in map(grads.__getitem__, self.places)])


def arrange(
    params: Sequence[Tensor],
    whole: Sequence[nn.Parameter],
    states: Sequence[ParameterState],
    *,
    stacked: bool,
    before: Iterable[Unit],
) -> list[Unit]:
    """The units of a slice, lists in its order. `before`: units of the last slice, which are kept where they fit."""
    units: list[Unit] = []
    kinds: dict[tuple[object, ...], list[int]] = {}
    for place, (param, parameter, state) in enumerate(zip(params, whole, states, strict=True)):
        if stacked and param is parameter and _is_small(param):
            names = tuple(name for name in _STACKED if name in state)
            shape = state["exp_avg"].shape if state["eigen"] else None
            kinds.setdefault((param.device, param.dtype, state["step"], names, shape), []).append(place)
        else:
            units.append(Unit([place], state, state["eigen"]))
    known = {id(unit.views["direction"][0]): unit for unit in before if unit.is_stack}
    for places in kinds.values():
        units += [_unit(chunk, states, known) for chunk in _chunks(places, params)]
    return units


def _is_small(param: Tensor) -> bool:
    return 0 < param.numel() <= MAX_TENSOR_ELEMENTS and param.dtype in (torch.float32, torch.float64)


def _chunks(places: Iterable[int], params: Sequence[Tensor]) -> Iterable[list[int]]:
    """Places in order, in runs of tensors that fit into a stack."""
    chunk: list[int] = []
    size = 0
    for place in places:
        if chunk and size + params[place].numel() > MAX_STACK_ELEMENTS:
            yield chunk
            chunk, size = [], 0
        chunk.append(place)
        size += params[place].numel()
    yield chunk


def _unit(places: list[int], states: Sequence[ParameterState], known: dict[int, Unit]) -> Unit:
    """A stack of these tensors, their states made views of it: that which they lie in already, or a new one."""
    own = [states[place] for place in places]
    eigen: bool = own[0]["eigen"]
    if len(places) == 1:
        return Unit(places, own[0], eigen)
    old = known.get(id(own[0]["direction"]))
    if old is not None and len(old.places) == len(places):
        unit = Unit(places, old.state, eigen, old.views)
        if unit.is_valid(states):
            return unit
    stack: ParameterState = {}
    views: dict[str, list[Tensor]] = {}
    for name in (name for name in _STACKED if name in own[0]):
        tensors = [state[name] for state in own]
        if eigen:
            stack[name] = torch.stack(tensors)
            views[name] = list(stack[name].unbind())
        else:
            stack[name] = torch.cat([tensor.reshape(-1) for tensor in tensors])
            pieces = stack[name].split([tensor.numel() for tensor in tensors])
            views[name] = [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
        for state, view in zip(own, views[name], strict=True):
            state[name] = view
    return Unit(places, stack, eigen, views)


def unstacked(state: ParameterState) -> ParameterState:
    """A state with tensors that lie in memory of their own: what goes into a file is theirs alone."""
    return {
        name: value.clone() if isinstance(value, Tensor) and value.untyped_storage().nbytes() != value.nbytes else value
        for name, value in state.items()
    }
