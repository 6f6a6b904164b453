"""An export against its reference on rows at the edge (edges.py): the same answers, finite wherever the reference is.

faults = edge_faults(edges, expected, outputs, limit=1e-4)         # [] when it passes
check_edges(edges, expected, outputs, limit=1e-4, what="the exported graph")
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float64, JsonObject
from deepseek.engines.checks.edges import EdgeRows
from deepseek.errors import CheckError

MAX_CASES_NAMED = 5  # cases in an error


@dataclass(frozen=True, slots=True)
class EdgeCheck:
    """What an export was held to on rows at the edge: how many rows, and the cases among them, each once."""

    num_rows: int
    cases: tuple[str, ...]

    @classmethod
    def of(cls, edges: EdgeRows) -> EdgeCheck:
        return cls(len(edges), tuple(dict.fromkeys(edges.cases)))

    def to_dict(self) -> JsonObject:
        """The "edges" of a parity report."""
        return asdict(self) | {"cases": list(self.cases)}


def absolute_errors(outputs: NDArray[Any], expected: NDArray[Any]) -> Float64:
    """|outputs - expected|, each (N, ...): 0 where both hold the same infinite number or both NaN, infinite where one
    alone is not finite.

    >>> absolute_errors(np.array([1.0, np.nan, np.inf, np.nan]), np.array([1.5, 2.0, np.inf, np.nan])).tolist()
    [0.5, inf, 0.0, 0.0]
    """
    actual, reference = np.asarray(outputs, np.float64), np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        errors: Float64 = np.abs(actual - reference)
    is_same = (actual == reference) | (np.isnan(actual) & np.isnan(reference))
    return np.where(is_same, 0.0, np.nan_to_num(errors, nan=np.inf, posinf=np.inf))


def edge_faults(edges: EdgeRows, expected: Arrays, outputs: Arrays, *, limit: float) -> list[str]:
    """What does not hold, a part of a sentence each: `outputs` against what the reference gives, both by name.

    A row whose case is exact may differ by `limit` times its largest expected number (1 at the least); no row may hold
    a number that is not finite where the reference's is.
    """
    faults: dict[str, None] = {}  # in order, each once
    for name, reference in expected.items():
        actual = np.asarray(outputs[name])
        if actual.shape != reference.shape:
            return [f"{name} has the shape {list(actual.shape)} instead of {list(reference.shape)}"]
        is_known = np.isfinite(reference)
        is_lost, errors = is_known & ~np.isfinite(actual), np.where(is_known, absolute_errors(actual, reference), 0.0)
        for row, case in enumerate(edges.cases):
            scale = max(1.0, float(np.abs(reference[row][is_known[row]]).max(initial=0.0)))
            if is_lost[row].any():
                faults[f"{case}: {name} is not finite"] = None
            elif edges.are_exact[row] and errors[row].max(initial=0.0) > limit * scale:
                faults[f"{case}: {name} differs by {errors[row].max():.2g}"] = None
    return list(faults)


def nonfinite_faults(edges: EdgeRows, expected: Arrays, outputs: Arrays) -> list[str]:
    """The faults of an engine that may round: only where a number is not finite and the reference's is."""
    return edge_faults(replace(edges, are_exact=np.zeros(len(edges), bool)), expected, outputs, limit=0.0)


def check_edges(edges: EdgeRows, expected: Arrays, outputs: Arrays, *, limit: float, what: str) -> EdgeCheck:
    """What was checked, for the evidence. CheckError, which names the cases, where `what` does not answer as its
    reference does."""
    faults = edge_faults(edges, expected, outputs, limit=limit)
    if faults:
        more = f"; and {len(faults) - MAX_CASES_NAMED} more" if len(faults) > MAX_CASES_NAMED else ""
        raise CheckError(
            f"{what} does not answer as the model does ({'; '.join(faults[:MAX_CASES_NAMED])}{more})",
            expected=f"finite numbers wherever the model gives them, differing by at most {limit:g}",
            fix="report it: this is a fault of the exporter",
        )
    return EdgeCheck.of(edges)


def max_or_infinite(errors: NDArray[Any]) -> float:
    """The largest of these errors, 0 of none; NaN counts as infinite."""
    return float(np.nan_to_num(errors, nan=np.inf).max(initial=0.0))
