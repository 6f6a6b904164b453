"""Which precision to serve a text model in: measured here on the user's texts, behind the gate that the user set.

    choice = choose("./all-MiniLM", texts, tolerance=Tolerance(min_cosine=0.98), budget_s=20)
    choice.precision, choice.table          # "int8", a row of figures for each precision
    TextEngine.open("./all-MiniLM", precision=choice.precision, ranges=choice.ranges)

Without a tolerance only exact kinds are used: "f32", and torch where it finds a GPU. A kind that cannot be opened is
left out, with the reason in the table. Timings are of one thread on sorted batches of 32, in turn (A, B, A,
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
from deepseek.engines.execution_mode import LOSSY_WAYS, NEAR, WAYS, has_gpu, names
from deepseek.engines.text.serve.calibrate import calibrate
from deepseek.engines.text.serve.engine import PRECISIONS, Precision, TextEngine, precisions
from deepseek.engines.text.serve.model import TextModel
from deepseek.engines.text.serve.quantize import Range
from deepseek.engines.text.source.converted_folder import is_converted
from deepseek.engines.text.source.folder import check_folder
from deepseek.engines.text.source.tokens import TokenRow
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import DeepseekError
from deepseek.extras import has

Candidate = tuple[Precision, str]  # and the part that stays exact
EXACT: Candidate = ("f32", "")
SENSITIVE = ".down"
BATCH = 32
#: A lossy precision must be clearly faster to be worth its loss.
GAIN = 1.1
MAX_ROUNDS = 20
#: How far the answers of an exact kind may be from those of "f32", whatever the user allows.
EXACT_DIFFERENCE = 1e-4
EAGER: Candidate = ("torch", "")
COMPILED: Candidate = ("torch-compile", "")


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
    left_out: Mapping[str, str] = field(default_factory=dict)  # kind -> why it was not measured

    def to_dict(self) -> dict[str, Any]:
        """For a file or the log."""
        left_out = [{"precision": kind, "passes": False, "says": why} for kind, why in self.left_out.items()]
        return {"precision": self.precision, "table": [asdict(row) for row in self.table] + left_out}


class _Bench:
    """The engines of a folder on the same batches. Those of a kind stay open until all are compared."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self.folder, self.model = folder, TextModel.open(folder)
        rows = sorted(self.model.prepare(texts), key=len)
        self.num_texts = len(rows)
        self.batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        self.inputs = [self.model.join(batch) for batch in self.batches]
        self.engines: dict[Candidate, TextEngine] = {}
        self.outputs: dict[Candidate, list[Arrays]] = {}
        self.opened_s: dict[Candidate, float] = {}
        self.seconds: dict[Candidate, tuple[float, float]] = {}
        self.left_out: dict[str, str] = {}

    def open(self, key: Candidate, ranges: Mapping[str, Range] | None) -> None:
        """Add a candidate and its answers. One that cannot be opened is left out; errors of EXACT are the folder's."""
        started_s = perf_counter()
        try:
            engine = TextEngine.open(self.folder, precision=key[0], ranges=ranges)
            self.outputs[key] = [engine.run(arrays) for arrays in self.inputs]
        except DeepseekError as error:
            if key == EXACT:
                raise
            self.left_out[key[0]] = str(error)[:500]
            return
        self.engines[key], self.opened_s[key] = engine, perf_counter() - started_s

    def time(self, keys: Sequence[Candidate], budget_s: float) -> None:
        """Take the times of some in turn."""
        self.seconds |= _seconds({key: self.engines[key] for key in keys if key in self.engines}, self.inputs, budget_s)

    def row(self, key: Candidate, tolerance: Tolerance | None) -> Measured:
        """A row of the table."""
        differences = compare(self.model, self.batches, self.outputs[EXACT], self.outputs[key])
        cpu_s, wall_s = self.seconds[key]
        rates = self.num_texts / cpu_s, self.num_texts / wall_s
        return Measured(*key, *rates, self.opened_s[key], differences, _allowed(key, differences, tolerance))


def choose(
    path: str | Path, texts: Sequence[str], tolerance: Tolerance | None = None, *, budget_s: float = 10.0
) -> Choice:
    """Measure what `tolerance` may let pass, for about `budget_s` and one round at the least. The texts (at least one,
    better some hundred) should be like those that will be asked; half of them calibrate int8, and all are compared.

    Errors as TextModel.open and TextEngine.open.
    """
    folder = check_folder(path)
    candidates: dict[Candidate, Mapping[str, Range] | None] = {EXACT: None}
    if tolerance is not None:
        candidates |= _lossy(folder, texts)
    candidates |= dict.fromkeys(_ways(folder, tolerance))
    bench = _Bench(folder, texts)
    for key, ranges in candidates.items():
        if key != COMPILED:
            bench.open(key, ranges)
    bench.time(list(bench.engines), budget_s)
    if COMPILED in candidates and EAGER in bench.engines:
        _compile(bench, tolerance, budget_s)
    table = {key: bench.row(key, tolerance) for key in bench.engines}
    for engine in bench.engines.values():
        engine.close()
    best = max((key for key in table if table[key].passes), key=lambda key: _worth(table[key]))
    return Choice(best[0], tuple(table.values()), candidates[best], bench.left_out)


def _ways(folder: Path, tolerance: Tolerance | None) -> list[Candidate]:
    """The ways of torch that may be worth opening. Float32 on a CPU was a third as fast as OpenVINO where it was
    measured, so without a gate, which asks for measuring, only a GPU is tried."""
    if is_converted(folder) or not (has("torch") and has("transformers")):
        return []
    found = names() if tolerance is not None or has_gpu() else []
    return [
        (name, "")  # type: ignore[misc]  # a Precision
        for name in found
        if tolerance is not None or (name not in LOSSY_WAYS and WAYS[name].device != "cpu")
    ]


def _compile(bench: _Bench, tolerance: Tolerance | None, budget_s: float) -> None:
    """Measure the compiled torch, where eager torch leaves it a chance."""
    fastest = min(bench.seconds[key][0] for key in bench.engines if bench.row(key, tolerance).passes)
    behind = bench.seconds[EAGER][0] / fastest
    if behind > NEAR:
        bench.left_out[COMPILED[0]] = f"not tried: torch takes {behind:.1f} times as long as the fastest kind"
        return
    bench.open(COMPILED, None)
    bench.time([COMPILED], budget_s / 4)


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


def _allowed(key: Candidate, found: Differences, tolerance: Tolerance | None) -> bool:
    """Exact kinds are held to EXACT_DIFFERENCE as well."""
    if key == EXACT:
        return True
    is_exact = key[0] in WAYS and key[0] not in LOSSY_WAYS
    if is_exact and not found.difference <= EXACT_DIFFERENCE:
        return False
    return is_exact if tolerance is None else _passes(found, tolerance)


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
