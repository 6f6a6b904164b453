"""A linear model of texts by frozen encoders, of the pieces of their words, and of the numbers of a table beside them.

    net = LinearTextNet({"note": tower}, {"note": pieces}, None, terms)
    net({"note": ids}, {"note": present}).logits            # (N, K), the sum of what each column adds

Of a text it reads the embedding, which is the mean of the encoder's tokens brought to length 1, and TF-IDF of its
pieces, also of length 1. It meets nn.multimodal.AnswersModalities, so its graph is that of any multimodal net: what
each column adds stands in `unimodal_logits`, and the weights of the mean in `attention`.

Shapes: N samples, L tokens, H width of the encoder, V pieces of its vocabulary, P of them that are known, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.contracts import Float64
from deepseek.data.samples.preparer import TABLE_ARRAY
from deepseek.nn.encoders import clamp_outliers
from deepseek.nn.fusion import MultimodalOutput
from deepseek.nn.pretrained import PretrainedTextEncoder, mean_embedding


@dataclass(frozen=True)
class PieceTerms:
    """The pieces that are known, as data/features/texts.py weighs words: (1 + ln count) * idf, over its length."""

    place_of: NDArray[np.int64]  # (V,) place in idf; 0 for a piece that is not known
    idf: Float64  # (P + 1,), the first 0


@dataclass(frozen=True)
class LinearTerms:
    """Coefficients of a fitted model, by column."""

    embedding: Mapping[str, Float64]  # (H, K) of each text
    pieces: Mapping[str, Float64]  # (P + 1, K) of each text
    numbers: Float64 | None  # (F, K) of standardized features; None without a table
    bias: Float64  # (K,)


class LinearTextNet(nn.Module):
    """Inputs by name, and which of them are present -> MultimodalOutput."""

    def __init__(
        self,
        towers: Mapping[str, PretrainedTextEncoder],
        pieces: Mapping[str, PieceTerms],
        scale: tuple[Float64, Float64] | None,
        terms: LinearTerms,
    ) -> None:
        """`scale`: mean and divisor (F,) of the table's features; None without a table."""
        super().__init__()
        self.texts = tuple(towers)
        self.names = self.texts if scale is None else (*self.texts, TABLE_ARRAY)
        self.voices = nn.ModuleList(
            _TextVoice(tower, pieces[name], terms.embedding[name], terms.pieces[name]) for name, tower in towers.items()
        )
        if scale is not None and terms.numbers is not None:
            self.voices.append(_TableVoice(*scale, terms.numbers))
        self.bias = nn.Parameter(_float32(terms.bias), requires_grad=False)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> MultimodalOutput:
        all_rows = torch.ones_like(inputs[self.names[0]][:, 0], dtype=torch.bool)
        has_value = torch.stack([(present or {}).get(name, all_rows) for name in self.names], 1)
        share = has_value.float()
        answers = [voice(inputs[name]) for name, voice in zip(self.names, self.voices, strict=True)]
        logits = torch.stack([voice for voice, _ in answers], 1) * share[..., None]
        gates = share / share.sum(1, keepdim=True).clamp(min=1)
        attention = torch.cat([weights * gates[:, index, None] for index, (_, weights) in enumerate(answers)], 1)
        return MultimodalOutput(self.bias + logits.sum(1), logits, gates, attention[:, None], has_value)


class _TextVoice(nn.Module):
    """Token ids int64 (N, L) -> logits (N, K), and the weights (N, L) of the tokens in the mean."""

    place_of: Tensor
    idf: Tensor

    def __init__(self, tower: PretrainedTextEncoder, pieces: PieceTerms, embedding: Float64, weights: Float64) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("place_of", torch.from_numpy(pieces.place_of))
        self.register_buffer("idf", _float32(pieces.idf))
        self.embedding = nn.Parameter(_float32(embedding), requires_grad=False)
        self.pieces = nn.Parameter(_float32(weights), requires_grad=False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        mask = self.tower.mask(ids)
        share = mask.float() / mask.float().sum(1, keepdim=True)
        y = mean_embedding(self.tower(ids), mask) @ self.embedding + self._read_pieces(ids)
        return y, share

    def _read_pieces(self, ids: Tensor) -> Tensor:
        places = self.place_of[ids]
        count = (ids[:, :, None] == ids[:, None, :]).float().sum(2)
        weight = self.idf[places] * (1 + count.log())  # of each piece, at all of its `count` places
        length = (weight**2 / count).sum(1, keepdim=True).sqrt().clamp(min=1e-6)
        y: Tensor = ((weight / count / length)[:, None] @ self.pieces[places])[:, 0]
        return y


class _TableVoice(nn.Module):
    """Features float32 (N, F) -> logits (N, K), and ones (N, 1)."""

    mean: Tensor
    divisor: Tensor

    def __init__(self, mean: Float64, divisor: Float64, coefficients: Float64) -> None:
        super().__init__()
        self.register_buffer("mean", _float32(mean))
        self.register_buffer("divisor", _float32(divisor))
        self.coefficients = nn.Parameter(_float32(coefficients), requires_grad=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = clamp_outliers((features - self.mean) / self.divisor)
        return x @ self.coefficients, torch.ones_like(features[:, :1])


def _float32(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
