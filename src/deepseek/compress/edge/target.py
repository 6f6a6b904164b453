"""The model to export to a device, and the rows that its program is compared on.

    target = open_edge_target(Path("loans"), data=Path("rows.csv"))     # a bundle
    target = open_edge_target(Path("net.onnx"), data=Path("rows.safetensors"))
    target.inputs, target.expected                                   # what the device sends, what it must answer

A bundle without `data` is compared on rows drawn from its data card, column by column. A bundle's rows come a second
time with some cells missing, so that the treatment of missing values is compared, too.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import open_bundle
from deepseek.compress.edge.columns import as_numbers, is_arithmetic
from deepseek.compress.edge.network import check_ends
from deepseek.compress.edge.pictures import ENDS, PictureAnswer, read_picture_rows
from deepseek.compress.targets.user_module import is_module_name, load_module
from deepseek.contracts import Float32
from deepseek.data import read_table
from deepseek.data.features.booleans import BooleanEncoder
from deepseek.data.features.categories import CategoryEncoder
from deepseek.data.features.datetimes import DatetimeEncoder
from deepseek.data.features.modality import ColumnEncoder
from deepseek.data.table.formats import apply_formats
from deepseek.data.table.values import Values, format_timestamp
from deepseek.engines import Runtime
from deepseek.engines.detector.config import TASK
from deepseek.engines.onnx import open_session
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.extras import need
from deepseek.files import read_bounded

GRAPH_FILE = "model.onnx"
MAX_ROWS = 1_000
CARD_ROWS = 300
EXAMPLE_ROWS = 8  # that a module is traced with
MAX_GRAPH_BYTES = 2**31
MISSING_SHARE = 0.15  # share of cells that are set to missing in the repeated rows


@dataclass(frozen=True, slots=True)
class EdgeTarget:
    """A model and real rows: `inputs` (N, I) as a device sends them, and the expected outputs (N, O)."""

    name: str
    digest: str
    graph: bytes = field(repr=False)  # empty for a bundle of another library's model
    ends: tuple[str, str]  # names of the graph's input and output
    shape: tuple[int, ...]  # of one row of the graph's input
    inputs: NDArray[Any] = field(repr=False)
    expected: Float32 = field(repr=False)
    rows_from: str
    is_classes: bool
    runtime: Runtime | None = None  # of a bundle
    pictures: PictureAnswer | None = None  # of a bundle that finds defects

    @property
    def is_raw(self) -> bool:
        """Whether a row is raw columns, prepared on the device."""
        return self.runtime is not None and is_arithmetic(self.runtime.preprocessor)


def open_edge_target(path: Path, data: Path | None = None) -> EdgeTarget:
    """A bundle, an ONNX file, or FILE.py:NAME of a function that gives a torch module; for the latter two `data` is a
    .safetensors file with rows of the input, for a bundle that finds defects a folder of pictures.

    MissingError, IntegrityError or InputError for what cannot be read or does not fit.
    """
    if is_module_name(path):
        module, rows = load_module(path), read_rows(data)
        target = _open_graph(_export_graph(module, rows), path.stem, data)
        return replace(target, expected=module_outputs(module, rows))  # the program is held to the module on every row
    if path.suffix == ".onnx" and path.is_file():
        graph = read_bounded(path, MAX_GRAPH_BYTES, what="an ONNX file", smaller="export a smaller model")
        return _open_graph(graph, path.stem, data)
    return _open_bundle(path, data)


def _open_bundle(path: Path, data: Path | None) -> EdgeTarget:
    if open_bundle(path).manifest.task == TASK:
        rows = read_picture_rows(path, data, MAX_ROWS)
        return EdgeTarget(
            name=rows.name, digest=rows.digest, graph=rows.graph, ends=ENDS, shape=rows.shape, inputs=rows.inputs,
            expected=rows.expected, rows_from=rows.rows_from, is_classes=True, pictures=rows.answer,
        )  # fmt: skip
    runtime = Runtime.open(path)
    preprocessor = runtime.preprocessor
    if data is None:
        values, where = rows_from_card(runtime), "rows drawn from the bundle's data card, column by column"
    else:
        table = apply_formats(read_table(data), runtime.formats)
        if not table.num_rows:
            raise InputError(f"{data} has no rows", expected="at least one row", fix="give rows of the model's data")
        preprocessor.table(table)  # its errors name what does not fit
        records = table.take(spread_indices(table.num_rows, MAX_ROWS // 2)).records()
        values = {c.name: [record[c.name] for record in records] for c in preprocessor.columns}
        where = f"rows of {data.name}"
    values = with_missing_values(values)
    num_rows = len(next(iter(values.values())))
    features = preprocessor.rows(
        [{name: column[row] for name, column in values.items()} for row in range(num_rows)]
    ).features
    raw = is_arithmetic(preprocessor)
    return EdgeTarget(
        name=runtime.name, digest=runtime.bundle.digest,
        graph=runtime.bundle.read(GRAPH_FILE) if runtime.bundle.has(GRAPH_FILE) else b"",
        ends=("features", "output"), shape=(features.shape[1],),
        inputs=as_numbers(preprocessor, values) if raw else features,
        expected=runtime.decision.clip(runtime.score(features).output), rows_from=f"{where}, and the same with gaps",
        is_classes=runtime.manifest.task != "regression", runtime=runtime,
    )  # fmt: skip


def module_outputs(module: Any, rows: Float32) -> Float32:
    """The module's outputs (N, O), each row run alone. InputError when it fails or returns more than one tensor."""
    torch = need("torch", extra="compress")
    try:
        with torch.no_grad():
            outputs = [module(torch.as_tensor(row[None])).reshape(1, -1).numpy() for row in rows]
        return np.concatenate(outputs).astype(np.float32)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the module fails on a row of the shape {list(rows.shape[1:])}: {str(error)[:300]}",
            expected="a module that makes one tensor of one tensor", fix="check the module and the rows in --data",
        ) from error  # fmt: skip


def _export_graph(module: Any, rows: Float32) -> bytes:
    torch = need("torch", extra="compress")
    from deepseek.compress.targets.export_module import export_module

    with tempfile.TemporaryDirectory() as folder:
        export_module(module, torch.as_tensor(rows[:EXAMPLE_ROWS]), Path(folder) / GRAPH_FILE)
        return (Path(folder) / GRAPH_FILE).read_bytes()


def _open_graph(graph: bytes, name: str, data: Path | None) -> EdgeTarget:
    onnx = need("onnx", extra="compress")
    session = open_session(graph, f"{name}.onnx", num_threads=1)
    model = onnx.load_from_string(graph)
    check_ends(model)
    name_in, name_out = session.get_inputs()[0].name, session.get_outputs()[0].name
    shape = tuple(int(size) for size in session.get_inputs()[0].shape[1:])
    rows = read_rows(data, name_in, shape)
    expected = [session.run([name_out], {name_in: row[None]})[0].reshape(1, -1) for row in rows]
    return EdgeTarget(
        name=name, digest=hashlib.sha256(graph).hexdigest(), graph=graph, ends=(name_in, name_out), shape=shape,
        inputs=rows.reshape(len(rows), -1), expected=np.concatenate(expected).astype(np.float32),
        rows_from="the rows of --data", is_classes=expected[0].shape[1] > 1,
    )  # fmt: skip


def read_rows(path: Path | None, name: str = "", shape: tuple[int, ...] | None = None) -> Float32:
    """At most MAX_ROWS rows (N, *shape) of the tensor `name`, or of the only one. Errors as of open_edge_target()."""
    shown = f"[N, {', '.join(map(str, shape))}]" if shape else "[N, ...]"
    if path is None:
        raise InputError(
            "parity needs real rows, and a model that is no bundle brings none",
            expected=f"--data FILE.safetensors with a tensor {name!r} of the shape {shown}",
            fix="save some rows of your data with safetensors.numpy.save_file({NAME: rows}, FILE)",
        )
    if not path.is_file():
        raise MissingError(f"there is no file {path}", expected="a .safetensors file", fix="check the path")
    import safetensors.numpy

    try:
        tensors = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read: {error}", expected="a .safetensors file", fix="save the rows again"
        ) from error
    rows = tensors.get(name, next(iter(tensors.values())) if len(tensors) == 1 else None)
    if rows is None:
        raise InputError(
            f"{path.name} has no tensor {name!r}", expected=", ".join(tensors)[:200], fix="name it as the graph does"
        )
    if not rows.size or rows.ndim < 2 or rows.shape[1:] != (shape or rows.shape[1:]) or rows.dtype.kind not in "fiu":
        raise InputError(
            f"the tensor in {path.name} is {rows.dtype} {list(rows.shape)}",
            expected=f"numbers of the shape {shown}, N at least 1", fix="save such rows",
        )  # fmt: skip
    chosen = rows[spread_indices(len(rows), MAX_ROWS)].astype(np.float32)
    if not np.isfinite(chosen).all():
        raise InputError(
            f"{path.name} holds NaN or infinite numbers", expected="finite numbers",
            fix="leave those rows out: a network answers them with NaN",
        )  # fmt: skip
    return np.ascontiguousarray(chosen)


def with_missing_values(values: Mapping[str, Values], *, seed: int = 0) -> dict[str, list[Any]]:
    """The rows by column, followed by the same rows with some cells missing; the last row misses all."""
    rng = np.random.default_rng(seed)
    extended: dict[str, list[Any]] = {}
    for name, column in values.items():
        cells = list(column)
        is_missing = rng.random(len(cells)) < MISSING_SHARE
        is_missing[-1] = True
        extended[name] = cells + [None if missing else value for value, missing in zip(cells, is_missing, strict=True)]
    return extended


def rows_from_card(runtime: Runtime, num_rows: int = CARD_ROWS) -> dict[str, list[Any]]:
    """Values by column as card.json describes them: numbers by their histogram, categories by their levels, moments
    between the first and the last. A column that the card does not describe has its typical value."""
    card = {column["name"]: column for column in json.loads(runtime.bundle.read("card.json"))["columns"]}
    rng = np.random.default_rng(0)
    return {
        column.name: _draw_column(column.coder, card.get(column.name, {}).get("histogram"), num_rows, rng)
        for column in runtime.preprocessor.columns
    }


class Histogram(TypedDict):
    """A column's histogram in card.json: B counts between B + 1 edges."""

    counts: list[int]
    edges: list[float]


def _draw_column(
    coder: ColumnEncoder, histogram: Histogram | None, num_rows: int, rng: np.random.Generator
) -> list[Any]:
    """Random values (num_rows,) of a column by its levels, range or histogram; its typical value without any."""
    if isinstance(coder, CategoryEncoder):
        levels: Sequence[str] = [*coder.levels, "a level that training did not see"]
        return [levels[level] for level in rng.integers(0, len(levels), num_rows)]
    if isinstance(coder, BooleanEncoder):
        return [bool(value) for value in rng.integers(0, 2, num_rows)]
    if isinstance(coder, DatetimeEncoder):
        span = max(2 * (coder.median_ms - coder.start_ms), 1)
        return [format_timestamp(int(coder.start_ms + share * span)) for share in rng.random(num_rows)]
    if histogram is None or not sum(histogram["counts"]):
        return [coder.example()] * num_rows
    counts, edges = (np.asarray(histogram[key], np.float64) for key in ("counts", "edges"))
    bins = rng.choice(len(counts), num_rows, p=counts / counts.sum())
    numbers = edges[bins] + rng.random(num_rows) * (edges[bins + 1] - edges[bins])
    return [float(value) for value in (np.rint(numbers) if getattr(coder, "whole", False) else numbers)]
