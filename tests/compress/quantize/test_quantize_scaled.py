"""Products in 8-bit floats, here by torch's operator for CPUs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepseek.compress.quantize import QuantizeConfig, quantize_weights, use_scaled_mm
from deepseek.compress.quantize.grid import GRIDS, channel_scales, round_to_grid
from deepseek.errors import InputError


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 48, bias=False), nn.Linear(48, 3))


def test_a_layer_multiplies_what_both_sides_were_rounded_to() -> None:
    model = net()
    weights = quantize_weights(model, QuantizeConfig("fp8"))
    weight, bias = weights["0.weight"].dequantize(), model[0].bias.detach().clone()
    assert use_scaled_mm(model, weights) == ("0", "2")
    x = torch.randn(5, 7, 32)
    scales = channel_scales(x.reshape(-1, 32), GRIDS["fp8"])
    rounded = (round_to_grid(x.reshape(-1, 32) / scales, GRIDS["fp8"]) * scales).reshape(5, 7, 32)
    torch.testing.assert_close(model[0](x), rounded @ weight.T + bias, rtol=1e-5, atol=1e-5)
    assert model[0](x.to(torch.bfloat16)).dtype == torch.bfloat16


def test_the_network_answers_nearly_as_before() -> None:
    model, x = net().eval(), torch.randn(100, 32)
    before = model(x)
    use_scaled_mm(model, quantize_weights(model, QuantizeConfig("fp8")))
    after = model(x)
    assert 0 < (after - before).abs().max() < 0.1 * before.abs().max()


def test_without_such_weights_nothing_is_replaced() -> None:
    model = net()
    with pytest.raises(InputError, match="no layer has a weight in float8_e4m3fn"):
        use_scaled_mm(model, quantize_weights(model, QuantizeConfig("int8")))
    assert type(model[0]) is nn.Linear
