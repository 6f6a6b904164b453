"""Mixed precision: autocast around the forward pass, and for fp16 torch's dynamic loss scaling.

Weights, gradients and the optimizer's state keep their own type; only what autocast lists runs in the lower one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from deepseek.errors import CheckError, InputError

#: Steps in a row that fp16 may leave out. The scale halves each time: after so many none is small enough.
MAX_SKIPPED_STEPS = 40


class Precision:
    """`with precision.forward(): loss = ...; precision.backward(loss)`, then unscale, clip and step."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.device_type = device.type
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
        if self.dtype is not None and not torch.amp.is_autocast_available(self.device_type):
            raise InputError(
                f"train.precision is {name}, which torch does not have on {device}",
                expected="fp32 there", fix="set train.precision to fp32, or move the model",
            )  # fmt: skip
        self.scaler = torch.amp.GradScaler(self.device_type) if name == "fp16" else None
        self.num_skipped = 0  # in a row

    def forward(self) -> AbstractContextManager[object]:
        """Autocast for a forward pass inside."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, scaled for fp16."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the scale out of the gradients, before they are clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer, *, finite: bool) -> bool:
        """Take the step; with fp16 leave it out where a gradient overflowed. Returns whether it was taken."""
        if self.scaler is None:
            optimizer.step()
            return True
        self.scaler.step(optimizer)
        self.scaler.update()
        self.num_skipped = 0 if finite else self.num_skipped + 1
        if self.num_skipped > MAX_SKIPPED_STEPS:
            raise CheckError(
                f"the last {self.num_skipped} steps had gradients that are not finite at any loss scale",
                expected="gradients that float16 can hold after some halvings of the scale",
                fix="train with train.precision bf16 or fp32, or look for a division by zero in the model",
            )
        return finite
