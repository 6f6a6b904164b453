"""Two modalities in one space, token by token: what belongs together is near, and which token looks at which is said.

    aligner = Aligner(net, "report", "ct")                    # net: MultimodalNet, whose two encoders it shares
    one, other = aligner("report", ids), aligner("ct", images)           # AlignedTokens: tokens (N, L, D), weights (N,
    L)
    match(one, other)                                         # (N, N) in -1..1: how well each report fits each slice
    contrastive_loss(match(one, other), aligner.scale, same)         # rows that belong together, against all others
    associate(aligner, ids, image)                            # which word looks at which region, and back

A fit is the mean of both directions: each token takes the best of the other's tokens, and tokens count by a weight that
is learned.

Which region a word looks at is measured, not read off: what the fit loses with both of them hidden, less what it loses
with either alone, turned round. The cosines of single tokens would not say it: each place of a net of convolutions has
seen its neighbours, in a deep one the whole picture, and each word of a transformer the whole text. Limits: of regions
that say the same each is thought dispensable, and it tells what text and picture share, not why a class was answered.
(`Fused.attention` is no such map: its queries tie no word to a place.)

Shapes: N samples, L tokens, E width of the net, D of the common space.
Sources: InfoNCE of both directions, Radford et al. 2021 (CLIP, arXiv 2103.00020), figure 3; several positives in a
batch, Khosla et al. 2020 (arXiv 2004.11362), equation 2; token-wise fit, Yao et al. 2022 (FILIP, arXiv 2111.07783),
section 3.1; hiding a region, Zeiler and Fergus 2014 (arXiv 1311.2901), section 4.2; two hidden at once, Grabisch and
Roubens 1999, the interaction of two players.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.nn.fusion import MultimodalNet

MAX_LOG_SCALE = math.log(100.0)  # as CLIP clips it


class AlignedTokens(NamedTuple):
    """Tokens of one modality in the common space."""

    tokens: Tensor  # (N, L, D), each of length 1
    weights: Tensor  # (N, L), sum to 1, 0 where there is no token


class Aligner(nn.Module):
    """The encoders of two modalities of a net, each with a projection of its own."""

    def __init__(self, net: MultimodalNet, one: str, other: str, width: int = 64) -> None:
        super().__init__()
        for name in (one, other):
            if name not in net.names:
                raise InputError(
                    f"there is no modality {name!r} to align", expected=", ".join(net.names), fix="name two of these"
                )
        self.pair = (one, other)
        encoders = [net.encoder(name) for name in self.pair]
        self.encoders = nn.ModuleList(encoders)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(net.shape.width), nn.Linear(net.shape.width, width)) for _ in encoders
        )
        self.weigh = nn.ModuleList(nn.Linear(net.shape.width, 1) for _ in encoders)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # the logarithm of 1 / temperature

    def forward(self, name: str, values: Tensor) -> AlignedTokens:
        """Of the modality `name`, all of whose values are there."""
        at = self.pair.index(name)
        encoder: Any = self.encoders[at]
        x = encoder(values)  # (N, L, E)
        weights = self.weigh[at](x).squeeze(-1)
        if hasattr(encoder, "mask"):
            weights = weights.masked_fill(~encoder.mask(values), -1e9)
        return AlignedTokens(functional.normalize(self.projections[at](x), dim=-1), torch.softmax(weights, 1))


def match_scores(one: AlignedTokens, other: AlignedTokens) -> Tensor:
    """(N, N') how well each row of one fits each row of the other, -1 to 1."""
    cosines = torch.einsum("nld,mkd->nmlk", one.tokens, other.tokens)  # (N, N', L, L')
    there = (cosines.masked_fill(other.weights[None, :, None] == 0, -1).amax(3) * one.weights[:, None]).sum(2)
    back = (cosines.masked_fill(one.weights[:, None, :, None] == 0, -1).amax(2) * other.weights[None]).sum(2)
    return (there + back) / 2


def contrastive_loss(fits: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """InfoNCE of both directions over fits (N, N). `same` (N, N): rows that belong together, as the diagonal does: two
    slices under one report are no strangers."""
    logits = fits * scale.clamp(max=MAX_LOG_SCALE).exp()
    share = same.float()
    there = -(functional.log_softmax(logits, 1) * share).sum(1) / share.sum(1)
    back = -(functional.log_softmax(logits, 0) * share).sum(0) / share.sum(0)
    return (there.mean() + back.mean()) / 2


@dataclass(frozen=True)
class Association:
    """Of one record: by how much a word and a region need each other for the fit; below 0 they replace each other."""

    fit: float  # of the text and the picture, -1 to 1
    together: Tensor  # (L, h, w), 0 where there is no token that could be hidden

    def regions(self, tokens: Sequence[int] | None = None) -> Tensor:
        """(h, w): where the tokens of a sentence look; by default all."""
        return self.together[list(range(len(self.together)) if tokens is None else tokens)].sum(0)

    def words(self, cells: Sequence[tuple[int, int]]) -> Tensor:
        """(L,): which tokens the regions (row, column) look at."""
        return torch.stack([self.together[:, row, column] for row, column in cells]).sum(0)


def associate(aligner: Aligner, text: Tensor, image: Tensor, *, grid: tuple[int, int] = (7, 7)) -> Association:
    """Of one record: ids (1, L) and a picture uint8 (1, C, H, W). A region is hidden under the picture's mean, a word
    as if it were not there; the first token, with which each text begins, is not."""
    name, other = aligner.pair
    if image.dtype != torch.uint8 or image.shape[2] < grid[0] or image.shape[3] < grid[1]:
        raise InputError(
            f"{other!r} is {image.dtype}, {tuple(image.shape)}",
            expected=f"a picture of bytes, {grid[0]} x {grid[1]} or more",
            fix="associate a column of pictures, or ask for a smaller grid",
        )
    pad_id: Any = aligner.encoders[0].pad_id
    hidable = torch.nonzero(text[0] != pad_id).flatten()[1:]
    texts = text[:, : int(hidable[-1]) + 1 if len(hidable) else 1].repeat(1 + len(hidable), 1)
    texts[torch.arange(1, len(texts)), hidable] = pad_id
    together = torch.zeros(text.shape[1], *grid)
    with torch.inference_mode():
        words, places = aligner.eval()(name, texts), aligner(other, _occlude_cells(image, grid))
        fits = torch.cat(
            [match_scores(AlignedTokens(*(part[at : at + 1] for part in words)), places) for at in range(len(texts))]
        )
        both = fits[:1, :1] - fits[1:, :1] - fits[:1, 1:] + fits[1:, 1:]  # (L', h * w)
        together[hidable] = both.view(-1, *grid)
    return Association(float(fits[0, 0]), together)


def _occlude_cells(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1 + h * w, C, H, W): the picture, and with each cell of the grid under its mean."""
    height, width = image.shape[2:]
    views = image.repeat(1 + grid[0] * grid[1], 1, 1, 1)
    for cell in range(grid[0] * grid[1]):
        row, column = divmod(cell, grid[1])
        down = slice(row * height // grid[0], (row + 1) * height // grid[0])
        across = slice(column * width // grid[1], (column + 1) * width // grid[1])
        views[1 + cell, :, down, across] = image.float().mean().round().to(torch.uint8)
    return views
