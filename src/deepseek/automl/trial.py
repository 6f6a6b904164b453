"""One trial of the search: a set of hyperparameters of one family, and its scores on the held-out rows."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.contracts import Float64, JsonObject
from deepseek.nn.model import Link
from deepseek.train.candidates import Params


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
