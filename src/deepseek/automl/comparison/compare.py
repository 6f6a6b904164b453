"""Two bundles or more on the same rows: which is better, by how much, where, and whether that is more than noise.

    result = compare_bundles(["loans-v1", "loans-v2"], "later.csv", by=("region",))
    result.comparisons[0].verdict                      # "better", "worse", "noise", "identical" or "unknown"
    print(result.summary())

Rows of one group, where a bundle was split by groups, are drawn together: they are no independent witnesses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from deepseek.automl.comparison.differences import ComparedRows, compare_models, group_codes
from deepseek.automl.comparison.learned import learned_rows
from deepseek.automl.comparison.models import (
    Question,
    check_columns,
    check_comparable,
    display_names,
    input_table,
    score_model,
)
from deepseek.automl.comparison.page import write_page
from deepseek.automl.comparison.results import ComparisonResult
from deepseek.automl.constraints import row_weights
from deepseek.automl.evaluate import MAX_MASKED_LISTED, files_root
from deepseek.automl.evidence import MIN_ROWS, small_sample_warnings
from deepseek.bundle import Manifest
from deepseek.compress.timing import Timing, compare_speed
from deepseek.contracts import Task
from deepseek.data import Table, encode_target, read_table
from deepseek.data.samples.preparer import BrokenPolicy, Fault
from deepseek.data.table.formats import apply_formats
from deepseek.data.table.table import unknown_column_error
from deepseek.engines import MultimodalRuntime, Runtime, open_runtime
from deepseek.errors import InputError
from deepseek.look.numbers import count

SPEED_BUDGET_S = 0.5  # of each size of a call, all models together
CALL_ROWS, CALL_ROWS_OF_FILES = 1_000, 8  # of the larger call whose speed is measured
MAX_ROWS_SHOWN = 1_000


def compare_bundles(
    bundles: Sequence[str | Path],
    data: Any,
    *,
    metric: str | None = None,
    by: Sequence[str] = (),
    group: str | None = None,
    rows: int = 10,
    speed: bool = True,
    seed: int = 0,
    files: str | Path | None = None,
    broken: BrokenPolicy = "fail",
    key: str | Path | None = None,
    html: str | Path | None = None,
    command: str = "",
) -> ComparisonResult:
    """Compare bundles on rows with known answers; the first one is the reference of every difference.

    Args:
        bundles: Two or more, of one task and target, with the same classes in any order.
        data: Rows with the target and every column that one of the bundles reads: a path, a frame, or a Table.
        metric: What verdicts speak by; by default that of `ship`.
        by: Columns; the metric is compared in each group of their values, too.
        group: Column whose equal values are drawn together; by default that by which one of the bundles was split.
        rows: How many of the rows on which they disagree to list.
        speed: Whether to measure how long calls take.
        seed: Of the bootstrap.
        files, broken, key: As evaluate_bundle() takes them; `key` must have signed every bundle.
        html: Where to write the page, which names `command`.

    InputError for bundles that answer different questions and for columns that miss; IntegrityError for a bundle that
    was changed; NonFiniteError where a model gives NaN or an infinite number.
    """
    _check_options(bundles, rows)
    names, faults = display_names(bundles), list[Fault]()
    with ExitStack() as stack:
        runtimes = _open_bundles(stack, names, bundles, key)
        manifests = [runtime.manifest for runtime in runtimes]
        table, root = _read_rows(data, runtimes), files_root(data, files)
        for name, manifest in zip(names, manifests, strict=True):
            check_columns(name, manifest, table)
        compared, warnings = _compared_rows(manifests, table, group)
        scored = [
            score_model(name, path, runtime, table, compared.labels, root=root, broken=broken, faults=faults)
            for name, path, runtime in zip(names, bundles, runtimes, strict=True)
        ]
        learned = _num_learned_rows(names, manifests, table)
        compared = replace(compared, table=_readable_columns(manifests, table, by))
        result = compare_models(
            scored, compared, metric=metric, by=by, num_shown=rows, seed=seed,
            learned_from=dict.fromkeys(learned, "some"),
            warnings=[*warnings, *_row_warnings(table, by, learned, faults)],
        )  # fmt: skip
        if speed:
            timings = _measure_speed(names, runtimes, table, root, broken)
            models = tuple(replace(model, speed=timings[model.name]) for model in result.models)
            result = replace(result, models=models)
    if html is not None:
        write_page(html, result, data=table.digest(), seed=seed, command=command)
    return result


def _read_rows(data: Any, runtimes: Sequence[Runtime | MultimodalRuntime]) -> Table:
    """The rows, their texts read as the bundles read them; where two differ, as the first does."""
    table = read_table(data)
    for runtime in runtimes:
        table = apply_formats(table, runtime.formats)
    return table


def _open_bundles(
    stack: ExitStack, names: Sequence[str], bundles: Sequence[str | Path], key: str | Path | None
) -> list[Runtime | MultimodalRuntime]:
    """The bundles, open until the stack ends. InputError unless they answer the same question."""
    runtimes: list[Runtime | MultimodalRuntime] = []
    for path in bundles:
        runtimes.append(open_runtime(path, key=None if key is None else Path(key)))
        stack.callback(runtimes[-1].close)
    check_comparable(names, [Question.of(runtime.manifest) for runtime in runtimes])
    return runtimes


def _check_options(bundles: Sequence[str | Path], rows: int) -> None:
    """InputError for one bundle alone and for a number of rows that no page can hold."""
    if isinstance(bundles, (str, Path)) or len(bundles) < 2:
        raise InputError(
            "there is one bundle to compare", expected="two bundles or more", fix='compare(["old", "new"], "later.csv")'
        )
    if not 0 <= rows <= MAX_ROWS_SHOWN:
        raise InputError(f"rows is {rows}", expected=f"between 0 and {MAX_ROWS_SHOWN}", fix="give rows such a number")


def _compared_rows(manifests: Sequence[Manifest], table: Table, group: str | None) -> tuple[ComparedRows, list[str]]:
    """The rows with their answers, weights and groups, and what must be said of these."""
    first, warnings = manifests[0], list[str]()
    target = encode_target(table, first.target, first.labels)
    weights = {manifest.lineage.config.get("weights") for manifest in manifests}
    weight_name = weights.pop() if len(weights) == 1 else None
    if weights:
        warnings.append("the bundles were not made with the same sample weights: every row counts alike here")
    if weight_name is not None and weight_name not in table.names:
        warnings.append(f"the data has no column {weight_name!r} of sample weights: every row counts alike here")
        weight_name = None
    group_name, codes = None, None
    if group is not None:
        if group not in table.names:
            raise unknown_column_error(group, table.names, where="the data")
        group_name = group
    else:
        splits = [str(manifest.lineage.config.get("split", "")).partition(":") for manifest in manifests]
        columns = dict.fromkeys(column for method, _, column in splits if method == "group")
        group_name = next((column for column in columns if column in table.names), None)
        if columns and group_name is None:
            warnings.append(
                f"a bundle was split by {', '.join(map(repr, columns))}, which the data lacks: where rows belong "
                "together, these intervals are too narrow"
            )
    if group_name is not None:
        codes = group_codes(table, group_name)
        if codes.max() + 1 < MIN_ROWS:
            warnings.append(
                f"the rows belong to {codes.max() + 1} values of {group_name!r}: intervals of fewer than {MIN_ROWS} "
                "groups may be too narrow"
            )
    compared = ComparedRows(
        cast("Task", first.task), first.target, tuple(first.labels), table, target, row_weights(table, weight_name),
        weights_name=weight_name, groups=codes, group_name=group_name,
    )  # fmt: skip
    return compared, warnings


def _num_learned_rows(names: Sequence[str], manifests: Sequence[Manifest], table: Table) -> dict[str, int]:
    """Of the bundles that are known to have learned from some of these rows: from how many."""
    rows = {name: learned_rows(manifest, table) for name, manifest in zip(names, manifests, strict=True)}
    return {name: len(seen) for name, seen in rows.items() if seen is not None}


def _row_warnings(table: Table, by: Sequence[str], learned: Mapping[str, int], faults: Sequence[Fault]) -> list[str]:
    """What a person must know of the rows before the figures are used. `learned`: how many of them bundles learned
    from, by name."""
    return [
        *small_sample_warnings(table, tuple(by)),
        *(
            f"{name} has learned from {count(num)} of these {count(table.num_rows)} rows, which flatters it: give rows "
            "that no bundle has seen"
            for name, num in learned.items()
        ),
        *dict.fromkeys(f"masked: {fault.message}" for fault in faults[:MAX_MASKED_LISTED]),
    ]


def _readable_columns(manifests: Sequence[Manifest], table: Table, by: Sequence[str]) -> Table:
    """The columns that one of the bundles reads, and those of the segments."""
    known = {column.name for manifest in manifests for column in manifest.inputs} | set(by)
    return table.drop([name for name in table.names if name not in known])


def _measure_speed(
    names: Sequence[str],
    runtimes: Sequence[Runtime | MultimodalRuntime],
    table: Table,
    root: Path | None,
    broken: BrokenPolicy,
) -> Mapping[str, dict[int, Timing]]:
    """How long calls of one row and of many take, from raw rows to answers, the models in turns; by model and rows."""

    def run_of(runtime: Runtime | MultimodalRuntime) -> Any:
        if isinstance(runtime, MultimodalRuntime):
            return lambda rows: runtime.predict(input_table(runtime.manifest, rows), root=root, broken=broken)
        return lambda rows: runtime.predict(input_table(runtime.manifest, rows))

    def rows_of(number: int, batch: int) -> Table:
        return table.take((number * batch + np.arange(batch)) % table.num_rows)

    reads_files = any(isinstance(runtime, MultimodalRuntime) for runtime in runtimes)
    runs = {name: run_of(runtime) for name, runtime in zip(names, runtimes, strict=True)}
    sizes = sorted({1, min(table.num_rows, CALL_ROWS_OF_FILES if reads_files else CALL_ROWS)})
    timings: dict[str, dict[int, Timing]] = {name: {} for name in names}
    for size in sizes:
        for name, timing in compare_speed(runs, rows_of, batch=size, budget_s=SPEED_BUDGET_S).items():
            timings[name][size] = timing
    return timings
