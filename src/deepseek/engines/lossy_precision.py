"""A bundle in int8 or bfloat16: the engines for this machine, measured and held to the tolerance that the user set.

    engines = choose_lossy_engines(runtime, tolerance, rows, cache)    # seconds the first time, in a process of its own
    Runtime(bundle, lossy=engines)                                     # serves with what was chosen

    python -m deepseek.engines.lossy_precision       # request on stdin, response on stdout: measuring.py

Rows are the user's, or those of real training that the bundle holds where it was asked to (reference.parquet). Every
second one calibrates int8, the others are what the answers are compared on. Without MIN_ROWS of them nothing lossy is
tried: one example record says nothing of how often a label would change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deepseek.bundle.place import exclusive_writer
from deepseek.contracts import Float32, JsonObject, Scores
from deepseek.data import read_table
from deepseek.engines import int8
from deepseek.engines.checks.edges import FEATURES, make_edge_features
from deepseek.engines.checks.gate import MAX_CASES_NAMED, max_or_infinite, nonfinite_faults
from deepseek.engines.execution_mode import available_modes, limit_torch_threads
from deepseek.engines.measuring import (
    EngineMeasurement,
    LossyEngines,
    answer_stdin,
    describe_machine,
    run_in_subprocess,
)
from deepseek.engines.onnx_file.rows import SUFFIX, RowsFile
from deepseek.engines.parity import compare_scores, exact_kinds, spread_indices
from deepseek.engines.registry import LOSSY_KINDS, Source, engine_class
from deepseek.engines.tabular.runtime import Runtime
from deepseek.engines.tabular.tune import choose_measured, measure_engine
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import DeepseekError, InputError
from deepseek.files import atomic_file

VERSION = 1
REFERENCE_ROWS_FILE = "reference.parquet"  # of a bundle
MIN_ROWS, MAX_ROWS = 32, 2_048
CALIBRATION_CALL_ROWS = 32  # of a call that calibrates
BUDGET_S = 4.0
PROCESS_LIMIT_S = 300.0
LOCK_WAIT_S = 1_000.0  # for another front end that measures the same


def choose_lossy_engines(runtime: Runtime, tolerance: Tolerance, rows: RowsFile | None, cache: Path) -> LossyEngines:
    """The engines for this machine, out of `cache`, where they are kept by machine, bundle, tolerance and rows, or
    measured. InputError for rows that do not fit the bundle, or a cache that cannot be written to; errors of opening.
    """
    rows = None if rows is None or rows.path.suffix == SUFFIX else rows
    libraries = describe_machine("onnxruntime", "onnx", "torch", "xgboost-cpu", "xgboost")
    key = [VERSION, runtime.manifest.digest, libraries, asdict(tolerance), rows and rows.digest]
    path = cache / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}.json"
    if (cached := _read_cached(path)) is not None:
        return cached
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with exclusive_writer(path, LOCK_WAIT_S):  # side by side, measurements would slow each other down
            if (cached := _read_cached(path)) is not None:
                return cached
            request = {
                "path": str(runtime.bundle.path.absolute()), "tolerance": asdict(tolerance), "budget_s": BUDGET_S,
                "rows": rows and str(rows.path), "int8_file": str(path.with_suffix(".int8.onnx")),
            }  # fmt: skip
            record = run_in_subprocess("deepseek.engines.lossy_precision", request, limit_s=PROCESS_LIMIT_S)
            with atomic_file(path) as part:
                part.write_text(json.dumps(record))
    except OSError as error:
        raise InputError(
            f"{cache} cannot be written to: {error.strerror}",
            expected="a folder for what was measured",
            fix="set XDG_CACHE_HOME to a folder that can be written to",
        ) from error
    return LossyEngines.from_dict(record)


def _read_cached(path: Path) -> LossyEngines | None:
    """What was measured before; None when there is nothing, or the copy in int8 is gone or changed."""
    try:
        cached = LossyEngines.from_dict(json.loads(path.read_bytes()))
        if cached.int8 is not None and hashlib.sha256(Path(cached.int8[0]).read_bytes()).hexdigest() != cached.int8[1]:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return cached


def measure_lossy_engines(
    path: Path, tolerance: Tolerance, *, rows: Path | None, int8_file: Path, budget_s: float = BUDGET_S
) -> LossyEngines:
    """Measure every kind on the bundle at `path`, with the user's `rows` or those of training that the bundle holds.

    The copy in int8 is written to `int8_file`, and stays there where an engine that runs it is chosen.
    """
    with Runtime.open(path) as runtime:
        features = _measuring_features(runtime, rows)
        if len(features) < MIN_ROWS:
            reason = f"{len(features)} rows to measure on, and {MIN_ROWS} are needed: give --lossy-rows"
            own_engines = [(entry.kind, entry.from_rows) for entry in runtime.manifest.engines]
            not_measured = EngineMeasurement("", passes=False, says=reason)
            return LossyEngines(tuple(own_engines) or ((runtime.reference, 1),), None, (not_measured,))
        why_no_int8 = _write_int8_copy(runtime, features[::2], int8_file)
        source = runtime.source(None if why_no_int8 else int8_file.read_bytes)
        kinds = [kind for kind in (*exact_kinds(runtime.model), *sorted(LOSSY_KINDS)) if _supports_model(kind, runtime)]
        table = tuple(
            EngineMeasurement(kind, passes=False, says=why_no_int8)
            if kind == "onnxruntime-int8" and why_no_int8
            else _measure_kind(kind, runtime, source, features, tolerance, budget_s / len(kinds))
            for kind in kinds
        )
        engines = choose_measured(table, runtime.reference)
    copy = None
    if any(kind == "onnxruntime-int8" for kind, _ in engines):
        copy = str(int8_file), hashlib.sha256(int8_file.read_bytes()).hexdigest()
    else:
        int8_file.unlink(missing_ok=True)
    return LossyEngines(tuple(engines), copy, table)


def _measuring_features(runtime: Runtime, rows: Path | None) -> Float32:
    """Prepared rows (N, F), at most MAX_ROWS, evenly spread."""
    if rows is None:
        if REFERENCE_ROWS_FILE not in runtime.manifest.files:
            return np.empty((0, 0), np.float32)
        with tempfile.TemporaryDirectory(prefix="deepseek-rows-") as folder:
            path = Path(folder) / REFERENCE_ROWS_FILE
            path.write_bytes(runtime.bundle.read(REFERENCE_ROWS_FILE))
            table = read_table(path)
    else:
        table = read_table(rows)
    features = runtime.prepare_table(table).features
    return features[spread_indices(len(features), MAX_ROWS)]


def _supports_model(kind: str, runtime: Runtime) -> bool:
    with contextlib.suppress(DeepseekError):  # its library is not installed
        return engine_class(kind).supports(runtime.model)
    return False


def _write_int8_copy(runtime: Runtime, features: Float32, out: Path) -> str:
    """Write the bundle's graph in int8 to `out`. Returns the reason where there is none, else ""."""
    calls = [
        {"features": features[start : start + CALIBRATION_CALL_ROWS]}
        for start in range(0, len(features), CALIBRATION_CALL_ROWS)
    ]
    with tempfile.TemporaryDirectory(prefix="deepseek-graph-") as folder:
        try:
            graph = Path(folder) / "model.onnx"
            graph.write_bytes(runtime.bundle.read("model.onnx"))
            with atomic_file(out) as part:
                int8.quantize_int8(graph, part, calls)
        except (DeepseekError, OSError) as error:
            return str(error)[:500]
    return ""


def _measure_kind(
    kind: str, runtime: Runtime, source: Source, features: Float32, tolerance: Tolerance, budget_s: float
) -> EngineMeasurement:
    """Compare a kind with the model's twin on the rows that did not calibrate, and time its calls where it passes."""
    rows = features[1::2]
    edges = make_edge_features(features)
    edge_rows = edges.arrays[FEATURES]
    with np.errstate(all="ignore"):  # numbers of 1e30 are meant to go beyond
        expected, edge_expected = runtime.model.score(rows), runtime.model.score(edge_rows)
    try:
        engine = engine_class(kind).open(source)
        scores, edge_scores = engine.score(rows), engine.score(edge_rows)
        engine.close()
    except DeepseekError as error:
        return EngineMeasurement(kind, passes=False, says=str(error)[:500])
    faults = nonfinite_faults(edges, {"output": edge_expected.output}, {"output": edge_scores.output})
    if faults:
        return EngineMeasurement(kind, passes=False, says="; ".join(faults[:MAX_CASES_NAMED]))
    difference, agreement = compare_with_exact(runtime, expected, scores)
    passes = compare_scores(runtime.model, expected, scores).passes
    if kind in LOSSY_KINDS:
        passes = difference <= tolerance.max_difference
        passes = passes and (agreement is None or agreement >= tolerance.min_agreement)
    seconds = measure_engine(kind, source, features, budget_s) if passes else {}
    figures = {"difference": difference, "agreement": agreement}
    return EngineMeasurement(kind, passes, figures=figures, seconds=seconds)


def compare_with_exact(runtime: Runtime, expected: Scores, scores: Scores) -> tuple[float, float | None]:
    """(difference, agreement): the largest difference of a probability, or of a value as a share of the standard
    deviation of those expected; the share of rows that get the same label, as the bundle decides it (None without)."""
    errors = np.abs(scores.output.astype(np.float64) - expected.output)
    if runtime.manifest.task == "regression":
        errors = errors / max(float(expected.output.std()), 1e-12)
        return max_or_infinite(errors), None
    exact_labels, labels = (np.asarray(runtime.decide(scores).labels) for scores in (expected, scores))
    return max_or_infinite(errors), float((exact_labels == labels).mean())


def _handle_request(request: JsonObject) -> JsonObject:
    if available_modes():
        limit_torch_threads()
    rows = None if request["rows"] is None else Path(request["rows"])
    tolerance, int8_file = Tolerance(**request["tolerance"]), Path(request["int8_file"])
    chosen = measure_lossy_engines(
        Path(request["path"]), tolerance, rows=rows, int8_file=int8_file, budget_s=request["budget_s"]
    )
    return chosen.to_dict()


if __name__ == "__main__":
    answer_stdin(_handle_request)
