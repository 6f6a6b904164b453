"""Does every engine give the answers of the numpy twin? Measured on real rows, kept as evidence.

report = check_parity(model, export_onnx(model, F), features)
report.engines["trees"].passes, report.to_dict()       # one engine; all of it for evidence/parity.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepseek.contracts import Engine, Float32, JsonObject, Scores
from deepseek.engines.checks.edges import EdgeRows, make_edge_features
from deepseek.engines.checks.gate import EdgeCheck, absolute_errors, edge_faults, max_or_infinite
from deepseek.engines.registry import (
    ENGINES,
    LATE_KINDS,
    LOSSY_KINDS,
    REFERENCE,
    TORCH_KINDS,
    OpenEngines,
    Source,
    engine_class,
    use_engine,
)
from deepseek.errors import CheckError, DeepseekError, ExtraError
from deepseek.nn.model import Model
from deepseek.nn.trees import TreeTable

#: Largest difference of a probability, and of a margin or a predicted value relative to max(1, its size).
OUTPUT_LIMIT = 1e-5
MARGIN_LIMIT = 1e-4
#: The twin walks trees one level at a time: about 1 ms a row for a deep forest.
MAX_PARITY_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class EngineParity:
    """How far one engine is from the numpy twin: largest differences over all rows and columns.

    The differences are None where the engine could not start; `problem` says why.
    """

    passes: bool
    output_difference: float | None = None  # absolute, of a probability or a predicted value
    margin_difference: float | None = None  # absolute
    relative_margin_difference: float | None = None  # as a share of max(1, the margin's size)
    label_agreement: float | None = None  # share of rows with the same most likely label; None for regression
    problem: str = ""
    faults: tuple[str, ...] = ()  # what does not hold on rows at the edge, in words

    def to_dict(self) -> JsonObject:
        """The engine's entry in evidence/parity.json."""
        document: JsonObject = {
            "max_abs_difference": {"output": self.output_difference, "margin": self.margin_difference}
        }
        if self.relative_margin_difference is not None:
            document["max_relative_difference"] = {"margin": self.relative_margin_difference}
        document["passes"] = self.passes
        if self.label_agreement is not None:
            document["label_agreement"] = self.label_agreement
        more = {"problem": self.problem, "faults": list(self.faults)}
        return document | {name: value for name, value in more.items() if value}


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Every engine that was compared, by kind, on `num_rows` real rows and on rows at the edge."""

    num_rows: int
    engines: Mapping[str, EngineParity]
    edges: EdgeCheck

    def to_dict(self) -> JsonObject:
        """evidence/parity.json, but for the timings."""
        return {
            "num_rows": self.num_rows,
            "limits": {"output": OUTPUT_LIMIT, "margin": MARGIN_LIMIT},
            "engines": {kind: parity.to_dict() for kind, parity in self.engines.items()},
            "edges": self.edges.to_dict(),
        }


def check_parity(
    model: Model,
    graph: bytes,
    features: Float32,
    *,
    max_rows: int = MAX_PARITY_ROWS,
    num_threads: int = 1,
    kinds: Sequence[str] = (),
    missing: Float32 | None = None,
    engines: OpenEngines | None = None,
) -> ParityReport:
    """Compare every engine that is installed and fits (or `kinds` alone, the reference first) with Model.score.

    They are compared on at most `max_rows` of `features` (N, F), on one of them alone, on `missing` (M, F), which are
    rows in which columns, or all, have no value, as the preparer gives them, and on rows at the edge (checks.edges).
    `engines`: of this graph, which are asked instead of new ones and stay open.

    CheckError when the exported graph misses a limit, or gives a number that is not finite where the model gives one:
    it is what a bundle is served from. Another engine that does is reported as not passing, and not used.
    """
    rows = features[spread_indices(len(features), max_rows)]
    if missing is not None:
        rows = np.concatenate([rows, missing])
    expected = model.score(rows)
    edges = make_edge_features(features)
    at_edges = _score_edges(model, edges)
    source = Source(lambda: model, lambda: graph, features.shape[1], num_threads)
    checked = {
        kind: check_engine(model, expected, rows, kind, source, edges, at_edges, engines=engines)
        for kind in kinds or exact_kinds(model)
    }
    reference = checked[REFERENCE]
    if reference.faults:
        raise CheckError(
            f"the exported graph does not answer as the model does: {'; '.join(reference.faults)}",
            expected="finite numbers wherever the model gives them, within the limits of parity",
            fix="report it as a bug of the export, with the model's candidates",
        )
    if not reference.passes:
        raise CheckError(
            f"the exported graph differs from the model: {reference.output_difference:.2e} in the output, "
            f"{reference.margin_difference:.2e} in the margin, on {len(rows)} rows",
            expected=f"at most {OUTPUT_LIMIT:g} and {MARGIN_LIMIT:g}",
            fix="report it as a bug of the export, with the model's candidates",
        )
    return ParityReport(len(rows), checked, EdgeCheck.of(edges))


def exact_kinds(model: Model) -> list[str]:
    """The kinds that are installed here, can run the model and are exact, the reference first; without LATE_KINDS."""
    kinds = []
    left_out = LOSSY_KINDS | LATE_KINDS.keys() | (TORCH_KINDS if has_trees(model) else frozenset())
    checked = [kind for kind in ENGINES if kind not in left_out]
    for kind in sorted(checked, key=lambda kind: kind != REFERENCE):
        try:
            if engine_class(kind).supports(model):
                kinds.append(kind)
        except ExtraError:
            if kind == REFERENCE:
                raise
    return kinds


def has_trees(model: Model) -> bool:
    """Whether a part of the model is made of trees."""
    return any(isinstance(part.weights, TreeTable) for part in model.parts)


def check_engine(
    model: Model,
    expected: Scores,
    rows: Float32,
    kind: str,
    source: Source,
    edges: EdgeRows | None = None,
    at_edges: Scores | None = None,
    *,
    engines: OpenEngines | None = None,
) -> EngineParity:
    """Compare one engine with the `expected` scores of `rows`, and with the model on rows at the edge, whose scores by
    the model are `at_edges`. `engines`: those that are open already.

    An engine that cannot start counts as not passing; the reference raises instead.
    """
    edges = edges or make_edge_features(rows)
    at_edges = at_edges or _score_edges(model, edges)
    try:
        with use_engine(kind, source, engines) as engine:
            scores = engine.score(rows)
            faults = _engine_edge_faults(model, engine, edges, at_edges, expected.margin[:1], rows[:1])
    except DeepseekError as error:
        if kind == REFERENCE:
            raise
        return EngineParity(passes=False, problem=str(error))
    parity = compare_scores(model, expected, scores)
    return replace(parity, passes=False, faults=tuple(faults)) if faults else parity


def _score_edges(model: Model, edges: EdgeRows) -> Scores:
    """What the model says of rows at the edge: the twin is slow, so engines share it."""
    with np.errstate(all="ignore"):  # numbers of 1e30 are meant to go beyond
        return model.score(edges.arrays["features"])


def _engine_edge_faults(
    model: Model, engine: Engine, edges: EdgeRows, expected: Scores, margin: Float32, row: Float32
) -> list[str]:
    """Faults of an engine on rows at the edge, and on one `row` alone, whose margin is known."""
    with np.errstate(all="ignore"):
        scores = engine.score(edges.arrays["features"])
    row_error = max_or_infinite(absolute_errors(engine.score(row).margin, margin) / np.maximum(1.0, np.abs(margin)))
    faults = [] if row_error <= MARGIN_LIMIT else [f"one row alone: margin differs by {row_error:.2g}"]
    faults += edge_faults(edges, {"margin": expected.margin}, {"margin": scores.margin}, limit=MARGIN_LIMIT)
    limit = MARGIN_LIMIT if model.task == "regression" else OUTPUT_LIMIT
    return faults + edge_faults(edges, {"output": expected.output}, {"output": scores.output}, limit=limit)


def compare_scores(model: Model, expected: Scores, scores: Scores) -> EngineParity:
    """Largest differences of margin and output, and the share of rows with the same most likely label."""
    margin, output = (absolute_errors(getattr(scores, name), getattr(expected, name)) for name in ("margin", "output"))
    relative = max_or_infinite(margin / np.maximum(1.0, np.abs(expected.margin)))
    output_difference = max_or_infinite(output)
    # a predicted value is a margin; a probability has a scale of its own
    output_passes = model.task == "regression" or output_difference <= OUTPUT_LIMIT
    agreement = None
    if model.task != "regression":
        agreement = float((scores.output.argmax(axis=1) == expected.output.argmax(axis=1)).mean())
    passes = bool(output_passes and relative <= MARGIN_LIMIT)
    return EngineParity(passes, output_difference, max_or_infinite(margin), relative, agreement)


def spread_indices(num_rows: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `most` row numbers, evenly spread and in order.

    >>> spread_indices(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.linspace(0, num_rows - 1, min(num_rows, most)).round().astype(np.int64)
