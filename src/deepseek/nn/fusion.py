"""Several modalities of one sample -> one answer: tokens of each, looked at together, with a gate and with masks.

    net = MultimodalNet({"ct": ImageEncoder(...), "record": TextEncoder(...)}, width=64, num_outputs=2)
    found = net({"ct": images, "record": ids}, {"ct": there})   # there (N,) false: this sample has no such value
    found.logits                                                # (N, K)

Each modality has a voice of its own (logits from its pooled tokens); a missing one has none. The voices add up to the
late fusion: a product of experts. What they cannot say alone is added by learned queries that look at the tokens of
all modalities at once, by products of each two modalities, and by a gate on which one to trust for this sample. So the
fused model begins as its late-fusion baseline, and a modality that is missing takes its voice, its tokens and its
products with it.

Modality dropout in training leaves out each modality by chance, never all of them.

Mixing (`mixup`, off by default) is of tokens, since words cannot be averaged: each sample with another one that has the
same modalities, all of them in the same ratio, so a mask stays a mask. The loss is against both labels in that ratio.

Shapes: N samples, M modalities, L tokens of all of them, Q queries, E width, K outputs.
Sources: latent queries, Jaegle et al. 2021 (Perceiver IO, arXiv 2107.14795), section 3; products, Kim et al. 2017
(low-rank bilinear pooling, arXiv 1610.04325), section 3, for all pairs at once as in Rendle 2010 (factorization
machines), equation 5; modality dropout, Neverova et al. 2015 (ModDrop, arXiv 1501.00102), section 3.3; product of
experts, Hinton 2002; mixup, Zhang et al. 2018 (arXiv 1710.09412), equation 1, of hidden states, Verma et al. 2019
(arXiv 1806.05236), section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.extras import renamed_attributes
from deepseek.nn.augment import draw_ratio
from deepseek.nn.encoders import num_heads


@dataclass(frozen=True, slots=True)
class MultimodalShape:
    """How the fused part is built."""

    width: int = 64  # of a token, E
    num_queries: int = 4  # at least 1
    num_layers: int = 2  # times that the queries look at the tokens, at least 1
    drop_modality: float = 0.25  # chance that training leaves out a modality, 0 to 1
    dropout: float = 0.1  # of the fused part, 0 to 1
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), of which training draws the ratio of two samples; 0: no mixing

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("width", self.width >= 8, "8 or more"),
            ("num_queries", self.num_queries >= 1, "1 or more"),
            ("num_layers", self.num_layers >= 1, "1 or more"),
            ("drop_modality", 0 <= self.drop_modality < 1, "at least 0 and below 1"),
            ("dropout", 0 <= self.dropout < 1, "at least 0 and below 1"),
            ("mixup", self.mixup >= 0, "at least 0"),
        ):
            if not good:
                raise InputError(f"fusion.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")


class MultimodalOutput(NamedTuple):
    """What the net found."""

    logits: Tensor  # (N, K)
    voices: Tensor  # (N, M, K) of each modality alone, 0 where it is missing
    gates: Tensor  # (N, M) trust in each, sums to 1 over those that are there
    attention: Tensor  # (N, Q, L) of the last layer, mean over heads: which tokens the queries looked at
    there: Tensor  # (N, M) which modalities the sample has, those that chance left out in training among them
    partner: Tensor | None = None  # (N,) the row that each was mixed with
    ratio: Tensor | None = None  # (), of its own tokens in the mixture


class DistributedEncoding(Protocol):
    """Other processes that encode rows of the same batch (train/multimodal/distributed.py)."""

    def totals(self, counts: list[int]) -> list[int]:
        """Counts of this process, added up over all."""
        ...

    def stand_in(self, encoder: nn.Module, values: Tensor) -> Tensor:
        """Tokens (N, L, E) for a process of which no row has a value: zeros. The encoder still takes its part in what
        the processes exchange."""
        ...


class MultimodalNet(nn.Module):
    """Inputs by name, and which of them are there -> MultimodalOutput. A name without an entry in `there` is there for
    all."""

    def __init__(
        self, encoders: Mapping[str, nn.Module], num_outputs: int, shape: MultimodalShape | None = None
    ) -> None:
        super().__init__()
        if not encoders:
            raise InputError("there is no modality to fuse", expected="one or more", fix="give encoders by name")
        self.shape = shape or MultimodalShape()
        self.together: DistributedEncoding | None = None  # set while several processes train it
        self.names = tuple(encoders)
        self.encoders = nn.ModuleDict({_module_key(name): encoder for name, encoder in encoders.items()})
        width = self.shape.width
        self.pools = nn.ModuleDict({_module_key(name): AttentionPool(width) for name in self.names})
        self.voices = nn.ModuleDict({_module_key(name): nn.Linear(width, num_outputs) for name in self.names})
        self.kinds = nn.Parameter(0.02 * torch.randn(len(self.names), width))  # what tells the modalities apart
        self.queries = nn.Parameter(0.02 * torch.randn(self.shape.num_queries, width))
        self.layers = nn.ModuleList(CrossAttention(width, self.shape.dropout) for _ in range(self.shape.num_layers))
        self.gate = nn.Linear(width, 1)
        self.norm = nn.LayerNorm((self.shape.num_queries + 1) * width)
        self.head = nn.Linear((self.shape.num_queries + 1) * width, num_outputs)
        self.pairs = PairProducts(len(self.names), width, num_outputs)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        nn.init.zeros_(self.head.weight)  # begins as the late fusion
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Mapping[str, Tensor], there: Mapping[str, Tensor] | None = None) -> MultimodalOutput:
        given = self._there(inputs, there or {})  # (N, M)
        counts = self._counts(given) if self.training else [()] * len(self.names)
        found = [self.encode(name, inputs[name], given[:, at], *counts[at]) for at, name in enumerate(self.names)]
        return self.join([tokens for tokens, _ in found], [mask for _, mask in found], given)

    def encode(self, name: str, values: Tensor, given: Tensor, *counts: int) -> tuple[Tensor, Tensor]:
        """Tokens (N, L_m, E) of one modality, and where there is one (N, L_m). `given` (N,): which rows have a value;
        in training `counts`: how many that are, here and in all processes."""
        encoder: Any = self.encoders[_module_key(name)]
        x = self._encoded(encoder, values, given, *counts) if counts else encoder(values)
        mask = encoder.mask(values) if hasattr(encoder, "mask") else torch.ones_like(x[..., 0]).bool()
        return x, mask

    def join(self, tokens: Sequence[Tensor], masks: Sequence[Tensor], given: Tensor) -> MultimodalOutput:
        """What is said of the tokens of all modalities."""
        partner = ratio = None
        if self.training and self.shape.mixup:
            partner, ratio = draw_partners(given), draw_ratio(self.shape.mixup).to(given.device)
            mixed = [_mix_tokens(x, mask, partner, ratio) for x, mask in zip(tokens, masks, strict=True)]
            tokens, masks = [x for x, _ in mixed], [mask for _, mask in mixed]
        seen = self._dropped(given)
        pooled = [self.pools[_module_key(n)](x, m) for n, x, m in zip(self.names, tokens, masks, strict=True)]
        share = seen.float()  # (N, M)
        voices = torch.stack([self.voices[_module_key(n)](p) for n, p in zip(self.names, pooled, strict=True)], 1)
        voices = voices * given[..., None]  # also of those that chance leaves out: each learns from all of its rows
        everything = torch.cat([x + self.kinds[at] for at, x in enumerate(tokens)], 1)  # (N, L, E)
        mask = torch.cat([mask & seen[:, at : at + 1] for at, mask in enumerate(masks)], 1)  # (N, L)
        together = torch.stack(pooled, 1)  # (N, M, E)
        gates = torch.softmax(self.gate(together).squeeze(-1).masked_fill(~seen, -1e9), 1) * share
        x = self.queries.expand(everything.shape[0], -1, -1)  # not len(), which a trace would fix
        attention = x.new_zeros(0)
        for layer in self.layers:
            x, attention = layer(x, everything, mask)
        summary = torch.cat([x.flatten(1), (gates[..., None] * together).sum(1)], 1)
        added = (voices * share[..., None]).sum(1) + self.head(self.norm(summary)) + self.pairs(together, share)
        return MultimodalOutput(self.bias + added, voices, gates, attention, given, partner, ratio)

    def encoder(self, name: str) -> nn.Module:
        """Of a modality by its name."""
        return self.encoders[_module_key(name)]

    def late(self, found: MultimodalOutput) -> Tensor:
        """Logits (N, K) of the late-fusion baseline: the voices alone."""
        return self.bias + found.voices.sum(1)

    @torch.no_grad()
    def weigh(self, slopes: Tensor) -> None:
        """Multiply each voice, and what is added to the voices, by its slope (M + 1,), for good: in the weights."""
        rest = (self.head.weight, self.head.bias, self.pairs.out.weight, self.bias)
        voices = (tuple(self.voices[_module_key(name)].parameters()) for name in self.names)
        for parts, slope in zip((*voices, rest), slopes, strict=True):
            for part in parts:
                part.mul_(slope)

    def _counts(self, given: Tensor) -> list[tuple[int, int]]:
        """Of each modality how many rows have a value: here, and in all processes that share the batch."""
        here: list[int] = given.sum(0).tolist()
        return list(zip(here, self.together.totals(here) if self.together else here, strict=True))

    def _encoded(self, encoder: nn.Module, values: Tensor, given: Tensor, here: int, total: int) -> Tensor:
        """Tokens (N, L, E). Training encodes the rows that have a value alone: the zeros of the others would enter the
        statistics of the norms. Which way is taken is decided by `total`, so that all processes take the same."""
        found: Tensor
        if total < 2:  # a norm needs company: so few are encoded as an answer is
            found = encoder.eval()(values)
            encoder.train()
            return found
        if here == len(given):
            found = encoder(values)
            return found
        if here == 0 and self.together:
            return self.together.stand_in(encoder, values)
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


class AttentionPool(nn.Module):
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


class PairProducts(nn.Module):
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


class CrossAttention(nn.Module):
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


def draw_partners(given: Tensor) -> Tensor:
    """A row (N,) to mix each row with: by chance, among those with the same modalities (N, M). A row whose set of
    modalities no other has stays alone."""
    num, num_modalities = given.shape
    sets = (given.long() << torch.arange(num_modalities, device=given.device)).sum(1)
    shuffled = torch.randperm(num, device=given.device)
    found = torch.empty_like(shuffled)
    found[torch.argsort(sets, stable=True)] = shuffled[torch.argsort(sets[shuffled], stable=True)]
    return found


def _mix_tokens(x: Tensor, mask: Tensor, partner: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (N, L, E) and masks (N, L) of each row and its partner together. Where only one of them has a token, as at
    the end of a shorter text, it counts in full."""
    share = torch.where(mask == mask[partner], ratio, mask.to(x.dtype))[..., None]
    return share * x + (1 - share) * x[partner], mask | mask[partner]


def mixed_label_loss(found: MultimodalOutput, labels: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """`loss(labels)`; of mixed rows that against both labels, in the ratio of the mixture."""
    if found.partner is None or found.ratio is None:
        return loss(labels)
    return found.ratio * loss(labels) + (1 - found.ratio) * loss(labels[found.partner])


def multimodal_loss(found: MultimodalOutput, labels: Tensor, *, alone: float = 0.3) -> Tensor:
    """Cross entropy (K > 1) of the fused logits, and `alone` times that of each voice, so that no modality is left
    unlearned because another is easier (Wang et al. 2020, arXiv 1905.12681, section 3.1). A mean over rows, so that of
    equal parts of a batch the mean is the loss of the batch."""

    def loss(truth: Tensor) -> Tensor:
        together = functional.cross_entropy(found.logits, truth)
        if alone == 0:
            return together
        num, num_modalities, _ = found.voices.shape
        each = functional.cross_entropy(
            found.voices.flatten(0, 1), truth.repeat_interleave(num_modalities), reduction="none"
        ).view(num, num_modalities)
        return together + alone * mean_over_present(each, found.there)

    return mixed_label_loss(found, labels, loss)


def mean_over_present(each: Tensor, there: Tensor) -> Tensor:
    """Of losses (N, M) the mean over the modalities that a row has, then over rows."""
    share = there.float()
    return ((each * share).sum(1) / share.sum(1).clamp(min=1)).mean()


def _module_key(name: str) -> str:
    """A column's name as a module's, which may hold no dot. Escaped, so that two names stay two."""
    return "m_" + name.replace("%", "%25").replace(".", "%2E")


__getattr__ = renamed_attributes(__name__, {"FusionShape": "MultimodalShape"})
