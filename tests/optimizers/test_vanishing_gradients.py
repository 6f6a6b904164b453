"""Gradients vanish where the training rows are known by heart; the weights have to rest then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers.adaptive_reference import AdaptiveReference
from deepseek.optimizers.config import AdaptiveConfig

SHAPES = [(6, 5), (4, 2, 3, 3), (7,), (), (600, 4)]
SHORT_MEMORY = (0.9, 0.8)  # of squares: a third of all steps from the fifteenth step on


def noise(step: int, scale: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


@pytest.mark.parametrize("foreach", [True, False])
def test_it_equals_its_slow_twin(foreach: bool) -> None:
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES]
    twin = [param.detach().clone() for param in params]
    optimizer = AdaptiveOptimizer(params, betas=SHORT_MEMORY, foreach=foreach)
    reference = AdaptiveReference(twin, AdaptiveConfig(betas=SHORT_MEMORY))
    for step in range(70):
        grads = noise(step, 1.0 if step < 30 else 1e-3)
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
        reference.step(grads)
        assert optimizer.get_current_lr() == pytest.approx(reference.effective_rate, rel=1e-4)
    for param, other in zip(params, twin, strict=True):
        torch.testing.assert_close(param.detach(), other, rtol=1e-3, atol=1e-4)


def way_after(scale: float) -> float:
    """How far a matrix goes, step by step, in the last 300 of 2,000 steps of noise, which has that scale from step 400
    on and the scale 1 before."""
    torch.manual_seed(0)
    param = nn.Parameter(torch.randn(24, 16))
    optimizer = AdaptiveOptimizer([param])
    way = 0.0
    for step in range(2000):
        param.grad = torch.randn(param.shape) * (1.0 if step < 400 else scale)
        before = param.detach().clone()
        optimizer.step()
        way += float((param.detach() - before).norm()) if step >= 1700 else 0.0
    return way


@pytest.mark.slow
def test_noise_that_is_left_of_large_gradients_moves_little() -> None:
    assert way_after(1e-4) < 0.02 * way_after(1.0)
