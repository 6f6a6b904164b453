"""Which precision to serve a text model in: measured here on the user's texts, behind the gate that the user set.

    choice = choose("./all-MiniLM", texts, tolerance=Tolerance(min_cosine=0.98), budget_s=20)
    choice.precision, choice.table          # "int8", a row of figures for each precision
    TextEngine.open("./all-MiniLM", precision=choice.precision, ranges=choice.ranges)

Without a tolerance only exact precisions are used: "f32", and torch where it finds a GPU. One that cannot be opened is
left out, with the reason in the table. Timings are of one thread on sorted batches of 32, in turn (A, B, A, B), and by
CPU time: what else runs on the machine then weighs less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.execution_mode import COMPILE_FACTOR, EXECUTION_MODES, LOSSY_MODES, available_modes, has_gpu
from deepseek.engines.text.serve.backend import PRECISIONS, Precision
from deepseek.engines.text.serve.calibrate import calibrate
from deepseek.engines.text.serve.engine import TextEngine, available_precisions
from deepseek.engines.text.serve.model import TextModel
from deepseek.engines.text.serve.quantize import ActivationRange
from deepseek.engines.text.source.converted_folder import is_converted
from deepseek.engines.text.source.folder import check_folder
from deepseek.engines.text.source.tokens import TokenRow
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import DeepseekError
from deepseek.extras import is_installed

Candidate = tuple[Precision, str]  # and the part that stays exact
EXACT_CANDIDATE: Candidate = ("f32", "")
SENSITIVE_SUFFIX = ".down"
BATCH_ROWS = 32
#: A lossy precision must be clearly faster to be worth its loss.
MIN_SPEEDUP = 1.1
MAX_ROUNDS = 20
#: How far the answers of an exact kind may be from those of "f32", whatever the user allows.
EXACT_DIFFERENCE = 1e-4
EAGER_CANDIDATE: Candidate = ("torch", "")
COMPILED_CANDIDATE: Candidate = ("torch-compile", "")


@dataclass(frozen=True, slots=True)
class AnswerDifferences:
    """How far the answers of a precision are from those in float32."""

    difference: float  # the largest of any number in an embedding, or of any probability
    cosine: float | None  # the least of any embedding; None for labels
    agreement: float | None  # the share of equal labels; None for embeddings


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """The speed of one precision, and how far its answers are from the exact ones."""

    precision: Precision
    exact_part: str  # of "int8": the dense layer of each block that stays as in "bf16"; mostly none
    texts_per_cpu_s: float
    texts_per_s: float
    open_s: float
    differences: AnswerDifferences
    passes: bool


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """The fastest precision that passes, and what was measured."""

    precision: Precision
    table: tuple[PrecisionResult, ...]
    ranges: Mapping[str, ActivationRange] | None = field(default=None, repr=False)  # for "int8"
    left_out: Mapping[str, str] = field(default_factory=dict)  # kind -> why it was not measured

    def to_dict(self) -> JsonObject:
        """The choice as a file and the log have it: {"precision", "table"}."""
        left_out = [{"precision": kind, "passes": False, "says": why} for kind, why in self.left_out.items()]
        return {"precision": self.precision, "table": [asdict(row) for row in self.table] + left_out}


class _PrecisionBench:
    """The engines of a folder on the same batches, open until all are compared."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self.folder, self.model = folder, TextModel.open(folder)
        rows = sorted(self.model.prepare(texts), key=len)
        self.num_texts = len(rows)
        self.batches = [rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS)]
        self.inputs = [self.model.join(batch) for batch in self.batches]
        self.engines: dict[Candidate, TextEngine] = {}
        self.outputs: dict[Candidate, list[Arrays]] = {}
        self.open_s: dict[Candidate, float] = {}
        self.seconds: dict[Candidate, tuple[float, float]] = {}
        self.left_out: dict[str, str] = {}

    def open(self, key: Candidate, ranges: Mapping[str, ActivationRange] | None) -> None:
        """Add a candidate and its answers. One that cannot be opened is left out; errors of EXACT_CANDIDATE are the
        folder's."""
        start_s = perf_counter()
        try:
            engine = TextEngine.open(self.folder, precision=key[0], ranges=ranges)
            self.outputs[key] = [engine.run(arrays) for arrays in self.inputs]
        except DeepseekError as error:
            if key == EXACT_CANDIDATE:
                raise
            self.left_out[key[0]] = str(error)[:500]
            return
        self.engines[key], self.open_s[key] = engine, perf_counter() - start_s

    def time(self, keys: Sequence[Candidate], budget_s: float) -> None:
        """Time some candidates in turn, for about `budget_s`."""
        self.seconds |= _time_passes(
            {key: self.engines[key] for key in keys if key in self.engines}, self.inputs, budget_s
        )

    def row(self, key: Candidate, tolerance: Tolerance | None) -> PrecisionResult:
        """The result of a candidate that was opened and timed."""
        differences = compare_outputs(self.model, self.batches, self.outputs[EXACT_CANDIDATE], self.outputs[key])
        cpu_s, wall_s = self.seconds[key]
        rates = self.num_texts / cpu_s, self.num_texts / wall_s
        return PrecisionResult(*key, *rates, self.open_s[key], differences, _is_allowed(key, differences, tolerance))


def choose_precision(
    path: str | Path, texts: Sequence[str], tolerance: Tolerance | None = None, *, budget_s: float = 10.0
) -> PrecisionChoice:
    """The fastest precision within the tolerance, measured for about `budget_s`, one round at the least. The texts (at
    least one, better some hundred) should be like those to come; half of them calibrate int8, and all are compared.

    Errors as TextModel.open and TextEngine.open.
    """
    folder = check_folder(path)
    candidates: dict[Candidate, Mapping[str, ActivationRange] | None] = {EXACT_CANDIDATE: None}
    if tolerance is not None:
        candidates |= _lossy_candidates(folder, texts)
    candidates |= dict.fromkeys(_torch_candidates(folder, tolerance))
    bench = _PrecisionBench(folder, texts)
    for key, ranges in candidates.items():
        if key != COMPILED_CANDIDATE:
            bench.open(key, ranges)
    bench.time(list(bench.engines), budget_s)
    if COMPILED_CANDIDATE in candidates and EAGER_CANDIDATE in bench.engines:
        _measure_compiled(bench, tolerance, budget_s)
    table = {key: bench.row(key, tolerance) for key in bench.engines}
    for engine in bench.engines.values():
        engine.close()
    best = max((key for key in table if table[key].passes), key=lambda key: _speed_score(table[key]))
    return PrecisionChoice(best[0], tuple(table.values()), candidates[best], bench.left_out)


def _torch_candidates(folder: Path, tolerance: Tolerance | None) -> list[Candidate]:
    """The execution modes of torch that may be worth opening. Float32 on a CPU was a third as fast as OpenVINO where it
    was measured, so without a tolerance, which asks for measuring, only a GPU is tried."""
    if is_converted(folder) or not (is_installed("torch") and is_installed("transformers")):
        return []
    modes = available_modes() if tolerance is not None or has_gpu() else []
    return [
        (name, "")  # type: ignore[misc]  # a Precision
        for name in modes
        if tolerance is not None or (name not in LOSSY_MODES and EXECUTION_MODES[name].device != "cpu")
    ]


def _measure_compiled(bench: _PrecisionBench, tolerance: Tolerance | None, budget_s: float) -> None:
    """Measure the compiled torch, where eager torch leaves it a chance."""
    fastest = min(bench.seconds[key][0] for key in bench.engines if bench.row(key, tolerance).passes)
    ratio = bench.seconds[EAGER_CANDIDATE][0] / fastest
    if ratio > COMPILE_FACTOR:
        bench.left_out[COMPILED_CANDIDATE[0]] = f"not tried: torch takes {ratio:.1f} times as long as the fastest kind"
        return
    bench.open(COMPILED_CANDIDATE, None)
    bench.time([COMPILED_CANDIDATE], budget_s / 4)


def _lossy_candidates(folder: Path, texts: Sequence[str]) -> dict[Candidate, Mapping[str, ActivationRange] | None]:
    """The lossy precisions of this machine, with the ranges of int8. Most of the loss of int8 is in the layer behind
    the activation, so it is also tried without that one."""
    candidates: dict[Candidate, Mapping[str, ActivationRange] | None] = {}
    kinds: tuple[Precision, ...] = ("f32", "bf16") if is_converted(folder) else PRECISIONS
    for kind in available_precisions(kinds):
        if kind == "bf16":
            candidates[kind, ""] = None
        if kind == "int8":
            ranges = calibrate(folder, texts[: max(1, len(texts) // 2)])
            candidates[kind, ""] = ranges
            candidates[kind, SENSITIVE_SUFFIX] = {
                layer: span for layer, span in ranges.items() if not layer.endswith(SENSITIVE_SUFFIX)
            }
    return candidates


def compare_outputs(
    model: TextModel, batches: Sequence[Sequence[TokenRow]], exact: Sequence[Arrays], other: Sequence[Arrays]
) -> AnswerDifferences:
    """How far the outputs for these batches in another precision are from the exact ones."""
    if model.task == "embedding":
        vectors, other_vectors = (np.concatenate([item["embedding"] for item in outputs]) for outputs in (exact, other))
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(other_vectors, axis=1)
        cosine = float(((vectors * other_vectors).sum(axis=1) / np.maximum(lengths, 1e-12)).min())
        return AnswerDifferences(_max_abs(vectors - other_vectors), cosine, None)
    probabilities, other_probabilities = (
        np.concatenate([model.probabilities(item, batch) for item, batch in zip(outputs, batches, strict=True)])
        for outputs in (exact, other)
    )
    is_same = probabilities.argmax(axis=1) == other_probabilities.argmax(axis=1)
    return AnswerDifferences(_max_abs(probabilities - other_probabilities), None, float(is_same.mean()))


def _time_passes(
    engines: Mapping[Candidate, TextEngine], inputs: Sequence[Arrays], budget_s: float
) -> dict[Candidate, tuple[float, float]]:
    """Least CPU and wall seconds of a pass over all batches."""
    least_s = dict.fromkeys(engines, (math.inf, math.inf))
    start_s = perf_counter()
    for _ in range(MAX_ROUNDS):
        for key, engine in engines.items():
            start_cpu_s, start_wall_s = process_time(), perf_counter()
            for arrays in inputs:
                engine.run(arrays)
            cpu_s, wall_s = process_time() - start_cpu_s, perf_counter() - start_wall_s
            least_s[key] = min(cpu_s, least_s[key][0]), min(wall_s, least_s[key][1])
        if perf_counter() - start_s > budget_s:
            break
    return least_s


def _is_allowed(key: Candidate, differences: AnswerDifferences, tolerance: Tolerance | None) -> bool:
    """Whether a candidate may be chosen. Exact ones are held to EXACT_DIFFERENCE as well."""
    if key == EXACT_CANDIDATE:
        return True
    is_exact = key[0] in EXECUTION_MODES and key[0] not in LOSSY_MODES
    if is_exact and not differences.difference <= EXACT_DIFFERENCE:
        return False
    return is_exact if tolerance is None else _is_within(differences, tolerance)


def _is_within(differences: AnswerDifferences, tolerance: Tolerance) -> bool:
    """Whether differences are within a tolerance; NaN is within none."""
    cosine, agreement = differences.cosine, differences.agreement
    return (
        differences.difference <= tolerance.max_difference
        and (cosine is None or cosine >= tolerance.min_cosine)
        and (agreement is None or agreement >= tolerance.min_agreement)
    )


def _speed_score(row: PrecisionResult) -> float:
    return row.texts_per_cpu_s * (MIN_SPEEDUP if row.precision == "f32" else 1.0)


def _max_abs(differences: NDArray[Any]) -> float:
    return float(np.nan_to_num(np.abs(differences), nan=np.inf).max(initial=0.0))
