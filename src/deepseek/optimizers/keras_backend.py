"""Keras on a backend that this package's optimizer runs on, or an error that says what to set."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.optimizers.config import AdaptiveConfig

BACKENDS = ("torch", "tensorflow", "jax")


def choose_backend() -> str:
    """The backend that Keras runs on, or will run on: torch where nothing has chosen yet. InputError for another than
    BACKENDS."""
    running = sys.modules.get("keras")
    backend = running.config.backend() if running else os.environ.setdefault("KERAS_BACKEND", "torch")
    if backend not in BACKENDS:
        raise InputError(
            f"Keras runs on {backend}", expected=f"one of {', '.join(BACKENDS)}",
            fix="set KERAS_BACKEND=torch before Keras is imported",
        )  # fmt: skip
    return str(backend)


def import_keras() -> ModuleType:
    """Keras. ExtraError when it is not installed, InputError when it runs on another backend."""
    choose_backend()
    return need("keras", extra="keras")


def keras_on_torch() -> ModuleType:
    """Keras. ExtraError when it or torch is not installed, InputError when it runs on another backend."""
    need("torch", extra="train")
    if (backend := choose_backend()) != "torch":
        raise InputError(
            f"Keras runs on {backend}", expected="its torch backend",
            fix="set KERAS_BACKEND=torch before Keras is imported",
        )  # fmt: skip
    return need("keras", extra="keras")


def check_arguments(
    initial_lr: float, lr_decay_rate: float, dynamic_threshold: float, weight_decay: float, trust_steps: float, *,
    betas: tuple[float, float],
) -> AdaptiveConfig:  # fmt: skip
    """The arguments of the optimizer on any backend. InputError for those out of range, and for a schedule in the place
    of `initial_lr`, where Keras' own optimizers take one."""
    if not isinstance(initial_lr, int | float):
        raise InputError(
            f"initial_lr is a {type(initial_lr).__name__}", expected="a number, such as 0.001",
            fix="give a schedule as learning_rate",
        )  # fmt: skip
    return AdaptiveConfig(initial_lr, lr_decay_rate, dynamic_threshold, weight_decay, trust_steps, (betas[0], betas[1]))


def peak_of(learning_rate: Any) -> float:
    """The highest rate that an optimizer's `learning_rate` will have: a schedule is asked at steps that grow by half
    each time, a variable is what it is now. Above 0 in any case: shares of it are taken."""
    keras = import_keras()
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        steps = [0, *(round(1.5**power) for power in range(35))]  # to a million
        return max(1e-30, *(float(keras.ops.convert_to_numpy(learning_rate(step))) for step in steps))
    return max(1e-30, float(keras.ops.convert_to_numpy(learning_rate() if callable(learning_rate) else learning_rate)))
