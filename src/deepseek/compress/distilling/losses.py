"""Distillation losses between a student and its teacher: of logits, of hidden states, of attention weights.

    distillation_loss(student, teacher, temperature=2.0)      Hinton et al. 2015, https://arxiv.org/abs/1503.02531,
    section 2
    hidden_loss(projected, teacher, mask, "mse")         TinyBERT, https://arxiv.org/abs/1909.10351, equation 8
    attention_loss(student, teacher, mask)               MiniLM, https://arxiv.org/abs/2002.10957, equation 3

Each is a scalar; tokens outside `mask` (N, L), such as padding, do not count.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from deepseek.compress.distilling.config import UNLABELED

MIN_ATTENTION = 1e-7  # attention weights are clamped to it before the logarithm: under a mask they are 0


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher / T, student / T) of logits (..., C), mean over all but the last axis. T² keeps the gradient's size
    the same at every temperature.

    >>> import torch
    >>> distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), 2.0).item()
    0.0
    """
    size = student.shape[-1]
    student_log_probs = (student.float() / temperature).log_softmax(-1).reshape(-1, size)
    teacher_log_probs = (teacher.float() / temperature).log_softmax(-1).reshape(-1, size)
    return temperature**2 * functional.kl_div(
        student_log_probs, teacher_log_probs, reduction="batchmean", log_target=True
    )


def labels_loss(student: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits (..., C) over the rows whose label is 0 or more; 0 without any."""
    logits, flat = student.float().reshape(-1, student.shape[-1]), labels.reshape(-1)
    return functional.cross_entropy(logits, flat, ignore_index=UNLABELED, reduction="sum") / (flat >= 0).sum().clamp(
        min=1
    )


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor | None, match: Literal["mse", "cosine"]) -> Tensor:
    """Mean squared error, or 1 - cosine, between hidden states (N, ..., D)."""
    if match == "mse":
        distances = (student.float() - teacher.float()).square().mean(-1)
    else:
        distances = 1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1)
    return _masked_mean(distances, mask)


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """KL(teacher, student) of attention weights (N, heads, L, L) whose rows sum to 1, mean over heads and rows. With
    different numbers of heads, the means over the heads are compared."""
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    student_log_probs, teacher_log_probs = (
        weights.float().clamp(min=MIN_ATTENTION).log() for weights in (student, teacher)
    )
    return _masked_mean((teacher_log_probs.exp() * (teacher_log_probs - student_log_probs)).sum(-1).mean(1), mask)


def _masked_mean(distances: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `distances` (N, L) over the tokens in the mask; over all where there is no mask of this shape."""
    if mask is None or mask.shape != distances.shape:
        return distances.mean()
    weight = mask.to(distances.dtype)
    return (distances * weight).sum() / weight.sum().clamp(min=1)
