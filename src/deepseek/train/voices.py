"""How loud each modality speaks in a trained FusionNet: a slope for each voice, fitted on held rows.

    slopes = weigh_voices(net, batches)              # of held rows; (M + 1,), the last of what is added to the voices

    logits = sum of slope_m * voice_m + slope_rest * (what queries and products add)

A net that is sure of its training rows is too sure of others, of one modality more than of another, and the sum of its
voices is then worse than a product of calibrated nets. Slopes above 0 change no voice's own order. They are kept where
they lower the loss on halves that they were not fitted on, and they go into the weights: a bundle and a graph need not
know of them.

Source: temperature scaling, Guo et al. 2017 (arXiv 1706.04599), section 4.2, here one for each expert of a product.
Shapes: N rows, M modalities, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deepseek.nn.fusion import FusionNet
from deepseek.train.calibrate import PRIOR_ROWS

LEAST_ROWS = 2 * PRIOR_ROWS  # with fewer held rows the slopes stay 1


def weigh_voices(net: FusionNet, batches: Iterable[tuple[Any, Tensor]]) -> Tensor:
    """Fit on batches ((values, there), labels) and put the slopes into `net`. Returns them (M + 1,), all 1 where no
    others were better."""
    net.eval()
    said: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.inference_mode():
        for (values, there), truth in batches:
            found = net(values, there)
            rest = found.logits - found.voices.sum(1)
            said.append(torch.cat([found.voices, rest[:, None]], 1).double())
            labels.append(truth)
    parts, truths = torch.cat(said).clone(), torch.cat(labels).clone()
    slopes = _better(parts, truths)
    net.weigh(slopes.to(net.bias))
    return slopes


def _better(parts: Tensor, labels: Tensor) -> Tensor:
    """Slopes (M + 1,) for logits in parts (N, M + 1, K); ones where fitted ones lose on the other half of the rows."""
    plain = torch.ones(parts.shape[1], dtype=torch.float64)
    if len(labels) < LEAST_ROWS:
        return plain
    first = torch.arange(len(labels)) % 2 == 0
    lost = sum(
        _loss(parts[~rows], labels[~rows], _fitted(parts[rows], labels[rows])) * (~rows).sum()
        for rows in (first, ~first)
    ) / len(labels)
    return _fitted(parts, labels) if lost < _loss(parts, labels, plain) else plain


def _fitted(parts: Tensor, labels: Tensor) -> Tensor:
    """Of least loss. Logs of slopes have a normal prior that weighs as much as PRIOR_ROWS rows, as in calibrate.py."""
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
    """Cross entropy, or squared error of a value."""
    found = torch.einsum("nmk,m->nk", parts, slopes)
    if labels.is_floating_point():
        return functional.mse_loss(found[:, 0], labels.double())
    return functional.cross_entropy(found, labels)
