"""Does every engine give the answers of the numpy twin? Measured on real rows, kept as evidence.

check_parity(model, export_onnx(model, F), features) -> {"num_rows", "limits", "engines": {kind: {...}}}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepseek.contracts import Engine, Float32, Scores
from deepseek.engines.checks.edges import EdgeRows, make_edge_features
from deepseek.engines.checks.gate import absolute_errors, edge_faults
from deepseek.engines.registry import ENGINES, LATE_KINDS, LOSSY_KINDS, REFERENCE, Source, engine_class
from deepseek.errors import CheckError, DeepseekError, ExtraError
from deepseek.nn.model import Model

#: Largest difference of a probability, and of a margin or a predicted value relative to max(1, its size).
OUTPUT_LIMIT = 1e-5
MARGIN_LIMIT = 1e-4
#: The twin walks trees one level at a time: about 1 ms a row for a deep forest.
MAX_PARITY_ROWS = 2_000


def check_parity(
    model: Model,
    graph: bytes,
    features: Float32,
    *,
    max_rows: int = MAX_PARITY_ROWS,
    num_threads: int = 1,
    kinds: Sequence[str] = (),
    missing: Float32 | None = None,
) -> dict[str, Any]:
    """Differences to Model.score of every engine that is installed and fits (or of `kinds` alone, the reference
    first), on at most `max_rows` of `features`, on one of them alone, on `missing` (rows in which columns, or all, have
    no value, as the preparer gives them) and on rows at the edge (checks.edges).

    CheckError when the exported graph misses a limit, or gives a number that is not finite where the model gives one:
    it is what a bundle is served from. Another engine that does is reported with "passes" false, and not used.
    """
    rows = features[spread_indices(len(features), max_rows)]
    if missing is not None:
        rows = np.concatenate([rows, missing])
    expected = model.score(rows)
    edges = make_edge_features(features)
    source = Source(lambda: model, lambda: graph, features.shape[1], num_threads)
    engines = {kind: check_engine(model, expected, rows, kind, source, edges) for kind in kinds or exact_kinds(model)}
    report = {
        "num_rows": len(rows),
        "limits": {"output": OUTPUT_LIMIT, "margin": MARGIN_LIMIT},
        "engines": engines,
        "edges": {"num_rows": len(edges), "cases": list(dict.fromkeys(edges.cases))},
    }
    reference = engines[REFERENCE]
    if reference.get("faults"):
        raise CheckError(
            f"the exported graph does not answer as the model does: {'; '.join(reference['faults'])}",
            expected="finite numbers wherever the model gives them, within the limits of parity",
            fix="report it as a bug of the export, with the model's candidates",
        )
    if not reference["passes"]:
        worst = reference["max_abs_difference"]
        raise CheckError(
            f"the exported graph differs from the model: {worst['output']:.2e} in the output, "
            f"{worst['margin']:.2e} in the margin, on {len(rows)} rows",
            expected=f"at most {OUTPUT_LIMIT:g} and {MARGIN_LIMIT:g}",
            fix="report it as a bug of the export, with the model's candidates",
        )
    return report


def exact_kinds(model: Model) -> list[str]:
    """The exact engines that are installed here and can run the model, the reference first; without those that are
    tried after others."""
    kinds = []
    checked = [kind for kind in ENGINES if kind not in LOSSY_KINDS and kind not in LATE_KINDS]
    for kind in sorted(checked, key=lambda kind: kind != REFERENCE):
        try:
            if engine_class(kind).supports(model):
                kinds.append(kind)
        except ExtraError:
            if kind == REFERENCE:
                raise
    return kinds


def check_engine(
    model: Model, expected: Scores, rows: Float32, kind: str, source: Source, edges: EdgeRows | None = None
) -> dict[str, Any]:
    """One engine against the scores that are expected, and on rows at the edge; what does not hold there is listed as
    "faults". An engine that cannot start counts as not passing."""
    try:
        engine = engine_class(kind).open(source)
        scores = engine.score(rows)
        faults = _engine_edge_faults(model, engine, edges or make_edge_features(rows), expected.margin[:1], rows[:1])
    except DeepseekError as error:
        if kind == REFERENCE:
            raise
        return {
            "max_abs_difference": {"output": None, "margin": None},
            "passes": False,
            "problem": str(error),
        }
    engine.close()
    report = compare_scores(model, expected, scores)
    return report | {"passes": False, "faults": faults} if faults else report


def _engine_edge_faults(model: Model, engine: Engine, edges: EdgeRows, margin: Float32, row: Float32) -> list[str]:
    """What does not hold on rows at the edge, or of one `row` alone, whose margin is known."""
    features = edges.arrays["features"]
    with np.errstate(all="ignore"):  # numbers of 1e30 are meant to go beyond
        expected, scores = model.score(features), engine.score(features)
    row_error = absolute_errors(engine.score(row).margin, margin) / np.maximum(1.0, np.abs(margin))
    faults = (
        []
        if _max_or_infinite(row_error) <= MARGIN_LIMIT
        else [f"one row alone: margin differs by {_max_or_infinite(row_error):.2g}"]
    )
    faults += edge_faults(edges, {"margin": expected.margin}, {"margin": scores.margin}, limit=MARGIN_LIMIT)
    limit = MARGIN_LIMIT if model.task == "regression" else OUTPUT_LIMIT
    return faults + edge_faults(edges, {"output": expected.output}, {"output": scores.output}, limit=limit)


def compare_scores(model: Model, expected: Scores, scores: Scores) -> dict[str, Any]:
    """Largest differences of margin and output, and the share of rows with the same most likely label."""
    margin, output = (absolute_errors(getattr(scores, name), getattr(expected, name)) for name in ("margin", "output"))
    relative = margin / np.maximum(1.0, np.abs(expected.margin))
    # a predicted value is a margin; a probability has a scale of its own
    output_passes = model.task == "regression" or _max_or_infinite(output) <= OUTPUT_LIMIT
    report = {
        "max_abs_difference": {"output": _max_or_infinite(output), "margin": _max_or_infinite(margin)},
        "max_relative_difference": {"margin": _max_or_infinite(relative)},
        "passes": bool(output_passes and _max_or_infinite(relative) <= MARGIN_LIMIT),
    }
    if model.task != "regression":
        same = scores.output.argmax(axis=1) == expected.output.argmax(axis=1)
        report["label_agreement"] = float(same.mean())
    return report


def spread_indices(num_rows: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `most` row numbers, evenly spread and in order.

    >>> spread(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.linspace(0, num_rows - 1, min(num_rows, most)).round().astype(np.int64)


def _max_or_infinite(differences: np.ndarray[Any, np.dtype[Any]]) -> float:
    """NaN counts as infinite."""
    return float(np.nan_to_num(differences, nan=np.inf).max(initial=0.0))
