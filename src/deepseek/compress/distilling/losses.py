"""How far a student is from its teacher: in its answers, in what its layers compute, in what they look at.

    distillation_loss(student, teacher, temperature=2.0)      Hinton et al. 2015, https://arxiv.org/abs/1503.02531,
    section 2
    hidden_loss(projected, teacher, mask, "mse")         TinyBERT, https://arxiv.org/abs/1909.10351, equation 8
    attention_loss(student, teacher, mask)               MiniLM, https://arxiv.org/abs/2002.10957, equation 3

Each is a scalar; what `mask` (N, L) leaves out, such as padding, counts in none.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from deepseek.compress.distilling.config import UNLABELED

MIN_ATTENTION = 1e-7  # that a weight of attention is taken for: behind a mask it is 0, which has no logarithm


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher / T, student / T) of logits (..., C), mean over all but the last axis. T² keeps the gradient's size
    the same at every temperature.

    >>> import torch
    >>> distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), 2.0).item()
    0.0
    """
    size = student.shape[-1]
    own = (student.float() / temperature).log_softmax(-1).reshape(-1, size)
    wanted = (teacher.float() / temperature).log_softmax(-1).reshape(-1, size)
    return temperature**2 * functional.kl_div(own, wanted, reduction="batchmean", log_target=True)


def labels_loss(student: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits (..., C) over the rows whose label is 0 or more; 0 without any."""
    logits, flat = student.float().reshape(-1, student.shape[-1]), labels.reshape(-1)
    return functional.cross_entropy(logits, flat, ignore_index=UNLABELED, reduction="sum") / (flat >= 0).sum().clamp(
        min=1
    )


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor | None, match: Literal["mse", "cosine"]) -> Tensor:
    """Of states (N, ..., D): the mean squared error, or 1 - cosine."""
    if match == "mse":
        found = (student.float() - teacher.float()).square().mean(-1)
    else:
        found = 1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1)
    return _masked_mean(found, mask)


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """KL(teacher, student) of weights (N, heads, L, L) whose rows sum to 1, mean over heads and rows. Models with other
    numbers of heads are compared by the mean of theirs."""
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    own, wanted = (one.float().clamp(min=MIN_ATTENTION).log() for one in (student, teacher))
    return _masked_mean((wanted.exp() * (wanted - own)).sum(-1).mean(1), mask)


def _masked_mean(found: Tensor, mask: Tensor | None) -> Tensor:
    """Over all places, or those of (N, L) that the mask holds."""
    if mask is None or mask.shape != found.shape:
        return found.mean()
    weight = mask.to(found.dtype)
    return (found * weight).sum() / weight.sum().clamp(min=1)
