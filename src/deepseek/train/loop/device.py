"""The device that a configuration names: "cpu", "cuda" for this rank's own GPU, "auto" for a GPU where there is one."""

from __future__ import annotations

import os

import torch

from deepseek.errors import InputError


def find_device(name: str) -> torch.device:
    """InputError for one that torch does not have here."""
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
