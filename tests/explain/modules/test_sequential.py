"""A chain of layers is explained as any other module is, only sooner; what is no plain chain is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepseek.explain import attribute
from deepseek.explain.modules.gradient_methods import Limits
from deepseek.explain.modules.sequential import find_chain


class Opaque(nn.Module):
    """The same net, whose layers nobody sees from outside."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x)
        return outputs


def net() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Dropout(), nn.Linear(8, 8, bias=False), nn.GELU())
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(inplace=True), inner, nn.Linear(8, 3), nn.Tanh()).eval()


@pytest.mark.parametrize("target", [None, -1])
def test_a_chain_gets_what_the_same_net_gets_that_is_none(target: int | None) -> None:
    chain = net()
    first = chain[0].weight
    assert isinstance(first, Tensor)
    rows, baselines = torch.randn(9, 5), torch.randn(4, 5)
    rows[0] = baselines[1]  # no change: slopes stand for secants
    limits = Limits(max_rows=2)  # 16 pairs a run: 4 rows, 4 rows, 1 row
    for _ in range(2):
        assert find_chain(chain) is not None
        attribution = attribute(chain, rows, baselines, target, method="deeplift", limits=limits)
        expected = attribute(Opaque(chain).eval(), rows, baselines, target, method="deeplift", limits=limits)
        for name in ("values", "base_value", "output", "error"):
            np.testing.assert_allclose(getattr(attribution, name), getattr(expected, name), atol=1e-6)
        assert attribution.target == expected.target
        with torch.no_grad():
            first.mul_(-1.5)  # in the second round the weights are others
    alone = attribute(chain, rows, baselines[:1], method="deeplift")
    assert alone.error is None
    assert np.abs(alone.residual).max() < 1e-5


def test_hooks_and_what_is_of_another_kind_make_no_chain() -> None:
    class Twice(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    hooked = net()
    hooked[1].register_forward_hook(lambda *hook_arguments: hook_arguments[2] + 1)
    shadowed = net()
    shadowed[0].forward = torch.relu
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)))
    for other in (hooked, shadowed, normed, nn.Sequential(Twice(5, 3)), nn.Sequential(nn.Softmax(1)), torch.relu):
        assert find_chain(other) is None
    rows, baselines = torch.randn(3, 5), torch.randn(4, 5)
    attribution = attribute(hooked, rows, baselines, 0, method="deeplift")
    np.testing.assert_allclose(attribution.output, hooked(rows)[:, 0].detach().numpy(), atol=1e-6)
