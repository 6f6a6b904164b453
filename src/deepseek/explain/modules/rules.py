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
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepseek.explain.modules.paired_forward import RULES, TorchCall, attach_twin, embedding_rule, twin_of
from deepseek.explain.modules.rescale_rule import (
    LogSumExpRescale,
    NormRescale,
    SoftmaxRescale,
    StandInGradient,
    UnaryRescale,
)

_UNARY = """
    relu relu6 leaky_relu rrelu elu selu celu gelu silu sigmoid tanh softplus softsign tanhshrink mish hardtanh
    hardswish hardsigmoid hardshrink softshrink logsigmoid log_sigmoid exp expm1 exp2 log log1p log2 log10 sqrt
    rsqrt reciprocal abs absolute square pow float_power sin cos tan asin acos atan sinh cosh asinh acosh atanh
    erf erfc clamp clip clamp_min clamp_max threshold rpow sign nan_to_num
"""

_PRODUCTS = ("mul", "rmul", "multiply")


def _apply_rule(function: Any, *operands: Any) -> Tensor:
    """Apply a function of rescale_rule.py: its value, with its twin attached."""
    return attach_twin(*function.apply(*operands))


def unary_rule(call: TorchCall) -> Tensor | None:
    """Rule of a function of one operand, alone or beside arguments that are the same in both runs."""
    z, kwargs = call.operand, call.kwargs
    rest = call.args[1:] if call.args else ()
    if (
        not _is_real_with_twin(z)
        or _any_has_twin(rest)
        or _any_has_twin([kwargs[name] for name in kwargs if kwargs[name] is not z])
    ):
        return None
    kwargs = {name: value for name, value in kwargs.items() if value is not z}
    if "out" in kwargs:
        return None
    beside = [each.shape for each in (*rest, *kwargs.values()) if isinstance(each, Tensor)]
    shape = torch.Size(np.broadcast_shapes(z.shape, *beside))
    if shape != z.shape:
        if call.in_place:
            return None
        with call.paired:
            z = z.expand(shape)
    copies = call.in_place or any(value is True for value in rest)  # relu(z, True)

    def f(value: Tensor) -> Tensor:
        y: Tensor = call.func(value.clone() if copies else value, *rest, **kwargs)
        return y

    return _apply_rule(UnaryRescale, z, _twin_or_self(z), f)


def prelu_rule(call: TorchCall) -> Any:
    """relu(z) - weight * relu(-z), a weight for each channel or one for all."""
    z, weight = call.argument("input"), call.argument("weight")
    if not _is_real_with_twin(z):
        return None
    wide = weight.view(-1, *(1 for _ in z.shape[2:])) if weight.numel() > 1 else weight
    with call.paired:
        return torch.relu(z) - wide * torch.relu(-z)


def product_rule(call: TorchCall) -> Tensor | None:
    """mul, matmul and bmm of two that both change."""
    a, b = call.argument("input"), call.argument("mat2" if call.name in {"bmm", "mm"} else "other")
    if not (_is_real_with_twin(a) and _is_real_with_twin(b)) or call.kwargs.get("out") is not None:
        return None
    if call.name.startswith("r"):
        a, b = b, a
    return _bilinear(torch.mul if call.name in _PRODUCTS else torch.matmul, a, b)


def _bilinear(f: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Rule of a bilinear function f(a, b) whose operands both change."""
    other_a, other_b = _twin_or_self(a), _twin_or_self(b)
    with torch.no_grad():
        middle_a, middle_b, other = (a + other_a) / 2, (b + other_b) / 2, f(other_a, other_b)
    stand_in = f(a, middle_b) + f(middle_a, b)
    function: Any = StandInGradient
    return attach_twin(function.apply(stand_in, a, b, f), other)


def einsum_rule(call: TorchCall) -> Tensor | None:
    operands = call.args[1:] if len(call.args) > 2 else call.args[1]
    if len(operands) != 2 or not isinstance(call.args[0], str) or not all(map(_is_real_with_twin, operands)):
        return None
    return _bilinear(lambda a, b: torch.einsum(call.args[0], a, b), *operands)


def quotient_rule(call: TorchCall) -> Any:
    """a / b, where b changes: a times 1 / b."""
    a, b = call.argument("input"), call.argument("other")
    if call.name in {"rdiv", "rtruediv"}:
        a, b = b, a
    if not _is_real_with_twin(b) or call.kwargs.get("rounding_mode") or call.kwargs.get("out") is not None:
        return None
    with call.paired:
        return torch.reciprocal(b) * a


def maximum_rule(call: TorchCall) -> Any:
    """maximum(a, b) and minimum(a, b) of two tensors."""
    a, b = call.argument("input"), call.argument("other")
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or call.kwargs.get("out") is not None:
        return None
    with call.paired:
        return b + torch.relu(a - b) if call.name.startswith("max") else b - torch.relu(b - a)


def max_rule(call: TorchCall) -> Any:
    """max and amax along one dimension."""
    z, dim = call.argument("input"), call.argument("dim")
    keeps = call.argument("keepdim", False)
    if isinstance(call.argument("other"), Tensor):
        return maximum_rule(call)
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    if not isinstance(dim, int) or not _is_real_with_twin(z) or call.kwargs.get("out") is not None:
        return None
    with call.paired:
        highest = _tournament_max(z.movedim(dim, -1))
        highest = highest.unsqueeze(dim) if keeps else highest
        return highest if call.name == "amax" else torch.return_types.max((highest, z.argmax(dim, keepdim=keeps)))


def max_pool_rule(call: TorchCall) -> Tensor | None:
    """Windows laid side by side, then the largest of each. Not with gaps (dilation) or rounded up."""
    z, names = call.argument("input"), ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    kernel, stride, padding, dilation, ceil = map(call.argument, names)
    num_dims = int(call.name[-2])
    kernel, padding = _per_dimension(kernel, num_dims), _per_dimension(padding or 0, num_dims)
    stride = _per_dimension(stride, num_dims) if stride else kernel  # [] stands for none
    if ceil or set(_per_dimension(dilation or 1, num_dims)) != {1} or call.argument("return_indices"):
        return None
    # Lower than whatever there is, and the same in both runs, so that its secant is finite.
    lowest = min(float(z.detach().min()), float(_twin_or_self(z).detach().min())) - 1.0
    with call.paired:
        if any(padding):
            z = functional.pad(z, [each for size in reversed(padding) for each in (size, size)], value=lowest)
        first = z.ndim - num_dims
        for dim in range(num_dims):  # each window becomes a last dimension
            z = z.unfold(first + dim, kernel[dim], stride[dim])
        return _tournament_max(z.flatten(-num_dims))


def _tournament_max(z: Tensor) -> Tensor:
    """The largest along the last dimension, by rounds of pairs."""
    while z.shape[-1] > 1:
        half = z.shape[-1] // 2
        rest = z[..., 2 * half :]
        z = torch.maximum(z[..., :half], z[..., half : 2 * half])
        if rest.shape[-1]:
            z = torch.cat([z, rest], dim=-1)
    return z[..., 0]


def softmax_rule(call: TorchCall) -> Any:
    z, dim, dtype = call.argument("input"), call.argument("dim"), call.argument("dtype")
    if not isinstance(dim, int) or not _is_real_with_twin(z):
        return None
    if dtype is not None and dtype != z.dtype:
        with call.paired:
            z = z.to(dtype)
    if call.name == "softmax":
        return _apply_rule(SoftmaxRescale, z, _twin_or_self(z), dim)
    whole = _apply_rule(LogSumExpRescale, z, _twin_or_self(z), dim)
    with call.paired:
        return z - whole


def logsumexp_rule(call: TorchCall) -> Any:
    z, dim = call.argument("input"), call.argument("dim")
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    if not isinstance(dim, int) or not _is_real_with_twin(z):
        return None
    whole = _apply_rule(LogSumExpRescale, z, _twin_or_self(z), dim)
    with call.paired:
        return whole if call.argument("keepdim") else whole.squeeze(dim)


def layer_norm_rule(call: TorchCall) -> Tensor | None:
    """layer_norm and rms_norm over the last dimensions."""
    z = call.argument("input")
    if not _is_real_with_twin(z):
        return None
    dims, centered = tuple(range(-len(call.argument("normalized_shape")), 0)), call.name == "layer_norm"
    eps = call.argument("eps")
    normalized = _apply_rule(
        NormRescale, z, _twin_or_self(z), dims, torch.finfo(z.dtype).eps if eps is None else eps, centered
    )
    return _apply_affine(call, normalized, call.argument("weight"), call.argument("bias"))


def group_norm_rule(call: TorchCall) -> Tensor | None:
    """group_norm, and instance_norm by the sample's own statistics."""
    z = call.argument("input")
    if not _is_real_with_twin(z) or not call.argument("use_input_stats", True):
        return None
    groups = z.shape[1] if call.name == "instance_norm" else call.argument("num_groups")
    with call.paired:
        parts = z.reshape(z.shape[0], groups, -1)
    normalized = _apply_rule(NormRescale, parts, _twin_or_self(parts), (-1,), call.argument("eps"), True)
    wide = (-1, *(1 for _ in z.shape[2:]))
    with call.paired:
        normalized = normalized.reshape(z.shape)
    scales = (call.argument(name) for name in ("weight", "bias"))
    return _apply_affine(call, normalized, *(None if each is None else each.view(wide) for each in scales))


def _apply_affine(call: TorchCall, normalized: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    with call.paired:
        normalized = normalized if weight is None else normalized * weight
        return normalized if bias is None else normalized + bias


def variance_rule(call: TorchCall) -> Any:
    """var and std along dimensions."""
    z, dims, keeps = call.argument("input"), call.argument("dim"), bool(call.argument("keepdim"))
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or not _is_real_with_twin(z):
        return None
    less = call.argument("correction", 1 if call.argument("unbiased", True) else 0)
    with call.paired:
        centered = z - z.mean(dims, keepdim=True)
        number = math.prod(z.shape[each] for each in dims) - (1 if less is None else less)
        variance = (centered * centered).sum(dims, keepdim=keeps) / number
        return variance if call.name == "var" else variance.sqrt()


def norm_rule(call: TorchCall) -> Any:
    """The Euclidean norm along dimensions: norm, linalg.norm and linalg.vector_norm."""
    z, dims = call.argument("input"), call.argument("dim")
    order = call.argument("p", call.argument("ord"))
    dims = [dims] if isinstance(dims, int) else dims
    is_euclidean = order in {2, "fro"} or (order is None and call.name == "linalg_norm")
    if not is_euclidean or not dims or call.argument("dtype") is not None or not _is_real_with_twin(z):
        return None
    if len(dims) > 1 and call.name == "linalg_norm" and order == 2:
        return None  # the largest singular value
    with call.paired:
        return (z * z).sum(dims, keepdim=bool(call.argument("keepdim"))).sqrt()


def normalize_rule(call: TorchCall) -> Any:
    """functional.normalize in the Euclidean norm."""
    z, dim = call.argument("input"), call.argument("dim")
    if call.argument("p") != 2 or not _is_real_with_twin(z) or call.argument("out") is not None:
        return None
    with call.paired:
        norm = (z * z).sum(dim, keepdim=True).sqrt()
        return z / norm.clamp_min(call.argument("eps"))


def _is_real_with_twin(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and twin_of(value) is not None


def _twin_or_self(value: Tensor) -> Tensor:
    other = twin_of(value)
    return value if other is None else other


def _any_has_twin(values: Iterable[Any]) -> bool:
    return any(isinstance(each, Tensor) and twin_of(each) is not None for each in values)


def _per_dimension(value: Any, num_dims: int) -> tuple[int, ...]:
    return (value,) * num_dims if isinstance(value, int) else tuple(value) * (num_dims if len(value) == 1 else 1)


RULES.update(dict.fromkeys(_UNARY.split(), unary_rule))
RULES.update(dict.fromkeys((*_PRODUCTS, "matmul", "rmatmul", "bmm", "mm"), product_rule))
RULES.update(dict.fromkeys(("div", "divide", "true_divide", "truediv", "rdiv", "rtruediv"), quotient_rule))
RULES.update(dict.fromkeys(("maximum", "minimum"), maximum_rule))
RULES.update(dict.fromkeys(("max", "amax"), max_rule))
RULES.update(dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), max_pool_rule))
RULES.update(dict.fromkeys(("softmax", "log_softmax"), softmax_rule))
RULES.update(dict.fromkeys(("layer_norm", "rms_norm"), layer_norm_rule))
RULES.update(dict.fromkeys(("group_norm", "instance_norm"), group_norm_rule))
RULES.update(dict.fromkeys(("var", "std"), variance_rule))
RULES.update(dict.fromkeys(("norm", "linalg_norm", "linalg_vector_norm"), norm_rule))
RULES.update(
    {
        "einsum": einsum_rule,
        "logsumexp": logsumexp_rule,
        "normalize": normalize_rule,
        "prelu": prelu_rule,
        "embedding": embedding_rule,
    }
)
