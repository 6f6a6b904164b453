"""Pruning: how much goes and from where, what stays as it was, and what is refused before any work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.compress import Pruning, prune, prune_to
from deepseek.compress.pruning.allocate import allocate_channels
from deepseek.compress.pruning.trace import trace_module
from deepseek.errors import InputError
from deepseek.nn.resnet import ResNet, ResNetShape

IMAGE = torch.zeros(1, 3, 32, 32)
FLOPS = Pruning(drop=0.3, allocation="flops")


def small_resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(ResNetShape(width=32)).eval()


def num_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_share_of_parameters_that_was_asked_for_goes_and_the_report_counts_them() -> None:
    net = small_resnet()
    pruned = prune(net, IMAGE, FLOPS)
    assert 0.30 <= pruned.report.dropped <= 0.33
    assert pruned.report.params_before == num_params(net)
    assert pruned.report.params_after == num_params(pruned.module)
    assert pruned.module(torch.zeros(4, 3, 32, 32)).shape == (4, 10)


def test_the_given_module_is_untouched() -> None:
    net = small_resnet().train()
    net.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pruned = prune(net, IMAGE, FLOPS)
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert {name for name, p in pruned.module.named_parameters() if not p.requires_grad} == {"head.bias"}


def test_operations_of_a_convolution_and_a_linear_layer_are_those_counted_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 6 * 6, 5))
    traced = trace_module(net, torch.zeros(2, 3, 8, 8))
    assert traced.cost(traced.sizes).macs == 16 * 3 * 9 * 36 + 16 * 36 * 5
    half = traced.cost({"0": 8})  # a channel of the convolution is 36 inputs of the linear layer
    assert half.macs == 8 * 3 * 9 * 36 + 8 * 36 * 5
    assert half.params == 8 * 27 + 8 + 8 * 36 * 5 + 5


def test_the_channels_with_the_smallest_weights_go() -> None:
    net = nn.Sequential(nn.Conv2d(3, 32, 3, bias=False), nn.ReLU(), nn.Conv2d(32, 4, 1))
    small = torch.arange(0, 32, 2)
    with torch.no_grad():
        net[0].weight[small] *= 0.01
        net[2].weight[:, small] *= 0.01
    pruned = prune(net, torch.zeros(1, 3, 8, 8), Pruning(drop=0.4, allocation="flops", round_to=16))
    assert torch.equal(pruned.module[0].weight, net[0].weight[1::2])
    assert torch.equal(pruned.module[2].weight, net[2].weight[:, 1::2])


def test_channels_that_are_zero_go_without_changing_the_output() -> None:
    net = small_resnet()
    for block in net.levels:
        nn.init.uniform_(block.block.second.norm.weight)
        dead = torch.randperm(block.block.first.conv.out_channels)[::2]
        for tensor in (block.block.first.norm.weight, block.block.first.norm.bias, block.block.first.conv.weight):
            tensor.data[dead] = 0
        block.block.second.conv.weight.data[:, dead] = 0
    image = torch.randn(2, 3, 32, 32)
    keep = ("stem", *(f"levels.{index}.{part}" for index in range(3) for part in ("enter", "block.second")))
    pruned = prune(net, IMAGE, Pruning(drop=0.2, cap=0.5, allocation="flops", keep=keep))
    assert pruned.report.dropped > 0.2
    torch.testing.assert_close(pruned.module(image), net(image))


def test_time_goes_first_where_it_is_spent_and_uniform_takes_the_same_share_everywhere() -> None:
    net = small_resnet()
    report = prune(net, IMAGE, FLOPS).report
    even = prune(net, IMAGE, Pruning(drop=0.3, allocation="uniform")).report
    assert report.macs_before / report.macs_after > 1.5 * even.macs_before / even.macs_after
    shares = [group.channels_after / group.channels_before for group in even.groups if group.channels_before >= 64]
    assert max(shares) - min(shares) <= 8 / 64


def test_more_weight_on_speed_saves_more_operations() -> None:
    net = small_resnet()
    reports = [prune(net, IMAGE, Pruning(allocation="flops", speed=speed)).report for speed in (0.0, 1.0)]
    assert reports[1].macs_after < reports[0].macs_after


def test_no_group_gives_more_than_the_cap_and_all_are_rounded() -> None:
    report = prune(small_resnet(), IMAGE, Pruning(drop=0.4, cap=0.5, allocation="flops", round_to=8)).report
    for group in report.groups:
        assert group.channels_after >= group.channels_before / 2
        assert group.channels_after % 8 == 0


def test_measured_seconds_decide_when_latency_is_asked_for() -> None:
    traced = trace_module(small_resnet(), IMAGE)
    slow = "levels.1.block.first.conv"
    for layer in traced.layers.values():
        layer.seconds = 1.0 if layer.name == slow else 1e-9
    left = allocate_channels(traced, Pruning(drop=0.05, speed=0.0))
    giving = {name for name, group in traced.groups.items() if left[name] < group.size}
    assert giving
    assert all(slow in traced.groups[name].layers for name in giving)


def test_latency_is_measured_on_the_layers_themselves() -> None:
    traced = trace_module(small_resnet(), IMAGE, timed=True)
    assert all(layer.seconds > 0 for layer in traced.layers.values() if layer.macs)
    assert prune(small_resnet(), IMAGE, Pruning(drop=0.3)).report.dropped >= 0.3


class Joined(nn.Module):
    """Two ways that are concatenated, a depth-wise and a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 32, 3, padding=1)
        self.deep = nn.Conv2d(48, 48, 3, padding=1, groups=48)
        self.mix = nn.Conv2d(48, 32, 1)
        self.grouped = nn.Conv2d(32, 32, 3, groups=4)
        self.head = nn.Linear(32, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.deep(torch.cat([self.left(x), self.right(x)], 1)))
        x = self.grouped(functional.relu(self.mix(x)))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def test_concatenated_and_depthwise_channels_go_together_and_grouped_ones_stay() -> None:
    net = Joined()
    pruned = prune(net, torch.zeros(1, 3, 8, 8), Pruning(drop=0.2, allocation="flops"))
    assert pruned.report.params_after == num_params(pruned.module)
    deep = pruned.module.get_submodule("deep")
    assert deep.weight.shape[0] == deep.groups < 48
    assert pruned.module.get_submodule("mix").weight.shape[0] == 32
    assert set(pruned.report.uncut_groups) == {"mix", "grouped", "head"}
    assert pruned.module(torch.zeros(2, 3, 8, 8)).shape == (2, 7)


def test_tuples_and_dicts_are_examples_too() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(4, 32), nn.Linear(6, 32), nn.Linear(32, 2)

        def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
            return {"logits": self.head(functional.relu(self.first(a) + self.second(b)))}

    a, b = torch.zeros(1, 4), torch.zeros(1, 6)
    for example in ((a, b), {"a": a, "b": b}):
        pruned = prune(Two(), example, Pruning(drop=0.5, allocation="flops", round_to=8))
        assert pruned.module(a, b)["logits"].shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"drop": 30.0}, "prune.drop is 30.0. Expected: above 0 and below 1. To mend it: for 30 % write 0.3."),
        ({"drop": 0.0}, "prune.drop is 0.0"),
        ({"cap": 1.0}, "prune.cap is 1.0"),
        ({"drop": float("nan")}, "prune.drop is nan"),
        ({"speed": 2.0}, "prune.speed is 2.0"),
        ({"round_to": 0}, "prune.round_to is 0"),
        ({"allocation": "even"}, "prune.allocation is even. Expected: latency, flops or uniform"),
    ],
)
def test_a_knob_out_of_range_is_refused(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        Pruning(**arguments)  # type: ignore[arg-type]


class Cut(nn.Module):
    """The gradient does not come through."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.first(x).detach())
        return out


class Named(nn.Module):
    """Has weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.places, self.head = nn.Linear(4, 32), nn.Parameter(torch.zeros(32)), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.first(x) + self.places)
        return out


class Fixed(nn.Module):
    """Relies on its number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.first(x) * torch.ones(32))
        return out


class Twice(nn.Module):
    """Puts out a layer in the middle as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.first(x)
        return self.head(functional.relu(self.second(inner))), inner


def chain(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2))


class Idle(nn.Module):
    """Has a head that runs in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head, self.aid = nn.Linear(4, 32), nn.Linear(32, 2), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = self.head(x) + (self.aid(x) if self.training else 0)
        return out


class Shuffled(nn.Module):
    """Mixes its channels, which the tracer cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(4, 30, 1), nn.Conv2d(20, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).view(1, 5, 6, 4, 4).transpose(1, 2).reshape(1, 30, 4, 4)
        out: Tensor = self.head(x[:, ::2][:, :10].repeat(1, 2, 1, 1))
        return out


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    return net


ROW = torch.zeros(1, 4)


@pytest.mark.parametrize(
    ("module", "example", "said"),
    [
        (nn.LSTM(4, 32), ROW, r"does not know the layer type LSTM \(the module itself\)"),
        (nn.Sequential(nn.Linear(4, 32), nn.GRU(32, 32)), ROW, r"does not know the layer type GRU \(1\)"),
        (Named(), ROW, r"does not know the layer type Named"),
        (Cut(), ROW, "cannot be traced: the way from 'first' to the output is cut"),
        (Idle(), ROW, "the layer 'aid' does not run on the example"),
        (tied(), ROW, r"'0\.weight' and '1\.weight' are one and the same weight"),
        (Shuffled(), torch.zeros(1, 4, 4, 4), "cannot be traced|does not run"),
        (Fixed(), ROW, "the pruned network does not run"),
        (torch.jit.script(nn.Linear(4, 2)), ROW, "cannot be traced: it is a ScriptModule"),
        (chain(32), torch.zeros(1, 5), r"fails on the example of shape \(1, 5\)"),
        (chain(32), None, "fails on the example of type"),
        (nn.Linear(4, 32), ROW, "nothing can be pruned: each layer's channels are the output"),
        (chain(6), ROW, "nothing can be pruned: the largest group"),
    ],
)  # fmt: skip
def test_what_cannot_be_pruned_is_refused(module: nn.Module, example: Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prune(module, example, Pruning(allocation="flops"))


def test_a_layer_that_runs_twice_counts_twice_and_is_cut_once() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.again, self.head = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.again(functional.relu(self.again(self.enter(x)))))
            return out

    pruned = prune(Again(), ROW, Pruning(drop=0.5, allocation="flops", round_to=8))
    assert pruned.report.macs_before == 4 * 32 + 2 * 32 * 32 + 32 * 2
    assert pruned.report.params_after == num_params(pruned.module)
    weight = pruned.module.get_submodule("again").weight
    assert weight.shape[0] == weight.shape[1] < 32
    assert pruned.module(ROW).shape == (1, 2)


def test_an_output_in_the_middle_is_refused_until_it_is_kept() -> None:
    with pytest.raises(InputError, match=r"instead of"):
        prune(Twice(), ROW, Pruning(allocation="flops"))
    pruned = prune(Twice(), ROW, Pruning(allocation="flops", keep=("first",)))
    assert [tuple(each.shape) for each in pruned.module(ROW)] == [(1, 2), (1, 32)]


def test_more_than_the_cap_allows_is_refused_with_what_it_allows() -> None:
    with pytest.raises(InputError, match=r"prune\.drop is 0\.9, and within prune\.cap 0\.5 at most 0\.\d+ of"):
        prune(small_resnet(), IMAGE, Pruning(drop=0.9, cap=0.5, allocation="flops"))


def test_the_numbers_of_a_report_make_the_same_network_again() -> None:
    net = small_resnet()
    pruned = prune(net, IMAGE, Pruning(drop=0.3))
    again = prune_to(net, IMAGE, pruned.report.channels_left)
    for one, two in zip(pruned.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(InputError, match=r"99 channels are to stay of the group 'stem\.conv', which has 16"):
        prune_to(net, IMAGE, {"stem.conv": 99})


def test_a_name_to_keep_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"prune\.keep names 'layer9'"):
        prune(small_resnet(), IMAGE, Pruning(keep=("layer9",), allocation="flops"))


def test_what_is_kept_keeps_its_channels() -> None:
    pruned = prune(small_resnet(), IMAGE, Pruning(keep=("levels.0",), allocation="flops"))
    level = pruned.module.get_submodule("levels.0")
    assert level.get_submodule("block.first.conv").weight.shape[0] == 32
    assert level.get_submodule("enter.conv").weight.shape[0] == 32


def test_importance_is_the_mean_of_the_layers_norms() -> None:
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False))
    net[0].weight.data = torch.tensor([[1.0, -1.0], [2.0, 0.0], [-4.0, 4.0]])  # norms 2, 2, 8
    net[1].weight.data = torch.tensor([[3.0, -6.0, 0.0]])
    group = trace_module(net, torch.zeros(1, 2)).groups["0"]
    assert np.allclose(group.importance, np.array([2 + 3, 2 + 6, 8 + 0]) / 7)


def test_a_transposed_convolution_is_counted_by_its_input() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(3, 16, 2, stride=2), nn.Conv2d(16, 2, 1))
    traced = trace_module(net, torch.zeros(1, 3, 4, 4))
    assert traced.layers["0"].macs == 3 * 16 * 4 * 16
    pruned = prune(net, torch.zeros(1, 3, 4, 4), Pruning(drop=0.3, allocation="flops", round_to=8))
    assert pruned.module[0].weight.shape == (3, 8, 2, 2)


def test_the_cap_speaks_of_the_sizes_that_are_given() -> None:
    with pytest.raises(InputError, match="nothing can be pruned"):
        prune(chain(32), ROW, Pruning(allocation="flops", cap=0.5), sizes={"0": 64})
