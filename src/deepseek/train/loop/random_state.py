"""Everything that draws: Python's, numpy's and torch's generators, and those that the data brings.

Data may bring `state_dict()` and `load_state_dict()` (as torchdata's StatefulDataLoader): then it goes on where it was
without its batches being read again. Else its order is drawn again from the generators' state at the epoch's start.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
import torch


class RandomState(TypedDict):
    """The state of every generator of one process, as a checkpoint holds it."""

    python: tuple[Any, ...]  # random.getstate()
    numpy: Any  # np.random.get_state()
    torch: torch.Tensor  # uint8
    cuda: torch.Tensor | None  # of the current device; None without a GPU
    data: list[torch.Tensor]  # one for each of generators(*data)


def capture(*data: Any) -> RandomState:
    """The state of every generator of this process and of `data`, for restore()."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - the global one is what a data set may use
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "data": [generator.get_state() for generator in generators(*data)],
    }


def restore(state: RandomState, *data: Any) -> None:
    """Set every generator as it stood when `state` was captured, with the same `data`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    for generator, generator_state in zip(generators(*data), state["data"], strict=False):
        generator.set_state(generator_state)


def generators(*data: Any) -> Iterator[torch.Generator]:
    """The torch generators of streams and of loaders, their samplers and their data sets, each once."""
    seen = set()
    for source in data:
        batch_sampler = getattr(source, "batch_sampler", None)
        for owner in (source, getattr(source, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None),
                      getattr(source, "dataset", None)):  # fmt: skip
            generator = getattr(owner, "generator", None)
            if isinstance(generator, torch.Generator) and id(generator) not in seen:
                seen.add(id(generator))
                yield generator


def is_stateful(data: Any) -> bool:
    """Whether the data keeps its own place, as torchdata's StatefulDataLoader does."""
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")


def set_epoch(data: Any, epoch: int) -> None:
    """Tell a sampler that shuffles by the epoch's number, as torch's DistributedSampler does."""
    for owner in (data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)):
        setter = getattr(owner, "set_epoch", None)
        if setter is not None:
            setter(epoch)
