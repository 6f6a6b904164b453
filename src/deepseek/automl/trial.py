"""One trial of the search: hyperparameters of one family, and their scores on the held-out rows; and which are next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepseek.contracts import Float64, JsonObject
from deepseek.extras import need
from deepseek.nn.model import Link
from deepseek.train.candidates import Candidate, FitData, Params


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
