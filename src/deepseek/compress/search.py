"""The search for a smaller model: build every planned variant, keep those within the limits, write the best.

    result = optimize("resnet.onnx", "validation.npz", Limits(keep=0.99, min_speedup=2.0), out="small")
    result.bundle           # None when nothing met the limits; result.rows says by how much each one missed

Main path: open and check everything -> time the original model's exact engines -> for each plan: build it, check its
size, score it on some rows, then on all, then time it beside the original -> the guard -> write the best.

Measurements are cached by the digests of model and data, so that a search that was interrupted, or is repeated with
other limits, continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import check_target, write_bundle
from deepseek.compress.guard import VariantMeasurement, choose_best, refusal_reason
from deepseek.compress.limits import Limits, check_methods
from deepseek.compress.report import evidence_files
from deepseek.compress.results import CompressionResult, ResultRow
from deepseek.compress.targets.opener import open_target
from deepseek.compress.targets.target import GIVEN, Backend, CompressionTarget, Plan, Variant
from deepseek.compress.timing import BATCH_SIZES, Timing, compare_speed
from deepseek.contracts import Arrays, Figure
from deepseek.engines.checks.edges import FEATURES, EdgeRows, make_edge_features, make_edge_tensors
from deepseek.engines.checks.finite import check_numbers
from deepseek.engines.checks.gate import MAX_CASES_NAMED, nonfinite_faults
from deepseek.engines.measuring import describe_machine
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.files import atomic_file

CACHE_VERSION = 3  # of the format of cached measurements
FIRST_ROWS = 512  # a variant is scored on these rows before it is scored on all
EDGE_ROWS = 8  # rows that extreme inputs are derived from

ProgressCallback = Callable[[str, float], None]


def optimize(
    model: str | Path,
    data: str | Path | None,
    limits: Limits | None = None,
    *,
    train: str | Path | None = None,
    student: str | None = None,
    methods: Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    cache: Path | None = None,
    seed: int = 0,
    budget_s: float = 6.0,
    progress: ProgressCallback | None = None,
) -> CompressionResult:
    """Compress `model`, evaluated on `data`.

    train: rows to train a student or a pruned module on. student: FILE.py:NAME of a student for a module.
    methods: compression methods to try, by default all that the model has.
    out: folder of the bundle, which is written if a variant meets the limits.
    cache: folder of cached measurements. budget_s: seconds of timing for each variant.
    progress: called with a message and the share of the work that is done, 0 to 1.

    InputError for a model, data, limits or methods that cannot be used, before any long work.
    """
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    limits, progress = limits or Limits(), progress or (lambda *_: None)
    with closing(open_target(model, data, seed=seed, train=train, student=student)) as target:
        result = _search(
            target, limits, methods, None if out is None else Path(out), overwrite, cache, budget_s, progress
        )
    return replace(result, cpu_s=time.process_time() - start_cpu_s, wall_s=time.monotonic() - start_s)


def _search(
    target: CompressionTarget,
    limits: Limits,
    methods: Sequence[str] | None,
    out: Path | None,
    overwrite: bool,
    cache: Path | None,
    budget_s: float,
    progress: ProgressCallback,
) -> CompressionResult:
    chosen_methods = check_methods(methods or target.methods(), target.methods(), target.name)
    limits.check(target.original.size_bytes, chosen_methods)
    if out is not None:
        check_target(out, overwrite=overwrite)
    store = _VariantStore(target, cache, budget_s)
    originals = store.measure_originals(progress)
    rows: list[ResultRow] = []
    plans = target.plans(chosen_methods)
    settled_plans: set[str] = set()
    for number, plan in enumerate(plans):
        if plan.spares in settled_plans:
            continue
        progress(f"{plan.name}{_best_text(rows)}", (number + 1) / (len(plans) + 1))
        measurements = store.measure_plan(plan, limits)
        rows += [ResultRow(measurement, store.refusal(measurement, limits)) for measurement in measurements]
        shares = [measurement.kept.value for measurement in measurements if measurement.kept is not None]
        if not any(share < limits.keep for share in shares):
            settled_plans.add(plan.spares or plan.name)  # a more careful form could only be slower
    accepted = [row.measured for row in rows if not row.refused]
    chosen = choose_best(accepted) if accepted else None
    result = CompressionResult(
        originals, tuple(rows), chosen, None, limits, target.evaluator.name, target.evaluator.num_rows, target.seed
    )
    if chosen is not None and out is not None:
        result = _write_result(target, store, result, out, overwrite=overwrite)
        store.delete()
    return result


def _best_text(rows: Sequence[ResultRow]) -> str:
    """The best variant so far, for the progress message; "" while none is accepted."""
    accepted = [row.measured for row in rows if not row.refused]
    if not accepted:
        return ""
    best = choose_best(accepted)
    return f" (best so far: {best.variant}, {best.speedup:.2f}x, {best.size_bytes / 1e6:.1f} MB)"


def _write_result(
    target: CompressionTarget, store: _VariantStore, result: CompressionResult, out: Path, *, overwrite: bool
) -> CompressionResult:
    assert result.chosen is not None  # noqa: S101 - the caller has looked
    plan = next(plan for plan in target.plans(target.methods()) if plan.name == result.chosen.variant)
    manifest, files = target.describe(store.variant(plan), result.chosen.engine)
    bundle = write_bundle(out, manifest, {**files, **evidence_files(result)}, overwrite=overwrite)
    return replace(result, bundle=out, digest=bundle.digest)


class _VariantStore:
    """Builds, measures and caches the variants of one compression target."""

    def __init__(self, target: CompressionTarget, cache: Path | None, budget_s: float) -> None:
        self._target = target
        self._budget_s = budget_s
        cache_key = [CACHE_VERSION, target.digest, describe_machine("onnxruntime", "openvino", "torch", "nncf")]
        name = hashlib.sha256(json.dumps(cache_key).encode()).hexdigest()[:32]
        self._folder = (cache or Path.home() / ".cache" / "deepseek") / "compress" / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._original_backends: list[Backend] = []
        self._original_outputs: NDArray[Any] | None = None
        self._edges: _EdgeCheck | None = None

    def measure_originals(self, progress: ProgressCallback) -> tuple[VariantMeasurement, ...]:
        """Measurements of the original model in its exact engines, the fastest first."""
        progress("the given model", 0.0)
        target, variant = self._target, self._target.original
        backends = target.backends(variant)
        self._original_outputs = target.outputs(backends[0])
        if not np.isfinite(self._original_outputs).all():
            raise InputError(
                f"{target.name} gives answers that are not finite on this data",
                expected="numbers",
                fix="mend the model, or leave the rows out that it cannot take",
            )
        self._edges = _EdgeCheck.of(target.rows(0, EDGE_ROWS), backends[0])
        timings = self._timings({backend.engine: backend for backend in backends}, backends[0].engine)
        by_speed = sorted(backends, key=lambda backend: _cpu_cost(timings[backend.engine]))
        fastest = by_speed[0].engine
        timings = self._timings({backend.engine: backend for backend in by_speed}, fastest)
        score, kept = target.evaluator.score(self._original_outputs), Figure(1.0, 1.0, 1.0)
        self._original_backends = by_speed[:1]
        for backend in by_speed[1:]:
            backend.close()
        return tuple(
            VariantMeasurement(GIVEN, backend.engine, variant.size_bytes, score, kept, timings[backend.engine],
                     num_rows=target.evaluator.num_rows)
            for backend in by_speed
        )  # fmt: skip

    def measure_plan(self, plan: Plan, limits: Limits) -> list[VariantMeasurement]:
        """Measurements of a plan in each engine, from the cache where it holds all that these limits need."""
        path = self._folder / f"{plan.name}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            measurements = [VariantMeasurement.from_dict(measurement) for measurement in json.loads(path.read_bytes())]
            if all(one.failed or one.timings or self.refusal(one, limits) for one in measurements):
                return measurements
        try:
            variant = self.variant(plan)
            measurements = [self._prove(backend, variant, limits) for backend in self._target.backends(variant)]
        except DeepseekError as error:
            measurements = [VariantMeasurement(plan.name, "", 0, failed=error.message)]
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps([measurement.to_dict() for measurement in measurements]))
        return measurements

    def variant(self, plan: Plan) -> Variant:
        """The files of a plan, built once and then read from the cache."""
        folder, path = self._folder / plan.name, self._folder / f"{plan.name}.variant.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(path.read_bytes())
            if record["files"] == _file_digests(folder):
                return Variant(plan.name, folder, int(record["size_bytes"]), tuple(record["notes"]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        variant = self._target.make(plan, folder)
        with atomic_file(path) as temporary:
            record = {"size_bytes": variant.size_bytes, "notes": variant.notes, "files": _file_digests(folder)}
            temporary.write_text(json.dumps(record))
        return variant

    def delete(self) -> None:
        """Delete the cache of this target, after its best variant was written as a bundle."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def refusal(self, measurement: VariantMeasurement, limits: Limits) -> str:
        """The guard's reason against a variant of this target, or ""."""
        return refusal_reason(measurement, limits, original_bytes=self._target.original.size_bytes)

    def _prove(self, backend: Backend, variant: Variant, limits: Limits) -> VariantMeasurement:
        """Check the size, then the score on some rows, then on all, then the speed; stops at the first failure."""
        measurement = VariantMeasurement(variant.name, backend.engine, variant.size_bytes, notes=variant.notes)
        try:
            all_rows = self._target.evaluator.num_rows
            for num_rows in sorted({min(FIRST_ROWS, all_rows), all_rows}):
                if self.refusal(measurement, limits):
                    return measurement
                measurement = self._score_rows(measurement, backend, num_rows)
            if self.refusal(measurement, limits):
                return measurement
            if self._edges is not None:
                self._edges.check(backend)
            timed = {GIVEN: self._original_backends[0], backend.engine + " ": backend}
            return replace(measurement, timings=self._timings(timed, GIVEN)[backend.engine + " "])
        except DeepseekError as error:
            return replace(measurement, failed=f"it does not run: {error.message}")
        finally:
            backend.close()

    def _score_rows(self, measurement: VariantMeasurement, backend: Backend, num_rows: int) -> VariantMeasurement:
        assert self._original_outputs is not None  # noqa: S101 - measure_originals() comes first
        evaluator = self._target.evaluator
        outputs = self._target.outputs(backend, num_rows)
        check_numbers(outputs, "an output")
        if num_rows < evaluator.num_rows:
            # on a part of the rows only variants far below the limit are refused: the upper bound is compared
            evaluator, original_outputs = evaluator.first_rows(num_rows), self._original_outputs[:num_rows]
            kept = evaluator.share_of_score(original_outputs, outputs)
            kept = replace(kept, value=kept.high)
        else:
            kept = evaluator.share_of_score(self._original_outputs, outputs)
        return replace(measurement, score=evaluator.score(outputs), kept=kept, num_rows=num_rows)

    def _timings(self, backends: dict[str, Backend], first: str) -> dict[str, dict[int, Timing]]:
        runs = {name: backends[name].run for name in [first, *(name for name in backends if name != first)]}
        by_batch = {
            batch: compare_speed(runs, self._target.rows, batch=batch, budget_s=self._budget_s / len(BATCH_SIZES))
            for batch in BATCH_SIZES
        }
        return {name: {batch: by_batch[batch][name] for batch in BATCH_SIZES} for name in runs}


@dataclass(frozen=True, slots=True)
class _EdgeCheck:
    """Extreme inputs (zeros, very large numbers) derived from real rows, with the original model's outputs for them."""

    edges: EdgeRows
    inputs: Any  # as CompressionTarget.rows() returns them
    expected: Arrays

    @classmethod
    def of(cls, rows: Any, original: Backend) -> _EdgeCheck | None:
        """The check for a target, or None for texts, which have no such inputs, and for a model that refuses them."""
        if isinstance(rows, np.ndarray):
            edges = make_edge_features(rows)
            inputs: Any = edges.arrays[FEATURES]
        elif all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in rows.values()):
            edges = make_edge_tensors(rows)
            inputs = edges.arrays
        else:
            return None
        try:
            return cls(edges, inputs, _named_outputs(original, inputs))
        except DeepseekError:
            return None

    def check(self, backend: Backend) -> None:
        """CheckError where an output of `backend` is not finite and the original model's output is."""
        if lost_outputs := nonfinite_faults(self.edges, self.expected, _named_outputs(backend, self.inputs)):
            raise CheckError(
                "it gives numbers that are not finite where the given model's are: "
                f"{'; '.join(lost_outputs[:MAX_CASES_NAMED])}",
                expected="finite ones", fix="take another method",
            )  # fmt: skip


def _named_outputs(backend: Backend, inputs: Any) -> Arrays:
    """Outputs of `backend` by name; a single array is named "output"."""
    with np.errstate(all="ignore"):  # numbers of 1e30 are meant to go beyond
        outputs = backend.run(inputs)
    return outputs if isinstance(outputs, Mapping) else {"output": np.asarray(outputs)}


def _cpu_cost(timings: dict[int, Timing]) -> float:
    return float(np.prod([timing.cpu_ms for timing in timings.values()]))


def _file_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below `folder` by relative path: detects what an interrupted build left behind."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
