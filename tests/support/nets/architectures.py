"""Parts of small nets of every kind, to be put together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

F = functional


class Formula(nn.Module):
    """A forward pass written as a function of its parts."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def mlp(*sizes: int, bend: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one, other in pairwise(sizes):
        layers += [nn.Linear(one, other), bend()]
    return nn.Sequential(*layers[:-1])


def conv(one: int, other: int, **more: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(one, other, 3, padding=1, **more), nn.BatchNorm2d(other), nn.ReLU(inplace=True))


def head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.relu = conv(width, width), nn.ReLU(inplace=True)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        y += x
        return self.relu(y)


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(width, 2, 1), nn.SiLU(), nn.Conv2d(2, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3), keepdim=True))


class InvertedResidual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.body = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(inplace=True),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            SqueezeExcite(wide), nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def unet(net: Any, x: Tensor) -> Tensor:
    high = net.down(x)
    low = net.middle(F.max_pool2d(high, 2))
    return net.out(net.up(torch.cat([high, F.interpolate(low, scale_factor=2)], 1)))


class Causal(nn.Module):
    """As in nanoGPT: one table for queries, keys and values, a buffer that hides what comes later."""

    def __init__(self, width: int, num_heads: int, *, by_sdpa: bool) -> None:
        super().__init__()
        self.qkv, self.out, self.num_heads, self.by_sdpa = (
            nn.Linear(width, 3 * width), nn.Linear(width, width), num_heads, by_sdpa,
        )  # fmt: skip
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = mlp(width, 2 * width, width, bend=nn.GELU)
        self.register_buffer("bias", torch.tril(torch.ones(16, 16)).view(1, 1, 16, 16))

    def attend(self, x: Tensor) -> Tensor:
        num_rows, length, width = x.size()
        q, k, v = (
            each.view(num_rows, length, self.num_heads, -1).transpose(1, 2) for each in self.qkv(x).split(width, 2)
        )
        if self.by_sdpa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
            scores = scores.masked_fill(self.bias[:, :, :length, :length] == 0, float("-inf"))
            y = F.softmax(scores, dim=-1) @ v
        return self.out(y.transpose(1, 2).contiguous().view(num_rows, length, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.first(x))
        return x + self.mlp(self.second(x))


class Gpt(nn.Module):
    def __init__(self, *, by_sdpa: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 16), nn.Embedding(16, 16)
        self.blocks = nn.ModuleList([Causal(16, 2, by_sdpa=by_sdpa) for _ in range(2)])
        self.norm, self.out = nn.LayerNorm(16), nn.Linear(16, 20, bias=False)
        self.out.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x)[:, -1])


def rotary(net: Any, x: Tensor) -> Tensor:
    """Attention with rotated queries and keys, one key for two heads, and a gated perceptron, as in Llama."""
    num_rows, length, _ = x.shape
    angles = torch.arange(length)[:, None] * torch.tensor([1.0, 0.1])
    cos, sin = (torch.cat([each, each], -1) for each in (angles.cos(), angles.sin()))

    def rotated(value: Tensor) -> Tensor:
        one, other = value.chunk(2, -1)
        return value * cos + torch.cat([-other, one], -1) * sin

    h = net.norm(x)
    q = rotated(net.q(h).view(num_rows, length, 4, 4).transpose(1, 2))
    k = rotated(net.k(h).view(num_rows, length, 2, 4).transpose(1, 2))
    v = net.v(h).view(num_rows, length, 2, 4).transpose(1, 2)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    x = x + net.o(y.transpose(1, 2).flatten(2))
    return net.out((x + net.down(F.silu(net.gate(x)) * net.up(x)))[:, -1])


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.first, self.places = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 5, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=True)
        self.encoder, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1) + self.places
        return self.out(self.encoder(x)[:, 0])


def routed(net: Any, x: Tensor) -> Tensor:
    """The best expert of each row, found by a branch on data: only those that are asked run."""
    gate = net.gate(x).softmax(1)
    weight, chosen = gate.max(1)
    out = torch.zeros(len(x), 8)
    for place, expert in enumerate(net.experts):
        rows = (chosen == place).nonzero()[:, 0]
        if rows.numel():
            out[rows] = expert(x[rows]) * weight[rows, None]
    return net.out(out)


def graph(net: Any, x: Tensor) -> Tensor:
    """Two convolutions over a ring of 5 nodes."""
    near = torch.eye(5).roll(1, 0) + torch.eye(5).roll(-1, 0) + torch.eye(5)
    degree = near.sum(1).rsqrt()
    near = degree[:, None] * near * degree
    return net.out((near @ net.second(torch.relu(near @ net.first(x)))).amax(1))


def attended_graph(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    scores = F.leaky_relu(net.left(h) + net.right(h).transpose(1, 2), 0.2)
    scores = scores.masked_fill(torch.eye(5).roll(2, 0).bool(), -1e9)
    return net.out(F.elu(scores.softmax(-1) @ h).mean(1))


def message_passing(net: Any, x: Tensor) -> Tensor:
    source, target = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 2, 3, 4, 0, 2])
    messages = net.message(torch.cat([x[:, source], x[:, target]], -1)).relu()
    received = torch.zeros(len(x), 5, 8).index_add_(1, target, messages)
    return net.out(torch.cat([x, received], -1).flatten(1))


def decoder(net: Any, x: Tensor, memory: Tensor) -> Tensor:
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
    return net.out(net.net(x, memory, tgt_mask=mask)[:, -1])


def siamese(net: Any, one: Tensor, other: Tensor) -> Tensor:
    one, other = net.body(one), net.body(other)
    return net.out(torch.cat([(one - other).abs(), one * other, F.cosine_similarity(one, other)[:, None]], 1))


def highway(net: Any, x: Tensor) -> Tensor:
    gate = torch.sigmoid(net.gate(x))
    return net.out(gate * torch.tanh(net.body(x)) + (1 - gate) * x)


def factorization(net: Any, x: Tensor) -> Tensor:
    v = net.factors.weight.t()
    return net.linear(x) + 0.5 * ((x @ v) ** 2 - (x**2) @ (v**2)).sum(1, keepdim=True)


def seq2seq(net: Any, x: Tensor) -> Tensor:
    outputs, state = net.encoder(x)
    context = state[-1]
    for _ in range(2):
        shares = torch.softmax(torch.bmm(outputs, context[..., None])[..., 0], 1)
        context = net.cell(torch.bmm(shares[:, None], outputs)[:, 0], context)
    return net.out(context)


def time_delay(net: Any, x: Tensor) -> Tensor:
    """A temporal convolution that sees the past alone, as in WaveNet."""
    for layer, dilation in zip(net.layers, (1, 2), strict=True):
        a, b = layer(F.pad(x, (2 * dilation, 0))).chunk(2, 1)
        x = x + torch.tanh(a) * torch.sigmoid(b)
    return net.out(x[:, :, -1])


def capsule(net: Any, x: Tensor) -> Tensor:
    votes = net.votes(x).view(len(x), 3, 4)
    squared = (votes * votes).sum(-1, keepdim=True)
    return (votes * squared / (1 + squared) / (squared + 1e-3).sqrt()).norm(dim=-1)


def last(x: Any) -> Tensor:
    return x[0][:, -1]


def checkpointed(*, reentrant: bool) -> Callable[..., Tensor]:
    return lambda net, x: net.out(checkpoint(net.body, x, use_reentrant=reentrant))
