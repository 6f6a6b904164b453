"""Forty architectures: both ends are plain runs of the net, the sum is the change between them, nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import CheckError, ExplainError
from deepseek.explain import attribute, layer_path
from deepseek.explain.modules.layer_path import LayerPathOptions
from support.nets.architectures import (
    Formula,
    Gpt,
    InvertedResidual,
    ResidualBlock,
    SqueezeExcite,
    Vit,
    attended_graph,
    capsule,
    checkpointed,
    conv,
    decoder,
    factorization,
    graph,
    head,
    highway,
    last,
    message_passing,
    mlp,
    rotary,
    routed,
    seq2seq,
    siamese,
    time_delay,
    unet,
)

torch.set_num_threads(1)
BARE = LayerPathOptions(edges=False, margins=False, ablation=False)


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
        lambda: Formula(
            lambda n, x: n.out(x + n.body(n.norm(x))), norm=nn.LayerNorm(6), body=mlp(6, 12, 6), out=nn.Linear(6, 3)
        ),
        (6,),
    ),
    "highway": Net(lambda: Formula(highway, gate=nn.Linear(6, 6), body=nn.Linear(6, 6), out=nn.Linear(6, 3)), (6,)),
    "factorization machine": Net(lambda: Formula(factorization, factors=nn.Linear(6, 4), linear=nn.Linear(6, 3)), (6,)),
    "gated linear unit": Net(lambda: nn.Sequential(nn.Linear(6, 16), nn.GLU(), nn.Linear(8, 3)), (6,)),
    "maxout": Net(
        lambda: Formula(
            lambda n, x: n.out(n.body(x).view(-1, 8, 2).max(2).values), body=nn.Linear(6, 16), out=nn.Linear(8, 3)
        ),
        (6,),
    ),
    "batch norm between": Net(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Linear(8, 3)), (6,)
    ),
    "softmax at the end": Net(lambda: nn.Sequential(mlp(6, 8, 3), nn.Softmax(1)), (6,)),
    "capsules": Net(lambda: Formula(capsule, votes=nn.Linear(6, 12)), (6,)),
    "convolutional": Net(lambda: nn.Sequential(conv(3, 6), nn.MaxPool2d(2), conv(6, 6), head(6)), (3, 8, 8)),
    "LeNet": Net(
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), mlp(36, 8, 3)), (1, 8, 8)
    ),
    "ResNet": Net(lambda: nn.Sequential(conv(3, 4), ResidualBlock(4), ResidualBlock(4), head(4)), (3, 8, 8)),
    "MobileNet": Net(lambda: nn.Sequential(conv(3, 4), InvertedResidual(4), head(4)), (3, 8, 8)),
    "squeeze and excite": Net(lambda: nn.Sequential(conv(3, 4), SqueezeExcite(4), head(4)), (3, 8, 8)),
    "DenseNet": Net(
        lambda: Formula(lambda n, x: n.out(torch.cat([x, n.body(x)], 1)), body=conv(3, 4), out=head(7)), (3, 6, 6)
    ),
    "U-Net": Net(lambda: Formula(unet, down=conv(3, 4), middle=conv(4, 4), up=conv(8, 4), out=head(4)), (3, 8, 8)),
    "ConvNeXt block": Net(
        lambda: nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.GroupNorm(1, 3), nn.Conv2d(3, 6, 1), nn.GELU(), head(6)
        ),
        (3, 6, 6),
    ),
    "one-dimensional convolution": Net(
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4), nn.ReLU(), nn.AdaptiveMaxPool1d(2), nn.Flatten(), nn.Linear(8, 3)
        ),
        (2, 10),
    ),
    "WaveNet": Net(
        lambda: Formula(
            time_delay, layers=nn.ModuleList([nn.Conv1d(2, 4, 3, dilation=d) for d in (1, 2)]), out=nn.Linear(2, 3)
        ),
        (2, 8),
    ),
    "LSTM": Net(recurrent(nn.LSTM), (5, 4)),
    "LSTM, steps first": Net(recurrent(nn.LSTM, rows_first=False), (5, 4)),
    "LSTM both ways of two layers": Net(recurrent(nn.LSTM, bidirectional=True, num_layers=2), (4, 4)),
    "LSTM with a projection": Net(
        lambda: Formula(
            lambda n, x: n.out(last(n.net(x))), net=nn.LSTM(4, 6, proj_size=3, batch_first=True), out=nn.Linear(3, 3)
        ),
        (4, 4),
    ),
    "GRU": Net(recurrent(nn.GRU), (5, 4)),
    "GRU, steps first": Net(recurrent(nn.GRU, rows_first=False), (2, 4)),
    "RNN of rectifiers": Net(recurrent(nn.RNN, nonlinearity="relu"), (4, 4)),
    "encoder and decoder with attention": Net(
        lambda: Formula(seq2seq, encoder=nn.GRU(4, 6, batch_first=True), cell=nn.GRUCell(6, 6), out=nn.Linear(6, 3)),
        (4, 4),
    ),
    "transformer encoder": Net(
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(32, 3)),
        (4, 8),
    ),
    "transformer decoder": Net(
        lambda: Formula(decoder, net=nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), out=nn.Linear(8, 3)),
        ((3, 8), (4, 8)),
    ),
    "multi-head attention": Net(
        lambda: Formula(
            lambda n, x: n.out(n.net(x, x, x, need_weights=False)[0].mean(1)),
            net=nn.MultiheadAttention(8, 2, batch_first=True),
            out=nn.Linear(8, 3),
        ),
        (4, 8),
    ),
    "Llama block": Net(
        lambda: Formula(
            rotary,
            norm=nn.RMSNorm(8),
            q=nn.Linear(8, 16),
            k=nn.Linear(8, 8),
            v=nn.Linear(8, 8),
            o=nn.Linear(16, 8),
            gate=nn.Linear(8, 12),
            up=nn.Linear(8, 12),
            down=nn.Linear(12, 8),
            out=nn.Linear(8, 3),
        ),
        (4, 8),
    ),
    "ViT": Net(Vit, (3, 8, 8)),
    "MLP-Mixer": Net(
        lambda: Formula(
            lambda n, x: n.out((x + n.tokens(x.transpose(1, 2)).transpose(1, 2) + n.channels(x)).mean(1)),
            tokens=mlp(4, 6, 4),
            channels=mlp(8, 6, 8),
            out=nn.Linear(8, 3),
        ),
        (4, 8),
    ),
    "GPT": Net(lambda: Gpt(by_sdpa=False), (6,), num_ids=20),
    "GPT by scaled_dot_product_attention": Net(lambda: Gpt(by_sdpa=True), (6,), num_ids=20),
    "tokens, steps first": Net(
        lambda: Formula(
            lambda n, ids: n.out(n.net(n.words(ids.t()))[0][-1]),
            words=nn.Embedding(20, 4),
            net=nn.LSTM(4, 6),
            out=nn.Linear(6, 3),
        ),
        (5,),
        num_ids=20,
    ),
    "as many tokens, steps first, as rows": Net(
        lambda: Formula(
            lambda n, ids: n.out(n.net(n.words(ids.t()))[0][-1]),
            words=nn.Embedding(20, 4),
            net=nn.GRU(4, 6),
            out=nn.Linear(6, 3),
        ),
        (2,),
        num_ids=20,
    ),
    "bag of embeddings": Net(
        lambda: Formula(lambda n, ids: n.out(n.words(ids)), words=nn.EmbeddingBag(20, 4), out=nn.Linear(4, 3)),
        (5,),
        num_ids=20,
        has_path=False,
    ),
    "Siamese": Net(lambda: Formula(siamese, body=mlp(5, 8, 4), out=nn.Linear(9, 3)), ((5,), (5,))),
    "two towers of two kinds": Net(
        lambda: Formula(
            lambda n, x, ids: n.out(torch.cat([n.body(x), n.words(ids).mean(1)], 1)),
            body=mlp(5, 8, 4),
            words=nn.Embedding(20, 4),
            out=nn.Linear(8, 3),
        ),
        ((5,), (3,)),
        num_ids=20,
    ),
    "graph convolution": Net(
        lambda: Formula(graph, first=nn.Linear(4, 6), second=nn.Linear(6, 6), out=nn.Linear(6, 3)), (5, 4)
    ),
    "graph attention": Net(
        lambda: Formula(
            attended_graph, first=nn.Linear(4, 6), left=nn.Linear(6, 1), right=nn.Linear(6, 1), out=nn.Linear(6, 3)
        ),
        (5, 4),
    ),
    "message passing": Net(lambda: Formula(message_passing, message=nn.Linear(8, 8), out=nn.Linear(60, 3)), (5, 4)),
    "soft mixture of experts": Net(
        lambda: Formula(
            lambda n, x: n.out((n.gate(x).softmax(1)[..., None] * torch.stack([e(x) for e in n.experts], 1)).sum(1)),
            gate=nn.Linear(6, 3),
            experts=nn.ModuleList(mlp(6, 8, 8) for _ in range(3)),
            out=nn.Linear(8, 3),
        ),
        (6,),
    ),
    "mixture of experts with branches": Net(
        lambda: Formula(
            routed, gate=nn.Linear(6, 3), experts=nn.ModuleList(mlp(6, 8, 8) for _ in range(3)), out=nn.Linear(8, 3)
        ),
        (6,),
        has_path=False,
    ),
    "checkpoints": Net(
        lambda: Formula(checkpointed(reentrant=False), body=mlp(6, 8, 8, bend=nn.Tanh), out=nn.Linear(8, 3)), (6,)
    ),
    "checkpoints, reentrant": Net(
        lambda: Formula(checkpointed(reentrant=True), body=mlp(6, 8, 8), out=nn.Linear(8, 3)), (6,), has_path=False
    ),
    "BERT": Net(hugging("Bert", **BERT), (5,), num_ids=30),
    "DistilBERT": Net(hugging("DistilBert", dim=16, n_layers=2, n_heads=2, hidden_dim=24), (5,), num_ids=30),
    "RoBERTa": Net(hugging("Roberta", **BERT, pad_token_id=1), (5,), num_ids=30),
    "GPT-2": Net(hugging("GPT2", n_embd=16, n_layer=2, n_head=2, pad_token_id=0), (5,), num_ids=30),
    "Longformer": Net(hugging("Longformer", **BERT, attention_window=4), (6,), num_ids=30, has_path=False),
}


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
    attribution = attribute(net, tuple(inputs), tuple(bases), 1)
    np.testing.assert_allclose(attribution.output, own, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(attribution.base_value, base, rtol=1e-4, atol=1e-5)
    assert np.isfinite(attribution.values).all()
    assert (np.abs(attribution.values.sum(1) - (own - base)) <= 0.01 * np.abs(own - base) + 1e-5).all(), (
        attribution.notes
    )
    assert not attribution.is_partial
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
