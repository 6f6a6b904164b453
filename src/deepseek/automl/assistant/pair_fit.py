"""Pairs of questions become a judge of whether two questions ask the same.

    fitted = fit_pairs(folder, "e5-small", [pairs, others], PairOptions())
    fitted.judge, fitted.figures                # PairFigures of pairs that taught nothing

The lower layers of the encoder read each question once and stay as they are; the upper ones read both questions of a
pair together and learn (nn/question_pairs.py). The first table is the one that counts: figures are of a part of it,
cut between components (labelled_pairs.py); others teach beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.assistant.frozen_layers import frozen_states, open_tower, token_ids
from deepseek.automl.assistant.labelled_pairs import LabelledPairs, held_rows, take_pairs, without_questions
from deepseek.automl.assistant.measure import Figure, share_figure
from deepseek.contracts import Float32, JsonObject
from deepseek.engines.assistant.pair_judge import (
    LINEAR_PARTS,
    MAX_TOKENS,
    PairJudge,
    PairSettings,
    join_pairs,
    pair_batches,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from deepseek.nn.pretrained import PretrainedTextEncoder
    from deepseek.nn.question_pairs import PairNet

POOL_BATCHES = 25  # that are sorted by length together
SCORED_PAIRS = 256  # at a time
MIN_HELD_PAIRS = 50  # that a figure is told of
HELD = "pairs that share no question with those it learned"


@dataclass(frozen=True)
class PairOptions:
    """How a judge of pairs learns."""

    trained_layers: int = 2  # from the top, but not the lowest: they read both questions together
    epochs: int = 3
    lr: float = 3e-4  # peak, of AdamW
    head_lr: float = 1e-3
    batch_size: int = 128
    smoothing: float = 0.05  # of the labels, 0..1
    dropout: float = 0.1  # 0..1
    other_weight: float = 1.0  # of a pair of the second and further tables
    held_share: float = 0.2  # of the first table's pairs, 0..1; 0: nothing is held, and there are no figures
    precision: Literal["fp32", "bf16"] = "bf16"  # of autocast
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PairFigures:
    """How well a judge does on pairs that it did not learn."""

    rows: str  # which, in words
    num_pairs: int
    num_same: int
    accuracy: Figure  # value, low, high
    cosine_accuracy: Figure  # of the encoder alone: a threshold on the cosine, chosen on the learned pairs

    def to_dict(self) -> JsonObject:
        """For evidence."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class FittedPairs:
    """A judge, and what is known of it."""

    judge: PairJudge
    figures: PairFigures | None  # None: too few pairs could be held
    num_learned: tuple[int, ...]  # pairs of each table
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class QuestionStates:
    """States of different questions behind the frozen layers, one below the other."""

    place_of: dict[str, int]
    states: NDArray[np.float16]  # (T, H)
    ends: NDArray[np.int64]  # (Q,) rising

    def __getitem__(self, question: str) -> Float32:
        start, end = self._span(question)
        return self.states[start:end].astype(np.float32)

    def _span(self, question: str) -> tuple[int, int]:
        place = self.place_of[question]
        return int(self.ends[place - 1]) if place else 0, int(self.ends[place])

    def num_tokens(self, question: str) -> int:
        """Of a question, as far as it is read."""
        start, end = self._span(question)
        return end - start

    def of(self, pairs: LabelledPairs, rows: Sequence[int]) -> tuple[Float32, NDArray[np.int64]]:
        """States (N, L, H) of both questions of these pairs, and which is whose (N, L)."""
        return join_pairs([(self[pairs.first[row]], self[pairs.second[row]]) for row in rows])

    def lengths(self, pairs: LabelledPairs) -> list[int]:
        """Of each pair how many tokens both questions have."""
        return [
            self.num_tokens(one) + self.num_tokens(other) for one, other in zip(pairs.first, pairs.second, strict=True)
        ]

    def cosines(self, pairs: LabelledPairs) -> Float32:
        """(N,) of the means of the states."""
        means = np.stack([self[question].mean(axis=0) for question in self.place_of])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        sides = [[self.place_of[text] for text in side] for side in (pairs.first, pairs.second)]
        return np.asarray((means[sides[0]] * means[sides[1]]).sum(axis=1), np.float32)


def read_states(folder: Path, questions: Sequence[str], num_frozen: int) -> QuestionStates:
    """States of the first MAX_TOKENS tokens of each question, all different. Errors as those of open_tower()."""
    ids = [row[:MAX_TOKENS] for row in token_ids(folder, questions)]
    states = frozen_states(open_tower(folder), ids, num_frozen, is_bf16=True)
    flat = np.concatenate([each.numpy() for each in states])
    return QuestionStates({text: at for at, text in enumerate(questions)}, flat, np.cumsum([len(row) for row in ids]))


def different_questions(tables: Sequence[LabelledPairs]) -> list[str]:
    """Every question of the tables once, in the order of letters."""
    return sorted({question for pairs in tables for question in (*pairs.first, *pairs.second)})


def fit_pairs(
    folder: Path, encoder: str, tables: Sequence[LabelledPairs], options: PairOptions, *,
    states: QuestionStates | None = None, tell: Callable[[str, float], None] | None = None,
) -> FittedPairs:  # fmt: skip
    """`folder`: of the encoder with that name; `tables`: the pairs that count, then those that teach beside them;
    `states`: of all their questions, where they are known. Errors as those of open_tower()."""
    tower = open_tower(folder)
    num_frozen = max(1, len(tower.layers) - options.trained_layers)
    is_held = held_rows(tables[0], share=options.held_share, seed=options.seed)
    held = take_pairs(tables[0], np.flatnonzero(is_held).tolist())
    learned = [take_pairs(tables[0], np.flatnonzero(~is_held).tolist())]
    learned += [without_questions(table, different_questions([held])) for table in tables[1:]]
    if tell is not None:
        tell("reading questions of pairs", 0.0)
    states = states or read_states(folder, different_questions(tables), num_frozen)
    net = _learn(tower, states, learned, num_frozen, options, tell)
    judge = to_judge(net, tower, encoder, num_frozen)
    warnings = tuple(dict.fromkeys(warning for table in tables for warning in table.warnings))
    figures = None
    if len(held) >= MIN_HELD_PAIRS and 0 < held.same.sum() < len(held):
        figures = _figures(score_pairs(net, states, held), states, learned[0], held)
    elif options.held_share:
        warnings = (*warnings, f"{len(held)} pairs could be held apart from the learned ones: too few for a figure")
    return FittedPairs(judge, figures, tuple(map(len, learned)), warnings)


def _figures(logits: Float32, states: QuestionStates, learned: LabelledPairs, held: LabelledPairs) -> PairFigures:
    threshold = best_threshold(states.cosines(learned), learned.same)
    by_cosine = (states.cosines(held) >= threshold) == held.same
    is_right = (logits > 0) == held.same
    return PairFigures(
        HELD, len(held), int(held.same.sum()), share_figure(int(is_right.sum()), len(held)),
        share_figure(int(by_cosine.sum()), len(held)),
    )  # fmt: skip


def best_threshold(scores: Float32, same: NDArray[np.bool_]) -> float:
    """The score from which on calling pairs the same is right most often.

    >>> best_threshold(np.array([0.25, 0.5, 0.75], np.float32), np.array([False, True, True]))
    0.5
    """
    order = np.argsort(scores, kind="stable")
    right = np.cumsum(np.concatenate([[int(same.sum())], np.where(same[order], -1, 1)]))  # with the first k below
    place = int(right.argmax())
    return float(scores[order[place]]) if place < len(order) else float("inf")


class PairBatches:
    """Batches ((states, part, source), [label, weight]) of pairs of like length, in a new order each epoch. For `fit`,
    which tells it the epoch."""

    def __init__(self, states: QuestionStates, tables: Sequence[LabelledPairs], options: PairOptions) -> None:
        self._states, self._tables, self._options, self._epoch = states, tables, options, 0
        self._rows = [(source, row) for source, table in enumerate(tables) for row in range(len(table))]
        self._lengths = [length for table in tables for length in states.lengths(table)]

    def set_epoch(self, epoch: int) -> None:
        """The order of the pairs is drawn from this number."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._options.batch_size)

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        size = self._options.batch_size
        draw = np.random.default_rng((self._options.seed, self._epoch))
        places = draw.permutation(len(self._rows)).tolist()
        wide = POOL_BATCHES * size
        pools = [sorted(places[at : at + wide], key=self._lengths.__getitem__) for at in range(0, len(places), wide)]
        batches = [pool[at : at + size] for pool in pools for at in range(0, len(pool), size)]
        for place in draw.permutation(len(batches)).tolist():
            yield self._batch([self._rows[each] for each in batches[place]])

    def _batch(self, rows: Sequence[tuple[int, int]]) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        import torch

        tables = self._tables
        states, part = join_pairs([
            (self._states[tables[source].first[row]], self._states[tables[source].second[row]]) for source, row in rows
        ])  # fmt: skip
        wanted = [
            [float(tables[source].same[row]), self._options.other_weight if source else 1.0] for source, row in rows
        ]
        source = torch.tensor([source for source, _ in rows])
        return (torch.from_numpy(states), torch.from_numpy(part), source), torch.tensor(wanted)


def _learn(
    tower: PretrainedTextEncoder, states: QuestionStates, tables: Sequence[LabelledPairs], num_frozen: int,
    options: PairOptions, tell: Callable[[str, float], None] | None,
) -> PairNet:  # fmt: skip
    import torch
    from torch.nn import functional

    from deepseek.nn.question_pairs import PairNet
    from deepseek.train import TrainConfig, fit

    torch.manual_seed(options.seed)
    net = PairNet(tower.train(), num_frozen=num_frozen, num_sources=len(tables), dropout=options.dropout)
    config = TrainConfig(epochs=options.epochs, lr=options.lr, seed=options.seed, precision=options.precision)
    inner = {id(each) for each in net.layers.parameters()}
    groups = [
        {"params": list(net.layers.parameters()), "lr": options.lr},
        {"params": [each for each in net.parameters() if id(each) not in inner], "lr": options.head_lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    batches = PairBatches(states, tables, options)
    num_steps, num_done = options.epochs * len(batches), 0

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        nonlocal num_done
        num_done += 1
        if tell is not None:
            tell("learning pairs", num_done / num_steps)
        labels = wanted[:, 0] * (1 - options.smoothing) + options.smoothing / 2
        each = functional.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")
        return (each * wanted[:, 1]).mean()

    def schedule(each: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(each, lambda step: config.rate(step, num_steps))

    fit(net, batches, config, loss=loss, optimizer=optimizer, scheduler=schedule, progress=False)
    return net.eval()


def score_pairs(net: PairNet, states: QuestionStates, pairs: LabelledPairs) -> Float32:
    """Logits (N,) by the rule of the first table."""
    import torch

    logits = np.empty(len(pairs), np.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for rows in pair_batches(states.lengths(pairs), SCORED_PAIRS):
            joined, part = states.of(pairs, rows)
            source = torch.zeros(len(rows), dtype=torch.long)
            logits[rows] = net(torch.from_numpy(joined), torch.from_numpy(part), source).float().numpy()
    return logits


def to_judge(net: PairNet, tower: PretrainedTextEncoder, encoder: str, num_frozen: int) -> PairJudge:
    """The net in arrays; scale and bias of the first table go into the last layer."""
    state = {name: value.detach().float().numpy() for name, value in net.state_dict().items()}
    weights: dict[str, Float32] = {}
    for place in range(len(net.layers)):
        weights[f"layer{place}.other"] = state["other"][place]
        for part in (*LINEAR_PARTS, "norm1", "norm2"):
            for kind in ("weight", "bias"):
                weights[f"layer{place}.{part}.{kind}"] = state[f"layers.{place}.{part}.{kind}"]
    scale, bias = state["scale"][0], state["bias"][0]
    weights |= {
        "wide.weight": state["wide.weight"], "wide.bias": state["wide.bias"],
        "out.weight": state["out.weight"] * scale, "out.bias": state["out.bias"] * scale + bias,
    }  # fmt: skip
    shape = tower.shape
    settings = PairSettings(
        encoder, num_frozen, len(net.layers), shape.num_heads, net.activation, shape.norm_eps
    )  # fmt: skip
    return PairJudge(settings, weights)
