"""Batches: a stream of arrays in memory, the device they go to, and how a batch of any shape becomes a loss.

A batch is a tensor, a tuple (inputs, *rest) or a dict. The model is called with the inputs, the loss with the model's
output and what is left:

    tensor x            loss(model(x), x)
    (inputs, *rest)     loss(model(inputs), *rest)          inputs: a tensor, a tuple for model(*inputs), a dict for
    {name: tensor}      loss(model(**batch), batch)                 model(**inputs)

Without a loss the model's output is the loss: a tensor, or something with `.loss` or `["loss"]`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.distributed import ranks

Loss = Callable[..., Tensor]  # model output, then what the batch holds beside the inputs -> a scalar
BatchTransform = Callable[[Any], Any]  # a batch -> the batch to train on
Validation = Iterable[Any] | Callable[[nn.Module], float | Mapping[str, float]]


@dataclass(frozen=True)
class ArrayStream:
    """Batches of tensors (N, ...) that lie in memory. With a generator each pass is another permutation, all set by
    its seed; without one the rows keep their order. Of several ranks, whose generators have one seed, each reads its
    share: as many rows as the others, up to one less than there are ranks left out of a pass."""

    tensors: tuple[Tensor, ...]
    batch_size: int
    generator: torch.Generator | None = None
    share: tuple[int, int] = (0, 1)  # rank, number of ranks

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) // self.share[1] / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        num_rows, (rank, num_ranks) = len(self.tensors[0]), self.share
        order = torch.arange(num_rows)
        if self.generator is not None:
            order = torch.randperm(num_rows, generator=self.generator)
        order = order[rank : num_rows - num_rows % num_ranks : num_ranks]
        for chunk in torch.split(order, self.batch_size):
            yield tuple(each[chunk] for each in self.tensors)


def batch_loss(model: nn.Module, batch: Any, loss: Loss | None) -> Tensor:
    """The loss of one batch, a scalar. InputError when the model, the loss and the batch do not fit together."""
    try:
        value = _compute_loss(model, batch, loss)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        if ranks.is_rank_lost(
            error
        ):  # in what the forward pass exchanges: no fault of the batch, and a restart mends it
            raise
        raise InputError(
            f"the model or the loss fails on a batch of {describe_batch(batch)}: {error}",
            expected="a batch of (inputs, target), of names to tensors, or a tensor, that fits the model and the loss",
            fix="call loss(model(inputs), target) on one batch by hand",
        ) from error
    if not isinstance(value, Tensor):
        raise InputError(
            f"the loss is a {type(value).__name__}", expected="a tensor of one number",
            fix="compute it from the output with torch's operations, without float() or .item()",
        )  # fmt: skip
    if torch.is_grad_enabled() and not value.requires_grad:
        raise InputError(
            "the loss does not depend on any parameter that is trained", expected="a loss with a gradient",
            fix="compute it from the model's output, without detach(), argmax() or comparisons",
        )  # fmt: skip
    if value.numel() != 1:
        raise InputError(f"the loss has the shape {tuple(value.shape)}", expected="one number", fix="take its mean")
    return value


def _compute_loss(model: nn.Module, batch: Any, loss: Loss | None) -> Tensor:
    inputs, rest = (batch[0], tuple(batch[1:])) if isinstance(batch, (tuple, list)) else (batch, (batch,))
    if isinstance(inputs, Mapping):
        output = model(**inputs)
    elif isinstance(inputs, (tuple, list)):
        output = model(*inputs)
    else:
        output = model(inputs)
    if loss is not None:
        return loss(output, *rest)
    output_loss = output["loss"] if isinstance(output, Mapping) else getattr(output, "loss", output)
    if not isinstance(output_loss, Tensor):
        raise TypeError(f"without a loss the model must return one; it returned a {type(output).__name__}")
    return output_loss


def find_device(name: str) -> torch.device:
    """The device of that name: "cpu", "cuda" for this rank's own GPU, "auto" for a GPU where there is one.

    InputError for one that torch does not have here.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if chosen == "cuda":
        chosen = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        return torch.empty(0, device=chosen).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device is {name!r}: {str(error).splitlines()[0]}", expected="auto, cpu, or a device that torch has here",
            fix="set device to auto",
        ) from error  # fmt: skip


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on a device; what is no tensor stays."""
    if isinstance(batch, Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def num_rows(batch: Any) -> int:
    """Rows of a batch: the length of its first tensor; 1 when there is none.

    >>> num_rows({"ids": torch.zeros(5, 2)}), num_rows((torch.zeros(3), None))
    (5, 3)
    """
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (tuple, list)) else ()
    return next((num_rows(part) for part in parts), 1)


def describe_batch(batch: Any) -> str:
    """Kinds and shapes, as an error shows them.

    >>> describe_batch((torch.zeros(2, 3), {"y": torch.zeros(2, dtype=torch.int64)}))
    '(float32 [2, 3], {y: int64 [2]})'
    """
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{key}: {describe_batch(value)}" for key, value in batch.items()) + "}"
    if isinstance(batch, (tuple, list)):
        return "(" + ", ".join(map(describe_batch, batch)) + ")"
    return type(batch).__name__
