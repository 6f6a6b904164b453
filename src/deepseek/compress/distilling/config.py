"""Configuration of a distillation. No torch: a wrong value is refused before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepseek.errors import InputError

UNLABELED = -100  # the label of such a row


@dataclass(frozen=True)
class DistillConfig:
    """The loss is alpha * logits + (1 - alpha) * labels + hidden_weight * hidden + attention_weight * attention.

    >>> DistillConfig(alpha=90)
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: distill.alpha is 90. Expected: between 0 and 1. To mend it: give such a value.
    """

    temperature: float = 2.0  # of both softmaxes, above 0
    alpha: float = 0.9  # weight of the teacher's outputs, 0 to 1; that of the labels is 1 - alpha
    hidden: Mapping[str, str] = field(
        default_factory=dict
    )  # module of the student -> module of the teacher whose states it shall match
    attention: Mapping[str, str] = field(default_factory=dict)  # the same for modules that return (output, weights)
    hidden_weight: float = 1.0  # at least 0
    attention_weight: float = 1.0  # at least 0
    match: Literal["mse", "cosine"] = "mse"  # how hidden states are compared

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("temperature", _is_number(self.temperature) and self.temperature > 0, "above 0"),
            ("alpha", _is_number(self.alpha) and 0 <= self.alpha <= 1, "between 0 and 1"),
            ("hidden_weight", _is_number(self.hidden_weight) and self.hidden_weight >= 0, "at least 0"),
            ("attention_weight", _is_number(self.attention_weight) and self.attention_weight >= 0, "at least 0"),
            ("match", self.match in ("mse", "cosine"), "mse or cosine"),
        ):
            if not good:
                raise InputError(f"distill.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
