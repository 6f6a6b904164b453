"""Averaged weights (EMA): a second copy of the parameters that follows them slowly, by torch.optim.swa_utils.

The first update copies the weights. Buffers, such as a batch norm's statistics, are the model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The averaged weights of a model. Decay 0 averages nothing: every method then does nothing."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = list(parameters.values()) if decay else []
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.tensors: dict[str, Tensor] = {}
        self._names = list(parameters) if decay else []

    def update(self) -> None:
        """Move towards the parameters as they are now."""
        if not self._parameters:
            return
        if self.tensors:
            self._update(list(self.tensors.values()), [p.detach() for p in self._parameters], None)
        else:
            self.tensors = {name: p.detach().clone() for name, p in zip(self._names, self._parameters, strict=True)}

    @contextmanager
    def swap_in(self) -> Iterator[None]:
        """The model has the averaged weights inside, and its own afterwards."""
        own = [p.detach().clone() for p in self._parameters] if self.tensors else []
        self.copy()
        try:
            yield
        finally:
            _copy_tensors(own, self._parameters)

    def copy(self) -> None:
        """Give the model the averaged weights."""
        _copy_tensors(list(self.tensors.values()), self._parameters)


@torch.no_grad()
def _copy_tensors(tensors: list[Tensor], parameters: list[nn.Parameter]) -> None:
    for tensor, parameter in zip(tensors, parameters, strict=False):
        parameter.copy_(tensor)
