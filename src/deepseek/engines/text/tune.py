"""Which precision to serve a text model in: measured here on the user's texts, behind the gate that the user set.

    choice = choose("./all-MiniLM", texts, tolerance=Tolerance(min_cosine=0.98), budget_s=20)
    choice.precision, choice.table          # "int8", a row of figures for each precision
    TextEngine.open("./all-MiniLM", precision=choice.precision, ranges=choice.ranges)

Without a tolerance only the exact "f32" is used. Timings are of one thread on sorted batches of 32, in turn (A, B, A,
B), and by CPU time: what else runs on the machine then weighs less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.text.calibrate import calibrate
from deepseek.engines.text.converted import is_converted
from deepseek.engines.text.engine import PRECISIONS, Precision, TextEngine, precisions
from deepseek.engines.text.folder import check_folder
from deepseek.engines.text.model import TextModel
from deepseek.engines.text.quantize import Range
from deepseek.engines.text.tokens import TokenRow
from deepseek.errors import InputError

Candidate = tuple[Precision, str]  # and the part that stays exact
EXACT: Candidate = ("f32", "")
SENSITIVE = ".down"
BATCH = 32
#: A lossy precision must be clearly faster to be worth its loss.
GAIN = 1.1
MAX_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far the answers may move from those in float32, on the texts given to choose()."""

    min_cosine: float = 0.99  # of each embedding to its exact one, -1..1
    max_difference: float = 0.1  # of a number in an embedding, or of a probability
    min_agreement: float = 0.99  # share of texts (tokens) that keep their label, 0..1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise InputError(
                    f"tolerance.{name} is {value!r}", expected="a number from -1 to 1", fix=f"for example {name}=0.99"
                )


@dataclass(frozen=True, slots=True)
class Differences:
    """How far the answers of a precision are from those in float32."""

    difference: float  # the largest of any number in an embedding, or of any probability
    cosine: float | None  # the least of any embedding; None for labels
    agreement: float | None  # the share of equal labels; None for embeddings


@dataclass(frozen=True, slots=True)
class Measured:
    """One precision."""

    precision: Precision
    exact_part: str  # of "int8": the dense layer of each block that stays as in "bf16"; mostly none
    texts_per_cpu_s: float
    texts_per_s: float
    open_s: float
    differences: Differences
    passes: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest precision that passes, and what was measured."""

    precision: Precision
    table: tuple[Measured, ...]
    ranges: Mapping[str, Range] | None = field(default=None, repr=False)  # for "int8"

    def to_dict(self) -> dict[str, Any]:
        """For a file or the log."""
        return {"precision": self.precision, "table": [asdict(row) for row in self.table]}


def choose(
    path: str | Path, texts: Sequence[str], tolerance: Tolerance | None = None, *, budget_s: float = 10.0
) -> Choice:
    """Measure what `tolerance` may let pass, for about `budget_s` and one round at the least. The texts (at least one,
    better some hundred) should be like those that will be asked; half of them calibrate int8, and all are compared.

    Errors as TextModel.open and TextEngine.open.
    """
    folder = check_folder(path)
    model = TextModel.open(folder)
    rows = sorted(model.prepare(texts), key=len)
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    inputs = [model.join(batch) for batch in batches]
    candidates: dict[Candidate, Mapping[str, Range] | None] = {EXACT: None}
    if tolerance is not None:
        candidates |= _lossy(folder, texts)
    engines, opened = {}, {}
    for key, ranges in candidates.items():
        started_s = perf_counter()
        engines[key] = TextEngine.open(folder, precision=key[0], ranges=ranges)
        opened[key] = perf_counter() - started_s
    outputs = {key: [engine.run(arrays) for arrays in inputs] for key, engine in engines.items()}
    seconds = _seconds(engines, inputs, budget_s)
    table = {}
    for key in candidates:
        differences = compare(model, batches, outputs[EXACT], outputs[key])
        cpu_s, wall_s = seconds[key]
        passes = key == EXACT or (tolerance is not None and _passes(differences, tolerance))
        table[key] = Measured(*key, len(rows) / cpu_s, len(rows) / wall_s, opened[key], differences, passes)
        engines[key].close()
    best = max((key for key in table if table[key].passes), key=lambda key: _worth(table[key]))
    return Choice(best[0], tuple(table.values()), candidates[best])


def _lossy(folder: Path, texts: Sequence[str]) -> dict[Candidate, Mapping[str, Range] | None]:
    """What this machine has besides float32. Most of the loss of int8 is in the layer behind the activation."""
    found: dict[Candidate, Mapping[str, Range] | None] = {}
    kinds: tuple[Precision, ...] = ("f32", "bf16") if is_converted(folder) else PRECISIONS
    for kind in precisions(kinds):
        if kind == "bf16":
            found[kind, ""] = None
        if kind == "int8":
            ranges = calibrate(folder, texts[: max(1, len(texts) // 2)])
            found[kind, ""] = ranges
            found[kind, SENSITIVE] = {place: item for place, item in ranges.items() if not place.endswith(SENSITIVE)}
    return found


def compare(
    model: TextModel, batches: Sequence[Sequence[TokenRow]], expected: Sequence[Arrays], found: Sequence[Arrays]
) -> Differences:
    """The same batches in another precision."""
    if model.task == "embedding":
        exact, given = (np.concatenate([item["embedding"] for item in part]) for part in (expected, found))
        lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(given, axis=1)
        cosine = float(((exact * given).sum(axis=1) / np.maximum(lengths, 1e-12)).min())
        return Differences(_largest(exact - given), cosine, None)
    shares = [
        np.concatenate([model.probabilities(item, batch) for item, batch in zip(part, batches, strict=True)])
        for part in (expected, found)
    ]
    same = shares[0].argmax(axis=1) == shares[1].argmax(axis=1)
    return Differences(_largest(shares[0] - shares[1]), None, float(same.mean()))


def _seconds(
    engines: Mapping[Candidate, TextEngine], inputs: Sequence[Arrays], budget_s: float
) -> dict[Candidate, tuple[float, float]]:
    """Least CPU and wall seconds of a pass over all batches."""
    found = dict.fromkeys(engines, (math.inf, math.inf))
    started_s = perf_counter()
    for _ in range(MAX_ROUNDS):
        for kind, engine in engines.items():
            cpu_s, wall_s = process_time(), perf_counter()
            for arrays in inputs:
                engine.run(arrays)
            took = process_time() - cpu_s, perf_counter() - wall_s
            found[kind] = (min(took[0], found[kind][0]), min(took[1], found[kind][1]))
        if perf_counter() - started_s > budget_s:
            break
    return found


def _passes(found: Differences, tolerance: Tolerance) -> bool:
    """NaN passes nothing."""
    return (
        found.difference <= tolerance.max_difference
        and (found.cosine is None or found.cosine >= tolerance.min_cosine)
        and (found.agreement is None or found.agreement >= tolerance.min_agreement)
    )


def _worth(row: Measured) -> float:
    return row.texts_per_cpu_s * (GAIN if row.precision == "f32" else 1.0)


def _largest(differences: np.ndarray[Any, Any]) -> float:
    return float(np.nan_to_num(np.abs(differences), nan=np.inf).max(initial=0.0))
