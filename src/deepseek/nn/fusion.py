"""Several modalities of one sample -> one answer: tokens of each, looked at together, with a gate and with masks.

    net = FusionNet({"ct": ImageEncoder(...), "record": TextEncoder(...)}, width=64, num_outputs=2)
    found = net({"ct": images, "record": ids}, {"ct": there})   # there (N,) false: this sample has no such value
    found.logits                                                # (N, K)

Each modality has a voice of its own (logits from its pooled tokens); a missing one has none. The voices add up to the
late fusion: a product of experts. What they cannot say alone is added by learned queries that look at the tokens of
all modalities at once, by products of each two modalities, and by a gate on which one to trust for this sample. So the
fused model begins as its late-fusion baseline, and a modality that is missing takes its voice, its tokens and its
products with it.

Modality dropout in training leaves out each modality by chance, never all of them.

Shapes: N samples, M modalities, L tokens of all of them, Q queries, E width, K outputs.
Sources: latent queries, Jaegle et al. 2021 (Perceiver IO, arXiv 2107.14795), section 3; products, Kim et al. 2017
(low-rank bilinear pooling, arXiv 1610.04325), section 3, for all pairs at once as in Rendle 2010 (factorization
machines), equation 5; modality dropout, Neverova et al. 2015 (ModDrop, arXiv 1501.00102), section 3.3; product of
experts, Hinton 2002.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.nn.encoders import num_heads


@dataclass(frozen=True, slots=True)
class FusionShape:
    """How the fused part is built."""

    width: int = 64  # of a token, E
    num_queries: int = 4  # at least 1
    num_layers: int = 2  # times that the queries look at the tokens, at least 1
    drop_modality: float = 0.25  # chance that training leaves out a modality, 0 to 1
    dropout: float = 0.1  # of the fused part, 0 to 1

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("width", self.width >= 8, "8 or more"),
            ("num_queries", self.num_queries >= 1, "1 or more"),
            ("num_layers", self.num_layers >= 1, "1 or more"),
            ("drop_modality", 0 <= self.drop_modality < 1, "at least 0 and below 1"),
            ("dropout", 0 <= self.dropout < 1, "at least 0 and below 1"),
        ):
            if not good:
                raise InputError(f"fusion.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")


class Fused(NamedTuple):
    """What the net found."""

    logits: Tensor  # (N, K)
    voices: Tensor  # (N, M, K) of each modality alone, 0 where it is missing
    gates: Tensor  # (N, M) trust in each, sums to 1 over those that are there
    attention: Tensor  # (N, Q, L) of the last layer, mean over heads: which tokens the queries looked at
    there: Tensor  # (N, M) which modalities were used, after dropout


class FusionNet(nn.Module):
    """Inputs by name, and which of them are there -> Fused. A name without an entry in `there` is there for all."""

    def __init__(self, encoders: Mapping[str, nn.Module], num_outputs: int, shape: FusionShape | None = None) -> None:
        super().__init__()
        if not encoders:
            raise InputError("there is no modality to fuse", expected="one or more", fix="give encoders by name")
        self.shape = shape or FusionShape()
        self.names = tuple(encoders)
        self.encoders = nn.ModuleDict({_key(name): encoder for name, encoder in encoders.items()})
        width = self.shape.width
        self.pools = nn.ModuleDict({_key(name): Pool(width) for name in self.names})
        self.voices = nn.ModuleDict({_key(name): nn.Linear(width, num_outputs) for name in self.names})
        self.kinds = nn.Parameter(0.02 * torch.randn(len(self.names), width))  # what tells the modalities apart
        self.queries = nn.Parameter(0.02 * torch.randn(self.shape.num_queries, width))
        self.layers = nn.ModuleList(Look(width, self.shape.dropout) for _ in range(self.shape.num_layers))
        self.gate = nn.Linear(width, 1)
        self.norm = nn.LayerNorm((self.shape.num_queries + 1) * width)
        self.head = nn.Linear((self.shape.num_queries + 1) * width, num_outputs)
        self.pairs = Pairs(len(self.names), width, num_outputs)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        nn.init.zeros_(self.head.weight)  # begins as the late fusion
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Mapping[str, Tensor], there: Mapping[str, Tensor] | None = None) -> Fused:
        given = self._there(inputs, there or {})  # (N, M)
        seen = self._dropped(given)
        tokens, masks, pooled = [], [], []
        for at, name in enumerate(self.names):
            encoder: Any = self.encoders[_key(name)]
            x = self._encoded(encoder, inputs[name], given[:, at])  # (N, L_m, E)
            mask = encoder.mask(inputs[name]) if hasattr(encoder, "mask") else torch.ones_like(x[..., 0]).bool()
            pooled.append(self.pools[_key(name)](x, mask))
            tokens.append(x + self.kinds[at])
            masks.append(mask & seen[:, at : at + 1])
        share = seen.float()  # (N, M)
        voices = torch.stack([self.voices[_key(n)](p) for n, p in zip(self.names, pooled, strict=True)], 1)
        voices = voices * share[..., None]
        everything, mask = torch.cat(tokens, 1), torch.cat(masks, 1)  # (N, L, E), (N, L)
        together = torch.stack(pooled, 1)  # (N, M, E)
        gates = torch.softmax(self.gate(together).squeeze(-1).masked_fill(~seen, -1e9), 1) * share
        x = self.queries.expand(everything.shape[0], -1, -1)  # not len(), which a trace would fix
        attention = x.new_zeros(0)
        for layer in self.layers:
            x, attention = layer(x, everything, mask)
        summary = torch.cat([x.flatten(1), (gates[..., None] * together).sum(1)], 1)
        logits = self.bias + voices.sum(1) + self.head(self.norm(summary)) + self.pairs(together, share)
        return Fused(logits, voices, gates, attention, seen)

    def encoder(self, name: str) -> nn.Module:
        """Of a modality by its name."""
        return self.encoders[_key(name)]

    def late(self, found: Fused) -> Tensor:
        """Logits (N, K) of the late-fusion baseline: the voices alone."""
        return self.bias + found.voices.sum(1)

    def _encoded(self, encoder: nn.Module, values: Tensor, given: Tensor) -> Tensor:
        """Tokens (N, L, E). Training encodes the rows that have a value alone: the zeros of the others would enter the
        statistics of the norms."""
        if not self.training or bool(given.all()):
            found: Tensor = encoder(values)
            return found
        if int(given.sum()) < 2:  # a norm needs company: so few are encoded as an answer is
            found = encoder.eval()(values)
            encoder.train()
            return found
        some: Tensor = encoder(values[given])
        found = some.new_zeros(len(values), *some.shape[1:])
        found[given] = some
        return found

    def _there(self, inputs: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> Tensor:
        first = inputs[self.names[0]]
        whole = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)
        return torch.stack([there.get(name, whole) for name in self.names], 1)

    def _dropped(self, seen: Tensor) -> Tensor:
        """Without the modalities that chance leaves out; where that would be all, those that are there stay."""
        if not self.training or self.shape.drop_modality == 0 or len(self.names) == 1:
            return seen
        kept = seen & (torch.rand(seen.shape, device=seen.device) >= self.shape.drop_modality)
        return torch.where(kept.any(1, keepdim=True), kept, seen)


class Pool(nn.Module):
    """Tokens (N, L, E) -> (N, E): their mean, weighted by what is learned."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.weigh = nn.LayerNorm(width), nn.Linear(width, 1)
        self.out = nn.Sequential(nn.Linear(width, width), nn.GELU())

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(x)
        weights = torch.softmax(self.weigh(x).squeeze(-1).masked_fill(~mask, -1e9), 1)
        y: Tensor = self.out((weights[..., None] * x).sum(1))
        return y


class Pairs(nn.Module):
    """Pooled modalities (N, M, E) of which share (N, M) is 1 for those that are there -> logits (N, K) of the products
    of each two, zero at first. Attention alone takes many times longer to learn that an answer turns on two modalities
    at once (docs/log.md)."""

    def __init__(self, num_modalities: int, width: int, num_outputs: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(num_modalities, width, 2 * width) / width**0.5)
        self.out = nn.Linear(2 * width, num_outputs, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, together: Tensor, share: Tensor) -> Tensor:
        x = torch.einsum("nme,mef->nmf", together, self.maps) * share[..., None]
        y: Tensor = self.out((x.sum(1) ** 2 - (x**2).sum(1)) / 2)  # the sum over pairs, without a loop over them
        return y


class Look(nn.Module):
    """Queries (N, Q, E) look at tokens (N, L, E) where mask (N, L) is true -> queries, and attention (N, Q, L)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = num_heads(width)
        self.norm_q, self.norm_t, self.norm_f = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        num, num_queries, width = x.shape
        q = self.q(self.norm_q(x)).view(num, num_queries, self.heads, -1).transpose(1, 2)  # (N, H, Q, E/H)
        k, v = self.kv(self.norm_t(tokens)).view(num, tokens.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5  # (N, H, Q, L)
        weights = torch.softmax(scores.masked_fill(~mask[:, None, None], -1e9), -1)
        y = (weights @ v).transpose(1, 2).reshape(num, num_queries, width)
        x = x + self.drop(self.out(y))
        x = x + self.drop(self.down(functional.gelu(self.up(self.norm_f(x)))))
        return x, weights.mean(1)


def fusion_loss(found: Fused, labels: Tensor, *, alone: float = 0.3) -> Tensor:
    """Cross entropy (K > 1) of the fused logits, and `alone` times that of each voice, so that no modality is left
    unlearned because another is easier (Wang et al. 2020, arXiv 1905.12681, section 3.1)."""
    loss = functional.cross_entropy(found.logits, labels)
    if alone == 0:
        return loss
    num, num_modalities, _ = found.voices.shape
    each = functional.cross_entropy(
        found.voices.flatten(0, 1), labels.repeat_interleave(num_modalities), reduction="none"
    ).view(num, num_modalities)
    share = found.there.float()
    return loss + alone * (each * share).sum() / share.sum().clamp(min=1)


def _key(name: str) -> str:
    """A column's name as a module's, which may hold no dot. Escaped, so that two names stay two."""
    return "m_" + name.replace("%", "%25").replace(".", "%2E")
