"""Everything that draws: Python's, numpy's and torch's generators, and those that the data brings.

Data may bring `state_dict()` and `load_state_dict()` (as torchdata's StatefulDataLoader): then it goes on where it was
without its batches being read again. Else its order is drawn again from the generators' state at the epoch's start.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def capture(*data: Any) -> dict[str, Any]:
    """The state of every generator, for `restore`."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - the global one is what a data set may use
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "data": [generator.get_state() for generator in generators(*data)],
    }


def restore(state: dict[str, Any], *data: Any) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    for generator, held in zip(generators(*data), state["data"], strict=False):
        generator.set_state(held)


def generators(*data: Any) -> Iterator[torch.Generator]:
    """Those of streams and of loaders, their samplers and their data sets, each once."""
    seen = set()
    for each in data:
        batch_sampler = getattr(each, "batch_sampler", None)
        for place in (each, getattr(each, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None),
                      getattr(each, "dataset", None)):  # fmt: skip
            found = getattr(place, "generator", None)
            if isinstance(found, torch.Generator) and id(found) not in seen:
                seen.add(id(found))
                yield found


def is_stateful(data: Any) -> bool:
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")


def set_epoch(data: Any, epoch: int) -> None:
    """Tell a sampler that shuffles by the epoch's number, as torch's DistributedSampler does."""
    for place in (data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)):
        tell = getattr(place, "set_epoch", None)
        if tell is not None:
            tell(epoch)
