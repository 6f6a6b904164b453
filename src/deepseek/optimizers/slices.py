"""The parameters of a group that take part in a step of AdaptiveOptimizer, as lists in one order.

    slices = Slices()
    part = slices.of(group, states)             # None where no parameter of the group has a gradient
    part.read("limits"); part.write("limits", values)

What depends on which parameters those are, and not on their values, is kept from one step to the next.

    sum_over_shards(sums, params); sum_over_group(sums, group); max_over_group(largest, group)

add up where each rank holds a part of each parameter (FSDP2) or some of them (a pipeline), and all need the same sum.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from deepseek.errors import InputError
from deepseek.optimizers import kronecker
from deepseek.optimizers.config import ParameterGroup, ParameterState
from deepseek.optimizers.stacks import Pool, Unit, arrange, dtype_of_moments


class Scalars:
    """Two numbers of each tensor as tensors (), which are made once: there is no cheap way from (n,) to n of them."""

    def __init__(self, params: Sequence[Tensor], device: torch.device) -> None:
        is_uniform = all(param.dtype is torch.float32 and param.device == device for param in params)
        self._values = torch.empty(2, len(params), device=device) if is_uniform else None
        self._views = [] if self._values is None else [row.unbind() for row in self._values]

    def of_each(self, first: Tensor, second: Tensor, params: Sequence[Tensor]) -> Sequence[Sequence[Tensor]]:
        """Of (n,) and (n,), each on its parameter's device and in its precision; good until the next call."""
        if self._values is None:
            return [
                [value.to(param.device, param.dtype) for value, param in zip(values.unbind(), params, strict=True)]
                for values in (first, second)
            ]
        self._values[0], self._values[1] = first, second
        return self._views


@dataclass
class Layout:
    """What a slice has from the step before, all in its order."""

    whole: list[nn.Parameter]
    states: list[ParameterState]
    at: Tensor  # (n,) indices in the group
    is_all: bool  # whether these are all parameters of the group
    sizes: Tensor  # (n,) elements of each whole parameter
    matrices: Tensor  # (n,) whether each has more than one axis
    single: list[Unit]  # each of one tensor
    pools: list[Pool]  # of the others
    is_plain: bool  # whether no parameter is sharded
    foreach: bool  # whether there may be pools
    scalars: Scalars

    @property
    def directions(self) -> list[Tensor]:
        """Of the last step, of each single tensor and then of each pool."""
        states = [unit.state for unit in self.single] + [pool.state for pool in self.pools]
        return [state["direction"] for state in states]


@dataclass
class ParameterSlice:
    """The parameters of one group that have a gradient, all lists in one order (n of them)."""

    group: ParameterGroup
    layout: Layout
    params: list[Tensor]  # what this rank holds of each
    grads: list[Tensor]  # the same part
    single: list[Tensor]  # gradients of the layout's single tensors, in the shape of their moments
    rows: list[Tensor]  # gradients of its pools
    free_steps: list[float] = field(default_factory=list)  # of each, in this step; above 0 its slow mean joins it

    @property
    def at(self) -> Tensor:
        return self.layout.at

    @property
    def states(self) -> list[ParameterState]:
        return self.layout.states

    @property
    def whole(self) -> list[nn.Parameter]:
        """The parameters themselves, which may be sharded."""
        return self.layout.whole

    @property
    def steps(self) -> Tensor | float:
        """How many steps each has taken (n,), or all of them."""
        steps = [float(state["step"]) for state in self.states]
        return steps[0] if len(set(steps)) == 1 else torch.tensor(steps, device=self.at.device)

    def read(self, name: str) -> Tensor:
        """What the group keeps of each of these tensors under a name (n,)."""
        values: Tensor = self.group[name]
        return values if self.layout.is_all else values[self.at]

    def write(self, name: str, values: Tensor) -> None:
        """Keep it."""
        if self.layout.is_all:
            self.group[name].copy_(values)
        else:
            self.group[name][self.at] = values


class Signals(NamedTuple):
    """What a step reads from the device."""

    dot: float  # <g, u> over all tensors and ranks, of the gradients and the directions taken last
    square: float  # |g|^2
    length: float  # |u|^2
    limit: float  # the largest factor of the rate that trust let any tensor take
    free_steps: float  # the most that any tensor has
    control: list[float]  # NUM_CONTROLS of them


class Slices:
    """The slices of an optimizer's groups."""

    def __init__(self) -> None:
        self._layouts: dict[int, Layout] = {}

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # plain numbers and lists
    def of(
        self, index: int, group: ParameterGroup, states: MutableMapping[Tensor, ParameterState]
    ) -> ParameterSlice | None:
        """The parameters of a group that take part in this step, their state made; None where none has a gradient.
        `index` is the group's. InputError for a sparse gradient."""
        all_grads = [param.grad for param in group["params"]]
        indices = [place for place, grad in enumerate(all_grads) if grad is not None]
        if not indices:
            return None
        grads, whole = [all_grads[place] for place in indices], [group["params"][place] for place in indices]
        for grad in grads:
            if grad.is_sparse:
                raise InputError(
                    f"the gradient of a parameter of shape {tuple(grad.shape)} is sparse",
                    expected="dense gradients",
                    fix="make its embedding with sparse=False",
                )
        own = [states[param] for param in whole]
        layout = self._layouts.get(index)
        if layout is None or not _fits(layout, group, whole, own):
            layout = self._layouts[index] = _lay_out(group, indices, whole, own)
        if layout.is_plain:
            params: list[Tensor] = list(whole)
        else:
            params, grads = [local_part(param) for param in whole], [local_part(grad) for grad in grads]
        single = [grads[unit.places[0]].reshape(unit.shape) for unit in layout.single]
        return ParameterSlice(group, layout, params, grads, single, [pool.gather(grads) for pool in layout.pools])


def _fits(layout: Layout, group: ParameterGroup, whole: list[nn.Parameter], states: list[ParameterState]) -> bool:
    """Whether a layout is that of these parameters and their states as they are."""
    return (
        len(layout.whole) == len(whole)
        and layout.foreach == bool(group["foreach"])
        and layout.is_all == (len(whole) == len(group["params"]))
        and layout.at.device == group["norms"].device
        and all(map(is_, layout.whole, whole))
        and all(map(is_, layout.states, states))
        and all(pool.is_valid(states) for pool in layout.pools)
    )


def _lay_out(
    group: ParameterGroup, indices: list[int], whole: list[nn.Parameter], states: list[ParameterState]
) -> Layout:
    params = [local_part(param) for param in whole]
    for parameter, param, state in zip(whole, params, states, strict=True):
        if not state:
            state["step"], state["eigen"] = 0, param is parameter and kronecker.has_eigenbasis(param)
            shape = (param.shape[0], -1) if state["eigen"] else param.shape
            low = dtype_of_moments(param, state["eigen"], group["state_dtype"])
            for name, dtype in (("exp_avg", low), ("exp_avg_sq", param.dtype), ("direction", low)):
                zeros = torch.zeros_like(param, dtype=dtype, memory_format=torch.contiguous_format)
                state[name] = zeros.reshape(shape)
        if state["eigen"] and state["step"] == 0:
            kronecker.make_factors(state)
    device = group["norms"].device
    return Layout(
        whole,
        states,
        torch.tensor(indices, device=device),
        len(indices) == len(group["params"]),
        torch.tensor([param.numel() for param in whole], dtype=torch.float32, device=device),
        torch.tensor([param.ndim > 1 for param in whole], device=device),
        *arrange(params, whole, states, stacked=bool(group["foreach"])),
        all(map(is_, params, whole)),
        bool(group["foreach"]),
        Scalars(params, device),
    )


def split_slice(part: ParameterSlice) -> list[ParameterSlice]:
    """All at once, or one tensor after the other."""
    if part.layout.foreach:
        return [part]
    return [_one_of(part, place) for place in range(len(part.params))]


def _one_of(part: ParameterSlice, place: int) -> ParameterSlice:
    """The slice of one of its tensors."""
    whole, one, unit = part.layout, slice(place, place + 1), part.layout.single[place]
    units, scalars = [Unit([0], unit.state, unit.eigen, unit.shape)], Scalars(part.params[one], whole.at.device)
    layout = Layout(
        whole.whole[one], [unit.state], whole.at[one], False, whole.sizes[one], whole.matrices[one], units, [],
        whole.is_plain, False, scalars,
    )  # fmt: skip
    return ParameterSlice(
        part.group, layout, part.params[one], part.grads[one], part.single[one], [], part.free_steps[one]
    )


def stack_scalars(values: Sequence[Tensor], device: torch.device) -> Tensor:
    """Scalars () on any devices and in any precision, side by side in float32 on a device (n,)."""
    if any(value.dtype is not torch.float32 or value.device != device for value in values):
        values = [value.to(device, torch.float32) for value in values]
    return torch.stack(list(values))


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds: all of it, unless it is sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sum_over_shards(sums: Tensor, params: Iterable[Tensor]) -> Tensor:
    """Sums of what each rank holds, added over the ranks that hold different parts. In place where it is needed.

    Parameters of one optimizer lie on one mesh, sharded over the same axes of it.
    """
    for param in params:
        if isinstance(param, DTensor):
            for axis, placement in enumerate(param.placements):
                if placement.is_shard():
                    dist.all_reduce(sums, group=param.device_mesh.get_group(axis))
            break
    return sums


def max_over_group(largest: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """The largest of what each process holds, of those that hold different tensors. In place where there are such."""
    if group is not None:
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    return largest


def sum_over_group(sums: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Sums of what each process holds, added over those that hold different tensors. In place where there are such."""
    if group is not None:
        dist.all_reduce(sums, group=group)
    return sums
