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
from deepseek.compress.guard import Measured, best, verdict
from deepseek.compress.limits import Limits, check_methods
from deepseek.compress.report import evidence_files
from deepseek.compress.results import Found, Row
from deepseek.compress.subjects.opener import open_subject
from deepseek.compress.subjects.subject import Plan, Subject, Variant, Way
from deepseek.compress.timing import BATCHES, Timing, compare
from deepseek.contracts import Arrays, Figure
from deepseek.engines.checks.edges import FEATURES, Edges, edge_features, edge_tensors
from deepseek.engines.checks.finite import check_numbers
from deepseek.engines.checks.gate import MOST_NAMED, lost_numbers
from deepseek.engines.measuring import machine
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.files import whole

VERSION = 3  # of what is kept between calls
FIRST_ROWS = 512  # that a variant is judged on before all of them
EDGE_ROWS = 8  # that rows at the edge are made of
GIVEN = "given"

Tell = Callable[[str, float], None]


def optimise(
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
    tell: Tell | None = None,
) -> Found:
    """Compress `model`, judged on `data`. `train`: rows that a student may learn on; `student`:
    FILE.py:NAME of one for a module; `methods`: only these; `out`:
    where the bundle is written, if anything meets the limits; `cache`: where measurements are kept; `budget_s`: of
    timing, for each variant; `tell` hears of progress.

    InputError for a model, data, limits or methods that cannot be used, before any long work.
    """
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    limits, tell = limits or Limits(), tell or (lambda *_: None)
    with closing(open_subject(model, data, seed=seed, train=train, student=student)) as subject:
        found = _search(subject, limits, methods, None if out is None else Path(out), overwrite, cache, budget_s, tell)
    return replace(found, cpu_s=time.process_time() - start_cpu_s, wall_s=time.monotonic() - start_s)


def _search(
    subject: Subject,
    limits: Limits,
    methods: Sequence[str] | None,
    out: Path | None,
    overwrite: bool,
    cache: Path | None,
    budget_s: float,
    tell: Tell,
) -> Found:
    chosen_methods = check_methods(methods or subject.methods(), subject.methods(), subject.name)
    limits.check(subject.given.size_bytes, chosen_methods)
    if out is not None:
        check_target(out, overwrite=overwrite)
    work = _Work(subject, cache, budget_s)
    given = work.given(tell)
    rows: list[Row] = []
    plans = subject.plans(chosen_methods)
    settled: set[str] = set()
    for number, plan in enumerate(plans):
        if plan.spares in settled:
            continue
        tell(f"{plan.name}{_so_far(rows)}", (number + 1) / (len(plans) + 1))
        found_here = work.measured(plan, limits)
        rows += [Row(one, verdict(one, limits, given_bytes=subject.given.size_bytes)) for one in found_here]
        if not any(one.kept is not None and one.kept.value < limits.keep for one in found_here):
            settled.add(plan.spares or plan.name)  # a more careful form could only be slower
    accepted = [row.measured for row in rows if not row.refused]
    chosen = best(accepted) if accepted else None
    found = Found(given, tuple(rows), chosen, None, limits, subject.judge.name, subject.judge.num_rows, subject.seed)
    if chosen is not None and out is not None:
        found = _write(subject, work, found, out, overwrite=overwrite)
        work.forget()
    return found


def _so_far(rows: Sequence[Row]) -> str:
    """The best until now, for the line of progress."""
    accepted = [row.measured for row in rows if not row.refused]
    if not accepted:
        return ""
    leading = best(accepted)
    return f" (best so far: {leading.variant}, {leading.speedup:.2f}x, {leading.size_bytes / 1e6:.1f} MB)"


def _write(subject: Subject, work: _Work, found: Found, out: Path, *, overwrite: bool) -> Found:
    assert found.chosen is not None  # noqa: S101 - the caller has looked
    plan = next(plan for plan in subject.plans(subject.methods()) if plan.name == found.chosen.variant)
    manifest, files = subject.describe(work.variant(plan), found.chosen.engine)
    bundle = write_bundle(out, manifest, {**files, **evidence_files(found)}, overwrite=overwrite)
    return replace(found, bundle=out, digest=bundle.digest)


class _Work:
    """Makes, measures and remembers variants of one subject."""

    def __init__(self, subject: Subject, cache: Path | None, budget_s: float) -> None:
        self._subject = subject
        self._budget_s = budget_s
        asked = [VERSION, subject.digest, machine("onnxruntime", "openvino", "torch", "nncf")]
        name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        self._folder = (cache or Path.home() / ".cache" / "deepseek") / "compress" / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._given_ways: list[Way] = []
        self._given_outputs: NDArray[Any] | None = None
        self._edges: _EdgeAnswers | None = None

    def given(self, tell: Tell) -> tuple[Measured, ...]:
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
        self._edges = _EdgeAnswers.of(subject.rows(0, EDGE_ROWS), ways[0])
        timings = self._timings({way.engine: way for way in ways}, ways[0].engine)
        order = sorted(ways, key=lambda way: _cost(timings[way.engine]))
        fastest = order[0].engine
        timings = self._timings({way.engine: way for way in order}, fastest)
        score, kept = subject.judge.score(self._given_outputs), Figure(1.0, 1.0, 1.0)
        self._given_ways = order[:1]
        for way in order[1:]:
            way.close()
        return tuple(
            Measured(GIVEN, way.engine, variant.size_bytes, score, kept, timings[way.engine],
                     num_rows=subject.judge.num_rows)
            for way in order
        )  # fmt: skip

    def measured(self, plan: Plan, limits: Limits) -> list[Measured]:
        """Of each engine, from before or anew; the proofs that the limits made needless are left out."""
        place = self._folder / f"{plan.name}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = [Measured.from_dict(one) for one in json.loads(place.read_bytes())]
            if all(one.failed or one.timings or verdict(one, limits, given_bytes=self._given_bytes) for one in kept):
                return kept
        try:
            variant = self.variant(plan)
            found = [self._prove(way, variant, limits) for way in self._subject.ways(variant)]
        except DeepseekError as error:
            found = [Measured(plan.name, "", 0, failed=error.message)]
        with whole(place) as part:
            part.write_text(json.dumps([one.to_dict() for one in found]))
        return found

    def variant(self, plan: Plan) -> Variant:
        """The files of a plan, made once."""
        folder, place = self._folder / plan.name, self._folder / f"{plan.name}.variant.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(place.read_bytes())
            if told["files"] == _listing(folder):
                return Variant(plan.name, folder, int(told["size_bytes"]), tuple(told["notes"]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = self._subject.make(plan, folder)
        with whole(place) as part:
            told = {"size_bytes": made.size_bytes, "notes": made.notes, "files": _listing(folder)}
            part.write_text(json.dumps(told))
        return made

    def forget(self) -> None:
        """What was written as a bundle need not lie here, too."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _given_bytes(self) -> int:
        return self._subject.given.size_bytes

    def _prove(self, way: Way, variant: Variant, limits: Limits) -> Measured:
        """Size, then the score on some rows, then on all, then speed: what fails ends it."""
        found = Measured(variant.name, way.engine, variant.size_bytes, notes=variant.notes)
        try:
            for num_rows in sorted({min(FIRST_ROWS, self._subject.judge.num_rows), self._subject.judge.num_rows}):
                if verdict(found, limits, given_bytes=self._given_bytes):
                    return found
                found = self._judged(found, way, num_rows)
            if verdict(found, limits, given_bytes=self._given_bytes):
                return found
            if self._edges is not None:
                self._edges.check(way)
            both = {GIVEN: self._given_ways[0], way.engine + " ": way}
            return replace(found, timings=self._timings(both, GIVEN)[way.engine + " "])
        except DeepseekError as error:
            return replace(found, failed=f"it does not run: {error.message}")
        finally:
            way.close()

    def _judged(self, found: Measured, way: Way, num_rows: int) -> Measured:
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

    def _timings(self, ways: dict[str, Way], first: str) -> dict[str, dict[int, Timing]]:
        runs = {name: ways[name].run for name in [first, *(name for name in ways if name != first)]}
        by_batch = {
            batch: compare(runs, self._subject.rows, batch=batch, budget_s=self._budget_s / len(BATCHES))
            for batch in BATCHES
        }
        return {name: {batch: by_batch[batch][name] for batch in BATCHES} for name in runs}


@dataclass(frozen=True, slots=True)
class _EdgeAnswers:
    """Rows at the edge, made of some that are judged, and what the given model answers."""

    edges: Edges
    inputs: Any  # as Subject.rows() gives them
    wanted: Arrays

    @classmethod
    def of(cls, rows: Any, given: Way) -> _EdgeAnswers | None:
        """None for texts, which have no such rows, and where the model does not take them."""
        if isinstance(rows, np.ndarray):
            edges = edge_features(rows)
            inputs: Any = edges.arrays[FEATURES]
        elif all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in rows.values()):
            edges = edge_tensors(rows)
            inputs = edges.arrays
        else:
            return None
        try:
            return cls(edges, inputs, _outputs_of(given, inputs))
        except DeepseekError:
            return None

    def check(self, way: Way) -> None:
        """CheckError where a number that `way` gives is not finite, and the given model's is."""
        if lost := lost_numbers(self.edges, self.wanted, _outputs_of(way, self.inputs)):
            raise CheckError(
                f"it gives numbers that are not finite where the given model's are: {'; '.join(lost[:MOST_NAMED])}",
                expected="finite ones", fix="take another method",
            )  # fmt: skip


def _outputs_of(way: Way, inputs: Any) -> Arrays:
    """Outputs by name."""
    with np.errstate(all="ignore"):  # numbers of 1e30 are meant to go beyond
        found = way.run(inputs)
    return found if isinstance(found, Mapping) else {"output": np.asarray(found)}


def _cost(timings: dict[int, Timing]) -> float:
    return float(np.prod([one.cpu_ms for one in timings.values()]))


def _listing(folder: Path) -> dict[str, str]:
    """Every file with its sha256: what a cut-off attempt has left is made again."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
