"""A learned curve for each feature that can only rise, as an operator of torch.

For feature f, K knots t_k = first + k step, and slopes a_k >= 0 at the knots:

    c_k(x)  = clip((x - t_k) / step, -1, 1)
    y(x)    = step sum_k a_k (c_k - c_k |c_k| / 2)
    y'(x)   = sum_k a_k (1 - |c_k|)                  between two knots the slope goes straight from one to the other
    dy/da_k = step (c_k - c_k |c_k| / 2)
    y''(x)  = - sum_k a_k sign(c_k) [|c_k| < 1] / step

So y is a smooth monotone curve, flat one step beyond the outer knots: no reading, however far, moves it by more than
step/2 sum_k a_k from zero. Slopes of one make it the distance to the middle knot. (Integrated B-splines of order 2:
Ramsay 1988, "Monotone regression splines in action", section 3.)

Written in torch's own operators it would keep several (N, F, K) arrays for the backward pass; the operator keeps x and
the slopes. It is defined twice with one set of rules: here for every device and to be read, in operator.cpp for the
CPU and to be fast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.library import custom_op, register_autocast, register_autograd, register_fake

from deepseek.errors import InputError

PYTHON, NATIVE = "monotone_splines", "monotone_splines_native"  # the namespaces under torch.ops


def monotone_spline(x: Tensor, slopes: Tensor, *, first: float, step: float, namespace: str = PYTHON) -> Tensor:
    """Curves (N, F) of x (N, F) with slopes (F, K) at the knots first, first + step, ...

    Twice differentiable by x and slopes. InputError for shapes, types or knots that do not fit.

    >>> slopes = torch.ones(1, 3)  # knots at -1, 0 and 1
    >>> monotone_spline(torch.tensor([[-9.0], [-1.0], [0.5], [9.0]]), slopes, first=-1, step=1).ravel().tolist()
    [-1.5, -1.0, 0.5, 1.5]
    """
    _check(x, slopes, first, step)
    _check_mode(x, slopes)
    operator = getattr(torch.ops, namespace).spline
    curves: Tensor = operator(x, slopes, float(first), float(step))
    return curves


def _check(x: Tensor, slopes: Tensor, first: float, step: float) -> None:
    shapes = f"x {tuple(x.shape)} and slopes {tuple(slopes.shape)}"
    for good, what, expected in (
        (x.ndim == slopes.ndim == 2 and slopes.shape[1] > 0, shapes, "x (N, F) and slopes (F, K), K at least 1"),
        (
            x.ndim == slopes.ndim == 2 and x.shape[1] == slopes.shape[0],
            shapes,
            "as many rows of slopes as x has columns",
        ),
        (x.dtype.is_floating_point and slopes.dtype.is_floating_point, f"{x.dtype} and {slopes.dtype}", "floats"),
        (
            x.dtype == slopes.dtype or torch.is_autocast_enabled(x.device.type),
            f"{x.dtype} and {slopes.dtype}",
            "one type",
        ),
        (x.device == slopes.device, f"x on {x.device} and slopes on {slopes.device}", "one device"),
        (math.isfinite(first), f"first = {first}", "a finite number"),
        (math.isfinite(step) and step > 0, f"step = {step}", "a finite number above 0"),
    ):
        if not good:
            raise InputError(f"monotone_spline got {what}", expected=expected, fix="give it such arguments")


def _check_mode(*tensors: Tensor) -> None:
    """torch.library has no rule for forward mode, and torch.func.jvp takes an operator without one for a constant."""
    if not torch.compiler.is_compiling() and any(unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise InputError(
            "monotone_spline has no forward-mode derivative",
            expected="reverse mode: backward() or torch.autograd.grad",
            fix="take one of these; for a Jacobian torch.autograd.functional.jacobian",
        )


# The kernels: any code that reads and writes tensors. Nothing here is recorded for a backward pass.


@custom_op(f"{PYTHON}::spline", mutates_args=())
def spline(x: Tensor, slopes: Tensor, first: float, step: float) -> Tensor:
    curves = torch.zeros_like(x, memory_format=torch.contiguous_format)
    for k in range(slopes.shape[1]):
        curves += slopes[:, k] * _ramp(_position(x, k, first, step))
    return curves * step


@custom_op(f"{PYTHON}::spline_backward", mutates_args=())
def spline_backward(grad: Tensor, x: Tensor, slopes: Tensor, first: float, step: float) -> tuple[Tensor, Tensor]:
    rate, grad_slopes = torch.zeros_like(x, memory_format=torch.contiguous_format), torch.empty_like(slopes)
    for k in range(slopes.shape[1]):
        position = _position(x, k, first, step)
        rate += slopes[:, k] * (1 - position.abs())
        grad_slopes[:, k] = step * (grad * _ramp(position)).sum(dim=0)
    return grad * rate, grad_slopes


def _position(x: Tensor, k: int | Tensor, first: float, step: float) -> Tensor:
    """c_k of x."""
    return ((x - (first + k * step)) / step).clamp(-1, 1)


def _ramp(position: Tensor) -> Tensor:
    return position - position * position.abs() / 2


# The rules: what torch cannot see inside a kernel. The same for both namespaces.


def _curves_like(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _gradients_like(_grad: Tensor, x: Tensor, slopes: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), torch.empty_like(slopes)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 (torch passes it by name)
    *tensors, ctx.first, ctx.step = inputs
    ctx.save_for_backward(*tensors)


def register(namespace: str) -> None:
    """Tell torch the shapes and gradients of the operators spline and spline_backward in `namespace`."""
    operators = getattr(torch.ops, namespace)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, slopes = ctx.saved_tensors
        return *operators.spline_backward(grad.contiguous(), x, slopes, ctx.first, ctx.step), None, None

    def backward_twice(ctx: Any, by_x: Tensor, by_slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Of sum(by_x * grad_x) + sum(by_slopes * grad_slopes), in plain torch: slow, and rarely asked for."""
        grad, x, slopes = ctx.saved_tensors
        knots = torch.arange(slopes.shape[1], dtype=x.dtype, device=x.device)
        position = _position(x[:, :, None], knots, ctx.first, ctx.step)  # (N, F, K)
        hat = 1 - position.abs()
        bend = torch.where(hat > 0, -position.sign(), 0) / ctx.step
        return (
            by_x * (slopes * hat).sum(dim=2) + operators.spline(x, by_slopes.contiguous(), ctx.first, ctx.step),
            by_x * grad * (slopes * bend).sum(dim=2) + grad * (by_slopes * hat).sum(dim=2),
            ((by_x * grad)[:, :, None] * hat).sum(dim=0),
            None,
            None,
        )  # fmt: skip

    register_fake(f"{namespace}::spline", _curves_like)
    register_fake(f"{namespace}::spline_backward", _gradients_like)
    register_autograd(f"{namespace}::spline", backward, setup_context=_keep)
    register_autograd(f"{namespace}::spline_backward", backward_twice, setup_context=_keep)
    for device in ("cpu", "cuda"):  # in half precision, the distance to a knot would lose its last digits
        register_autocast(f"{namespace}::spline", device, torch.float32)


register(PYTHON)
