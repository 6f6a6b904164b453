"""Small tensors together: what a step of a small net costs is calls, and one call may be for many of them.

    units, pools = arrange(params, whole, states, stacked=True)   # every tensor is in one unit
    pool.gather(grads)                                            # of all its tensors, in a row
    unit.state                                                    # a stack's; those of its tensors are views of it

Matrices with eigenbases of one shape (m, n) make a stack (k, m, n), all others of one step a row, one after the other;
both are units. Units of one step make a block, which is worked on at once where that is element by element, and all
blocks of one precision on one device a pool. What is where depends on the tensors that have a gradient, their shapes
and their own steps alone, and not on the steps before: a run that is resumed rounds as one that goes on. A tensor that
is large, in half precision or sharded is a unit of its own, and its state stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import is_

import torch
from torch import Tensor, nn

from deepseek.optimizers.config import PIECE_ELEMENTS, ParameterState

#: Elements up to which a tensor is small, and up to which a unit grows: both stay in a CPU's cache.
MAX_TENSOR_ELEMENTS, MAX_UNIT_ELEMENTS = PIECE_ELEMENTS // 2, PIECE_ELEMENTS
MAX_BLOCK_ELEMENTS = 2 * PIECE_ELEMENTS  # of a block, likewise
_POOLED = ("exp_avg", "exp_avg_sq", "direction")
_SQUARE = ("left", "left_basis", "right", "right_basis")  # of matrices with eigenbases


@dataclass
class Unit:
    """Tensors of a slice that are worked on as one."""

    places: list[int]  # of its tensors in the slice
    state: ParameterState  # (k, m, n), (elements,), or that of its only tensor
    eigen: bool
    shape: torch.Size  # of the moments there

    def advance(self, states: Sequence[ParameterState]) -> int:
        """Count a step of its tensors. Returns the number of theirs."""
        step: int = states[self.places[0]]["step"] + 1
        for place in self.places:
            states[place]["step"] = step
        return step


@dataclass
class Block:
    """Units of one step, side by side in a pool."""

    units: list[Unit]
    state: ParameterState = field(default_factory=dict)  # (elements,) each

    @property
    def num_elements(self) -> int:
        return sum(unit.shape.numel() for unit in self.units)


@dataclass
class Pool:
    """Small tensors in blocks, all lists in the order in which they lie there."""

    blocks: list[Block]
    places: list[int]  # of its tensors in the slice
    sizes: list[int]  # elements of each
    owners: Tensor  # (elements,) the number of each element's tensor
    directions: list[Tensor] = field(default_factory=list)  # in the shapes of the parameters
    state: ParameterState = field(default_factory=dict)  # (elements,) each
    names: list[tuple[int, str]] = field(default_factory=list)  # of what in the states of its tensors is a view
    views: list[Tensor] = field(default_factory=list)

    def is_valid(self, states: Sequence[ParameterState]) -> bool:
        """Whether the states of its tensors still are views of it, and those of a unit of one step."""
        return all(map(is_, [states[place].get(name) for place, name in self.names], self.views)) and all(
            len({states[place]["step"] for unit in block.units for place in unit.places}) == 1 for block in self.blocks
        )

    def gather(self, grads: Sequence[Tensor]) -> Tensor:
        """The gradients of its tensors, of those of a slice, in a row (elements,)."""
        own = [grads[place] for place in self.places]
        return torch.cat([grad if grad.ndim == 1 else grad.reshape(-1) for grad in own])

    def add(self, name: str, states: Sequence[ParameterState]) -> None:
        """Take what the states of its tensors have under a name into a row, 0 where they have nothing."""
        own = [states[place] for place in self.places]
        tensors = [state[name] if name in state else torch.zeros_like(state["exp_avg"]) for state in own]
        row = self.state[name] = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._share(name, states, self.places, torch.split(row, self.sizes))

    def add_units(self, states: Sequence[ParameterState]) -> None:
        """Make the states of its blocks and units, from those of its tensors."""
        for name in _POOLED:
            self.add(name, states)
        for block, *rows in zip(self.blocks, *(self.split(self.state[name]) for name in _POOLED), strict=True):
            block.state = dict(zip(_POOLED, rows, strict=True))
            for unit, *parts in zip(block.units, *(split_row(row, block.units) for row in rows), strict=True):
                unit.state = dict(zip(_POOLED, parts, strict=True))
                first = states[unit.places[0]]
                for name in (name for name in _SQUARE if name in first):
                    unit.state[name] = torch.stack([states[place][name] for place in unit.places])
                    self._share(name, states, unit.places, unit.state[name].unbind())

    def split(self, row: Tensor) -> Sequence[Tensor]:
        """A row by blocks."""
        if len(self.blocks) == 1:
            return [row]
        parts: tuple[Tensor, ...] = torch.split(row, [block.num_elements for block in self.blocks])
        return parts

    def _share(
        self, name: str, states: Sequence[ParameterState], places: Sequence[int], parts: Sequence[Tensor]
    ) -> None:
        for place, part in zip(places, parts, strict=True):
            shape = part.shape if name in _SQUARE else states[place]["exp_avg"].shape
            states[place][name] = part.view(shape)
            self.names.append((place, name))
            self.views.append(states[place][name])


def split_row(row: Tensor, units: list[Unit]) -> list[Tensor]:
    """What lies in a row, in the shapes of the units."""
    parts = [row] if len(units) == 1 else torch.split(row, [unit.shape.numel() for unit in units])
    return [part.view(unit.shape) for part, unit in zip(parts, units, strict=True)]


def arrange(
    params: Sequence[Tensor], whole: Sequence[nn.Parameter], states: Sequence[ParameterState], *, stacked: bool
) -> tuple[list[Unit], list[Pool]]:
    """The units of a slice, lists in its order: those of one tensor, and the pools of the others."""
    single: list[Unit] = []
    kinds: dict[tuple[torch.device, torch.dtype], dict[tuple[int, torch.Size | None], list[int]]] = {}
    for place, (param, parameter, state) in enumerate(zip(params, whole, states, strict=True)):
        if stacked and param is parameter and _is_small(param):
            shape = state["exp_avg"].shape if state["eigen"] else None
            of_kind = kinds.setdefault((param.device, param.dtype), {})
            of_kind.setdefault((state["step"], shape), []).append(place)
        else:
            single.append(Unit([place], state, state["eigen"], state["exp_avg"].shape))
    pools = [_pool(of_kind, params, states, device) for (device, _), of_kind in kinds.items()]
    return single, pools


def _pool(
    kinds: dict[tuple[int, torch.Size | None], list[int]],
    params: Sequence[Tensor],
    states: Sequence[ParameterState],
    device: torch.device,
) -> Pool:
    """Of small tensors of one precision, by their step and the shape of those with eigenbases."""
    blocks: list[Block] = []
    size = MAX_BLOCK_ELEMENTS
    last: int | None = None
    for (step, shape), all_places in sorted(kinds.items(), key=lambda kind: kind[0][0]):
        for chunk in _chunks(all_places, params):
            own = sum(params[place].numel() for place in chunk)
            if step != last or size + own > MAX_BLOCK_ELEMENTS:
                blocks.append(Block([]))
                size, last = 0, step
            size_in_row = torch.Size([own]) if shape is None else torch.Size([len(chunk), *shape])
            blocks[-1].units.append(Unit(chunk, {}, shape is not None, size_in_row))
            size += own
    places = [place for block in blocks for unit in block.units for place in unit.places]
    sizes = [params[place].numel() for place in places]
    owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(device)
    pool = Pool(blocks, places, sizes, owners)
    pool.add_units(states)
    if any("slow_direction" in states[place] for place in places):
        pool.add("slow_direction", states)
    pool.directions = [states[place]["direction"].view(params[place].shape) for place in places]
    return pool


def _is_small(param: Tensor) -> bool:
    return 0 < param.numel() <= MAX_TENSOR_ELEMENTS and param.dtype in (torch.float32, torch.float64)


def _chunks(places: Iterable[int], params: Sequence[Tensor]) -> Iterable[list[int]]:
    """Places in order, in runs of tensors that make a unit."""
    chunk: list[int] = []
    size = 0
    for place in places:
        if chunk and size + params[place].numel() > MAX_UNIT_ELEMENTS:
            yield chunk
            chunk, size = [], 0
        chunk.append(place)
        size += params[place].numel()
    yield chunk


def copy_pooled_state(state: ParameterState) -> ParameterState:
    """A state whose tensors lie in memory of their own: those of a pool as copies, the others as they are."""
    return {
        name: value.clone() if isinstance(value, Tensor) and value.untyped_storage().nbytes() != value.nbytes else value
        for name, value in state.items()
    }


def dtype_of_moments(param: Tensor, is_eigen: bool, dtype_name: str | None) -> torch.dtype:
    """The precision of the moments of a parameter, of what this rank holds of it, but of that of the squares."""
    is_large = param.numel() > MAX_TENSOR_ELEMENTS and param.dtype is torch.float32 and not is_eigen
    return torch.bfloat16 if dtype_name is not None and is_large else param.dtype
