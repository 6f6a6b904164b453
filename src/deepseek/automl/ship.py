"""`ship`: data in, an evidence-carrying bundle out.

read -> kinds -> split -> leak checks -> prepare -> develop (search, blend, calibrate, refit)
     -> decide -> export with parity -> figures, segments, explanations -> one bundle, written at once
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.automl.options import ProgressCallback, ShipOptions
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.errors import CheckError, DeepseekError, InputError

if TYPE_CHECKING:
    from deepseek.contracts import Task
    from deepseek.data import Table


def ship(
    data: Any = None, *, target: str | None = None, example: str | None = None, out: str | Path | None = None,
    name: str | None = None, test: Any = None, validation: Any = None, split: str | None = None, seed: int = 0,
    budget_s: float = 120.0, memory_bytes: float | None = None, trials: int | None = None, task: Task | None = None,
    metric: str | None = None, positive: str | None = None, candidates: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None, drop: Sequence[str] = (), drop_missing_target: bool = False,
    weights: str | None = None, monotone: Mapping[str, int] | None = None, costs: Any = None,
    max_fpr: float | None = None, min_recall: float | None = None, interval: float = 0.9, segments: Sequence[str] = (),
    fairness: str | None = None, reference: bool = False, key: Path | None = None, overwrite: bool = False,
    progress: ProgressCallback | None = None, command: str | None = None, allow: Sequence[str] = (),
    files: str | Path | None = None, broken: str = "fail", workers: int = 2,
    encoders: Mapping[str, str | Path] | None = None, train_encoders: Sequence[str] = (),
    against: str | Path | None = None, missing: Sequence[str] = (), refit: bool = False,
    cluster: str | None = None, distributed_fit: bool = False,
) -> ShipResult:  # fmt: skip
    """Train, compare, calibrate, check, explain and pack a model. InputError for what cannot be used, CheckError for a
    stated limit that is not met; then no bundle is left behind.

    `data` (a path of CSV, Parquet or Arrow, a frame of pandas or polars, a Table) with its column `target`, or
    `example`: cancer, digits or fraud. The others, each as ShipOptions says at more length:

    Bundle: out (folder), name, overwrite, key (private key that signs), reference (keep real training rows), command.
    Rows: test, validation (of the user's own), split (random, time, time:COLUMN, group:COLUMN),
    drop_missing_target, memory_bytes, weights (column), allow (findings of the leak check, by name), refit (the last
    fit on all rows, once the model was measured; test rows of the user's own are never fitted on).
    Columns: kinds (by column), drop, missing (texts that mean "not known"), monotone (1 or -1 by column), task,
    positive (the class that limits speak of).
    Search: seed, budget_s (CPU seconds), trials (exactly so many), metric, candidates, progress (message, share 0..1).
    Decision: costs[truth][decision], max_fpr, min_recall, interval (coverage); all shares 0..1.
    Evidence: segments and fairness (columns), against (an older bundle: is the new model better, by more than noise?).
    Files and texts: files (their folder), broken ("fail" or "mask"), workers (processes), encoders (by column),
    train_encoders (columns).
    Cluster: cluster ("ray" for one on this machine, "auto" or HOST:PORT), whose workers fit; distributed_fit (the last
    fit of boosted trees over all of them; larger files than memory have it anyway).
    """
    clock = RunClock()
    if (data is None) == (example is None):
        raise InputError(
            "ship takes either data or an example",
            expected='ship("loans.csv", target="default") or ship(example="cancer")',
            fix="give one of the two",
        )
    if example is not None:
        rows = open_example(example, target=target, name=name, split=split, out=out)
        data, target, name, split = rows.table, rows.target, rows.name, rows.split
    if target is None:
        raise InputError(
            "ship.target is missing", expected="the name of the column to predict", fix='add target="COLUMN"'
        )
    options = ShipOptions(
        target=target, out=out, name=name, test=test, validation=validation, split=split or "random", seed=seed,
        budget_s=budget_s, memory_bytes=memory_bytes, trials=trials, task=task, metric=metric, positive=positive,
        candidates=candidates, kinds=kinds, drop=drop, drop_missing_target=drop_missing_target, weights=weights,
        monotone=monotone, costs=costs, max_fpr=max_fpr, min_recall=min_recall, interval=interval, segments=segments,
        fairness=fairness, reference=reference, key=key, overwrite=overwrite, progress=progress, command=command,
        allow=allow, files=files, broken=broken, workers=workers, encoders=encoders, train_encoders=train_encoders,
        against=against, missing=missing, refit=refit, cluster=cluster, distributed_fit=distributed_fit,
    )  # fmt: skip
    return ship_with(data, options, clock)


def ship_with(data: Any, options: ShipOptions, clock: RunClock | None = None) -> ShipResult:
    """ship() for options that are one object already."""
    from deepseek.data.table.memory import translate_memory_errors

    fix = "give it less to hold with --memory 1GB, so that rows are drawn; or more memory"
    with translate_memory_errors("the run", fix=fix):
        return _ship(data, options, clock or RunClock())


def _ship(source: Any, options: ShipOptions, clock: RunClock) -> ShipResult:
    from deepseek.automl.cluster.workers import open_workers
    from deepseek.automl.multimodal_run import media_kinds, ship_multimodal
    from deepseek.automl.split_data import open_data
    from deepseek.automl.tabular_pack import write_tabular_bundle
    from deepseek.automl.tabular_run import TabularRun
    from deepseek.look.notebook.progress import notebook_progress
    from deepseek.look.words import Text

    if options.progress is None and (shown := notebook_progress(Text("Shipping", "交付"))) is not None:
        with closing(shown):  # an error leaves no bar behind
            return _ship(source, replace(options, progress=shown), clock)
    data = open_data(source, options)
    if media := media_kinds(data, options):
        _refuse_for_media(options)
        return ship_multimodal(data, options, media, clock)
    _refuse_encoders(options)
    with nullcontext() if options.cluster is None else open_workers(options.cluster) as workers:
        run = TabularRun.of(data, options, workers)
        return write_tabular_bundle(run, run.develop(), clock)


def _refuse_encoders(options: ShipOptions) -> None:
    """InputError for encoders of a table without files and texts."""
    if options.encoders:
        raise InputError(
            f"{', '.join(options.encoders)} has an encoder, but no column holds files or texts",
            expected="a column of texts or pictures", fix="name one with kinds, or leave the encoders out",
        )  # fmt: skip


def _refuse_for_media(options: ShipOptions) -> None:
    """InputError for a refit of a net of files and texts, which would take its training once more, and for a cluster,
    which fits no such nets."""
    if options.cluster is not None:
        raise InputError(
            "cluster is for tables of values, and a column here holds files or texts of an encoder",
            expected="a table without such columns",
            fix="leave cluster out; nets are trained on several machines by deepseek train",
        )
    if options.refit:
        raise InputError(
            "refit is for tables of values, and a column here holds files or texts of an encoder",
            expected="a table without such columns",
            fix="leave refit out; or bring test rows of your own instead: then all others are fitted on",
        )  # fmt: skip


def find_refusals(data: Any, options: ShipOptions) -> list[DeepseekError]:
    """What ship_with() would refuse before it begins to train: the errors of its own checks, with what gives the target
    away first, and then what stands in the way beside it. Empty where it would go on. Nothing is trained or written,
    and no file is decoded.

    `data` as ship() takes it; where the bundle would be written does not matter.
    """
    from deepseek.data.split.leaks import LEAKING_PARTS
    from deepseek.data.table.read import read_table

    with tempfile.TemporaryDirectory(prefix="deepseek-check-") as scratch:
        options = replace(options, out=Path(scratch) / "bundle", name="check", overwrite=False)
        try:
            _check_up_to_training(data, options)
        except CheckError as refusal:
            # The leak checks name all that they find at once; with all of it accepted the other checks are made, too.
            names = read_table(data).names
            everything = (
                *names,
                *(f"{what}:{name}" for what in ("copies", "presence") for name in names),
                *LEAKING_PARTS,
            )
            return [refusal, *_first_error(data, replace(options, allow=everything))]
        except DeepseekError as refusal:
            return [refusal]
    return []


def _first_error(data: Any, options: ShipOptions) -> list[DeepseekError]:
    try:
        _check_up_to_training(data, options)
    except DeepseekError as refusal:
        return [refusal]
    return []


def _check_up_to_training(source: Any, options: ShipOptions) -> None:
    """The first half of _ship(): whatever it raises."""
    from deepseek.automl.multimodal_run import check_samples, media_kinds
    from deepseek.automl.split_data import open_data
    from deepseek.automl.tabular_run import TabularRun

    data = open_data(source, options)
    if media := media_kinds(data, options):
        _refuse_for_media(options)
        check_samples(data, options, media)
        return
    _refuse_encoders(options)
    TabularRun.of(data, options).check()


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """The table of an example, and what a run over it is told unless the user says otherwise."""

    table: Table
    target: str
    name: str | None  # of the model; None: that of the bundle's folder
    split: str


def open_example(
    example: str, *, target: str | None, name: str | None, split: str | None, out: str | Path | None
) -> ExampleRows:
    """The table of an example (cancer, digits or fraud), with the target, name and split that are not given."""
    from deepseek.data.table.examples import load_example

    table, usual_target, _ = load_example(example)
    usual_split = "time:time" if example == "fraud" else "random"
    return ExampleRows(
        table,
        usual_target if target is None else target,
        name if out or name is not None else example,
        usual_split if split is None else split,
    )
