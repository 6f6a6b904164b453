"""Contrastive alignment of two modalities in one space, token by token, and word-region associations.

    aligner = Aligner(net, "report", "ct")                    # net: MultimodalNet, whose two encoders it shares
    one, other = aligner("report", ids), aligner("ct", images)           # AlignedTokens: tokens (N, L, D), weights (N,
    L)
    match(one, other)                                         # (N, N) in -1..1: how well each report fits each slice
    contrastive_loss(match(one, other), aligner.scale, same)         # rows that belong together, against all others
    associate(aligner, ids, image)                            # which word looks at which region, and back

A match score is the mean of both directions: each token takes its best match among the other's tokens, weighted by a
learned weight per token.

The association of a word and a region is measured by occlusion: the interaction of hiding both at once. Cosines of
single tokens would not show it: each position of a convolutional net depends on its neighbors, in a deep one on the
whole image, and each word of a transformer on the whole text. Limits: of regions that carry the same information each
looks dispensable, and it tells what text and image share, not why a class was predicted.
(`MultimodalOutput.attention` is no such map: its queries tie no word to a place.)

Shapes: N samples, L tokens, E width of the net, D of the common space.
Sources: InfoNCE of both directions, Radford et al. 2021 (CLIP, arXiv 2103.00020), figure 3; several positives in a
batch, Khosla et al. 2020 (arXiv 2004.11362), equation 2; token-wise score, Yao et al. 2022 (FILIP, arXiv 2111.07783),
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

    def __init__(self, net: MultimodalNet, first: str, second: str, width: int = 64) -> None:
        super().__init__()
        for name in (first, second):
            if name not in net.names:
                raise InputError(
                    f"there is no modality {name!r} to align", expected=", ".join(net.names), fix="name two of these"
                )
        self.pair = (first, second)
        encoders = [net.encoder(name) for name in self.pair]
        self.encoders = nn.ModuleList(encoders)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(net.shape.width), nn.Linear(net.shape.width, width)) for _ in encoders
        )
        self.weigh = nn.ModuleList(nn.Linear(net.shape.width, 1) for _ in encoders)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # the logarithm of 1 / temperature

    def forward(self, name: str, values: Tensor) -> AlignedTokens:
        """Tokens of the values of the modality `name`, none of which is missing."""
        index = self.pair.index(name)
        encoder: Any = self.encoders[index]
        x = encoder(values)  # (N, L, E)
        weights = self.weigh[index](x).squeeze(-1)
        if hasattr(encoder, "mask"):
            weights = weights.masked_fill(~encoder.mask(values), -1e9)
        return AlignedTokens(functional.normalize(self.projections[index](x), dim=-1), torch.softmax(weights, 1))


def match_scores(first: AlignedTokens, second: AlignedTokens) -> Tensor:
    """Match scores (N, N') of each row of `first` with each row of `second`, -1 to 1."""
    cosines = torch.einsum("nld,mkd->nmlk", first.tokens, second.tokens)  # (N, N', L, L')
    forward = (cosines.masked_fill(second.weights[None, :, None] == 0, -1).amax(3) * first.weights[:, None]).sum(2)
    backward = (cosines.masked_fill(first.weights[:, None, :, None] == 0, -1).amax(2) * second.weights[None]).sum(2)
    return (forward + backward) / 2


def contrastive_loss(scores: Tensor, scale: Tensor, is_pair: Tensor) -> Tensor:
    """InfoNCE loss of both directions over match scores (N, N). `is_pair` (N, N): rows that belong together, such as
    the diagonal and two slices under one report."""
    logits = scores * scale.clamp(max=MAX_LOG_SCALE).exp()
    share = is_pair.float()
    forward = -(functional.log_softmax(logits, 1) * share).sum(1) / share.sum(1)
    backward = -(functional.log_softmax(logits, 0) * share).sum(0) / share.sum(0)
    return (forward.mean() + backward.mean()) / 2


@dataclass(frozen=True)
class Association:
    """Interactions of words and regions in one record's match score; below 0 where they can replace each other."""

    fit: float  # match score of text and image, -1 to 1
    interaction: Tensor  # (L, h, w), 0 for tokens that cannot be hidden

    def regions(self, tokens: Sequence[int] | None = None) -> Tensor:
        """Interactions (h, w) of the regions with some tokens, such as a sentence's; by default with all."""
        return self.interaction[list(range(len(self.interaction)) if tokens is None else tokens)].sum(0)

    def words(self, cells: Sequence[tuple[int, int]]) -> Tensor:
        """Interactions (L,) of the tokens with the regions (row, column)."""
        return torch.stack([self.interaction[:, row, column] for row, column in cells]).sum(0)


def associate(aligner: Aligner, text: Tensor, image: Tensor, *, grid: tuple[int, int] = (7, 7)) -> Association:
    """Associate the words and regions of one record: ids (1, L) and an image uint8 (1, C, H, W). A region is hidden
    under the image's mean, a word is masked; the first token, with which each text begins, is never hidden."""
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
    interaction = torch.zeros(text.shape[1], *grid)
    with torch.inference_mode():
        words, regions = aligner.eval()(name, texts), aligner(other, _occlude_cells(image, grid))
        scores = torch.cat(
            [
                match_scores(AlignedTokens(words.tokens[row : row + 1], words.weights[row : row + 1]), regions)
                for row in range(len(texts))
            ]
        )
        region_interaction = scores[:1, :1] - scores[1:, :1] - scores[:1, 1:] + scores[1:, 1:]  # (L', h * w)
        interaction[hidable] = region_interaction.view(-1, *grid)
    return Association(float(scores[0, 0]), interaction)


def _occlude_cells(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """The image (1, C, H, W) and copies with one cell of the grid each replaced by the image's mean:
    (1 + h * w, C, H, W)."""
    height, width = image.shape[2:]
    views = image.repeat(1 + grid[0] * grid[1], 1, 1, 1)
    for cell in range(grid[0] * grid[1]):
        row, column = divmod(cell, grid[1])
        down = slice(row * height // grid[0], (row + 1) * height // grid[0])
        across = slice(column * width // grid[1], (column + 1) * width // grid[1])
        views[1 + cell, :, down, across] = image.float().mean().round().to(torch.uint8)
    return views
