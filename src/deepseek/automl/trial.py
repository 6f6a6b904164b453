"""One trial of the search: hyperparameters of one family, and their scores on the held-out rows; and which are next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepseek.contracts import Float64, JsonObject
from deepseek.extras import need
from deepseek.nn.model import Link
from deepseek.train.candidates import Candidate, FitData, FittedCandidate, Params

MAX_SLOWER = 3.0  # a fold than its guess
FIT_MARGIN = 1.05  # of a last fit: 4.4 s where 4.9 were expected by the rows and the fits of the folds
FINISH_BYTE_S = 2e-7  # export, opening, explanation and packing of large forests: 7 s for one of 34 MB
MAX_BYTES_SHARE = 0.25  # of the budget, for the bytes of one model: a forest of 61 MB made a run take 1.59 of 20 s
MAX_REACH = 1.2  # guesses are rough, and the clock ends what they let through


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters of one family, and its scores on the held-out rows."""

    number: int
    family: str
    params: Params  # as they are refitted: early-stopped rounds are fixed numbers
    link: Link
    floor: float
    slope: float  # the trial's own temperature on the held-out rows
    margin: Float64  # (M, K) as log-odds, by its own temperature: comparable between families
    shares: Float64 | None  # (M, K) votes of a forest, else None
    loss: float
    fit_s: float  # CPU seconds of one fit
    refit_s: float  # CPU seconds that a refit on as many rows should take
    size_bytes: int  # of one fit: about what it would take in a bundle

    def to_dict(self) -> JsonObject:
        return {
            "number": self.number, "family": self.family, "params": dict(self.params), "loss": self.loss,
            "fit_cpu_s": round(self.fit_s, 3),
        }  # fmt: skip


@dataclass(frozen=True)
class FirstFolds:
    """What a family's first trial did on the first folds."""

    fits: Sequence[FittedCandidate]
    spent_s: float  # CPU seconds
    loss: float = math.inf  # on the rows of these folds
    is_far_behind: bool = False  # the best of the trials before, on the same rows
    share_behind: float = 0.0  # its loss beyond that of the best trial, as a share of it

    def rest_s(self, num_folds: int, guess_s: float) -> float:
        """CPU seconds that the other folds should take, of which one was guessed to take `guess_s`: as long as these,
        but what was imported for the first fit is not imported again."""
        return (num_folds - len(self.fits)) * self.fit_s(guess_s)

    def fit_s(self, guess_s: float) -> float:
        """CPU seconds of one of the other folds."""
        return min(self.spent_s / len(self.fits), MAX_SLOWER * guess_s)


@dataclass(frozen=True)
class Reach:
    """What a budget can hold by guesses alone, so that a run with the same budget and number of trials has the same
    families in the same order, whatever the clock says."""

    budget_s: float  # CPU seconds
    growth: float  # rows of the last fit, in those of a fold
    finish_s: float  # CPU seconds that reading and what follows the search take besides fits

    @property
    def most_bytes(self) -> float:
        """Of one fit on the rows of a fold."""
        return MAX_BYTES_SHARE * self.budget_s / (FINISH_BYTE_S * self.growth)

    def holds(self, before_s: float, trial_s: float, fit_s: float, size_bytes: int) -> bool:
        """Whether a trial fits in with its last fit: after `before_s`, with `trial_s` to go, of `fit_s` a fold."""
        last_s = FIT_MARGIN * self.growth * fit_s + FINISH_BYTE_S * self.growth * size_bytes
        return before_s + trial_s + last_s + self.finish_s <= MAX_REACH * self.budget_s


class NextTrials:
    """What each family tries next: by a study of its own (optuna's TPE), which knows the losses of its trials alone. So
    it may be asked before it is the family's turn."""

    def __init__(self, families: Sequence[Candidate], data: FitData, seed: int) -> None:
        self._data = data
        self._studies = {family.name: _new_study(seed * 100 + index) for index, family in enumerate(families)}
        self._asked: dict[str, tuple[Any, Params]] = {}

    def ask(self, family: Candidate) -> Params:
        """The same until tell()."""
        if family.name not in self._asked:
            suggestion = self._studies[family.name].ask()
            self._asked[family.name] = suggestion, family.suggest(suggestion, self._data)
        return self._asked[family.name][1]

    def tell(self, family: Candidate, loss: float) -> None:
        """The loss of what was asked last."""
        suggestion, _ = self._asked.pop(family.name)
        self._studies[family.name].tell(suggestion, loss)


def _new_study(seed: int) -> Any:
    optuna = need("optuna", extra="automl")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=5)
    return optuna.create_study(direction="minimize", sampler=sampler)
