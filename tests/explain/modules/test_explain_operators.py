"""Modules of one operator each: both ends are the module's own answers, and values are those of a reference.

linear        weights times input less baseline: exactly
each          one number in, one out: what the answer changes by when that number alone changes, exactly
mixed         captum's integrated gradients, within a hundredth of the largest value
jumps         no slope tells of them: the exact Shapley values, or words
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import ExplainError
from deepseek.explain import attribute, layer_path
from deepseek.explain.modules.gradient_methods import Limits
from deepseek.explain.modules.layer_path import LayerPathOptions

torch.set_num_threads(1)
F = functional
BARE = LayerPathOptions(edges=False, margins=False, ablation=False)
Function = Callable[[Tensor], Tensor]


class Operator(nn.Module):
    """f of an input (N, 2, 4), then two outputs by fixed weights."""

    def __init__(self, f: Function) -> None:
        super().__init__()
        self.f = f
        self.register_buffer("weights", torch.randn(96, 2, generator=torch.Generator().manual_seed(5)))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.f(x).flatten(1)
        outputs: Tensor = flat @ self.weights[: flat.shape[1]].to(flat)
        return outputs


def seeded(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


EVEN = torch.tensor([True, False, True, False])


def written(x: Tensor) -> Tensor:
    out = torch.zeros(len(x), 2, 6)
    out[:, :, 1:5] = x
    out[:, 0].add_(1.0)
    return out


def into_out(x: Tensor) -> Tensor:
    out = torch.empty(len(x), 2, 4)
    torch.neg(x.detach() * 0, out=out)
    return x - out


def normed_in_place(x: Tensor) -> Tensor:
    x -= 0.5
    x /= 2
    return x.mul_(3.0)


def halved(x: Tensor) -> Tensor:
    while x.norm() > 1:
        x = x / 2
    return x


LINEAR: dict[str, Function] = {
    "identity": lambda x: x,
    "neg": lambda x: -x,
    "add": lambda x: x + 2.0,
    "sub": lambda x: x - x.flip(2),
    "rsub": lambda x: 1.0 - x,
    "mul by a number": lambda x: x * 3.0,
    "mul by a constant": lambda x: x * seeded(2, 4),
    "div by a constant": lambda x: x / (seeded(2, 4).abs() + 1),
    "mean": lambda x: x.mean(2),
    "mean over axis": lambda x: x.mean(axis=2, keepdims=True),
    "sum": lambda x: torch.sum(x, (1, 2), True),
    "cumsum": lambda x: x.cumsum(-1),
    "diff": lambda x: x.diff(dim=2),
    "matmul": lambda x: x @ seeded(4, 3),
    "matmul from the left": lambda x: seeded(3, 2) @ x,
    "einsum": lambda x: torch.einsum("nij,jk->nik", x, seeded(4, 3)),
    "linear": lambda x: F.linear(x, seeded(3, 4), seeded(3)),
    "bmm": lambda x: torch.bmm(x, seeded(1, 4, 3).expand(len(x), -1, -1)),
    "tensordot": lambda x: torch.tensordot(x, seeded(4, 3), dims=1),
    "conv1d": lambda x: F.conv1d(x, seeded(3, 2, 3), padding=1),
    "conv_transpose1d": lambda x: F.conv_transpose1d(x, seeded(2, 3, 3)),
    "conv2d": lambda x: F.conv2d(x[:, None], seeded(2, 1, 2, 2)),
    "avg_pool1d": lambda x: F.avg_pool1d(x, 2),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 3),
    "transpose": lambda x: x.transpose(1, 2),
    "permute": lambda x: x.permute(0, 2, 1).contiguous(),
    "reshape": lambda x: x.reshape(-1, 8)[:, 2:],
    "flatten and unflatten": lambda x: x.flatten(1).unflatten(1, (4, 2)),
    "getitem": lambda x: x[:, 1, ::2],
    "index_select": lambda x: x.index_select(2, torch.tensor([0, 0, 3])),
    "gather": lambda x: x.gather(2, torch.tensor([[[0, 1], [2, 2]]]).expand(len(x), -1, -1)),
    "cat": lambda x: torch.cat([x, x * 2, torch.ones(len(x), 2, 4)], dim=1),
    "stack": lambda x: torch.stack([x, -x], dim=3),
    "chunk": lambda x: x.chunk(2, dim=2)[1],
    "split": lambda x: torch.split(x, [1, 3], dim=2)[1],
    "unbind": lambda x: x.unbind(1)[0],
    "roll": lambda x: x.roll(1, 2),
    "pad": lambda x: F.pad(x, (1, 2), value=3.0),
    "repeat": lambda x: x.repeat(1, 2, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=2),
    "masked_fill": lambda x: x.masked_fill(EVEN, 0.0),
    "where by a constant": lambda x: torch.where(EVEN, x, 2.0),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "tril": lambda x: x.tril(),
    "dropout in eval": lambda x: F.dropout(x, 0.5, training=False),
    "batch_norm": lambda x: F.batch_norm(x, seeded(2), seeded(2).abs() + 0.5),
    "written into a buffer": written,
    "written by out": into_out,
    "changed in place": normed_in_place,
    "copy_": lambda x: torch.zeros_like(x).copy_(x),
    "index_add": lambda x: torch.zeros(len(x), 2, 3).index_add(2, torch.tensor([0, 1, 1, 2]), x),
    "double": lambda x: x.double(),
}
EACH: dict[str, Function] = {
    "relu": torch.relu,
    "relu_": lambda x: x.relu_(),
    "relu inplace": lambda x: F.relu(x, True),
    "relu6": lambda x: F.relu6(x * 4),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "logsigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.5),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "softshrink": F.softshrink,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3, 0.1])),
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log of a positive number": lambda x: torch.log(x * x + 0.1),
    "sqrt of a positive number": lambda x: (x * x + 0.1).sqrt(),
    "rsqrt": lambda x: torch.rsqrt(x * x + 1),
    "reciprocal": lambda x: 1 / (x.exp() + 1),
    "abs": lambda x: x.abs(),
    "square": torch.square,
    "pow": lambda x: x**3,
    "pow by a constant": lambda x: torch.pow(x.abs() + 1, torch.tensor([1.0, 2.0, 0.5, 3.0])),
    "power of a number": lambda x: 2.0**x,
    "torch.pow of a number": lambda x: torch.pow(2.0, x),
    "product with itself": lambda x: x * x,
    "sin": torch.sin,
    "atan": lambda x: x.atan(),
    "erf": torch.erf,
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "clamp by names": lambda x: torch.clamp(input=x, max=0.3),
    "clamp by a constant": lambda x: x.clamp(min=torch.tensor([-1.0, 0.0, 0.5, -0.2])),
    "clamp, broadcast": lambda x: x[:, :, :1].clamp(min=torch.tensor([-1.0, 0.0, 0.5])),
    "maximum with a constant": lambda x: torch.maximum(x, torch.tensor(0.1)),
    "threshold": lambda x: F.threshold(x, 0.1, 0.1),
    "where over a logarithm": lambda x: torch.where(x > 0, torch.log1p(x), x),
    "where over a root": lambda x: torch.where(x > 0, x.sqrt(), x),
}
MIXED: dict[str, Function] = {
    "softmax": lambda x: x.softmax(2),
    "softmax by names": lambda x: torch.softmax(input=x, dim=1),
    "softmax of another type": lambda x: F.softmax(x, dim=-1, dtype=torch.float64).float(),
    "softmin": lambda x: F.softmin(x, dim=2),
    "log_softmax": lambda x: F.log_softmax(x, 2),
    "logsumexp": lambda x: x.logsumexp(2),
    "logsumexp, kept": lambda x: torch.logsumexp(x, (2,), True),
    "var": lambda x: x.var(2),
    "var(dim, unbiased)": lambda x: x / (x.var(2, False)[..., None] + 1),
    "var(dim, unbiased, keepdim)": lambda x: x / (x.var(2, False, True) + 1),
    "var by names": lambda x: torch.var(x, axis=2, correction=0, keepdims=True),
    "std(dim, unbiased, keepdim)": lambda x: x / (x.std(2, False, True) + 1),
    "std by names": lambda x: x.std(dim=2, unbiased=False),
    "var_mean": lambda x: torch.cat(torch.var_mean(x, 2), 1),
    "norm": lambda x: x.norm(dim=2),
    "norm(p, dim, keepdim)": lambda x: x.norm(2, 2, True),
    "norm of order 3": lambda x: torch.norm(x, 3, 2),
    "linalg.norm": lambda x: torch.linalg.norm(x, dim=2),
    "linalg.vector_norm": lambda x: torch.linalg.vector_norm(x, 2, 2),
    "normalize": lambda x: F.normalize(x + 3, dim=2),
    "cosine_similarity": lambda x: F.cosine_similarity(x + 2, seeded(2, 4), dim=2),
    "cdist": lambda x: torch.cdist(x + 3, seeded(2, 4)),
    "layer_norm": lambda x: F.layer_norm(x * 2, (4,), eps=0.3),
    "layer_norm by position": lambda x: torch.layer_norm(x, (2, 4), seeded(2, 4), seeded(2, 4), 0.2),
    "rms_norm": lambda x: F.rms_norm(x, (4,), eps=0.2),
    "group_norm": lambda x: F.group_norm(x, 2, eps=0.3),
    "torch.group_norm": lambda x: torch.group_norm(x, 1, seeded(2), seeded(2), 0.3),
    "instance_norm": lambda x: F.instance_norm(x, eps=0.3),
    "local_response_norm": lambda x: F.local_response_norm(x, 2),
    "product of two": lambda x: x * x.flip(2),
    "quotient": lambda x: x / (x.flip(2).exp() + 1),
    "matmul with itself": lambda x: x @ x.transpose(1, 2),
    "einsum with itself": lambda x: torch.einsum("nij,nkj->nik", x, x),
    "einsum of three": lambda x: torch.einsum("nj,nj,nj->n", x[:, 0], x[:, 1], x[:, 0])[:, None],
    "prod": lambda x: x.prod(2),
    "cumprod": lambda x: x.cumprod(2),
    "pow of two": lambda x: (x.square() + 1) ** x.flip(2).tanh(),
    "glu": lambda x: F.glu(x, 2),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x - 1),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3),
    "linear by computed weights": lambda x: torch.stack([F.linear(row, row[:1].tanh()) for row in x.unbind(0)]),
    "bilinear": lambda x: F.bilinear(x, x.flip(2), seeded(3, 4, 4)),
    "outer": lambda x: x[:, 0, :, None] * x[:, 1, None],
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "fft": lambda x: torch.fft.rfft(x).abs().square(),
    "det": lambda x: torch.linalg.det(x[:, :, :2])[:, None],
    "addcmul": lambda x: torch.addcmul(x, x, x.flip(2)),
    "lerp": lambda x: torch.lerp(x, x.flip(2), x.sigmoid()),
}
KINKED: dict[str, Function] = {
    "max(dim)": lambda x: x.max(2)[0],
    "max(dim, keepdim)": lambda x: x.max(2, True).values,
    "amax": lambda x: x.amax((2,), keepdim=True),
    "amin": lambda x: x.amin(2),
    "max of two": lambda x: torch.max(x, x.flip(2)),
    "minimum": lambda x: torch.minimum(x, x.flip(1)),
    "max_pool1d": lambda x: F.max_pool1d(x, 2),
    "max_pool1d(kernel, stride, padding)": lambda x: F.max_pool1d(x, 3, 1, 1),
    "max_pool2d": lambda x: F.max_pool2d(x[:, None], 2, stride=1, ceil_mode=True),
    "adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x, 2),
    "sort": lambda x: x.sort(2).values,
    "topk": lambda x: x.topk(2, dim=2).values,
    "median": lambda x: x.median(2).values,
    "norm of order 1": lambda x: x.norm(p=1, dim=2),
}
JUMPS: dict[str, Function] = {
    "sign": torch.sign,
    "round": torch.round,
    "floor": lambda x: x.floor() + x,
    "heaviside": lambda x: torch.heaviside(x, torch.tensor(0.5)),
    "comparison": lambda x: (x > 0).float(),
    "where with a jump": lambda x: torch.where(x > 0.2, x + 5, x),
    "detach": lambda x: x.detach() * x,
    "argmax": lambda x: x * F.one_hot(x.argmax(2), 4),
    "scatter of the largest": lambda x: torch.zeros_like(x).scatter(2, x.argmax(2, keepdim=True), x),
    "if on data": lambda x: x * 3 if x[0, 0].sum() > 0.9 else x,
    "item": lambda x: x / (1 + abs(x[0, 0, 0].item())),
    "numpy": lambda x: x * float(np.tanh(x.detach().numpy()).sum()),
    "while on data": halved,
    "a row of a mask": lambda x: torch.zeros_like(x).masked_scatter(x > 0, x[x > 0] * 2),
    "clip by a float": lambda x: x.clamp(max=float(x.mean())),
}


def make_inputs(num_rows: int = 2) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(num_rows, 2, 4, generator=rng), torch.randn(num_rows, 2, 4, generator=rng)


def explained(f: Function, num_rows: int = 2, method: str = "auto") -> tuple[Operator, np.ndarray]:
    """Values (N, 8) against the first baseline, after whatever holds for every module was looked at."""
    net, (inputs, bases) = Operator(f).eval(), make_inputs(num_rows)
    kept, base = inputs.clone(), bases[:1].clone()
    with torch.no_grad():
        own = torch.cat([net(row[None].clone()) for row in inputs])[:, 1].double().numpy()
        base_own = net(base.clone())[0, 1].item()
    limits = Limits(tolerance=1e-3) if method == "integrated" else Limits()
    attribution = attribute(net, inputs, base, 1, method=method, limits=limits)  # type: ignore[arg-type]
    np.testing.assert_allclose(attribution.output, own, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(attribution.base_value, base_own, rtol=1e-5, atol=1e-5)
    assert np.isfinite(attribution.values).all()
    assert (np.abs(attribution.residual) <= 0.01 * np.abs(own - base_own) + 1e-6).all(), attribution.method
    assert not attribution.is_partial
    assert torch.equal(inputs, kept)
    assert torch.equal(base, bases[:1])
    return net, attribution.values


def ledger_balances(f: Function, rule: str = "auto") -> None:
    net, (inputs, bases) = Operator(f).eval(), make_inputs()
    kept = inputs.clone(), bases.clone()
    with torch.no_grad():
        own, base_own = (net(each.clone())[:, 1].double().numpy() for each in (inputs, bases))
    path = layer_path(net, inputs, bases, 1, rule=rule, options=BARE)  # type: ignore[arg-type]
    np.testing.assert_allclose(path.output, own, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(path.base_value, base_own, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(path.layers[0].sum, own - base_own, atol=1e-5, rtol=0.0101)
    assert not path.is_partial
    assert torch.equal(inputs, kept[0])
    assert torch.equal(bases, kept[1])


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_operator_is_its_weights_times_the_change(name: str) -> None:
    net, values = explained(LINEAR[name])
    inputs, bases = make_inputs()
    for row in range(2):
        slope = torch.autograd.functional.jacobian(lambda x: net(x.clone())[:, 1], bases[:1])[0, 0]
        expected = (slope * (inputs[row] - bases[0])).flatten()
        np.testing.assert_allclose(values[row], expected, atol=2e-5)
    ledger_balances(LINEAR[name], "pairs")


@pytest.mark.parametrize("name", EACH)
def test_an_operator_on_each_number_gives_it_what_it_changes_alone(name: str) -> None:
    net, values = explained(EACH[name])
    inputs, bases = make_inputs()
    for row in range(2):
        with torch.no_grad():
            alone = torch.where(torch.eye(8, dtype=torch.bool).view(8, 2, 4), inputs[row], bases[0])
            expected = (net(alone.clone()) - net(bases[:1].clone()))[:, 1]
        is_exact = not name.startswith("where over")  # conditions that differ have no rule: they are integrated
        np.testing.assert_allclose(values[row], expected, atol=2e-5 if is_exact else 0.01 * np.abs(values).sum())
    if name == "where over a root":
        with pytest.raises(ExplainError, match="layer 'input' are not finite: the module has no slope there"):
            ledger_balances(EACH[name])
    else:
        ledger_balances(EACH[name])


@pytest.mark.parametrize("name", MIXED)
def test_an_operator_that_mixes_numbers_gets_captums_integrated_gradients(name: str) -> None:
    from captum.attr import IntegratedGradients

    explained(MIXED[name])
    net, values = explained(MIXED[name], method="integrated")
    inputs, bases = make_inputs()
    theirs = IntegratedGradients(net).attribute(inputs, bases[:1].expand_as(inputs), target=1, n_steps=96)
    np.testing.assert_allclose(values, theirs.detach().flatten(1), atol=0.01 * np.abs(values).max())
    ledger_balances(MIXED[name])


@pytest.mark.parametrize("name", KINKED)
def test_an_operator_that_chooses_a_number_balances(name: str) -> None:
    explained(KINKED[name])
    ledger_balances(KINKED[name])


def shapley(net: nn.Module, row: Tensor, base: Tensor) -> np.ndarray:
    """Exact, of the first four numbers: the others are the baseline's."""
    values = np.zeros(8)
    orders = list(permutations(range(4)))
    answers: dict[frozenset[int], float] = {}

    def answer(members: frozenset[int]) -> float:
        if members not in answers:
            keep = torch.tensor([place in members for place in range(8)]).view(2, 4)
            with torch.no_grad():
                answers[members] = net(torch.where(keep, row, base)[None].clone())[0, 1].item()
        return answers[members]

    for order in orders:
        for place, one in enumerate(order):
            values[one] += (answer(frozenset(order[: place + 1])) - answer(frozenset(order[:place]))) / len(orders)
    return values


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # what the module does, and torch says
@pytest.mark.parametrize("name", JUMPS)
def test_an_operator_that_no_slope_tells_of_gets_shapley_values(name: str) -> None:
    explained(JUMPS[name], num_rows=1)
    net, (inputs, bases) = Operator(JUMPS[name]).eval(), make_inputs(1)
    inputs[:, 1] = bases[:, 1]
    attribution = attribute(net, inputs, bases, 1)
    expected = shapley(net, inputs[0], bases[0])
    is_exact = attribution.method.startswith("KernelSHAP")
    np.testing.assert_allclose(attribution.values[0], expected, atol=2e-5 if is_exact else 0.01 * abs(expected.sum()))


def test_there_are_at_least_123_operators() -> None:
    assert sum(map(len, (LINEAR, EACH, MIXED, KINKED, JUMPS))) >= 123
