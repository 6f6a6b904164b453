"""Fake quantization: weights are rounded in the forward pass, and gradients pass as if they were not.

    fake_quantize(module, QuantizeConfig("int4"))    # in place; then train with deepseek.train.fit
    weights = convert(module)                        # in place: plain layers again, whose weights lie on the grid

The straight-through estimator (Bengio et al. 2013, https://arxiv.org/abs/1308.3432, section 3.1): the backward pass
takes d round(w) / dw as 1. The backward pass has no 8-bit numbers, so no small gradient is flushed to 0, which stalls
fp8 training elsewhere. Scales follow the weights: the largest weight of a channel at each step, times the share with
the smallest error at the start (grid.py), in the precision of the file: pack() of a module trained for 8-bit floats
stores what training used, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from deepseek.compress.quantize.grid import (
    Grid,
    QuantizeConfig,
    best_clip_shares,
    channel_scales,
    round_in_place,
    round_to_grid,
    stored_scales,
)
from deepseek.errors import InputError

_WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_EMBEDDING_LAYERS = (nn.Embedding, nn.EmbeddingBag)
_INPUT_HOOK = "_deepseek_fake_input"


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight as it is stored: codes (out, ...), int8 or an 8-bit float, times scales (out, 1, ...)."""

    codes: Tensor
    scales: Tensor
    num_bits: int

    def dequantize(self) -> Tensor:
        """The weight as float32: codes times scales."""
        return self.codes.float() * self.scales

    @property
    def size_bytes(self) -> int:
        """Bytes of the weight in storage, with two 4-bit codes per byte and float32 scales."""
        return (self.codes.numel() * self.num_bits + 7) // 8 + 4 * self.scales.numel()


class _StraightThrough(torch.autograd.Function):
    """Straight-through estimator: round(x / scales) * scales forward, the unchanged gradient backward."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor, scales: Tensor, grid: Grid) -> Tensor:
        return round_in_place(x.float() / scales, grid).mul_(scales).to(x.dtype)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class FakeQuantizeWeight(nn.Module):
    """A parametrization (torch.nn.utils.parametrize) of a weight (out, ...)."""

    shares: Tensor

    def __init__(self, grid: Grid, shares: Tensor) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("shares", shares)

    def forward(self, weight: Tensor) -> Tensor:
        rounded: Tensor = _StraightThrough.apply(weight, self.scales(weight), self.grid)  # type: ignore[no-untyped-call]
        return rounded

    def scales(self, weight: Tensor) -> Tensor:
        scales = channel_scales(weight, self.grid, self.shares)
        return stored_scales(scales) if self.grid.num_bits == 8 else scales  # pack() stores 8 bits only


def fake_quantize(module: nn.Module, config: QuantizeConfig) -> tuple[str, ...]:
    """Fake-quantize the weights of the Linear, Conv and Embedding layers of `module`, in place; the weights' names.

    InputError when there is none to quantize, when one is fake-quantized already or not finite, and for a name in
    `keep` that does not exist.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> fake_quantize(net, QuantizeConfig("int8", keep=("2",)))
    ('0.weight',)
    """
    chosen = list(quantizable_weights(module, config))
    if not chosen:
        raise InputError(
            "there is no layer to quantise", expected="a Linear, Conv or Embedding layer that `keep` does not name",
            fix="give a module with such layers",
        )  # fmt: skip
    for name, layer, kind in chosen:
        _check_weight(name, layer, kind)
    for _, layer, kind in chosen:
        fake_quantize_layer(layer, kind, config)
    return tuple(name for name, _, _ in chosen)


def fake_quantize_layer(layer: nn.Module, kind: str, config: QuantizeConfig) -> None:
    """fake_quantize() for the parameter `kind` of one layer."""
    weight = getattr(layer, kind)
    shares = best_clip_shares(weight, config.grid) if config.clip == "mse" else torch.ones((), device=weight.device)
    parametrize.register_parametrization(layer, kind, FakeQuantizeWeight(config.grid, shares))
    if config.activations != "none" and isinstance(layer, _WEIGHT_LAYERS):
        setattr(layer, _INPUT_HOOK, layer.register_forward_pre_hook(_input_rounding_hook(config)))


def convert(module: nn.Module) -> dict[str, QuantizedWeight]:
    """Replace fake-quantized layers by plain ones, in place, which hold the rounded weights to the bit. The quantized
    weights by name, as an engine loads them. InputError for a module without fake-quantized layers."""
    weights: dict[str, QuantizedWeight] = {}
    fakes = [
        (f"{prefix}.{kind}".lstrip("."), layer, kind, fake)
        for prefix, layer in module.named_modules()
        for kind, fake in _fake_weights(layer)
    ]
    for name, layer, kind, fake in fakes:  # all before any is changed: two layers may share one weight
        weight = layer.parametrizations[kind].original
        with torch.no_grad():
            scales = fake.scales(weight)
            codes = round_to_grid(weight.float() / scales, fake.grid).to(fake.grid.dtype)
        weights[name] = QuantizedWeight(codes, scales, fake.grid.num_bits)
    for name, layer, kind, _ in fakes:
        parametrize.remove_parametrizations(layer, kind, leave_parametrized=False)
        with torch.no_grad():
            getattr(layer, kind).copy_(weights[name].dequantize())
        if hasattr(layer, _INPUT_HOOK):
            getattr(layer, _INPUT_HOOK).remove()
            delattr(layer, _INPUT_HOOK)
    if not weights:
        raise InputError(
            "no layer of this module is rounded", expected="a module after fake_quantize()", fix="call that first"
        )
    return weights


def quantizable_weights(module: nn.Module, config: QuantizeConfig) -> Iterator[tuple[str, nn.Module, str]]:
    """(name of the weight, its layer, its name in the layer) of every weight that `config` quantizes."""
    names = [name for name, _ in module.named_modules()]
    unknown = next((kept for kept in config.keep if kept not in names), None)
    if unknown is not None:
        raise InputError(
            f"quantize.keep names {unknown[:100]!r}, which is no part of this module",
            expected=", ".join(names[1:6]) or "nothing", fix="correct the name",
        )  # fmt: skip
    kinds = (*_WEIGHT_LAYERS, *_EMBEDDING_LAYERS) if config.embeddings else _WEIGHT_LAYERS
    for name, layer in module.named_modules():
        if any(name == kept or name.startswith(f"{kept}.") for kept in config.keep):
            continue
        if isinstance(layer, kinds):
            yield f"{name}.weight".lstrip("."), layer, "weight"
        elif isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None:
            yield f"{name}.in_proj_weight".lstrip("."), layer, "in_proj_weight"


def _check_weight(name: str, layer: nn.Module, kind: str) -> None:
    if next(_fake_weights(layer), None) is not None:
        raise InputError(f"{name} is rounded already", expected="a plain layer", fix="call convert() first")
    if not getattr(layer, kind).isfinite().all():
        raise InputError(
            f"the weight {name!r} holds NaN or infinity", expected="finite weights", fix="train the model again"
        )


def _fake_weights(layer: nn.Module) -> Iterator[tuple[str, FakeQuantizeWeight]]:
    if parametrize.is_parametrized(layer):
        for kind, parametrizations in layer.parametrizations.items():  # type: ignore[union-attr, operator]
            if isinstance(parametrizations[0], FakeQuantizeWeight):
                yield kind, parametrizations[0]


def _input_rounding_hook(config: QuantizeConfig) -> Any:
    grid, granularity = config.grid, config.activations

    def hook(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        largest = x.detach().float().abs()
        largest = largest.amax(-1, keepdim=True) if granularity == "token" else largest.amax()
        scales = torch.where(largest > 0, (largest / grid.top).clamp_min(torch.finfo(torch.float32).tiny), 1.0)
        return (_StraightThrough.apply(x, scales, grid), *inputs[1:])  # type: ignore[no-untyped-call]

    return hook
