"""Opens an ONNX file for the first time: what it takes, what a row is, which engine is fastest for how many rows.

    python -m deepseek.engines.onnx_file.tune        asked over stdin, answers on stdout (measuring.py)

onnxruntime on the CPU, in float32, is the reference. An engine whose outputs move further from it than TOLERANCE, or
whose labels, texts or booleans are not the same, serves nothing; lossy ones are held to what the user allows instead.
For the int8 ones a copy of the graph is made, calibrated on one half of the user's rows and compared on the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines import int8
from deepseek.engines.first_run import use_limits_of
from deepseek.engines.measuring import EngineMeasurement, answer_stdin, lower_quartile_s
from deepseek.engines.onnx import open_session
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.onnx_file.engine import (
    INT8_KINDS,
    LOSSY_KINDS,
    REFERENCE,
    GraphEngine,
    OnnxruntimeGraph,
    available_kinds,
    open_kind,
    run_rows,
)
from deepseek.engines.onnx_file.mixing import draws_numbers, why_mixed
from deepseek.engines.onnx_file.opening import FileMeasurement
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.engines.onnx_file.probed_range import ProbedRange, probe_range
from deepseek.engines.onnx_file.row_mode import NUM_ORDINARY_ROWS, find_row_mode, relative_difference, row_mode_by_shape
from deepseek.engines.onnx_file.rows import RowsFile, split_in_halves, split_into_calls
from deepseek.engines.onnx_file.signature import Signature, tensor_specs
from deepseek.engines.tabular.tune import choose_measured
from deepseek.errors import DeepseekError
from deepseek.files import atomic_file

#: The largest difference of a number, as a share of the largest number of its output.
TOLERANCE = 1e-4
BATCH_SIZES = (1, 8, 32)  # rows of a call
MAX_CELLS = 1 << 22  # of the inputs of a call that is timed
NUM_COMPARED_ROWS = 4  # rows on which exact engines are compared
NUM_COMPARED_ROWS_LOSSY = 32  # made-up rows for the others, where the user gives none


@dataclass(frozen=True, slots=True)
class MeasuringSetup:
    """A file, its reference and what its engines are compared on."""

    path: Path
    reference: GraphEngine
    signature: Signature
    probed: ProbedRange
    limits: Mapping[str, float] | None
    compared: Arrays | None  # the user's rows for lossy engines
    int8: Path  # of the copy
    no_int8: str  # why there is none
    is_random: bool  # whether the same inputs get other answers
    operators: OperatorLibrary | None  # that the reference is computed with

    def sizes(self) -> tuple[int, ...]:
        """Numbers of rows of the calls that are timed."""
        cells = sum(array.size for array in self.signature.sample(1).values())
        sizes = BATCH_SIZES if self.signature.rows == "joined" else BATCH_SIZES[:1]
        return tuple(size for size in sizes if size == 1 or size * cells <= MAX_CELLS)

    def comparison_inputs(self, kind: str) -> list[Arrays]:
        """Inputs that a kind is compared on. The first is what a lossy one is held to; the others have to be taken."""
        more = [] if kind == REFERENCE else self.probed.extremes(self.signature)
        if kind in LOSSY_KINDS and self.compared is not None:
            return [self.compared, *more]
        most = NUM_COMPARED_ROWS_LOSSY if kind in LOSSY_KINDS else NUM_COMPARED_ROWS
        return [self.signature.sample(min(most, self.sizes()[-1]), seed=NUM_ORDINARY_ROWS), *more]


def measure_file(
    path: Path,
    *,
    limits: Mapping[str, float] | None,
    budget_s: float,
    only: str = "",
    rows: RowsFile | None = None,
    int8_file: Path | None = None,
    operators: OperatorLibrary | None = None,
) -> FileMeasurement:
    """Find out what a row of the file is, and measure every kind of engine on it (or the kind `only`).

    With `limits` (the fields of a Tolerance), lossy engines are measured too, on `rows` where they are given. The copy
    in int8 is written to `int8_file`, which stays where an engine that runs it is chosen; None: no copy is made.
    A library of `operators` is onnxruntime's: OpenVINO's extensions are classes of C++ that fit one release of it.

    IntegrityError for a graph that onnxruntime does not take, InputError for one that is not served: no tensors, or
    none that it can be tried on.
    """
    session = open_session(
        str(path), str(path), num_threads=1, configure=None if operators is None else operators.register
    )
    signature = Signature(tensor_specs(path, session.get_inputs()), tensor_specs(path, session.get_outputs()))
    reference = OnnxruntimeGraph(path, signature, ("CPUExecutionProvider",), operators)
    mixed = why_mixed(path) if row_mode_by_shape(signature) == "joined" else ""
    signature = find_row_mode(path, reference, signature, may_join=not mixed)
    is_random = draws_numbers(path)  # so that no engine can be compared with another
    is_alone = is_random or operators is not None
    names = [REFERENCE] if is_alone else [only] if only else available_kinds(signature, lossy=limits is not None)
    probed = ProbedRange()
    if len(names) > 1:
        probed = probe_range(lambda arrays: run_rows(reference, signature, arrays), signature, budget_s)
    halves_of_rows = None if rows is None or limits is None else split_in_halves(rows.arrays(signature))
    why_no_int8 = ""
    if set(names) & set(INT8_KINDS):
        why_no_int8 = _write_int8_copy(
            path, int8_file, signature, None if halves_of_rows is None else halves_of_rows[0]
        )
    compared = None if halves_of_rows is None else halves_of_rows[1]
    bench = MeasuringSetup(
        path, reference, signature, probed, limits, compared, int8_file or path, why_no_int8, is_random, operators
    )
    table = tuple(_measure_kind(kind, bench, budget_s / len(names)) for kind in names)
    engines = choose_measured(table, REFERENCE)
    copy = None
    if int8_file is not None:
        if any(kind in INT8_KINDS for kind, _ in engines):
            copy = str(int8_file), examine_file(int8_file).digest
        else:
            int8_file.unlink(missing_ok=True)
    return FileMeasurement(signature, tuple(engines), probed, table, mixed, copy)


def _write_int8_copy(path: Path, out: Path | None, signature: Signature, rows: Arrays | None) -> str:
    """Write the graph in int8 to `out`. Returns the reason where there is none, else ""."""
    if out is None:
        return "there is no folder to keep it in"
    if rows is None and signature.rows == "joined":
        return "ranges that are measured in each call let rows computed together change each other: give --lossy-rows"
    try:
        with atomic_file(out) as part:
            int8.quantize_int8(path, part, None if rows is None else split_into_calls(signature, rows, BATCH_SIZES[-1]))
    except (DeepseekError, OSError) as error:
        return str(error)
    return ""


def _measure_kind(kind: str, bench: MeasuringSetup, budget_s: float) -> EngineMeasurement:
    """Compare an engine with the reference, and time its calls of each size where it passes."""
    signature, limits, sizes = bench.signature, bench.limits, bench.sizes()
    if kind in INT8_KINDS and bench.no_int8:
        return EngineMeasurement(kind, passes=False, says=bench.no_int8[:500])
    try:
        engine = open_kind(kind, bench.int8 if kind in INT8_KINDS else bench.path, signature, bench.operators)
        answers = [
            (run_rows(bench.reference, signature, arrays), run_rows(engine, signature, arrays))
            for arrays in bench.comparison_inputs(kind)
        ]
    except DeepseekError as error:
        return EngineMeasurement(kind, passes=False, says=error.message[:300])
    figures: dict[str, float | None] = {}
    if bench.is_random:
        passes = True
    elif kind in LOSSY_KINDS and limits is not None:
        lossy = compare_outputs(*answers[0])
        passes = all(lossy[name] >= limits[name] for name in ("min_cosine", "min_agreement"))
        passes = passes and lossy["max_difference"] <= limits["max_difference"]
        figures.update(lossy)
    else:
        differences = [
            relative_difference(array, actual[name]) for expected, actual in answers for name, array in expected.items()
        ]
        figures = {"difference": max(differences) if np.isfinite(differences).all() else None}
        passes = max(differences) <= TOLERANCE
    started_s, seconds = perf_counter(), dict[int, float]()
    for size in sizes if passes else ():
        left_s, smaller = budget_s - (perf_counter() - started_s), max(seconds, default=0)
        if smaller and 3 * seconds[smaller] * size / smaller > left_s:
            break
        share_s = left_s / (len(sizes) - len(seconds))
        rows = [signature.sample(size, seed=seed) for seed in range(4)]
        seconds[size] = lower_quartile_s(
            lambda number, rows=rows: rows[number % len(rows)],  # type: ignore[misc]
            lambda arrays: run_rows(engine, signature, arrays), share_s, process_time,
        )  # fmt: skip
    engine.close()
    return EngineMeasurement(kind, passes, figures=figures, seconds=seconds)


def compare_outputs(expected: Arrays, outputs: Arrays) -> dict[str, float]:
    """How far lossy answers are from the reference: least cosine of a row, largest difference of a number, share of
    rows whose largest number stands in the same place (equal rows, where they are no numbers)."""
    cosine, largest, agreement = 1.0, 0.0, 1.0
    for name, array in expected.items():
        exact, lossy = (output.reshape(len(output), -1) for output in (array, outputs[name]))
        if exact.dtype.kind != "f":
            agreement = min(agreement, float((exact == lossy).all(axis=1).mean()))
            continue
        exact, lossy = exact.astype(np.float64), lossy.astype(np.float64)
        lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(lossy, axis=1)
        cosine = min(cosine, float(((exact * lossy).sum(axis=1) / np.maximum(lengths, 1e-12)).min()))
        largest = max(largest, float(np.abs(exact - lossy).max(initial=0.0)))
        agreement = min(agreement, float((exact.argmax(axis=1) == lossy.argmax(axis=1)).mean()))
    return {"min_cosine": cosine, "max_difference": largest, "min_agreement": agreement}


def _handle_request(request: JsonObject) -> JsonObject:
    rows, int8_file = request["rows"], request["int8_file"]
    with use_limits_of(request.get("first_run")):
        measured = measure_file(
            Path(request["path"]),
            limits=request["limits"],
            budget_s=request["budget_s"],
            only=request["only"],
            rows=None if rows is None else RowsFile(Path(rows[0]), rows[1]),
            int8_file=None if int8_file is None else Path(int8_file),
            operators=OperatorLibrary.from_dict(request.get("operators")),
        )
    return measured.to_dict()


if __name__ == "__main__":
    answer_stdin(_handle_request)
