"""A model as a row of blocks, what each block costs, and the cut into stages whose dearest is cheapest.

`named_blocks` names the blocks, `measure_blocks` times each one forward and backward on one micro-batch,
`balance_stages` cuts. Costs are times, not parameter counts: an embedding is large and cheap, an attention over long
rows small and dear.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining._backward import stage_backward_input, stage_backward_weight

from deepseek.errors import InputError, MissingError

Value = Tensor | tuple[Tensor, ...]  # what a block takes and gives
Loss = Callable[[Any, Tensor], Tensor]  # output, targets -> the mean over rows
Blocks = Sequence[tuple[str, nn.Module]]  # name in the model, module; in running order


@dataclass(frozen=True)
class TensorSpec:
    """Shape, type and whether a gradient flows back: what a process must know of a tensor before it comes."""

    shape: tuple[int, ...]
    dtype: str  # as torch names it: float32
    requires_grad: bool

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * torch.empty((), dtype=self.torch_dtype).element_size()

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def empty(self) -> Tensor:
        """A tensor without storage."""
        tensor = torch.empty(self.shape, dtype=self.torch_dtype, device="meta")
        return tensor.requires_grad_(self.requires_grad)


@dataclass(frozen=True)
class BlockCost:
    """One block on one micro-batch."""

    name: str
    forward_s: float
    backward_s: float
    input_s: float  # the first part of a parted backward pass: the gradient that the block before waits for
    weight_s: float  # the second part: gradients of parameters
    saved_bytes: int  # kept from forward to backward, parameters not counted
    writes_input: bool  # changes its input in place, so it must stay with the block before
    is_tuple: bool  # gives a tuple of tensors rather than one
    outputs: tuple[TensorSpec, ...]

    @property
    def total_s(self) -> float:
        return self.forward_s + self.backward_s


def named_blocks(model: nn.Module, names: str | Sequence[str] = ()) -> list[tuple[str, nn.Module]]:
    """The blocks of `model` in running order. `names` are attributes in the order in which `forward` calls them; an
    nn.Sequential needs none. Lists and nn.Sequential among them are opened. Raises InputError when parameters are left.

    >>> [name for name, _ in named_blocks(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))))]
    ['0', '1.0', '1.1']
    """
    block_names = [names] if isinstance(names, str) else list(names)
    if not block_names and not _runs_in_order(model):
        raise InputError(
            f"{type(model).__name__} is not an nn.Sequential, so the order of its blocks is not known",
            expected="the attributes in the order in which forward calls them",
            fix=f"give blocks=(...), out of {', '.join(name for name, _ in model.named_children()) or 'none here'}",
        )
    blocks = []
    for name in block_names or list(model._modules):
        try:
            blocks += list(_flatten_blocks(name, model.get_submodule(name)))
        except AttributeError:
            raise MissingError(
                f"{type(model).__name__} has no block {name!r}",
                expected=f"one of {', '.join(part for part, _ in model.named_children())}",
                fix="give blocks=(...) the names that the model has",
            ) from None
    covered = {f"{name}.{key}" for name, block in blocks for key in block.state_dict()}
    unowned = [key for key in model.state_dict() if key not in covered]
    if unowned:
        raise InputError(
            f"{', '.join(unowned[:3])} of {type(model).__name__} belongs to none of the blocks",
            expected="every parameter and buffer inside a block",
            fix="add its module to blocks=(...), or move it into the block that uses it",
        )
    return blocks


def _runs_in_order(module: nn.Module) -> bool:
    return type(module).forward is nn.Sequential.forward


def _flatten_blocks(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, nn.ModuleList) or _runs_in_order(module):
        for key in module._modules:  # named_children would leave out a module that stands there twice
            yield from _flatten_blocks(f"{name}.{key}", module.get_submodule(key))
    else:
        yield name, module


def value_tensors(value: Any, origin: str) -> tuple[Tensor, ...]:
    """The tensors of a value that passes between blocks, or InputError that names its `origin`."""
    parts = value if isinstance(value, tuple) else (value,)
    if parts and all(isinstance(part, Tensor) for part in parts):
        return parts
    raise InputError(
        f"{origin} is {type(value).__name__}",
        expected="a tensor or a tuple of tensors, as only these pass from stage to stage",
        fix="wrap the block so that it takes and gives tensors",
    )


def run_block(name: str, block: nn.Module, value: Value) -> Value:
    """The block's output; an InputError that names the block when it cannot run on `value`."""
    try:
        output: Value = block(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"block {name!r} ({type(block).__name__}) cannot run on what the block before it gives: {error}",
            expected="blocks that take one value, the output of the block before",
            fix="put the blocks in the order in which forward calls them; wrap one that takes more",
        ) from error
    value_tensors(output, f"the output of block {name!r}")
    return output


class _LossBlock(nn.Module):
    """The loss of the model's output, as a block that can be timed."""

    def __init__(self, loss: Loss, targets: Tensor) -> None:
        super().__init__()
        self.loss, self.targets = loss, targets

    def forward(self, output: Value) -> Tensor:
        return self.loss(output, self.targets)


def measure_blocks(
    blocks: Blocks, value: Value, *, targets: Tensor | None = None, loss: Loss | None = None, num_runs: int = 3
) -> list[BlockCost]:
    """Each block's cost on the micro-batch `value`, the least of `num_runs`; that of the loss is added to the last.
    Buffers and the random state of the model are as before afterwards, and no gradient is left in its parameters."""
    costs = []
    with _preserve_buffers(blocks):
        for name, block in blocks:
            cost, value = _measure_block(name, block, value, num_runs)
            costs.append(cost)
        if loss is not None and targets is not None:
            extra, _ = _measure_block("the loss", _LossBlock(loss, targets), value, num_runs)
            keys = ("forward_s", "backward_s", "input_s", "saved_bytes")
            costs[-1] = replace(costs[-1], **{key: getattr(costs[-1], key) + getattr(extra, key) for key in keys})
    return costs


@contextmanager
def _preserve_buffers(blocks: Blocks) -> Iterator[None]:
    """Put back what running the blocks changes: batch statistics and the random state."""
    buffers = [(buffer, buffer.clone()) for _, block in blocks for buffer in block.buffers()]
    devices = {tensor.device for _, block in blocks for tensor in block.parameters()} - {torch.device("cpu")}
    with torch.random.fork_rng(devices=list(devices), device_type=next(iter(devices)).type if devices else "cpu"):
        yield
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)


def _measure_block(name: str, block: nn.Module, value: Value, num_runs: int) -> tuple[BlockCost, Value]:
    saved_bytes: dict[int, int] = {}

    def save(tensor: Tensor) -> Tensor:
        saved_bytes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    # The first run warms up, and counts what is saved; its times are not kept.
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        _, output, writes_input = _time_block(name, block, value)
    for parameter in block.parameters():
        saved_bytes.pop(parameter.untyped_storage().data_ptr(), None)
    times = [(*_time_block(name, block, value)[0], *_time_split_backward(block, value)) for _ in range(num_runs)]
    outputs = value_tensors(output, name)
    specs = tuple(TensorSpec(tuple(t.shape), str(t.dtype).removeprefix("torch."), t.requires_grad) for t in outputs)
    forward_s, backward_s, input_s, weight_s = (min(column) for column in zip(*times, strict=True))
    cost = BlockCost(
        name,
        forward_s,
        backward_s,
        input_s,
        weight_s,
        sum(saved_bytes.values()),
        writes_input,
        isinstance(output, tuple),
        specs,
    )
    passed = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in outputs)
    return cost, passed if isinstance(output, tuple) else passed[0]


def _run_on_copies(name: str, block: nn.Module, value: Value) -> tuple[Value, tuple[Tensor, ...]]:
    """The output, and the copies that the block ran on: it may write into its input, and never into a leaf."""
    copies = tuple(tensor.clone() for tensor in value_tensors(value, name))
    return run_block(name, block, copies if isinstance(value, tuple) else copies[0]), copies


def _time_block(name: str, block: nn.Module, value: Value) -> tuple[tuple[float, float], Value, bool]:
    """Seconds forward and backward; the output; whether the block writes into its input."""
    leaves = value_tensors(value, name)
    start_s = _now_s(leaves[0])
    output, copies = _run_on_copies(name, block, value)
    forward_s = _now_s(leaves[0]) - start_s
    roots = [tensor for tensor in value_tensors(output, name) if tensor.requires_grad]
    wanted = [tensor for tensor in (*leaves, *block.parameters()) if tensor.requires_grad]
    wrote = any(copy._version for copy in copies)
    if not roots or not wanted:
        return (forward_s, 0.0), output, wrote
    ones = [torch.ones_like(root) for root in roots]
    start_s = _now_s(leaves[0])
    torch.autograd.grad(roots, wanted, ones, allow_unused=True)
    return (forward_s, _now_s(leaves[0]) - start_s), output, wrote


def _time_split_backward(block: nn.Module, value: Value) -> tuple[float, float]:
    """Seconds of the two parts of the backward pass as torch runs them in the schedules that part it. They need not add
    up to the whole: a function of one's own does all its work in both. Infinite where torch cannot part it: it starts
    the second part from what the first has met on its way to the input, and a root that does not lead there is lost."""
    leaves = value_tensors(value, "the input")
    output, _ = _run_on_copies("a block", block, value)
    outputs = [part.clone() if part._is_view() else part for part in value_tensors(output, "the output")]
    roots, leaf_inputs = ([tensor for tensor in group if tensor.requires_grad] for group in (outputs, leaves))
    if not all(_leads_to(root, leaf_inputs) for root in roots):
        return math.inf, math.inf
    if not roots:
        return 0.0, 0.0
    before = [(parameter, parameter.grad) for parameter in block.parameters()]
    for leaf in (*leaves, *block.parameters()):
        leaf.grad = None
    ones = [torch.ones_like(part) for part in outputs]
    try:
        start_s = _now_s(leaves[0])
        _, groups = stage_backward_input(outputs, ones, list(leaves), block.parameters())
        middle_s = _now_s(leaves[0])
        stage_backward_weight(block.parameters(), groups)
        return middle_s - start_s, _now_s(leaves[0]) - middle_s
    except RuntimeError:
        return math.inf, math.inf
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _leads_to(root: Tensor, leaves: Sequence[Tensor]) -> bool:
    """Whether a gradient comes from `root` to any of `leaves`."""
    if not leaves:
        return False
    gradients = torch.autograd.grad(root, leaves, torch.ones_like(root), retain_graph=True, allow_unused=True)
    return any(gradient is not None for gradient in gradients)


def _now_s(tensor: Tensor) -> float:
    if tensor.device.type != "cpu":
        torch.accelerator.synchronize(tensor.device)
    return time.perf_counter()


@contextmanager
def eval_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """All modules in eval mode, and as they were afterwards."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def balance_stages(costs: Sequence[float], num_stages: int, *, glued: Collection[int] = ()) -> list[int]:
    """Where each stage ends (exclusive), so that the dearest stage is as cheap as it can be. A block in `glued` does
    not begin a stage. Dynamic programming over (stages, blocks): the best for k stages is the best cut before the k-th.

    >>> balance_stages([1, 1, 1, 1, 4, 2, 2], 3)
    [4, 5, 7]
    """
    num_blocks = len(costs)
    cuts = [index for index in range(1, num_blocks) if index not in glued]
    if num_stages > len(cuts) + 1:
        raise InputError(
            f"{num_stages} stages are asked for, and the model has {len(cuts) + 1} blocks that can begin one",
            expected="at most as many stages as blocks",
            fix=f"give stages={len(cuts) + 1} or fewer, or cut the blocks into smaller ones",
        )
    total = [0.0, *accumulate(costs)]
    best = {end: total[end] for end in [*cuts, num_blocks]}  # of one stage: the first `end` blocks
    before: list[dict[int, int]] = []
    for _ in range(num_stages - 1):
        candidates: dict[int, tuple[float, int]] = {}
        for end in [*cuts, num_blocks]:
            options = [(max(best[cut], total[end] - total[cut]), cut) for cut in cuts if cut < end and cut in best]
            if options:
                candidates[end] = min(options)
        best = {end: largest for end, (largest, _) in candidates.items()}
        before.append({end: cut for end, (_, cut) in candidates.items()})
    ends = [num_blocks]
    for last in reversed(before):
        ends.append(last[ends[-1]])
    return ends[::-1]
