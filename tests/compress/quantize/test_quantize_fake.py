"""Fake quantisation: what the forward pass sees, that every gradient passes, and what convert() leaves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepseek.compress.quantize import QuantizeConfig, convert, fake_quantize, fold_batchnorm, quantize_weights
from deepseek.compress.quantize.grid import GRIDS, QuantizeMethod, best_clip_shares, channel_scales, round_to_grid
from deepseek.errors import InputError

METHODS: tuple[QuantizeMethod, ...] = ("int8", "int4", "fp8", "fp8_e5m2")


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 3))


def slow_round(value: float, method: str) -> float:
    """The nearest of all codes, to the even code at a tie."""
    grid = GRIDS[method]
    if grid.dtype == torch.int8:
        codes = [float(code) for code in range(int(grid.low), int(grid.top) + 1)]
    else:
        raw = torch.arange(256, dtype=torch.uint8).view(grid.dtype).float()
        codes = sorted(set(raw[raw.isfinite()].tolist()))
    return min(codes, key=lambda code: (abs(code - value), codes.index(code) % 2))


@pytest.mark.parametrize("method", METHODS)
def test_rounding_finds_the_nearest_code(method: QuantizeMethod) -> None:
    top = GRIDS[method].top
    values = (torch.rand(200, generator=torch.Generator().manual_seed(1)) * 2.2 - 1.1) * top
    on_grid = round_to_grid(values, GRIDS[method])
    for value, code in zip(values.tolist(), on_grid.tolist(), strict=True):
        assert abs(code - value) == pytest.approx(abs(slow_round(value, method) - value), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_forward_pass_sees_weights_of_the_grid_and_convert_leaves_the_same(method: QuantizeMethod) -> None:
    torch.manual_seed(0)
    model = net().eval()
    before = model[1].weight.detach().clone()
    names = fake_quantize(model, QuantizeConfig(method))
    assert names == ("0.weight", "1.weight", "3.weight")
    ids = torch.randint(0, 20, (5, 7))
    seen, rounded = model(ids), model[1].weight.detach().clone()
    assert not torch.equal(rounded, before)
    converted = convert(model)
    assert torch.equal(model(ids), seen)
    assert torch.equal(model[1].weight, rounded)
    assert model.state_dict().keys() == net().state_dict().keys()
    assert type(model[1]) is nn.Linear
    for name in names:
        assert converted[name].codes.dtype == GRIDS[method].dtype
        assert torch.equal(converted[name].dequantize(), model.get_parameter(name))
    codes = converted["1.weight"].codes.float()
    assert codes.abs().max() <= max(GRIDS[method].top, -GRIDS[method].low)
    if method == "int4":
        assert converted["1.weight"].size_bytes == 32 * 16 // 2 + 32 * 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-12])
def test_the_gradient_is_that_of_the_rounded_weights_however_small(method: QuantizeMethod, size: float) -> None:
    """By hand: d/dW of sum(size * x W') is size * x, for each weight, whatever W was rounded to."""
    layer = nn.Linear(4, 2, bias=False)
    fake_quantize(layer, QuantizeConfig(method))
    x = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    (size * layer(x)).sum().backward()
    original = layer.parametrizations.weight.original
    torch.testing.assert_close(original.grad, size * x.expand(2, 4), rtol=1e-6, atol=0)


@pytest.mark.parametrize("activations", ["token", "tensor"])
def test_inputs_are_rounded_where_that_is_asked_and_their_gradient_passes(activations: str) -> None:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[7.0, 1.0]]))
    fake_quantize(layer, QuantizeConfig("int4", activations=activations, clip="max"))  # type: ignore[arg-type]
    x = torch.tensor([[7.0, 1.4], [70.0, 2.0]], requires_grad=True)
    out = layer(x)
    # per token: 1.4 -> 1, and 2 of [70, 2] (steps of 10) -> 0; per tensor: steps of 10, 7 -> 10, 1.4 -> 0
    expected = [[49.0 + 1], [490.0]] if activations == "token" else [[70.0], [490.0]]
    assert out.tolist() == expected
    out.sum().backward()
    assert torch.equal(x.grad, torch.tensor([[7.0, 1.0], [7.0, 1.0]]))
    convert(layer)
    assert layer(x).tolist() == [[49 + 1.4], [492.0]] or torch.allclose(layer(x), torch.tensor([[50.4], [492.0]]))


def test_the_end_of_the_range_errs_no_more_than_the_largest_weight_would() -> None:
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    grid = GRIDS["int4"]

    def error(shares: Tensor | float) -> Tensor:
        scales = channel_scales(weight, grid, shares)
        return (round_to_grid(weight / scales, grid) * scales - weight).square().sum(1)

    shares = best_clip_shares(weight, grid)
    assert (error(shares) <= error(1.0)).all()
    assert error(shares).sum() < 0.95 * error(1.0).sum()
    assert torch.equal(best_clip_shares(weight, GRIDS["fp8"]), torch.ones(64, 1))


def test_a_weight_that_two_layers_share_is_rounded_once() -> None:
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 10, bias=False))
    model[1].weight = model[0].weight
    ids = torch.arange(10)
    fake_quantize(model, QuantizeConfig("int4"))
    seen = model(ids)
    convert(model)
    assert model[0].weight is model[1].weight
    assert torch.equal(model(ids), seen)


def test_attention_is_rounded_in_all_its_weights() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 3, 8)
    before = attention(x, x, x)[0]
    assert fake_quantize(attention, QuantizeConfig("int4")) == ("in_proj_weight", "out_proj.weight")
    seen = attention(x, x, x)[0]
    assert not torch.allclose(seen, before)
    convert(attention)
    torch.testing.assert_close(attention(x, x, x)[0], seen)


def test_what_is_kept_and_embeddings_that_are_left_out_stay() -> None:
    model = net()
    assert fake_quantize(model, QuantizeConfig("int8", embeddings=False, keep=("3",))) == ("1.weight",)
    with pytest.raises(InputError, match=r"1\.weight is rounded already"):
        fake_quantize(model, QuantizeConfig("int8"))
    convert(model)
    with pytest.raises(InputError, match="no layer of this module is rounded"):
        convert(model)


def test_bad_input_is_refused_before_anything_is_changed() -> None:
    with pytest.raises(InputError, match="no layer to quantise"):
        fake_quantize(nn.Sequential(nn.ReLU()), QuantizeConfig())
    with pytest.raises(InputError, match="keep names 'classifier'"):
        fake_quantize(net(), QuantizeConfig(keep=("classifier",)))
    with pytest.raises(InputError, match=r"quantize\.method"):
        QuantizeConfig("int3")  # type: ignore[arg-type]
    broken = net()
    with torch.no_grad():
        broken[3].weight[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"'3\.weight' holds NaN"):
        fake_quantize(broken, QuantizeConfig())
    assert type(broken[1]) is nn.Linear


class Block(nn.Module):
    """A convolution whose BatchNorm can be folded, one that is read twice, and a layer with its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.second, self.norm2 = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.last, self.norm3 = nn.Linear(6, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.first(x)))
        y = self.second(x)
        x = y + self.norm2(y)
        return self.norm3(self.last(x.mean((2, 3))))


def test_batchnorm_is_folded_where_nothing_else_reads_what_goes_into_it() -> None:
    torch.manual_seed(0)
    model = Block()
    for _ in range(5):
        model(torch.randn(8, 3, 7, 7) * 2 + 1)
    model.eval()
    x = torch.randn(4, 3, 7, 7)
    before = model(x)
    assert fold_batchnorm(model) == ["norm1", "norm3"]
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert isinstance(model.norm1, nn.Identity)
    assert isinstance(model.norm2, nn.BatchNorm2d)
    quantized = quantize_weights(model, QuantizeConfig("int8"))
    assert list(quantized) == ["first.weight", "second.weight", "last.weight"]
    torch.testing.assert_close(model(x), before, rtol=0.1, atol=0.05)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x


def test_a_module_that_cannot_be_traced_is_refused() -> None:
    with pytest.raises(InputError, match="calls of Branching cannot be traced"):
        fold_batchnorm(Branching())
