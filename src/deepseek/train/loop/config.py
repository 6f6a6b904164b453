"""What a run of the loop may vary. No torch: a wrong value is refused before anything heavy is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from deepseek.errors import InputError


@dataclass(frozen=True)
class TrainConfig:
    """What a run of `fit` may vary."""

    epochs: int = 40  # passes over the data, at least 1
    lr: float = 2e-3  # peak learning rate of the default optimizer (AdamW), above 0
    weight_decay: float = 1e-2  # of the default optimizer, decoupled, at least 0
    warmup: float = 0.1  # share of the steps with a rising rate, 0 to 1
    clip_norm: float = 1.0  # largest gradient norm, above 0; inf clips nothing
    seed: int = 0  # of what is random inside the module, such as dropout
    schedule: Literal["auto", "cosine", "constant"] = "auto"  # auto: cosine for AdamW; a given optimizer has its own
    accumulate: int = 1  # batches whose gradients make one step, at least 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of autocast; weights stay as they are
    ema_decay: float = 0.0  # 0: no averaged weights; else 0 to 1, such as 0.999
    patience: int = 0  # validations without a better metric before the run ends; 0: all epochs, last weights
    min_delta: float = 0.0  # a metric is better when it is by more than this, at least 0
    metric: str = "loss"  # the validation metric that patience looks at
    goal: Literal["min", "max"] = "min"  # which way that metric is better
    validate_every: int = 1  # epochs between validations, at least 1
    checkpoint_every: int = 0  # steps between checkpoints; 0: one after each epoch
    checkpoint_wait: bool = False  # take no step while one is written: a death then costs one interval at most
    keep: int = 3  # checkpoints that are kept, at least 1
    log_every: int = 20  # steps between two entries in the sinks, at least 1
    allow_unused: bool = False  # train although a parameter gets no gradient

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("lr", self.lr > 0, "above 0"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("warmup", 0 <= self.warmup <= 1, "between 0 and 1"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("seed", -(2**63) <= self.seed < 2**64, "a whole number of 64 bits"),
            ("schedule", self.schedule in ("auto", "cosine", "constant"), "auto, cosine or constant"),
            ("accumulate", self.accumulate >= 1, "at least 1"),
            ("precision", self.precision in ("fp32", "bf16", "fp16"), "fp32, bf16 or fp16"),
            ("ema_decay", 0 <= self.ema_decay < 1, "at least 0 and below 1"),
            ("patience", self.patience >= 0, "at least 0"),
            ("min_delta", self.min_delta >= 0, "at least 0"),
            ("goal", self.goal in ("min", "max"), "min or max"),
            ("validate_every", self.validate_every >= 1, "at least 1"),
            ("checkpoint_every", self.checkpoint_every >= 0, "at least 0"),
            ("keep", self.keep >= 1, "at least 1"),
            ("log_every", self.log_every >= 1, "at least 1"),
        ):
            if not good:
                raise InputError(f"train.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")

    def rate(self, step: int, num_steps: int) -> float:
        """Share of the peak rate at a step: linear warm-up, then a cosine to zero.

        >>> [round(TrainConfig(warmup=0.5).rate(step, 4), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        rising = max(1, round(self.warmup * num_steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, num_steps - rising)))

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a validation metric beats the best one so far.

        >>> TrainConfig(min_delta=0.1).is_better(0.95, 1.0), TrainConfig(goal="max").is_better(0.95, 0.9)
        (False, True)
        """
        if best is None:
            return True
        gain = value - best if self.goal == "max" else best - value
        return gain > self.min_delta
