"""Pre-alignment of pairs: the encoders of two columns learn which of their values belong together, before the fusion.

    aligner = prealign(net, decoded.arrays, ("report", "ct"), rows=train, config=AlignConfig(epochs=20), seed=0)
    retrieval(aligner, decoded.arrays, test)      # Retrieval: recall@1, 5 and 10 both ways, beside chance

Rows teach that have both values. Rows with the very same value (one report over several slices) count as belonging
together, in the loss as in the recall. Image-text, audio-text and video-text are the same here: tokens against tokens.

Shapes: N samples, G distinct values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.contracts import Float64
from deepseek.data.samples.preparer import PRESENT_SUFFIX, SamplePreparer
from deepseek.errors import InputError
from deepseek.nn.align import AlignedTokens, Aligner, contrastive_loss, match_scores
from deepseek.nn.fusion import MultimodalNet
from deepseek.nn.pretrained import cache_outputs
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import fit

Arrays = Mapping[str, NDArray[Any]]
ColumnPair = tuple[str, str]
BATCH_ROWS = 64  # rows that are encoded at a time to be retrieved


@dataclass(frozen=True, slots=True)
class AlignConfig:
    """How a pair is aligned."""

    epochs: int = 20  # at least 1
    lr: float = 1e-3  # peak rate of AdamW, above 0
    weight_decay: float = 0.05
    batch_size: int = 32  # at least 2: each row has the others of its batch against it
    width: int = 64  # of the common space

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("width", 2)):
            if getattr(self, name) < least:
                raise InputError(
                    f"align.{name} is {getattr(self, name)}", expected=f"{least} or more", fix="give such a number"
                )


@dataclass(frozen=True)
class Retrieval:
    """How often a value is found by its partner: whether a match is among the k most similar candidates (recall@k)."""

    num_rows: int  # with both values
    recall: dict[str, dict[int, float]]  # by direction ("report -> ct"), by k
    chance: dict[str, dict[int, float]]  # the recall of a random order
    ranks: dict[str, NDArray[np.int64]]  # (N,) or (G,) by direction: rank of the best match, from 0


class _PairBatches:
    """Batches ((one, other), mask (N, N) of rows with the same value) in a new order each pass; the rest of it is
    left out. `on_epoch` is called with the number of each pass, from 1, as it begins."""

    def __init__(
        self, arrays: Arrays, pair: ColumnPair, rows: NDArray[Any], batch_size: int, seed: int,
        on_epoch: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.arrays, self.pair, self.rows, self.batch_size = arrays, pair, rows, min(batch_size, len(rows))
        self.on_epoch, self.num_passes = on_epoch, 0
        self.value_ids = {name: _value_ids(arrays[name], rows) for name in pair}
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        self.num_passes += 1
        if self.on_epoch is not None:
            self.on_epoch(self.num_passes)
        order = torch.randperm(len(self.rows), generator=self.generator).numpy()
        for index in range(len(self)):
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            values = [torch.from_numpy(np.asarray(self.arrays[name][self.rows[chosen]])) for name in self.pair]
            ids = [self.value_ids[name][chosen] for name in self.pair]
            yield (values[0], values[1]), torch.from_numpy(_same_value_mask(*ids))


def prealign(
    net: MultimodalNet,
    arrays: Arrays,
    pair: ColumnPair,
    *,
    rows: NDArray[np.int64],
    config: AlignConfig | None = None,
    seed: int = 0,
    on_epoch: Callable[[int], None] | None = None,
) -> Aligner:
    """Train the encoders of `pair` within `net`. Returns the Aligner that is learned beside them, in eval mode.
    `on_epoch` is called with the number of each epoch, from 1, as it begins.

    InputError for a name that is no modality, or fewer than 2 rows that have both values.
    """
    config = config or AlignConfig()
    torch.manual_seed(seed)
    aligner = Aligner(net, *pair, width=config.width)
    both = rows_with_both(arrays, pair, rows)
    if len(both) < 2:
        raise InputError(
            f"{len(both)} training rows have both {pair[0]!r} and {pair[1]!r}", expected="2 or more",
            fix="leave the pre-alignment out (prealign_epochs 0), or bring such rows",
        )  # fmt: skip
    pairs = _PairBatches(arrays, pair, both, config.batch_size, seed, on_epoch)
    train = TrainConfig(epochs=config.epochs, lr=config.lr, weight_decay=config.weight_decay, seed=seed)
    with cache_outputs(net):
        fit(
            _PairSimilarity(aligner),
            pairs,
            train,
            loss=lambda output, same: contrastive_loss(output[0], output[1], same),
            progress=False,
        )
    return aligner.eval()


class _PairSimilarity(nn.Module):
    """Values of both columns -> their similarities (N, N) and the scale of these, as the loop calls a model."""

    def __init__(self, aligner: Aligner) -> None:
        super().__init__()
        self.aligner = aligner

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        aligner = self.aligner
        return match_scores(aligner(aligner.pair[0], one), aligner(aligner.pair[1], other)), aligner.scale


def text_media_pairs(preparer: SamplePreparer) -> list[ColumnPair]:
    """The pairs to align: each column of texts with each column of images, audio and video."""
    texts = [column.name for column in preparer.media if column.kind == "text"]
    others = [column.name for column in preparer.media if column.kind in ("image", "audio", "video")]
    return [(text, other) for text in texts for other in others]


def rows_with_both(arrays: Arrays, pair: ColumnPair, rows: NDArray[Any]) -> NDArray[np.int64]:
    """The rows, out of `rows`, that have a value of both columns of the pair."""
    is_present = np.all([np.asarray(arrays[name + PRESENT_SUFFIX][rows]) for name in pair], axis=0)
    both: NDArray[np.int64] = np.asarray(rows)[is_present]
    return both


def retrieval(aligner: Aligner, arrays: Arrays, rows: NDArray[Any], *, ks: Sequence[int] = (1, 5, 10)) -> Retrieval:
    """Recall of the distinct values of one column among those of the other, over the rows that have both.

    InputError where no row has.
    """
    rows = rows_with_both(arrays, aligner.pair, rows)
    if not len(rows):
        raise InputError("no row has both values", expected="rows with a pair", fix="give such rows")
    similarities, is_match = similarity_matrix(aligner, arrays, rows)
    one, other = aligner.pair
    directions = {f"{one} -> {other}": (similarities, is_match), f"{other} -> {one}": (similarities.T, is_match.T)}
    ranks = {name: _first_match_ranks(*each) for name, each in directions.items()}
    return Retrieval(
        len(rows),
        {name: {k: float((match_rank < k).mean()) for k in ks} for name, match_rank in ranks.items()},
        {name: {k: _chance_recall(matches, k) for k in ks} for name, (_, matches) in directions.items()},
        ranks,
    )


def similarity_matrix(aligner: Aligner, arrays: Arrays, rows: NDArray[Any]) -> tuple[Float64, NDArray[np.bool_]]:
    """Similarities (G, G') of the distinct values of both columns, and a mask (G, G') of those that share a row."""
    encoded_sides, ids_by_side = [], []
    for name in aligner.pair:
        value_ids = _value_ids(arrays[name], rows)
        first_rows = rows[np.unique(value_ids, return_index=True)[1]]
        encoded_sides.append(_encode_rows(aligner, name, arrays[name], first_rows))
        ids_by_side.append(value_ids)
    with torch.inference_mode():
        parts = [
            match_scores(AlignedTokens(*(part[at : at + 1] for part in encoded_sides[0])), encoded_sides[1])
            for at in range(len(encoded_sides[0][0]))
        ]
    is_match = np.zeros((int(ids_by_side[0].max()) + 1, int(ids_by_side[1].max()) + 1), bool)
    is_match[ids_by_side[0], ids_by_side[1]] = True
    return torch.cat(parts).double().numpy(), is_match


def _encode_rows(aligner: Aligner, name: str, array: NDArray[Any], rows: NDArray[Any]) -> AlignedTokens:
    aligner.eval()
    with torch.inference_mode():
        parts = [
            aligner(name, torch.from_numpy(np.asarray(array[rows[start : start + BATCH_ROWS]])))
            for start in range(0, len(rows), BATCH_ROWS)
        ]
    return AlignedTokens(torch.cat([part.tokens for part in parts]), torch.cat([part.weights for part in parts]))


def _value_ids(array: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.int64]:
    """A number for each row's value (N,): equal values have equal numbers, counted in the order of first appearance."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(np.asarray(array[row]).tobytes(), len(seen)) for row in rows], np.int64)


def _same_value_mask(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows have the same value of either column: (N,) numbers of values to a mask (N, N)."""
    mask: NDArray[np.bool_] = (one[:, None] == one) | (other[:, None] == other)
    return mask


def _first_match_ranks(similarities: Float64, is_match: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rank of the best match of each value (G,), from 0: how many others are at least as similar."""
    best = np.where(is_match, similarities, -np.inf).max(1, keepdims=True)
    match_ranks: NDArray[np.int64] = ((similarities >= best) & ~is_match).sum(1)
    return match_ranks


def _chance_recall(is_match: NDArray[np.bool_], k: int) -> float:
    """Recall@k of candidates in a random order: the mean probability that a match is among k drawn."""
    num_candidates = is_match.shape[1]
    if k >= num_candidates:
        return 1.0
    miss_probabilities = [
        np.prod([(num_candidates - num_matches - drawn) / (num_candidates - drawn) for drawn in range(k)])
        for num_matches in is_match.sum(1)
    ]
    return float(1 - np.mean(np.maximum(miss_probabilities, 0)))
