"""The multimodal net: tokens of several modalities of one sample -> logits, by cross-attention, products and a gate.

    net = MultimodalNet({"ct": ImageEncoder(...), "record": TextEncoder(...)}, width=64, num_outputs=2)
    found = net({"ct": images, "record": ids}, {"ct": there})   # there (N,) false: this sample has no such value
    found.logits                                                # (N, K)

Each modality has unimodal logits, from its pooled tokens; a missing one has none. Their sum is the late fusion: a
product of experts. Interactions are added by learned queries with cross-attention to the tokens of all modalities, by
products of each two modalities, and by a gate that weighs the modalities of this sample. Training starts from the late
fusion, and a missing modality contributes no logits, no tokens and no products.

Modality dropout in training leaves out modalities at random, never all of them.

Mixup (off by default) mixes tokens, since words cannot be averaged: each sample with another one that has the same
modalities, all of them in the same ratio, so a mask stays a mask. The loss is against both labels in that ratio.

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
    """Sizes and regularization of the multimodal part, behind the encoders."""

    width: int = 64  # of a token, E
    num_queries: int = 4  # at least 1
    num_layers: int = 2  # of cross-attention, at least 1
    drop_modality: float = 0.25  # probability that training leaves out a modality, at least 0 and below 1
    dropout: float = 0.1  # of the multimodal part, at least 0 and below 1
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), the distribution of the mixing ratio in training; 0: no mixing

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
    """Logits of the multimodal net, and how they came about."""

    logits: Tensor  # (N, K)
    unimodal_logits: Tensor  # (N, M, K) of each modality alone, 0 where it is missing
    gates: Tensor  # (N, M) weight of each modality, sums to 1 over the present ones
    attention: Tensor  # (N, Q, L) of the last layer, mean over heads: weights of the tokens for each query
    present: Tensor  # (N, M) which modalities the sample has, including those that modality dropout left out
    partner: Tensor | None = None  # (N,) row that each row was mixed with
    ratio: Tensor | None = None  # () share of a row's own tokens in the mixture


class DistributedEncoding(Protocol):
    """What the net needs from other processes that encode rows of the same batch (train/multimodal/distributed.py)."""

    def totals(self, counts: list[int]) -> list[int]:
        """The sums of `counts` over all processes."""
        ...

    def stand_in(self, encoder: nn.Module, values: Tensor) -> Tensor:
        """Zero tokens (N, L, E) for a process none of whose rows has a value; the encoder still takes part in the
        exchange between processes."""
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
        self.distributed: DistributedEncoding | None = None  # set while several processes train it
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

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> MultimodalOutput:
        has_value = self._presence(inputs, present or {})  # (N, M)
        counts = self._counts(has_value) if self.training else [()] * len(self.names)
        encoded = [
            self.encode(name, inputs[name], has_value[:, index], *counts[index])
            for index, name in enumerate(self.names)
        ]
        return self.join([tokens for tokens, _ in encoded], [mask for _, mask in encoded], has_value)

    def encode(self, name: str, values: Tensor, has_value: Tensor, *counts: int) -> tuple[Tensor, Tensor]:
        """Tokens (N, L_m, E) of one modality and their mask (N, L_m). `has_value` (N,): which rows have a value; in
        training `counts`: the number of these, in this process and in all."""
        encoder: Any = self.encoders[_module_key(name)]
        x = self._encode_present(encoder, values, has_value, *counts) if counts else encoder(values)
        mask = encoder.mask(values) if hasattr(encoder, "mask") else torch.ones_like(x[..., 0]).bool()
        return x, mask

    def join(self, tokens: Sequence[Tensor], masks: Sequence[Tensor], has_value: Tensor) -> MultimodalOutput:
        """The net's output from the tokens and masks of all modalities; `has_value` (N, M) as in MultimodalOutput."""
        partner = ratio = None
        if self.training and self.shape.mixup:
            partner, ratio = draw_partners(has_value), draw_ratio(self.shape.mixup).to(has_value.device)
            mixed = [_mix_tokens(x, mask, partner, ratio) for x, mask in zip(tokens, masks, strict=True)]
            tokens, masks = [x for x, _ in mixed], [mask for _, mask in mixed]
        used = self._drop_modalities(has_value)
        keys = [_module_key(name) for name in self.names]
        pooled = [self.pools[key](x, m) for key, x, m in zip(keys, tokens, masks, strict=True)]
        share = used.float()  # (N, M)
        unimodal_logits = torch.stack([self.voices[key](x) for key, x in zip(keys, pooled, strict=True)], 1)
        # modality dropout does not apply here: each modality's logits learn from all of its rows
        unimodal_logits = unimodal_logits * has_value[..., None]
        all_tokens = torch.cat([x + self.kinds[index] for index, x in enumerate(tokens)], 1)  # (N, L, E)
        mask = torch.cat([mask & used[:, index : index + 1] for index, mask in enumerate(masks)], 1)  # (N, L)
        pooled_tokens = torch.stack(pooled, 1)  # (N, M, E)
        gates = torch.softmax(self.gate(pooled_tokens).squeeze(-1).masked_fill(~used, -1e9), 1) * share
        x = self.queries.expand(all_tokens.shape[0], -1, -1)  # not len(), which a trace would fix
        attention = x.new_zeros(0)
        for layer in self.layers:
            x, attention = layer(x, all_tokens, mask)
        summary = torch.cat([x.flatten(1), (gates[..., None] * pooled_tokens).sum(1)], 1)
        late = (unimodal_logits * share[..., None]).sum(1)
        logits = self.bias + (late + self.head(self.norm(summary)) + self.pairs(pooled_tokens, share))
        return MultimodalOutput(logits, unimodal_logits, gates, attention, has_value, partner, ratio)

    def encoder(self, name: str) -> nn.Module:
        """The encoder of a modality by its name."""
        return self.encoders[_module_key(name)]

    def late_fusion(self, output: MultimodalOutput) -> Tensor:
        """Logits (N, K) of the late-fusion baseline: the sum of the unimodal logits."""
        return self.bias + output.unimodal_logits.sum(1)

    @torch.no_grad()
    def scale_logits(self, slopes: Tensor) -> None:
        """Multiply the logits of each modality, and what is added to them, by a slope each (M + 1,): by scaling the
        weights, in place."""
        rest = (self.head.weight, self.head.bias, self.pairs.out.weight, self.bias)
        voices = (tuple(self.voices[_module_key(name)].parameters()) for name in self.names)
        for parts, slope in zip((*voices, rest), slopes, strict=True):
            for part in parts:
                part.mul_(slope)

    def _counts(self, has_value: Tensor) -> list[tuple[int, int]]:
        """For each modality the number of rows with a value: in this process, and in all that share the batch."""
        own_counts: list[int] = has_value.sum(0).tolist()
        totals = self.distributed.totals(own_counts) if self.distributed else own_counts
        return list(zip(own_counts, totals, strict=True))

    def _encode_present(
        self, encoder: nn.Module, values: Tensor, has_value: Tensor, own_count: int, total: int
    ) -> Tensor:
        """Tokens (N, L, E) in training. Only rows with a value are encoded: the zeros of the others would enter the
        statistics of the norms. `total` decides between the branches, so that all processes take the same one."""
        encoded: Tensor
        if total < 2:  # a batch norm needs two rows: fewer are encoded as in evaluation
            encoded = encoder.eval()(values)
            encoder.train()
            return encoded
        if own_count == len(has_value):
            encoded = encoder(values)
            return encoded
        if own_count == 0 and self.distributed:
            return self.distributed.stand_in(encoder, values)
        partial: Tensor = encoder(values[has_value])
        encoded = partial.new_zeros(len(values), *partial.shape[1:])
        encoded[has_value] = partial
        return encoded

    def _presence(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        first = inputs[self.names[0]]
        all_rows = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)
        return torch.stack([present.get(name, all_rows) for name in self.names], 1)

    def _drop_modalities(self, present: Tensor) -> Tensor:
        """Modality dropout (N, M): the present modalities without randomly dropped ones; a row keeps all of them where
        none would be left."""
        if not self.training or self.shape.drop_modality == 0 or len(self.names) == 1:
            return present
        kept = present & (torch.rand(present.shape, device=present.device) >= self.shape.drop_modality)
        return torch.where(kept.any(1, keepdim=True), kept, present)


class AttentionPool(nn.Module):
    """Tokens (N, L, E) -> (N, E): attention pooling, a mean with learned weights."""

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
    """Pooled modalities (N, M, E) and share (N, M), 1 for present ones -> logits (N, K) of the products of each two,
    initially zero. Attention alone takes many times longer to learn an answer that depends on two modalities at once
    (docs/log.md)."""

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
    """Queries (N, Q, E) attend to tokens (N, L, E) where mask (N, L) is True -> queries, and attention (N, Q, L)."""

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


def draw_partners(has_value: Tensor) -> Tensor:
    """Random mixup partners (N,): for each row another one with the same modalities (N, M), or itself where no other
    row has the same set."""
    num, num_modalities = has_value.shape
    sets = (has_value.long() << torch.arange(num_modalities, device=has_value.device)).sum(1)
    shuffled = torch.randperm(num, device=has_value.device)
    partner_rows = torch.empty_like(shuffled)
    partner_rows[torch.argsort(sets, stable=True)] = shuffled[torch.argsort(sets[shuffled], stable=True)]
    return partner_rows


def _mix_tokens(x: Tensor, mask: Tensor, partner: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (N, L, E) and masks (N, L) of each row mixed with its partner's. Where only one of them has a token, as at
    the end of a shorter text, that one is taken unmixed."""
    share = torch.where(mask == mask[partner], ratio, mask.to(x.dtype))[..., None]
    return share * x + (1 - share) * x[partner], mask | mask[partner]


def mixed_label_loss(output: MultimodalOutput, labels: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """`loss(labels)`; for mixed rows the losses against both labels, in the ratio of the mixture."""
    if output.partner is None or output.ratio is None:
        return loss(labels)
    return output.ratio * loss(labels) + (1 - output.ratio) * loss(labels[output.partner])


def multimodal_loss(output: MultimodalOutput, labels: Tensor, *, alone: float = 0.3) -> Tensor:
    """Cross entropy (K > 1) of the multimodal logits plus `alone` times that of the unimodal logits, so that no
    modality stays untrained because another is easier (Wang et al. 2020, arXiv 1905.12681, section 3.1). A mean over
    rows, so the mean over equal parts of a batch is the loss of the batch."""

    def loss(truth: Tensor) -> Tensor:
        joint_loss = functional.cross_entropy(output.logits, truth)
        if alone == 0:
            return joint_loss
        num, num_modalities, _ = output.unimodal_logits.shape
        unimodal_losses = functional.cross_entropy(
            output.unimodal_logits.flatten(0, 1), truth.repeat_interleave(num_modalities), reduction="none"
        ).view(num, num_modalities)
        return joint_loss + alone * mean_over_present(unimodal_losses, output.present)

    return mixed_label_loss(output, labels, loss)


def mean_over_present(losses: Tensor, present: Tensor) -> Tensor:
    """Mean of losses (N, M) over the modalities that a row has, then over rows."""
    share = present.float()
    return ((losses * share).sum(1) / share.sum(1).clamp(min=1)).mean()


def _module_key(name: str) -> str:
    """A column's name as a module's name, which may hold no dot. Escaped, so that different names stay different."""
    return "m_" + name.replace("%", "%25").replace(".", "%2E")


__getattr__ = renamed_attributes(__name__, {"FusionShape": "MultimodalShape"})
