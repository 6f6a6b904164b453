"""The residual net for small images: its shapes, its start, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.nn.resnet import Block, Level, ResNet, ResNetShape


def test_each_level_halves_the_image_and_doubles_the_channels() -> None:
    net = ResNet(ResNetShape(width=8, num_channels=1)).eval()
    seen = []
    for level in net.levels:
        level.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    assert net(torch.zeros(2, 1, 32, 24)).shape == (2, 10)
    assert seen == [(8, 16, 12), (16, 8, 6), (32, 4, 3)]


def test_levels_cost_about_the_same_and_hold_four_times_the_weights() -> None:
    net = ResNet(ResNetShape(width=16))
    sizes = [sum(p.numel() for p in level.parameters() if p.ndim == 4) for level in net.levels]
    assert sizes[1] == 4 * sizes[0]
    assert sizes[2] == 4 * sizes[1]


def test_a_block_begins_as_the_identity_of_what_is_positive() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Block(8).train()(x), functional.relu(x))


def test_a_level_is_the_formula_written_out() -> None:
    level = Level(4, 8).eval()
    nn.init.uniform_(level.block.second.norm.weight)
    x = torch.randn(2, 4, 8, 8)
    y = functional.max_pool2d(functional.relu(level.enter.norm(level.enter.conv(x))), 2)
    inner = functional.relu(level.block.first.norm(level.block.first.conv(y)))
    torch.testing.assert_close(level(x), functional.relu(y + level.block.second.norm(level.block.second.conv(inner))))


@pytest.mark.parametrize("field", ["num_classes", "width", "num_levels", "num_channels"])
def test_a_shape_that_cannot_be_is_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is 0"):
        ResNetShape(**{field: 0})
    with pytest.raises(InputError, match=r"width is 7\. Expected: an even number"):
        ResNetShape(width=7)
