"""Pretrained encoders in the multimodal net: a text model of a Hugging Face folder, or an image net.

    text_encoder = PretrainedTextEncoder(TextEncoderShape(hidden=384, ...))    # weights: engines/text reads the folder
    encoder = ProjectedEncoder(text_encoder, width=64, trained=False, num_tokens=64)
    tokens = encoder(ids)                                        # int64 (N, L) -> (N, L, E), or images

A norm and a linear layer project the encoder's tokens to the width of the multimodal net. A frozen encoder stays in
eval mode (no dropout, no batch statistics), and within `cache_outputs(net)` it caches its outputs by row: epochs after
the first cost no pass through it. Nothing is downloaded: the caller loads the weights.

Shapes: N samples, L tokens, H width of the encoder, E width of the multimodal net, C channels.
Sources: BERT, Devlin et al. 2019 (arXiv 1810.04805), appendix A; frozen encoders with a trained projection, Zhai et al.
2022 (LiT, arXiv 2111.07991), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.nn.augment import MoveShape, RandomMove
from deepseek.nn.pretrained_image import PretrainedImageEncoder, Size

#: Weights by name, as torch or as numpy arrays.
StateDict = Mapping[str, Tensor | NDArray[Any]]

ACTIVATIONS = ("erf", "tanh", "relu")  # erf, tanh: both forms of GELU
MAX_MEMORY_BYTES = 2**28  # of outputs that a frozen encoder caches
GROUP_ROWS = 8  # texts of about one length that are read at a time
EMBEDDED_ROWS = 64  # texts that are embedded at a time


@dataclass(frozen=True, slots=True)
class TextEncoderShape:
    """Sizes of a BERT, DistilBERT or RoBERTa encoder without its head."""

    hidden: int  # H
    num_layers: int
    num_heads: int  # divides hidden
    intermediate: int
    vocab_size: int
    num_positions: int  # the longest text in tokens
    pad_id: int = 0
    activation: str = "erf"
    norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS or self.hidden % self.num_heads:
            raise InputError(
                f"a tower of {self.hidden} numbers, {self.num_heads} heads and {self.activation!r}",
                expected=f"heads that divide the width, and one of {', '.join(ACTIVATIONS)}", fix="correct its config",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PretrainedEncoderShape:
    """Architecture of one column's pretrained encoder: exactly one of `text` and `image` is set."""

    text: TextEncoderShape | None = None
    image: str = ""  # a name that pretrained_image.py knows, such as "efficientnet_lite0" or "resnet18"
    trained: bool = False  # False: frozen
    digest: str = ""  # sha256 of the weights' files, for the lineage


@dataclass(frozen=True)
class PretrainedEncoders:
    """Pretrained encoders by column: their architectures, and their weights (arrays or tensors by name)."""

    shapes: Mapping[str, PretrainedEncoderShape] = field(default_factory=dict)
    weights: Mapping[str, StateDict] = field(default_factory=dict)


class PretrainedTextEncoder(nn.Module):
    """Token ids int64 (N, L) -> (N, L, H): post-norm layers as in BERT."""

    def __init__(self, shape: TextEncoderShape) -> None:
        super().__init__()
        self.shape, self.width = shape, shape.hidden
        self.words = nn.Embedding(shape.vocab_size, shape.hidden)
        self.places = nn.Embedding(shape.num_positions, shape.hidden)  # with the row of the first type of token added
        self.norm = nn.LayerNorm(shape.hidden, eps=shape.norm_eps)
        self.layers = nn.ModuleList(_TextLayer(shape) for _ in range(shape.num_layers))

    def forward(self, ids: Tensor) -> Tensor:
        mask = self.mask(ids)
        x = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x, mask)
        y: Tensor = x
        return y

    def mask(self, ids: Tensor) -> Tensor:
        """Mask (N, L) of real tokens; the first is always True, so that attention has a token to attend to."""
        is_token = ids != self.shape.pad_id
        return torch.cat([torch.ones_like(is_token[:, :1]), is_token[:, 1:]], dim=1)


class _TextLayer(nn.Module):
    """(N, L, H) -> (N, L, H)."""

    def __init__(self, shape: TextEncoderShape) -> None:
        super().__init__()
        h = shape.hidden
        self.heads, self.activation = shape.num_heads, shape.activation
        self.q, self.k, self.v, self.o = (nn.Linear(h, h) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(h, eps=shape.norm_eps), nn.LayerNorm(h, eps=shape.norm_eps)
        self.up, self.down = nn.Linear(h, shape.intermediate), nn.Linear(shape.intermediate, h)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        num, length, width = x.shape
        q, k, v = (part(x).view(num, length, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        x = self.norm1(x + self.o(y.transpose(1, 2).reshape(num, length, width)))
        up = self.up(x)
        form = _GELU_FORMS.get(self.activation)
        out: Tensor = self.norm2(x + self.down(functional.gelu(up, approximate=form) if form else functional.relu(up)))
        return out


_GELU_FORMS = {"erf": "none", "tanh": "tanh"}


def read_by_length(tower: PretrainedTextEncoder, ids: Tensor) -> Tensor:
    """Tokens (N, L, H) of texts (N, L), each read beside others of its length: a batch as wide as the longest text of
    all rows is mostly padding. Behind the longest of its group a text has zeros."""
    mask = tower.mask(ids)
    lengths = (mask * torch.arange(1, ids.shape[1] + 1, device=ids.device)).amax(1)
    tokens = torch.zeros(*ids.shape, tower.width, device=ids.device)
    order = torch.argsort(lengths, stable=True)
    for start in range(0, len(order), GROUP_ROWS):
        rows = order[start : start + GROUP_ROWS]
        longest = int(lengths[rows].max())
        tokens[rows, :longest] = tower(ids[rows, :longest])
    return tokens


def mean_embedding(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean (N, H) of the tokens (N, L, H) where mask (N, L) is True, brought to length 1."""
    share = mask.to(tokens.dtype)
    mean = (tokens * share[..., None]).sum(1) / share.sum(1, keepdim=True)
    unit: Tensor = mean / torch.linalg.vector_norm(mean, dim=1, keepdim=True).clamp(min=1e-12)
    return unit


class ProjectedEncoder(nn.Module):
    """A pretrained encoder and a projection of its tokens (N, L, H) to (N, L, E)."""

    def __init__(
        self, tower: PretrainedTextEncoder | PretrainedImageEncoder, width: int, *, trained: bool, num_tokens: int
    ) -> None:
        super().__init__()
        self.tower, self.trained, self.num_tokens = tower, trained, num_tokens
        self.grid: Size | None = getattr(tower, "grid", None)
        self.join = nn.Sequential(nn.LayerNorm(tower.width), nn.Linear(tower.width, width))
        self.places = nn.Parameter(0.02 * torch.randn(num_tokens, width))
        self.cached_outputs: dict[bytes, Tensor] | None = None  # of a frozen encoder by row, within cache_outputs()
        self.cached_embeddings: dict[bytes, Tensor] = {}  # (H,) of each text that a frozen encoder has read meanwhile
        self.tower.requires_grad_(trained)
        if trained and isinstance(tower, PretrainedImageEncoder):
            tower.freeze_first_half()
        if isinstance(tower, PretrainedTextEncoder):
            self.mask, self.pad_id = tower.mask, tower.shape.pad_id

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.join(self._encode(x))
        y: Tensor = tokens + self.places[: tokens.shape[1]]
        return y

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings (N, H) of texts as token ids (N, L) by a frozen text encoder; those that it has read within
        cache_outputs() cost no pass through it."""
        unread = [row for row in ids if row.numpy().tobytes() not in self.cached_embeddings]
        for start in range(0, len(unread), EMBEDDED_ROWS):
            self._remember_embeddings(torch.stack(unread[start : start + EMBEDDED_ROWS]))
        return torch.stack([self.cached_embeddings[row.numpy().tobytes()] for row in ids])

    def _remember_embeddings(self, ids: Tensor, tokens: Tensor | None = None) -> None:
        """Keep the embeddings of texts (N, L), whose tokens (N, L, H) may be known."""
        assert isinstance(self.tower, PretrainedTextEncoder)  # noqa: S101
        with torch.no_grad():
            read = read_by_length(self.tower, ids) if tokens is None else tokens
            embeddings = mean_embedding(read, self.tower.mask(ids))
        for row, embedding in zip(ids.cpu(), embeddings.cpu(), strict=True):
            self.cached_embeddings[row.numpy().tobytes()] = embedding.clone()

    def train(self, mode: bool = True) -> ProjectedEncoder:
        """A frozen encoder stays in eval mode."""
        super().train(mode)
        if not self.trained:
            self.tower.eval()
        return self

    def _encode(self, x: Tensor) -> Tensor:
        """The encoder's tokens (N, L, H), from the cache for rows that were encoded before."""
        if self.trained or self.cached_outputs is None:
            output: Tensor = self.tower(x)
            return output
        keys = [row.numpy().tobytes() for row in x.cpu()]
        new = {key: row for key, row in zip(keys, x, strict=True) if key not in self.cached_outputs}
        computed: dict[bytes, Tensor] = {}
        if new:
            rows = torch.stack(list(new.values()))
            with torch.no_grad():
                if isinstance(self.tower, PretrainedTextEncoder):
                    tokens = read_by_length(self.tower, rows)
                    self._remember_embeddings(rows, tokens)
                else:
                    tokens = self.tower(rows)
            computed = dict(zip(new, tokens.unbind(), strict=True))
            num_free = MAX_MEMORY_BYTES // next(iter(computed.values())).nbytes - len(self.cached_outputs)
            self.cached_outputs |= {key: row.clone() for key, row in list(computed.items())[: max(0, num_free)]}
        return torch.stack([computed[key] if key in computed else self.cached_outputs[key] for key in keys])


@contextmanager
def cache_outputs(net: nn.Module) -> Iterator[None]:
    """Within the block, frozen encoders of `net` cache their outputs by row, each up to MAX_MEMORY_BYTES."""
    towers = [part for part in net.modules() if isinstance(part, ProjectedEncoder)]
    if any(tower.cached_outputs is not None for tower in towers):  # within another one
        yield
        return
    for tower in towers:
        tower.cached_outputs = {}
    try:
        yield
    finally:
        for tower in towers:
            tower.cached_outputs, tower.cached_embeddings = None, {}


def build_encoder(
    shape: PretrainedEncoderShape,
    width: int,
    *,
    num_tokens: int = 0,
    size: Size = (0, 0),
    move: MoveShape | None = None,
) -> ProjectedEncoder:
    """The encoder of one column: `num_tokens` of a text, `size` of an image. Images are augmented only for an encoder
    that is trained: a frozen one caches its outputs."""
    if shape.text is not None:
        return ProjectedEncoder(PretrainedTextEncoder(shape.text), width, trained=shape.trained, num_tokens=num_tokens)
    tower = PretrainedImageEncoder(shape.image, size, RandomMove(move) if move and shape.trained else None)
    return ProjectedEncoder(tower, width, trained=shape.trained, num_tokens=tower.grid[0] * tower.grid[1])


def load_encoder_weights(encoder: nn.Module, weights: StateDict) -> None:
    """Load weights (arrays or tensors by name) into the pretrained part of an encoder of build_encoder()."""
    assert isinstance(encoder, ProjectedEncoder)  # noqa: S101
    encoder.tower.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
