"""Functions whose backward pass multiplies by secants between two runs; what each is for says rules.py.

forward(ctx, z, base, ...) gives the values for the input, with a graph, and for the baseline, without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepseek.explain.modules.problem import is_finite

#: Relative change below which the slope in the middle stands for the secant, whose rounding would be larger.
_MIN_RELATIVE_CHANGE = 1e-4


def secant(f: Callable[[Tensor], Tensor], z: Tensor, base: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """The secant (y - other) / (z - base) of y = f(z) and other = f(base), number by number; the slope where that says
    nothing."""
    change = z - base
    small = change.abs() <= torch.maximum(z.abs(), base.abs()).mul_(_MIN_RELATIVE_CHANGE)
    slope = (y - other) / change
    if small.any():
        with torch.enable_grad():
            middle = ((z + base) / 2).detach().requires_grad_()
            (flat,) = torch.autograd.grad(f(middle).sum(), middle)
        slope = torch.where(small, flat, slope)
        if not is_finite(slope):
            # Where nothing changes any finite slope gives the nothing that it adds; that of a root at 0 is none.
            slope = torch.where((change == 0) & ~torch.isfinite(slope), 0.0, slope)
    return slope


def multiply_slopes(grad: Tensor, slope: Tensor) -> Tensor:
    """The product of a gradient and a slope; 0 where nothing depends on the value, whatever its slope: where(z > 0,
    log(z), z)."""
    product = grad * slope
    return product if is_finite(product) else torch.where(grad == 0, 0.0, product)


class UnaryRescale(torch.autograd.Function):
    """A function of one operand, with the secant as its slope."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, base: Tensor, f: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        y, other = f(z), f(base)
        ctx.slope = secant(f, z, base, y, other)
        ctx.mark_non_differentiable(other)
        return y, other

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return multiply_slopes(grads[0], ctx.slope), None, None


class StandInGradient(torch.autograd.Function):
    """The value of f(a, b), with the gradients of what stands in for it."""

    @staticmethod
    def forward(_ctx: Any, _: Tensor, a: Tensor, b: Tensor, f: Callable[..., Tensor]) -> Any:
        return f(a, b)

    @staticmethod
    def backward(_ctx: Any, *grads: Any) -> Any:
        return grads[0], None, None, None


class SoftmaxRescale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, base: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        logs, other_logs = z.log_softmax(dim), base.log_softmax(dim)
        p, other = logs.exp(), other_logs.exp()
        mean = _logarithmic_mean(p, other, logs - other_logs)
        ctx.mean, ctx.share, ctx.dim = mean, mean / mean.sum(dim, keepdim=True), dim
        ctx.mark_non_differentiable(other)
        return p, other

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        weighted = grads[0] * ctx.mean
        return weighted - ctx.share * weighted.sum(ctx.dim, keepdim=True), None, None


class LogSumExpRescale(torch.autograd.Function):
    """Along `dim`, which stays: multipliers are the logarithmic means of both softmaxes, scaled to sum to 1."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, base: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        y, other = z.logsumexp(dim, keepdim=True), base.logsumexp(dim, keepdim=True)
        logs, other_logs = z - y, base - other
        mean = _logarithmic_mean(logs.exp(), other_logs.exp(), logs - other_logs)
        ctx.share = mean / mean.sum(dim, keepdim=True)
        ctx.mark_non_differentiable(other)
        return y, other

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.share, None, None


class NormRescale(torch.autograd.Function):
    """z less its mean over `dims` (if `centered`), over the root of its mean square plus eps."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, base: Tensor, dims: tuple[int, ...], eps: float, centered: bool
    ) -> tuple[Tensor, Tensor]:
        c = z - z.mean(dims, keepdim=True) if centered else z
        d = base - base.mean(dims, keepdim=True) if centered else base
        r = ((c * c).mean(dims, keepdim=True) + eps).rsqrt()
        s = ((d * d).mean(dims, keepdim=True) + eps).rsqrt()
        # The change of 1 / sqrt(v) over that of v, without a difference that rounding would eat.
        ctx.middle, ctx.scale, ctx.bend = (c + d) / 2, (r + s) / 2, -((r * s) ** 2) / (r + s)
        ctx.dims, ctx.centered = dims, centered
        other = d * s
        ctx.mark_non_differentiable(other)
        return c * r, other

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        g = grads[0]
        product = ctx.scale * g + 2 * ctx.bend * ctx.middle * (g * ctx.middle).mean(ctx.dims, keepdim=True)
        if ctx.centered:
            product = product - product.mean(ctx.dims, keepdim=True)
        return product, None, None, None, None


def _logarithmic_mean(p: Tensor, q: Tensor, change: Tensor) -> Tensor:
    """(p - q) / (log p - log q), given the change of the logarithm; between p and q, and 0 where one of them is."""
    near = change.abs() < 1e-3
    # exp(m) (1 + d^2 / 24): the series around the middle m, which is exact to rounding there
    mean = torch.where(near, (p * q).sqrt() * (1 + change**2 / 24), (p - q) / change)
    return torch.where(torch.isfinite(change), mean, 0.0)  # masked in both: -inf less -inf
