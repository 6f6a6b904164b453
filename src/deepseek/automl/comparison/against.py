"""`ship --against OLD`: the new model and an older bundle on the test rows of the run.

check_old(options.against, question, test)               # before anything is trained
compare_with_old(options.against, new, rows, ...)        # before the bundle is written, which may take OLD's place
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.comparison.differences import ComparedRows, compare_models
from deepseek.automl.comparison.learned import learned_rows
from deepseek.automl.comparison.models import Question, ScoredModel, check_columns, check_comparable, score_model
from deepseek.automl.comparison.records import Exposure
from deepseek.automl.comparison.results import ComparisonResult
from deepseek.automl.evidence import MIN_ROWS
from deepseek.bundle import Manifest, open_bundle
from deepseek.data import Table
from deepseek.data.samples.preparer import BrokenPolicy, Fault
from deepseek.engines import open_runtime
from deepseek.look.numbers import count

EVIDENCE_FILE = "evidence/against.json"


def check_old(old: str | Path, question: Question, test: Table) -> None:
    """InputError unless the older bundle answers the same question and the test rows have what it reads."""
    manifest = open_bundle(old).manifest
    check_comparable([str(old), "the new model"], [Question.of(manifest), question])
    check_columns(str(old), manifest, test)


def compare_with_old(
    old: str | Path,
    new: ScoredModel,
    rows: ComparedRows,
    split: RunSplit,
    *,
    by: Sequence[str],
    root: Path | None,
    broken: BrokenPolicy,
    seed: int,
) -> ComparisonResult:
    """The new model against the older bundle on the N test rows, without those that the older one has learned from,
    where that is known."""
    name = str(old)
    if Path(old).resolve() == Path(new.path).resolve():
        name = f"{name} (before)"
    faults: list[Fault] = []
    with open_runtime(old) as runtime:
        scored = score_model(name, old, runtime, rows.table, rows.labels, root=root, broken=broken, faults=faults)
        fresh = _fresh_rows(name, runtime.manifest, split)
    return compare_models(
        [scored.take(fresh.rows), new.take(fresh.rows)], rows.take(fresh.rows), by=by, num_shown=0, seed=seed,
        learned_from={name: fresh.exposure} if fresh.exposure else {}, warnings=fresh.warnings,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunSplit:
    """Where the N test rows of a run come from."""

    table: Table  # that was split
    test: NDArray[np.int64]  # (N,) their places in it
    development: str  # digest of the rows that the new model learned from
    is_own: bool  # whether the user has brought the test rows


@dataclass(frozen=True, slots=True)
class FreshRows:
    """Test rows to compare on, by their places among all, and what must be said of them."""

    rows: NDArray[np.int64]
    exposure: Exposure | None = None  # of the older bundle to these rows; None where it has seen none
    warnings: tuple[str, ...] = ()


def _fresh_rows(name: str, manifest: Manifest, split: RunSplit) -> FreshRows:
    """The test rows that the older bundle has not learned from; all of them where that cannot be."""
    everything = np.arange(len(split.test))
    if split.is_own or manifest.lineage.data == split.development:
        return FreshRows(everything)
    learned = learned_rows(manifest, split.table)
    settle = "test rows of your own that neither has seen settle it"
    if learned is None:
        warning = f"{name} learned from other rows than this run, maybe from some of the test rows: {settle}"
        return FreshRows(everything, "maybe", (warning,))
    fresh = np.flatnonzero(~np.isin(split.test, learned))
    seen = f"{count(len(everything) - len(fresh))} of the {count(len(everything))} test rows"
    if len(fresh) == len(everything):
        return FreshRows(everything)
    if len(fresh) < MIN_ROWS:
        warning = f"{name} has learned from {seen}, and the others are fewer than {MIN_ROWS}: {settle}"
        return FreshRows(everything, "some", (warning,))
    warning = f"{name} has learned from {seen}: the two are compared on the other {count(len(fresh))}"
    return FreshRows(fresh, warnings=(warning,))
