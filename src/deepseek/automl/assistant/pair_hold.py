"""What a judge of pairs says of held questions beside the nearest known ones, and whether that helps.

    held = hold_pairs(judge, encoder, known_head, questions, labels, folds, groups)
    use = measure_use(heads, held.inside, labels)
    use.helps

The head is used where, of the held questions that the pool of all heads understands with it alone or without it alone,
those with it are so many more that a sign test at 5 % says so (Conover 1999, "Practical nonparametric statistics",
section 3.4). Each half of the held questions is pooled by weights of the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.assistant.judge_fit import MIN_JUDGED_ROWS, fit_pool
from deepseek.automl.assistant.pair_fit import PairFigures
from deepseek.contracts import Float32, JsonObject
from deepseek.engines.assistant.heads import KernelHead
from deepseek.engines.assistant.model import pool_heads
from deepseek.engines.assistant.pair_head import PairHead, StateBank, TokenEncoder
from deepseek.engines.assistant.pair_judge import MAX_TOKENS, PairJudge
from deepseek.extras import need

MAX_KNOWN = 5_000  # questions: each is laid beside the nearest twice, some 10 ms of CPU a time
LEVEL = 0.05  # of the sign test

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PairUse:
    """Whether the head helps, on held questions."""

    helps: bool
    num_held: int
    right_without: int  # of them, by the pool of the other heads
    right_with: int
    only_with: int  # right with the head, wrong without it
    only_without: int
    reason: str  # in words


@dataclass(frozen=True, slots=True)
class PairReport:
    """What is known of the pairs of an assistant, for evidence."""

    figures: PairFigures | None  # of the judge on pairs that it did not learn
    num_learned: tuple[int, ...]  # pairs of each table
    use: PairUse

    def to_dict(self) -> JsonObject:
        return {
            "figures": None if self.figures is None else self.figures.to_dict(),
            "num_learned": list(self.num_learned), "use": asdict(self.use),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class HeldPairs:
    """The head, and what it says of rows that were held from it."""

    head: PairHead
    inside: Float32  # (N, C), NaN for rows in no fold
    hidden: Float32  # (N, C), without the intents of the row's group


def hold_pairs(
    judge: PairJudge, encoder: TokenEncoder, known: KernelHead, questions: Sequence[str], folds: Sequence[Rows],
    groups: Sequence[Rows],
) -> HeldPairs:  # fmt: skip
    """`known`: the kernel head of the same encoder, whose bank holds the N questions in their order."""
    states = encoder.token_states(questions, MAX_TOKENS)
    head = PairHead(judge, StateBank.join(states))
    num_intents = known.dual.shape[1]
    inside, hidden = (np.full((len(questions), num_intents), np.nan, np.float32) for _ in range(2))
    for scores, blocks in ((inside, folds), (hidden, groups)):
        for block in blocks:
            rest = np.setdiff1d(np.arange(len(questions)), block)
            cosines = known.bank[block] @ known.bank[rest].T
            own = [states[row] for row in block.tolist()]
            scores[block] = head.scores(cosines, known.intents[rest], num_intents, own, rest)
    return HeldPairs(head, inside, hidden)


def measure_use(heads: Sequence[Float32], pairs: Float32, labels: Rows) -> PairUse:
    """`heads`: scores (N, C) of held rows by the other heads; `pairs` (N, C): by the judge of pairs."""
    rows = np.flatnonzero(np.isfinite(heads[0]).all(axis=1))
    if len(rows) < 2 * MIN_JUDGED_ROWS:
        reason = f"{len(rows)} held questions are too few to say that it helps"
        return PairUse(False, len(rows), 0, 0, 0, 0, reason)
    before = [head[rows] for head in heads]
    without = _is_right(before, labels[rows])
    with_head = _is_right([*before, pairs[rows]], labels[rows])
    only_with, only_without = int((with_head & ~without).sum()), int((without & ~with_head).sum())
    helps = sign_test(only_with, only_without) <= LEVEL
    reason = (
        f"{only_with} held questions are understood with it alone and {only_without} without it alone: "
        + ("it is used" if helps else "it is not used")
    )  # fmt: skip
    return PairUse(helps, len(rows), int(without.sum()), int(with_head.sum()), only_with, only_without, reason)


def _is_right(heads: Sequence[Float32], labels: Rows) -> NDArray[np.bool_]:
    """(N,) whether the pool's first intent is the right one, each half by weights of the other."""
    right = np.zeros(len(labels), bool)
    half_of = np.random.default_rng(0).permutation(len(labels)) % 2
    for half in (0, 1):
        own, other = half_of == half, half_of != half
        weights = fit_pool([head[other] for head in heads], labels[other])
        right[own] = pool_heads([head[own] for head in heads], weights).argmax(axis=1) == labels[own]
    return right


def sign_test(num_better: int, num_worse: int) -> float:
    """The chance of at least so many better ones among them, were both as likely.

    >>> sign_test(5, 0), sign_test(0, 0)
    (0.03125, 1.0)
    """
    num = num_better + num_worse
    if not num:
        return 1.0
    return float(need("scipy.stats", extra="tabular").binomtest(num_better, num, 0.5, alternative="greater").pvalue)
