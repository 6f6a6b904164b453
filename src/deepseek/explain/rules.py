"""How much of a change each operand of a call has made: exact for the pair of input and baseline, call by call.

Each rule gives multipliers m with sum_i m_i (z_i - b_i) = f(z) - f(b), for the change from b (baseline) to z (input):

one operand          m = (f(z) - f(b)) / (z - b), the secant; the slope where the two are the same
product a * b        half of each order of change: m_a = mean of b over both runs, m_b = mean of a
maximum of a, b      b + relu(a - b), a tree of them for more
softmax p            J = diag(q) - q q' / sum q, where q is the logarithmic mean of p in both runs
layer and group norm by the product of c = z - mean and r = 1 / sqrt(mean c^2 + eps), r by its secant of mean c^2

Sources: the secant is DeepLIFT's Rescale rule (Shrikumar et al. 2017, arXiv 1704.02685, section 3.5.1). The others
follow from it: for a product the Shapley value of its two factors; for softmax, q_i (change of z_i - log sum e^z) is
the change of p_i, and the changes of p sum to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deepseek.explain.mirror import RULES, Call, lookup, twin_of, twinned
from deepseek.explain.secants import LogSumExp, Norm, Softmax, StandIn, Unary

_UNARY = """
    relu relu6 leaky_relu rrelu elu selu celu gelu silu sigmoid tanh softplus softsign tanhshrink mish hardtanh
    hardswish hardsigmoid hardshrink softshrink logsigmoid log_sigmoid exp expm1 exp2 log log1p log2 log10 sqrt
    rsqrt reciprocal abs absolute square pow float_power sin cos tan asin acos atan sinh cosh asinh acosh atanh
    erf erfc clamp clip clamp_min clamp_max threshold rpow sign nan_to_num
"""


def _of(function: Any, *operands: Any) -> Tensor:
    """What a function of secants.py gives, with its twin."""
    return twinned(*function.apply(*operands))


def unary(call: Call) -> Tensor | None:
    z, base = call.pair(0)
    if call.has_twin(slice(1, None)) or not _both_real(z):
        return None
    rest, kwargs = call.args[1:], {name: value for name, value in call.kwargs.items() if name != "input"}
    copies = call.in_place or any(value is True for value in rest)  # relu(z, True)

    def f(value: Tensor) -> Tensor:
        found: Tensor = call.func(value.clone() if copies else value, *rest, **kwargs)
        return found

    return _of(Unary, z, base, f)


def product(call: Call) -> Tensor | None:
    """mul, matmul and bmm of two that both change."""
    a, b = call.argument(0, "input"), call.argument(1, "mat2" if call.name in {"bmm", "mm"} else "other")
    if not (_both_real(a) and _both_real(b)):
        return None
    return _product(getattr(torch, call.name.removeprefix("r")), a, b)


def _product(f: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """f(a, b), bilinear."""
    other_a, other_b = _twin(a), _twin(b)
    with torch.no_grad():
        middle_a, middle_b, other = (a + other_a) / 2, (b + other_b) / 2, f(other_a, other_b)
    stand_in = f(a, middle_b) + f(middle_a, b)
    found: Any = StandIn
    return twinned(found.apply(stand_in, a, b, f), other)


def einsum(call: Call) -> Tensor | None:
    operands = call.args[1:] if len(call.args) > 2 else call.args[1]
    if len(operands) != 2 or not all(map(_both_real, operands)):
        return None
    return _product(lambda a, b: torch.einsum(call.args[0], a, b), *operands)


def quotient(call: Call) -> Any:
    """a / b, where b changes: a times 1 / b."""
    a, b = call.argument(0, "input"), call.argument(1, "other")
    if call.name in {"rdiv", "rtruediv"}:
        a, b = b, a
    if not _both_real(b) or call.kwargs.get("rounding_mode"):
        return None
    with call.mirror:
        return torch.reciprocal(b) * a


def maximum(call: Call) -> Any:
    """maximum(a, b) and minimum(a, b) of two tensors."""
    a, b = call.argument(0, "input"), call.argument(1, "other")
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return None
    with call.mirror:
        return b + torch.relu(a - b) if call.name.startswith("max") else b - torch.relu(b - a)


def largest(call: Call) -> Any:
    """max and amax along one dimension. Of max only the values: who asks for their places is not helped."""
    z, dim = call.argument(0, "input"), call.argument(1, "dim")
    keeps = bool(call.argument(2, "keepdim", default=False))
    if call.name == "max" and isinstance(dim, Tensor):
        return maximum(call)
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    if not isinstance(dim, int) or not _both_real(z):
        return None
    with call.mirror:
        found = _tree(z.movedim(dim, -1))
        found = found.unsqueeze(dim) if keeps else found
    if call.name == "amax":
        return found
    return torch.return_types.max((found, z.argmax(dim, keepdim=keeps)))


def max_pool(call: Call) -> Tensor | None:
    """Windows laid side by side, then the largest of each. Not with gaps (dilation) or rounded up."""
    z, names = call.argument(0, "input"), ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    kernel, stride, padding, dilation, ceil = (call.argument(1 + place, name) for place, name in enumerate(names))
    num_dims = int(call.name[-2])
    kernel, padding = _each(kernel, num_dims), _each(padding or 0, num_dims)
    stride = _each(stride, num_dims) if stride else kernel  # [] stands for none
    if ceil or set(_each(dilation or 1, num_dims)) != {1} or call.kwargs.get("return_indices"):
        return None
    with call.mirror:
        if any(padding):
            # Lower than whatever there is, and the same in both runs, so that its secant is finite.
            lowest = min(float(z.detach().min()), float(_twin(z).min())) - 1.0
            z = functional.pad(z, [each for size in reversed(padding) for each in (size, size)], value=lowest)
        first = z.ndim - num_dims
        for dim in range(num_dims):  # each window becomes a last dimension
            z = z.unfold(first + dim, kernel[dim], stride[dim])
        return _tree(z.flatten(-num_dims))


def _tree(z: Tensor) -> Tensor:
    """The largest along the last dimension, by rounds of pairs."""
    while z.shape[-1] > 1:
        half = z.shape[-1] // 2
        rest = z[..., 2 * half :]
        z = torch.maximum(z[..., :half], z[..., half : 2 * half])
        if rest.shape[-1]:
            z = torch.cat([z, rest], dim=-1)
    return z[..., 0]


def softmax(call: Call) -> Any:
    z, base = call.pair(0)
    dim = call.argument(1, "dim")
    if not isinstance(dim, int):
        return None
    if call.name == "softmax":
        return _of(Softmax, z, base, dim)
    whole = _of(LogSumExp, z, base, dim)
    with call.mirror:
        return z - whole


def logsumexp(call: Call) -> Any:
    z, base = call.pair(0)
    dim = call.argument(1, "dim")
    if not isinstance(dim, int):
        return None
    whole = _of(LogSumExp, z, base, dim)
    with call.mirror:
        return whole if call.argument(2, "keepdim") else whole.squeeze(dim)


def layer_norm(call: Call) -> Tensor | None:
    """layer_norm and rms_norm: (input, normalized_shape, weight, [bias], eps)."""
    z, base = call.pair(0)
    dims = tuple(range(-len(call.argument(1, "normalized_shape")), 0))
    centred, weight = call.name == "layer_norm", call.argument(2, "weight")
    bias = call.argument(3, "bias") if centred else None
    eps = call.argument(4, "eps", default=1e-5) if centred else call.argument(3, "eps")
    eps = torch.finfo(z.dtype).eps if eps is None else eps
    found = _of(Norm, z, base, dims, eps, centred)
    return _scaled(call, found, weight, bias)


def group_norm(call: Call) -> Tensor | None:
    """group_norm(input, groups, weight, bias, eps) and instance_norm of the sample's own statistics."""
    z = call.argument(0, "input")
    if call.name == "instance_norm":
        if not call.argument(5, "use_input_stats", default=True):
            return None
        groups, weight, bias = z.shape[1], call.argument(3, "weight"), call.argument(4, "bias")
        eps = call.argument(7, "eps", default=1e-5)
    else:
        groups, weight, bias = call.argument(1, "num_groups"), call.argument(2, "weight"), call.argument(3, "bias")
        eps = call.argument(4, "eps", default=1e-5)
    with call.mirror:
        parts = z.reshape(z.shape[0], groups, -1)
    found = _of(Norm, parts, _twin(parts), (-1,), eps, True)
    wide = (-1, *(1 for _ in z.shape[2:]))
    with call.mirror:
        found = found.reshape(z.shape)
    return _scaled(call, found, *(None if each is None else each.view(wide) for each in (weight, bias)))


def _scaled(call: Call, found: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    with call.mirror:
        found = found if weight is None else found * weight
        return found if bias is None else found + bias


def spread(call: Call) -> Any:
    """var and std along dimensions, and the Euclidean norm."""
    z = call.argument(0, "input")
    with call.mirror:
        if call.name in {"norm", "vector_norm"}:
            order = call.argument(1, "p", default=call.kwargs.get("ord", 2))
            dim, keeps = call.argument(2, "dim"), bool(call.argument(3, "keepdim", default=False))
            if order not in {2, "fro"} or dim is None:
                return None
            return (z * z).sum(dim, keepdim=keeps).sqrt()
        dim, keeps = call.argument(1, "dim"), bool(call.kwargs.get("keepdim", False))
        if dim is None or isinstance(dim, bool):
            return None
        less = call.kwargs.get("correction", 1 if call.kwargs.get("unbiased", True) else 0)
        centred = z - z.mean(dim, keepdim=True)
        dims = [dim] if isinstance(dim, int) else list(dim)
        found = (centred * centred).sum(dim, keepdim=keeps) / (math.prod(z.shape[each] for each in dims) - less)
        return found if call.name == "var" else found.sqrt()


def normalize(call: Call) -> Any:
    """functional.normalize in the Euclidean norm."""
    z, order, dim = call.argument(0, "input"), call.argument(1, "p", 2.0), call.argument(2, "dim", 1)
    if order != 2:
        return None
    with call.mirror:
        length = (z * z).sum(dim, keepdim=True).sqrt()
        return z / length.clamp_min(call.argument(3, "eps", 1e-12))


def _both_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and twin_of(value) is not None


def _twin(value: Tensor) -> Tensor:
    other = twin_of(value)
    return value if other is None else other


def _each(value: Any, num_dims: int) -> tuple[int, ...]:
    return (value,) * num_dims if isinstance(value, int) else tuple(value) * (num_dims if len(value) == 1 else 1)


RULES.update(dict.fromkeys(_UNARY.split(), unary))
RULES.update(dict.fromkeys(("mul", "rmul", "multiply", "matmul", "rmatmul", "bmm", "mm"), product))
RULES.update(dict.fromkeys(("div", "divide", "true_divide", "truediv", "rdiv", "rtruediv"), quotient))
RULES.update(dict.fromkeys(("maximum", "minimum"), maximum))
RULES.update(dict.fromkeys(("max", "amax"), largest))
RULES.update(dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), max_pool))
RULES.update(dict.fromkeys(("softmax", "log_softmax"), softmax))
RULES.update(dict.fromkeys(("layer_norm", "rms_norm"), layer_norm))
RULES.update(dict.fromkeys(("group_norm", "instance_norm"), group_norm))
RULES.update(dict.fromkeys(("var", "std", "norm", "vector_norm"), spread))
RULES.update({"einsum": einsum, "logsumexp": logsumexp, "normalize": normalize, "embedding": lookup})
