"""A slope for the logits of each modality in a trained MultimodalNet, fitted on held-out rows.

    slopes = fit_logit_slopes(net, batches)              # of held-out rows; (M + 1,), the last of what is added to the
    voices

    logits = sum of slope_m * voice_m + slope_rest * (what queries and products add)

A net that is sure of its training rows is too sure of others, of one modality more than of another, and what it found
between the modalities may hold for its training rows alone: the sum is then worse than a product of calibrated nets.
Slopes change no voice's own order. Of four ways (as it is, without the rest, each with slopes) the one of least loss on
halves that the slopes were not fitted on is taken. They go into the weights: bundle and graph need not know of them.

Source: temperature scaling, Guo et al. 2017 (arXiv 1706.04599), section 4.2, here one for each expert of a product.
Shapes: N rows, M modalities, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deepseek.nn.fusion import MultimodalNet
from deepseek.train.tabular.calibrate import PRIOR_ROWS

MIN_ROWS = 2 * PRIOR_ROWS  # with fewer held-out rows the slopes stay 1


def fit_logit_slopes(net: MultimodalNet, batches: Iterable[tuple[Any, Tensor]]) -> Tensor:
    """Fit on batches ((values, there), labels) and put the slopes into `net`. Returns them (M + 1,), all 1 where no
    others were better."""
    net.eval()
    batch_parts: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.inference_mode():
        for (values, present), truth in batches:
            output = net(values, present)
            rest = output.logits - output.unimodal_logits.sum(1)
            batch_parts.append(torch.cat([output.unimodal_logits, rest[:, None]], 1).double())
            labels.append(truth)
    parts, truths = torch.cat(batch_parts).clone(), torch.cat(labels).clone()
    slopes = _choose_slopes(parts, truths)
    net.scale_logits(slopes.to(net.bias))
    return slopes


def _choose_slopes(parts: Tensor, labels: Tensor) -> Tensor:
    """Slopes (M + 1,) for logits in parts (N, M + 1, K): the way of least loss on rows that are not fitted on."""
    num_parts = parts.shape[1]
    if len(labels) < MIN_ROWS:
        return torch.ones(num_parts, dtype=torch.float64)
    first_half = torch.arange(len(labels)) % 2 == 0
    choices = [(fits, last) for fits in (False, True) for last in (num_parts, num_parts - 1)]  # of equal ones the first

    def slopes(choice: tuple[bool, int], rows: Tensor) -> Tensor:
        fits, last = choice
        fitted = _fit_slopes(parts[rows, :last], labels[rows]) if fits else torch.ones(last, dtype=torch.float64)
        return functional.pad(fitted, (0, num_parts - last))

    def cross_loss(choice: tuple[bool, int]) -> float:
        halves = ((first_half, ~first_half), (~first_half, first_half))
        return sum(
            float(_loss(parts[held_out], labels[held_out], slopes(choice, rows)) * held_out.sum())
            for rows, held_out in halves
        )

    return slopes(min(choices, key=cross_loss), first_half | ~first_half)


def _fit_slopes(parts: Tensor, labels: Tensor) -> Tensor:
    """Slopes (M,) of least loss, with a normal prior on their logarithms as heavy as PRIOR_ROWS rows (calibrate.py)."""
    logs = torch.zeros(parts.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _loss(parts, labels, logs.exp()) + PRIOR_ROWS / (2 * len(labels)) * (logs @ logs)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return logs.detach().exp()


def _loss(parts: Tensor, labels: Tensor, slopes: Tensor) -> Tensor:
    """The loss of logits in parts (N, M, K) under slopes (M,): cross entropy, or the squared error of values."""
    logits = torch.einsum("nmk,m->nk", parts, slopes)
    if labels.is_floating_point():
        return functional.mse_loss(logits[:, 0], labels.double())
    return functional.cross_entropy(logits, labels)
