"""The one call: try plans, the cheapest proof first, keep only what meets the limits, write it with its evidence.

    found = optimise("resnet.onnx", "validation.npz", Limits(keep=0.99, min_speedup=2.0), out="small")
    found.bundle            # None when nothing met the limits; found.rows says by how much each one missed

Main path: open and check everything -> time the given model's exact engines -> for each plan: make it, weigh its size,
judge it on some rows, then on all, then time it beside the given model -> the guard -> write the best.

Every measurement is kept beside the caches by the digests of model and data, so that a search which was interrupted, or
is asked again with other limits, goes on where it stopped.
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
from deepseek.compress.subjects.opener import open_target
from deepseek.compress.subjects.subject import Backend, CompressionTarget, Plan, Variant
from deepseek.compress.timing import BATCH_SIZES, Timing, compare_speed
from deepseek.contracts import Arrays, Figure
from deepseek.engines.checks.edges import FEATURES, EdgeRows, make_edge_features, make_edge_tensors
from deepseek.engines.checks.finite import check_numbers
from deepseek.engines.checks.gate import MAX_CASES_NAMED, nonfinite_faults
from deepseek.engines.measuring import describe_machine
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.files import atomic_file

CACHE_VERSION = 3  # of what is kept between calls
FIRST_ROWS = 512  # that a variant is judged on before all of them
EDGE_ROWS = 8  # that rows at the edge are made of
GIVEN = "given"

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
    tell: ProgressCallback | None = None,
) -> CompressionResult:
    """Compress `model`, judged on `data`. `train`: rows that a student may learn on; `student`:
    FILE.py:NAME of one for a module; `methods`: only these; `out`:
    where the bundle is written, if anything meets the limits; `cache`: where measurements are kept; `budget_s`: of
    timing, for each variant; `tell` hears of progress.

    InputError for a model, data, limits or methods that cannot be used, before any long work.
    """
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    limits, tell = limits or Limits(), tell or (lambda *_: None)
    with closing(open_target(model, data, seed=seed, train=train, student=student)) as subject:
        found = _search(subject, limits, methods, None if out is None else Path(out), overwrite, cache, budget_s, tell)
    return replace(found, cpu_s=time.process_time() - start_cpu_s, wall_s=time.monotonic() - start_s)


def _search(
    subject: CompressionTarget,
    limits: Limits,
    methods: Sequence[str] | None,
    out: Path | None,
    overwrite: bool,
    cache: Path | None,
    budget_s: float,
    tell: ProgressCallback,
) -> CompressionResult:
    chosen_methods = check_methods(methods or subject.methods(), subject.methods(), subject.name)
    limits.check(subject.given.size_bytes, chosen_methods)
    if out is not None:
        check_target(out, overwrite=overwrite)
    work = _VariantStore(subject, cache, budget_s)
    given = work.given(tell)
    rows: list[ResultRow] = []
    plans = subject.plans(chosen_methods)
    settled: set[str] = set()
    for number, plan in enumerate(plans):
        if plan.spares in settled:
            continue
        tell(f"{plan.name}{_best_text(rows)}", (number + 1) / (len(plans) + 1))
        found_here = work.measured(plan, limits)
        rows += [
            ResultRow(one, refusal_reason(one, limits, given_bytes=subject.given.size_bytes)) for one in found_here
        ]
        if not any(one.kept is not None and one.kept.value < limits.keep for one in found_here):
            settled.add(plan.spares or plan.name)  # a more careful form could only be slower
    accepted = [row.measured for row in rows if not row.refused]
    chosen = choose_best(accepted) if accepted else None
    found = CompressionResult(
        given, tuple(rows), chosen, None, limits, subject.judge.name, subject.judge.num_rows, subject.seed
    )
    if chosen is not None and out is not None:
        found = _write_result(subject, work, found, out, overwrite=overwrite)
        work.forget()
    return found


def _best_text(rows: Sequence[ResultRow]) -> str:
    """The best until now, for the line of progress."""
    accepted = [row.measured for row in rows if not row.refused]
    if not accepted:
        return ""
    leading = choose_best(accepted)
    return f" (best so far: {leading.variant}, {leading.speedup:.2f}x, {leading.size_bytes / 1e6:.1f} MB)"


def _write_result(
    subject: CompressionTarget, work: _VariantStore, found: CompressionResult, out: Path, *, overwrite: bool
) -> CompressionResult:
    assert found.chosen is not None  # noqa: S101 - the caller has looked
    plan = next(plan for plan in subject.plans(subject.methods()) if plan.name == found.chosen.variant)
    manifest, files = subject.describe(work.variant(plan), found.chosen.engine)
    bundle = write_bundle(out, manifest, {**files, **evidence_files(found)}, overwrite=overwrite)
    return replace(found, bundle=out, digest=bundle.digest)


class _VariantStore:
    """Makes, measures and remembers variants of one subject."""

    def __init__(self, subject: CompressionTarget, cache: Path | None, budget_s: float) -> None:
        self._subject = subject
        self._budget_s = budget_s
        asked = [CACHE_VERSION, subject.digest, describe_machine("onnxruntime", "openvino", "torch", "nncf")]
        name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        self._folder = (cache or Path.home() / ".cache" / "deepseek") / "compress" / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._given_ways: list[Backend] = []
        self._given_outputs: NDArray[Any] | None = None
        self._edges: _EdgeCheck | None = None

    def given(self, tell: ProgressCallback) -> tuple[VariantMeasurement, ...]:
        """The given model in its exact engines, the fastest first."""
        tell("the given model", 0.0)
        subject, variant = self._subject, self._subject.given
        ways = subject.ways(variant)
        self._given_outputs = subject.outputs(ways[0])
        if not np.isfinite(self._given_outputs).all():
            raise InputError(
                f"{subject.name} gives answers that are not finite on this data",
                expected="numbers",
                fix="mend the model, or leave the rows out that it cannot take",
            )
        self._edges = _EdgeCheck.of(subject.rows(0, EDGE_ROWS), ways[0])
        timings = self._timings({way.engine: way for way in ways}, ways[0].engine)
        order = sorted(ways, key=lambda way: _cpu_cost(timings[way.engine]))
        fastest = order[0].engine
        timings = self._timings({way.engine: way for way in order}, fastest)
        score, kept = subject.judge.score(self._given_outputs), Figure(1.0, 1.0, 1.0)
        self._given_ways = order[:1]
        for way in order[1:]:
            way.close()
        return tuple(
            VariantMeasurement(GIVEN, way.engine, variant.size_bytes, score, kept, timings[way.engine],
                     num_rows=subject.judge.num_rows)
            for way in order
        )  # fmt: skip

    def measured(self, plan: Plan, limits: Limits) -> list[VariantMeasurement]:
        """Of each engine, from before or anew; the proofs that the limits made needless are left out."""
        place = self._folder / f"{plan.name}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = [VariantMeasurement.from_dict(one) for one in json.loads(place.read_bytes())]
            if all(
                one.failed or one.timings or refusal_reason(one, limits, given_bytes=self._given_bytes) for one in kept
            ):
                return kept
        try:
            variant = self.variant(plan)
            found = [self._prove(way, variant, limits) for way in self._subject.ways(variant)]
        except DeepseekError as error:
            found = [VariantMeasurement(plan.name, "", 0, failed=error.message)]
        with atomic_file(place) as part:
            part.write_text(json.dumps([one.to_dict() for one in found]))
        return found

    def variant(self, plan: Plan) -> Variant:
        """The files of a plan, made once."""
        folder, place = self._folder / plan.name, self._folder / f"{plan.name}.variant.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(place.read_bytes())
            if told["files"] == _file_digests(folder):
                return Variant(plan.name, folder, int(told["size_bytes"]), tuple(told["notes"]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = self._subject.make(plan, folder)
        with atomic_file(place) as part:
            told = {"size_bytes": made.size_bytes, "notes": made.notes, "files": _file_digests(folder)}
            part.write_text(json.dumps(told))
        return made

    def forget(self) -> None:
        """What was written as a bundle need not lie here, too."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _given_bytes(self) -> int:
        return self._subject.given.size_bytes

    def _prove(self, way: Backend, variant: Variant, limits: Limits) -> VariantMeasurement:
        """Size, then the score on some rows, then on all, then speed: what fails ends it."""
        found = VariantMeasurement(variant.name, way.engine, variant.size_bytes, notes=variant.notes)
        try:
            for num_rows in sorted({min(FIRST_ROWS, self._subject.judge.num_rows), self._subject.judge.num_rows}):
                if refusal_reason(found, limits, given_bytes=self._given_bytes):
                    return found
                found = self._judged(found, way, num_rows)
            if refusal_reason(found, limits, given_bytes=self._given_bytes):
                return found
            if self._edges is not None:
                self._edges.check(way)
            both = {GIVEN: self._given_ways[0], way.engine + " ": way}
            return replace(found, timings=self._timings(both, GIVEN)[way.engine + " "])
        except DeepseekError as error:
            return replace(found, failed=f"it does not run: {error.message}")
        finally:
            way.close()

    def _judged(self, found: VariantMeasurement, way: Backend, num_rows: int) -> VariantMeasurement:
        assert self._given_outputs is not None  # noqa: S101 - given() comes first
        judge = self._subject.judge
        outputs = self._subject.outputs(way, num_rows)
        check_numbers(outputs, "an output")
        if num_rows < judge.num_rows:
            # only what is far below the limit is turned away on some of the rows
            judge, given = judge.first(num_rows), self._given_outputs[:num_rows]
            kept = judge.kept(given, outputs)
            return replace(found, score=judge.score(outputs), num_rows=num_rows,
                           kept=Figure(kept.high, kept.low, kept.high))  # fmt: skip
        return replace(found, score=judge.score(outputs), kept=judge.kept(self._given_outputs, outputs),
                       num_rows=num_rows)  # fmt: skip

    def _timings(self, ways: dict[str, Backend], first: str) -> dict[str, dict[int, Timing]]:
        runs = {name: ways[name].run for name in [first, *(name for name in ways if name != first)]}
        by_batch = {
            batch: compare_speed(runs, self._subject.rows, batch=batch, budget_s=self._budget_s / len(BATCH_SIZES))
            for batch in BATCH_SIZES
        }
        return {name: {batch: by_batch[batch][name] for batch in BATCH_SIZES} for name in runs}


@dataclass(frozen=True, slots=True)
class _EdgeCheck:
    """Rows at the edge, made of some that are judged, and what the given model answers."""

    edges: EdgeRows
    inputs: Any  # as Subject.rows() gives them
    wanted: Arrays

    @classmethod
    def of(cls, rows: Any, given: Backend) -> _EdgeCheck | None:
        """None for texts, which have no such rows, and where the model does not take them."""
        if isinstance(rows, np.ndarray):
            edges = make_edge_features(rows)
            inputs: Any = edges.arrays[FEATURES]
        elif all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in rows.values()):
            edges = make_edge_tensors(rows)
            inputs = edges.arrays
        else:
            return None
        try:
            return cls(edges, inputs, _named_outputs(given, inputs))
        except DeepseekError:
            return None

    def check(self, way: Backend) -> None:
        """CheckError where a number that `way` gives is not finite, and the given model's is."""
        if lost := nonfinite_faults(self.edges, self.wanted, _named_outputs(way, self.inputs)):
            raise CheckError(
                f"it gives numbers that are not finite where the given model's are: {'; '.join(lost[:MAX_CASES_NAMED])}",
                expected="finite ones", fix="take another method",
            )  # fmt: skip


def _named_outputs(way: Backend, inputs: Any) -> Arrays:
    """Outputs by name."""
    with np.errstate(all="ignore"):  # numbers of 1e30 are meant to go beyond
        found = way.run(inputs)
    return found if isinstance(found, Mapping) else {"output": np.asarray(found)}


def _cpu_cost(timings: dict[int, Timing]) -> float:
    return float(np.prod([one.cpu_ms for one in timings.values()]))


def _file_digests(folder: Path) -> dict[str, str]:
    """Every file with its sha256: what a cut-off attempt has left is made again."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
