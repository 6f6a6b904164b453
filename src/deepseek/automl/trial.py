"""One trial of the search: a set of hyperparameters of one family, and its scores on the held rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepseek.contracts import Float64
from deepseek.nn.model import Link
from deepseek.train.candidates import Params


@dataclass(frozen=True)
class Trial:
    """One set of knobs of one family, and its scores on the held rows."""

    number: int
    family: str
    params: Params  # as they are refitted: early-stopped rounds are fixed numbers
    link: Link
    floor: float
    slope: float  # the trial's own temperature on the held rows
    margin: Float64  # (M, K) linked and tempered: comparable between families
    shares: Float64 | None  # (M, K) votes of a forest, else None
    loss: float
    fit_s: float  # CPU seconds of one fit
    refit_s: float  # CPU seconds that a refit on as many rows should take
    size_bytes: int  # of one fit: about what it would take in a bundle

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number, "family": self.family, "params": dict(self.params), "loss": self.loss,
            "fit_cpu_s": round(self.fit_s, 3),
        }  # fmt: skip
