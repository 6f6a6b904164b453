"""Forty architectures: both ends are plain runs of the net, the sum is the change between them, nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from deepseek.errors import CheckError, ExplainError
from deepseek.explain import explain, layer_path
from deepseek.explain.layers import Options

torch.set_num_threads(1)
F = functional
BARE = Options(edges=False, margins=False, ablation=False)


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
    for one, other in zip(sizes, sizes[1:], strict=False):
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


@dataclass(frozen=True)
class Net:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] | tuple[tuple[int, ...], ...]  # of a row, or of a row of each of several inputs
    num_ids: int = 0  # of a table that ids are looked up in
    has_path: bool = True  # layer_path explains it, too


def recurrent(kind: type[nn.RNNBase], *, rows_first: bool = True, **more: Any) -> Callable[[], nn.Module]:
    width = 12 if more.get("bidirectional") else 6

    def forward(net: Any, x: Tensor) -> Tensor:
        return net.out(net.net(x)[0][:, -1] if rows_first else net.net(x.transpose(0, 1))[0][-1])

    return lambda: Formula(forward, net=kind(4, 6, batch_first=rows_first, **more), out=nn.Linear(width, 3))


def hugging(name: str, **config: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import transformers

        settings = getattr(transformers, f"{name}Config")(**config, num_labels=3, vocab_size=30)
        kind = getattr(transformers, f"{name}ForSequenceClassification")
        return Formula(lambda net, ids: net.inner(ids).logits, inner=kind(settings))

    return make


BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
NETS = {
    "linear": Net(lambda: nn.Linear(6, 3), (6,)),
    "perceptron": Net(lambda: mlp(6, 16, 16, 3), (6,)),
    "perceptron with GELU": Net(lambda: Formula(lambda net, x: net.body(x), body=mlp(6, 16, 3, bend=nn.GELU)), (6,)),
    "residual perceptron with LayerNorm": Net(
        lambda: Formula(lambda n, x: n.out(x + n.body(n.norm(x))), norm=nn.LayerNorm(6), body=mlp(6, 12, 6), out=nn.Linear(6, 3)), (6,)
    ),
    "highway": Net(lambda: Formula(highway, gate=nn.Linear(6, 6), body=nn.Linear(6, 6), out=nn.Linear(6, 3)), (6,)),
    "factorization machine": Net(lambda: Formula(factorization, factors=nn.Linear(6, 4), linear=nn.Linear(6, 3)), (6,)),
    "gated linear unit": Net(lambda: nn.Sequential(nn.Linear(6, 16), nn.GLU(), nn.Linear(8, 3)), (6,)),
    "maxout": Net(lambda: Formula(lambda n, x: n.out(n.body(x).view(-1, 8, 2).max(2).values), body=nn.Linear(6, 16), out=nn.Linear(8, 3)), (6,)),
    "batch norm between": Net(lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Linear(8, 3)), (6,)),
    "softmax at the end": Net(lambda: nn.Sequential(mlp(6, 8, 3), nn.Softmax(1)), (6,)),
    "capsules": Net(lambda: Formula(capsule, votes=nn.Linear(6, 12)), (6,)),
    "convolutional": Net(lambda: nn.Sequential(conv(3, 6), nn.MaxPool2d(2), conv(6, 6), head(6)), (3, 8, 8)),
    "LeNet": Net(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), mlp(36, 8, 3)), (1, 8, 8)),
    "ResNet": Net(lambda: nn.Sequential(conv(3, 4), ResidualBlock(4), ResidualBlock(4), head(4)), (3, 8, 8)),
    "MobileNet": Net(lambda: nn.Sequential(conv(3, 4), InvertedResidual(4), head(4)), (3, 8, 8)),
    "squeeze and excite": Net(lambda: nn.Sequential(conv(3, 4), SqueezeExcite(4), head(4)), (3, 8, 8)),
    "DenseNet": Net(lambda: Formula(lambda n, x: n.out(torch.cat([x, n.body(x)], 1)), body=conv(3, 4), out=head(7)), (3, 6, 6)),
    "U-Net": Net(lambda: Formula(unet, down=conv(3, 4), middle=conv(4, 4), up=conv(8, 4), out=head(4)), (3, 8, 8)),
    "ConvNeXt block": Net(
        lambda: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.GroupNorm(1, 3), nn.Conv2d(3, 6, 1), nn.GELU(), head(6)), (3, 6, 6)
    ),
    "one-dimensional convolution": Net(
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4), nn.ReLU(), nn.AdaptiveMaxPool1d(2), nn.Flatten(), nn.Linear(8, 3)), (2, 10)
    ),
    "WaveNet": Net(
        lambda: Formula(time_delay, layers=nn.ModuleList([nn.Conv1d(2, 4, 3, dilation=d) for d in (1, 2)]), out=nn.Linear(2, 3)), (2, 8)
    ),
    "LSTM": Net(recurrent(nn.LSTM), (5, 4)),
    "LSTM, steps first": Net(recurrent(nn.LSTM, rows_first=False), (5, 4)),
    "LSTM both ways of two layers": Net(recurrent(nn.LSTM, bidirectional=True, num_layers=2), (4, 4)),
    "LSTM with a projection": Net(lambda: Formula(lambda n, x: n.out(last(n.net(x))), net=nn.LSTM(4, 6, proj_size=3, batch_first=True), out=nn.Linear(3, 3)), (4, 4)),
    "GRU": Net(recurrent(nn.GRU), (5, 4)),
    "GRU, steps first": Net(recurrent(nn.GRU, rows_first=False), (2, 4)),
    "RNN of rectifiers": Net(recurrent(nn.RNN, nonlinearity="relu"), (4, 4)),
    "encoder and decoder with attention": Net(lambda: Formula(seq2seq, encoder=nn.GRU(4, 6, batch_first=True), cell=nn.GRUCell(6, 6), out=nn.Linear(6, 3)), (4, 4)),
    "transformer encoder": Net(
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(32, 3)), (4, 8)
    ),
    "transformer decoder": Net(lambda: Formula(decoder, net=nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), out=nn.Linear(8, 3)), ((3, 8), (4, 8))),
    "multi-head attention": Net(
        lambda: Formula(lambda n, x: n.out(n.net(x, x, x, need_weights=False)[0].mean(1)), net=nn.MultiheadAttention(8, 2, batch_first=True), out=nn.Linear(8, 3)), (4, 8)
    ),
    "Llama block": Net(
        lambda: Formula(rotary, norm=nn.RMSNorm(8), q=nn.Linear(8, 16), k=nn.Linear(8, 8), v=nn.Linear(8, 8), o=nn.Linear(16, 8), gate=nn.Linear(8, 12), up=nn.Linear(8, 12), down=nn.Linear(12, 8), out=nn.Linear(8, 3)), (4, 8)
    ),
    "ViT": Net(Vit, (3, 8, 8)),
    "MLP-Mixer": Net(
        lambda: Formula(lambda n, x: n.out((x + n.tokens(x.transpose(1, 2)).transpose(1, 2) + n.channels(x)).mean(1)), tokens=mlp(4, 6, 4), channels=mlp(8, 6, 8), out=nn.Linear(8, 3)), (4, 8)
    ),
    "GPT": Net(lambda: Gpt(by_sdpa=False), (6,), num_ids=20),
    "GPT by scaled_dot_product_attention": Net(lambda: Gpt(by_sdpa=True), (6,), num_ids=20),
    "tokens, steps first": Net(
        lambda: Formula(lambda n, ids: n.out(n.net(n.words(ids.t()))[0][-1]), words=nn.Embedding(20, 4), net=nn.LSTM(4, 6), out=nn.Linear(6, 3)), (5,), num_ids=20
    ),
    "as many tokens, steps first, as rows": Net(
        lambda: Formula(lambda n, ids: n.out(n.net(n.words(ids.t()))[0][-1]), words=nn.Embedding(20, 4), net=nn.GRU(4, 6), out=nn.Linear(6, 3)), (2,), num_ids=20
    ),
    "bag of embeddings": Net(lambda: Formula(lambda n, ids: n.out(n.words(ids)), words=nn.EmbeddingBag(20, 4), out=nn.Linear(4, 3)), (5,), num_ids=20, has_path=False),
    "Siamese": Net(lambda: Formula(siamese, body=mlp(5, 8, 4), out=nn.Linear(9, 3)), ((5,), (5,))),
    "two towers of two kinds": Net(
        lambda: Formula(lambda n, x, ids: n.out(torch.cat([n.body(x), n.words(ids).mean(1)], 1)), body=mlp(5, 8, 4), words=nn.Embedding(20, 4), out=nn.Linear(8, 3)), ((5,), (3,)), num_ids=20
    ),
    "graph convolution": Net(lambda: Formula(graph, first=nn.Linear(4, 6), second=nn.Linear(6, 6), out=nn.Linear(6, 3)), (5, 4)),
    "graph attention": Net(
        lambda: Formula(attended_graph, first=nn.Linear(4, 6), left=nn.Linear(6, 1), right=nn.Linear(6, 1), out=nn.Linear(6, 3)), (5, 4)
    ),
    "message passing": Net(lambda: Formula(message_passing, message=nn.Linear(8, 8), out=nn.Linear(60, 3)), (5, 4)),
    "soft mixture of experts": Net(
        lambda: Formula(lambda n, x: n.out((n.gate(x).softmax(1)[..., None] * torch.stack([e(x) for e in n.experts], 1)).sum(1)), gate=nn.Linear(6, 3), experts=nn.ModuleList(mlp(6, 8, 8) for _ in range(3)), out=nn.Linear(8, 3)), (6,)
    ),
    "mixture of experts with branches": Net(
        lambda: Formula(routed, gate=nn.Linear(6, 3), experts=nn.ModuleList(mlp(6, 8, 8) for _ in range(3)), out=nn.Linear(8, 3)), (6,), has_path=False
    ),
    "checkpoints": Net(lambda: Formula(checkpointed(reentrant=False), body=mlp(6, 8, 8, bend=nn.Tanh), out=nn.Linear(8, 3)), (6,)),
    "checkpoints, reentrant": Net(lambda: Formula(checkpointed(reentrant=True), body=mlp(6, 8, 8), out=nn.Linear(8, 3)), (6,), has_path=False),
    "BERT": Net(hugging("Bert", **BERT), (5,), num_ids=30),
    "DistilBERT": Net(hugging("DistilBert", dim=16, n_layers=2, n_heads=2, hidden_dim=24), (5,), num_ids=30),
    "RoBERTa": Net(hugging("Roberta", **BERT, pad_token_id=1), (5,), num_ids=30),
    "GPT-2": Net(hugging("GPT2", n_embd=16, n_layer=2, n_head=2, pad_token_id=0), (5,), num_ids=30),
    "Longformer": Net(hugging("Longformer", **BERT, attention_window=4), (6,), num_ids=30, has_path=False),
}  # fmt: skip


def one(name: str) -> tuple[nn.Module, list[Tensor], list[Tensor]]:
    """(net, its inputs of two rows, baselines of one row)."""
    torch.manual_seed(1)
    spec = NETS[name]
    net = spec.make().eval()
    for norm in net.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    shapes: list[Any] = list(spec.shape) if isinstance(spec.shape[0], tuple) else [spec.shape]
    inputs = [
        torch.randint(3, spec.num_ids, (2, *shape)) if spec.num_ids and place == len(shapes) - 1
        else torch.randn(2, *shape)
        for place, shape in enumerate(shapes)
    ]  # fmt: skip
    bases = [
        torch.full_like(each[:1], 2) if not each.is_floating_point() else 0.3 * torch.randn_like(each[:1])
        for each in inputs
    ]
    return net, inputs, bases


def ends(net: nn.Module, inputs: list[Tensor], bases: list[Tensor]) -> tuple[np.ndarray, float]:
    with torch.no_grad():
        own, base = (net(*[each.clone() for each in many]).double() for many in (inputs, bases))
    return own[:, 1].numpy(), float(base[0, 1])


@pytest.mark.parametrize("name", NETS)
def test_values_sum_to_the_change_between_two_plain_runs(name: str) -> None:
    net, inputs, bases = one(name)
    own, base = ends(net, inputs, bases)
    kept = [each.clone() for each in (*inputs, *bases)]
    found = explain(net, tuple(inputs), tuple(bases), 1)
    np.testing.assert_allclose(found.output, own, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.base_value, base, rtol=1e-4, atol=1e-5)
    assert np.isfinite(found.values).all()
    assert (np.abs(found.values.sum(1) - (own - base)) <= 0.01 * np.abs(own - base) + 1e-5).all(), found.notes
    assert not found.is_partial
    assert all(map(torch.equal, kept, (*inputs, *bases)))


@pytest.mark.parametrize("name", [name for name in NETS if NETS[name].has_path])
def test_every_layer_balances_between_two_plain_runs(name: str) -> None:
    net, inputs, bases = one(name)
    own, base = ends(net, inputs, bases)
    kept = [each.clone() for each in (*inputs, *bases)]
    path = layer_path(net, tuple(inputs), tuple(bases), 1, options=BARE)
    np.testing.assert_allclose(path.output, own, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(path.base_value, base, rtol=1e-4, atol=1e-5)
    of_inputs = np.sum([layer.sum for layer in path.layers if layer.kind == "input"], axis=0)
    assert (np.abs(of_inputs - (own - base)) <= 0.01 * np.abs(own - base) + 1e-5).all()
    assert not path.is_partial
    assert path.passes
    assert all(map(torch.equal, kept, (*inputs, *bases)))


@pytest.mark.parametrize("name", [name for name in NETS if not NETS[name].has_path])
def test_a_net_without_a_path_says_so_in_words(name: str) -> None:
    net, inputs, bases = one(name)
    with pytest.raises((ExplainError, CheckError)) as caught:
        layer_path(net, tuple(inputs), tuple(bases), 1, options=BARE)
    assert caught.value.expected
    assert caught.value.fix
