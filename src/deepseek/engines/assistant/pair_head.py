"""A head that lays a question beside the nearest known ones, and asks a judge of pairs whether they ask the same.

    head = PairHead(judge, bank)
    head.scores(cosines, intents, num_intents, states)       # (N, C), 0..1

Of each question the nearest known question of the NUM_CANDIDATES nearest intents is judged, so what it costs is bounded
whatever is known; all other intents score 0. Known questions are kept as the states of their tokens, not as text.

Shapes: N questions, B known questions, C intents, L tokens, H numbers of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32, JsonObject
from deepseek.engines.assistant.heads import nearest_of_each
from deepseek.engines.assistant.pair_judge import MAX_TOKENS, PREFIX, PairJudge

NUM_CANDIDATES = 4
BANK_NAME, ENDS_NAME = f"{PREFIX}bank", f"{PREFIX}ends"


class TokenEncoder(Protocol):
    """Texts to the states of their tokens."""

    def token_states(self, texts: Sequence[str], most: int) -> list[Float32]: ...


@dataclass(frozen=True)
class StateBank:
    """States of known questions behind the judge's frozen layers, one below the other."""

    states: NDArray[np.float16]  # (T, H)
    ends: NDArray[np.int64]  # (B,) rising: where each question ends

    @classmethod
    def join(cls, states: Sequence[Float32]) -> StateBank:
        """Of each question (L, H), cut to MAX_TOKENS."""
        cut = [each[:MAX_TOKENS] for each in states]
        return cls(np.concatenate(cut).astype(np.float16), np.cumsum([len(each) for each in cut]))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> Float32:
        start = int(self.ends[place - 1]) if place else 0
        return self.states[start : int(self.ends[place])].astype(np.float32)


@dataclass(frozen=True)
class PairHead:
    """A judge of pairs, and what it lays beside a question."""

    judge: PairJudge
    bank: StateBank  # of the known questions, in the order of the encoder's kernel head

    def scores(
        self, cosines: Float32, intents: NDArray[np.int32], num_intents: int, states: Sequence[Float32],
        rows: NDArray[np.int64] | None = None,
    ) -> Float32:  # fmt: skip
        """`cosines` (N, B) to known questions of the intents (B,), which rise; `states` (L, H) of the N questions;
        `rows`: which of the bank these B are, by default all."""
        chosen = [nearest_candidates(each, intents, num_intents) for each in cosines]
        places = rows if rows is not None else np.arange(len(intents))
        pairs = [
            (own, self.bank[int(places[known])]) for own, candidates in zip(states, chosen, strict=True)
            for known in candidates
        ]  # fmt: skip
        said = iter(self.judge.probabilities(pairs).tolist())
        scores = np.zeros((len(cosines), num_intents), np.float32)
        for row, candidates in enumerate(chosen):
            for known in candidates:
                scores[row, intents[known]] = next(said)
        return scores

    def to_arrays(self) -> Arrays:
        """For the bundle's weights."""
        return {**self.judge.to_arrays(), BANK_NAME: self.bank.states, ENDS_NAME: self.bank.ends}

    @classmethod
    def from_arrays(cls, settings: JsonObject, arrays: Arrays) -> PairHead:
        """What judge.settings.to_dict() and to_arrays() gave. Errors as those of PairJudge.from_arrays()."""
        weights = {name: values for name, values in arrays.items() if name not in (BANK_NAME, ENDS_NAME)}
        return cls(PairJudge.from_arrays(settings, weights), StateBank(arrays[BANK_NAME], arrays[ENDS_NAME]))


def nearest_candidates(cosines: Float32, intents: NDArray[np.int32], num_intents: int) -> list[int]:
    """Places among B known questions, one of each of the NUM_CANDIDATES nearest intents, the nearest first.

    >>> nearest_candidates(np.array([0.5, 0.75, 0.25], np.float32), np.array([0, 0, 2], np.int32), 3)
    [1, 2]
    """
    best = nearest_of_each(cosines[None], intents, num_intents)[0]
    nearest = np.argsort(-best, kind="stable")[:NUM_CANDIDATES]
    present = [intent for intent in nearest.tolist() if (intents == intent).any()]
    return [int(np.flatnonzero(intents == intent)[cosines[intents == intent].argmax()]) for intent in present]
