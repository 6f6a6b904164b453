"""Opens an ONNX file for the first time: what it takes, what a row is, which engine is fastest for how many rows.

    python -m deepseek.engines.onnx_file.tune        asked over stdin, answers on stdout (measuring.py)

onnxruntime on the CPU, in float32, is the reference. An engine whose outputs move further from it than TOLERANCE, or
whose labels, texts or booleans are not the same, serves nothing; lossy ones are held to what the user allows instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.measuring import answer, usual_s
from deepseek.engines.onnx import open_session
from deepseek.engines.onnx_file.engine import LOSSY, REFERENCE, GraphEngine, OnnxruntimeGraph, call, kinds, open_kind
from deepseek.engines.onnx_file.signature import DTYPES, MAX_RANK, Rows, Signature, TensorSpec
from deepseek.engines.onnx_file.tried import Tried, probe
from deepseek.engines.tune import GAIN, choose
from deepseek.errors import DeepseekError, InputError

#: The largest difference of a number, as a share of the largest number of its output.
TOLERANCE = 1e-4
#: The same between rows computed together and each by itself: matrices of another size are summed in another order.
ROWS_TOLERANCE = 1e-3
SIZES = (1, 8, 32)  # rows of a call
FREE = (32, 64, 16, 8, 128, 224, 256, 1)  # sizes tried for axes that are free, but that of the rows
TRIED = 3  # rows that are computed together and alone
MAX_CELLS = 1 << 22  # of the inputs of a call that is timed
MAX_ROW_CELLS = 1 << 26  # of one that can be asked for at all; no body is longer
COMPARED = 4  # rows on which engines are compared


def open_first(path: Path, *, limits: Mapping[str, float] | None, budget_s: float, only: str = "") -> dict[str, Any]:
    """What OnnxFile keeps. IntegrityError for a graph that onnxruntime does not take, InputError for one that is not
    served: no tensors, or none that it can be tried on."""
    session = open_session(str(path), str(path), num_threads=1)
    signature = Signature(_specs(path, session.get_inputs()), _specs(path, session.get_outputs()))
    reference = OnnxruntimeGraph(path, signature, ("CPUExecutionProvider",))
    signature = _tried(path, reference, signature)
    names = [only] if only else kinds(signature, lossy=limits is not None)
    tried = Tried()
    if len(names) > 1:
        tried = probe(lambda arrays: call(reference, signature, arrays), signature, budget_s)
    table: list[dict[str, Any]] = []
    seconds: dict[str, dict[int, float]] = {}
    for kind in names:
        row = _measured(kind, path, reference, signature, tried, budget_s / len(names), limits)
        table.append({"kind": kind, **row})
        if row["passes"]:
            seconds[kind] = {int(size): s for size, s in row["seconds"].items()}
    first = min(seconds, key=lambda kind: seconds[kind][1] / (GAIN if kind == REFERENCE else 1.0))
    engines = choose(seconds, first)
    return {"signature": signature.to_dict(), "engines": engines, "tried": tried.to_dict(), "table": table}


def _specs(path: Path, found: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """Of onnxruntime's description of inputs or outputs."""
    specs = []
    for entry in found:
        dtype = DTYPES.get(entry.type.removeprefix("tensor(").removesuffix(")"))
        if dtype is None or not entry.type.startswith("tensor(") or len(entry.shape) > MAX_RANK:
            raise InputError(
                f"{entry.name!r} of {path} is {entry.type}",
                expected=f"tensors of {', '.join(DTYPES)}",
                fix="export it so; a classifier of scikit-learn with the option zipmap=False",
            )
        shape = tuple(
            dim if isinstance(dim, str) or (isinstance(dim, int) and dim >= 0) else None for dim in entry.shape
        )
        specs.append(TensorSpec(entry.name, dtype, shape))
    if not specs:
        raise InputError(
            f"{path} has no inputs, or no outputs", expected="at least one of each", fix="export it with them"
        )
    return tuple(specs)


def _tried(path: Path, engine: GraphEngine, bare: Signature) -> Signature:
    """The signature with what a row is, and a size for free axes with which the graph runs."""
    said: DeepseekError | None = None
    cells = sum(math.prod(dim if isinstance(dim, int) else 1 for dim in spec.shape) for spec in bare.inputs)
    if cells > MAX_ROW_CELLS:
        raise InputError(
            f"the inputs of {path} hold {cells} values", expected=f"at most {MAX_ROW_CELLS}", fix="export smaller ones"
        )
    for free in FREE if _is_free(bare) else FREE[:1]:
        first = Signature(bare.inputs, bare.outputs, _rows_by_shape(bare), free)
        for rows in dict.fromkeys((first.rows, "whole")):
            signature = Signature(bare.inputs, bare.outputs, rows, free)
            try:
                alone = [call(engine, signature, signature.sample(1, seed=seed)) for seed in range(TRIED)]
            except InputError as error:
                said = error
                continue
            if rows == "joined" and not _independent(engine, signature, alone):
                continue
            return Signature(bare.inputs, _as_seen(bare.outputs, alone[0], rows), rows, free)
    raise InputError(
        f"{path} could not be tried: {said.message if said else 'it gives no rows'}",
        expected=f"a graph that runs on made-up inputs: normal numbers, 0 and 1, free sizes up to {max(FREE)}",
        fix="export it with fixed sizes for the axes that have to fit each other",
    )


def _is_free(signature: Signature) -> bool:
    return any(not isinstance(dim, int) for spec in signature.inputs for dim in spec.shape)


def _rows_by_shape(signature: Signature) -> Rows:
    """What the shapes alone promise."""
    firsts = [spec.shape[0] if spec.shape else 0 for spec in (*signature.inputs, *signature.outputs)]
    # An output without a shape is looked at when it is there.
    unknown = [not spec.shape for spec in signature.outputs]
    ours = firsts[: len(signature.inputs)] + [
        dim for dim, is_unknown in zip(firsts[len(signature.inputs) :], unknown, strict=True) if not is_unknown
    ]
    if not any(isinstance(dim, int) for dim in ours):
        return "joined"
    return "single" if all(dim == 1 for dim in firsts) else "whole"


def _independent(engine: GraphEngine, signature: Signature, alone: Sequence[Arrays]) -> bool:
    """Whether rows computed together get the answers that each gets by itself."""
    samples = [signature.sample(1, seed=seed) for seed in range(TRIED)]
    together = {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
    try:
        found = call(engine, signature, together)
    except InputError:
        return False
    for name, array in found.items():
        if any(part[name].shape[1:] != array.shape[1:] for part in alone):
            return False
        expected = np.concatenate([part[name] for part in alone])
        if difference(expected, array) > ROWS_TOLERANCE:
            return False
    return True


def _as_seen(specs: Sequence[TensorSpec], found: Arrays, rows: Rows) -> tuple[TensorSpec, ...]:
    """Outputs whose number of axes the file does not tell, or tells wrongly, as they came."""
    seen = []
    for spec in specs:
        rank = found[spec.name].ndim - (rows == "whole")
        seen.append(spec if len(spec.shape) == rank else TensorSpec(spec.name, spec.dtype, (None,) * rank))
    return tuple(seen)


def difference(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    """The largest of any number, as a share of the largest number expected; infinity where what has to be equal is not.

    >>> difference(np.array([1.0, 2.0]), np.array([1.0, 2.1])), difference(np.array([1]), np.array([2]))
    (0.05..., inf)
    """
    if expected.shape != found.shape or expected.dtype.kind != found.dtype.kind:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, found) else float("inf")
    one, other = expected.astype(np.float64), found.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))  # infinities, too
    scale = np.abs(one[np.isfinite(one)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(one - other))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0) / max(scale, 1e-30))


def _measured(
    kind: str, path: Path, reference: GraphEngine, signature: Signature, tried: Tried, budget_s: float,
    limits: Mapping[str, float] | None,
) -> dict[str, Any]:  # fmt: skip
    """Whether an engine gives the answers of the reference, and how long it takes for each size."""
    sizes: tuple[int, ...] = SIZES if signature.rows == "joined" else SIZES[:1]
    cells = sum(array.size for array in signature.sample(1).values())
    sizes = tuple(size for size in sizes if size == 1 or size * cells <= MAX_CELLS)
    try:
        engine = open_kind(kind, path, signature)
        given = [signature.sample(min(COMPARED, sizes[-1]), seed=TRIED)]
        given += [] if kind == REFERENCE else tried.extremes(signature)
        pairs = [(call(reference, signature, arrays), call(engine, signature, arrays)) for arrays in given]
    except DeepseekError as error:
        return {"passes": False, "says": error.message[:300]}
    if kind in LOSSY and limits is not None:
        figures = moved(*pairs[0])
        passes = all(figures[name] >= limits[name] for name in ("min_cosine", "min_agreement"))
        passes = passes and figures["max_difference"] <= limits["max_difference"]
    else:
        apart = [difference(array, found[name]) for expected, found in pairs for name, array in expected.items()]
        figures = {"difference": max(apart) if np.isfinite(apart).all() else None}
        passes = max(apart) <= TOLERANCE
    started_s, seconds = perf_counter(), dict[int, float]()
    for size in sizes if passes else ():
        left_s, smaller = budget_s - (perf_counter() - started_s), max(seconds, default=0)
        if smaller and 3 * seconds[smaller] * size / smaller > left_s:
            break
        share_s = left_s / (len(sizes) - len(seconds))
        rows = [signature.sample(size, seed=seed) for seed in range(4)]
        seconds[size] = usual_s(
            lambda number, rows=rows: rows[number % len(rows)],  # type: ignore[misc]
            lambda given: call(engine, signature, given), share_s, process_time,
        )  # fmt: skip
    engine.close()
    return {"passes": passes, **figures, "seconds": seconds}


def moved(expected: Arrays, found: Arrays) -> dict[str, Any]:
    """How far lossy answers are from the reference: least cosine of a row, largest difference of a number, share of
    rows whose largest number stands in the same place (equal rows, where they are no numbers)."""
    cosine, largest, agreement = 1.0, 0.0, 1.0
    for name, array in expected.items():
        one, other = (each.reshape(len(each), -1) for each in (array, found[name]))
        if one.dtype.kind != "f":
            agreement = min(agreement, float((one == other).all(axis=1).mean()))
            continue
        one, other = one.astype(np.float64), other.astype(np.float64)
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosine = min(cosine, float(((one * other).sum(axis=1) / np.maximum(lengths, 1e-12)).min()))
        largest = max(largest, float(np.abs(one - other).max(initial=0.0)))
        agreement = min(agreement, float((one.argmax(axis=1) == other.argmax(axis=1)).mean()))
    return {"min_cosine": cosine, "max_difference": largest, "min_agreement": agreement}


def _answered(asked: Mapping[str, Any]) -> dict[str, Any]:
    return open_first(Path(asked["path"]), limits=asked["limits"], budget_s=asked["budget_s"], only=asked["only"])


if __name__ == "__main__":
    answer(_answered)
