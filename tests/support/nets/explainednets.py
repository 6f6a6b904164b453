"""Small nets with every kind of operation that an explanation has to get through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.encoders import Block


class Last(nn.Module):
    """The last state of a recurrent net, as three classes."""

    def __init__(self, net: nn.Module, width: int, *, steps_first: bool = False) -> None:
        super().__init__()
        self.net, self.out, self.steps_first = net, nn.Linear(width, 3), steps_first

    def forward(self, x: Tensor) -> Tensor:
        if self.steps_first:
            return self.out(self.net(x.transpose(0, 1))[0][-1])
        return self.out(self.net(x)[0][:, -1])


class Residual(nn.Module):
    """One rectifier used twice and in place, a sum in place, batch and group norm, pooling that overlaps its border."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.relu = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True)
        self.groups, self.pool, self.out = nn.GroupNorm(2, 8), nn.MaxPool2d(3, 2, 1), nn.Linear(8 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        y = self.second(x)
        y += x
        return self.out(self.pool(self.groups(self.relu(y))).flatten(1))


class Formulas(nn.Module):
    """One output for each rule that no module above needs."""

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            (x * x).sum(1), x[:, 0] / (1 + x[:, 1] ** 2), functional.normalize(x).sum(1), x.std(1), x.amax(1),
            x.log_softmax(1)[:, 0], x.logsumexp(1), torch.einsum("ni,ni->n", x, x.exp()), x.norm(dim=1),
            torch.minimum(x[:, 0], x[:, 1]), functional.rms_norm(x, (7,))[:, 0],
            torch.maximum(x[:, 2] * x[:, 3], x[:, 4]),
        ]  # fmt: skip
        return torch.stack(parts, 1)


class Tokens(nn.Module):
    """Ids to two classes: embedding, attention blocks, mean."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 32), nn.Embedding(8, 32)
        self.blocks = nn.ModuleList([Block(32), Block(32)])
        self.out = nn.Linear(32, 2)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x, mask)
        return self.out(x.mean(1))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 3))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(96, 3))


#: Name -> (net, shape of a row)
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron with GELU and LayerNorm": (perceptron, (30,)),
    "LSTM of two layers": (lambda: Last(nn.LSTM(8, 16, num_layers=2, batch_first=True), 16), (6, 8)),
    "LSTM both ways": (lambda: Last(nn.LSTM(8, 8, bidirectional=True, batch_first=True), 16), (6, 8)),
    "GRU, steps first": (lambda: Last(nn.GRU(8, 16), 16, steps_first=True), (3, 8)),
    "residual, reused ReLU in place": (Residual, (3, 8, 8)),
    "transformer": (transformer, (6, 16)),
    "blocks": (lambda: nn.Sequential(Block(64), nn.Flatten(), nn.Linear(64 * 4, 3)), (4, 64)),
    "formulas": (Formulas, (7,)),
}


def make_net(name: str, *, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """(net, inputs of 3 rows, one baseline)."""
    torch.manual_seed(seed)
    make, shape = NETS[name]
    net = make().eval()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return net, torch.randn(3, *shape), torch.randn(1, *shape)
