"""A bundle that reads several modalities: export of its net, and a runtime that needs no torch.

    graph = export_multimodal(Answering(net, slope=1.2), samples)      # ONNX, any number of rows
    parity = check_multimodal_parity(answering, graph, samples)               # against torch, on real rows
    with MultimodalRuntime.open("patients") as runtime:
        runtime.predict([{"age": 61, "report": "...", "ct": {"b64": "..."}}]).labels

What one sample costs in serving (open, decode, prepare, run) is the code that training went through: the same preparer
from the same JSON.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import Bundle, open_bundle
from deepseek.bundle.agreement import DECISION, SAMPLES
from deepseek.contracts import Arrays, Flag, Float32, JsonObject, Prediction, Record, Scores, Task, Tensors
from deepseek.data import Table, read_table
from deepseek.data.media.example import make_example
from deepseek.data.samples.faults import FILE_ERRORS, find_faults, name_all_faults
from deepseek.data.samples.preparer import PRESENT_SUFFIX, BrokenPolicy, Fault, SamplePreparer, Samples, table_records
from deepseek.data.samples.requests import decode_requests, first_fault
from deepseek.data.table.formats import target_format
from deepseek.data.table.table import ColumnFormat
from deepseek.engines.checks.edges import make_edge_samples
from deepseek.engines.checks.finite import check_numbers
from deepseek.engines.checks.gate import EdgeCheck, absolute_errors, check_edges
from deepseek.engines.decide import Decision
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.onnx import (
    check_outputs,
    check_row_shape,
    compute_error,
    graph_mismatch_error,
    open_session,
    runtime_errors,
)
from deepseek.engines.tabular.runtime import Runtime, check_inputs, read_example
from deepseek.errors import CheckError, InputError
from deepseek.extras import need

GRAPH = "model.onnx"
GRAPH_OUTPUTS = (
    "margin",
    "output",
    "voices",
    "gates",
    "attention",
)  # of the graph, as nn.multimodal.Answering gives them
TOLERANCE = 1e-4  # of an output, as a share of the largest
CHUNK_ROWS = 64  # samples in memory at a time
PARITY_BATCH_SIZES = (1, 3, 32)


@dataclass(frozen=True, slots=True)
class MultimodalParity:
    """How far an exported graph is from torch: on `num_rows` real rows, and what it was held to at the edge."""

    num_rows: int
    max_difference: float  # of an output, as a share of its largest number (1 at the least)
    edges: EdgeCheck

    def to_dict(self) -> JsonObject:
        """evidence/parity.json of a bundle of several modalities."""
        return asdict(self) | {"edges": self.edges.to_dict()}


def is_multimodal(bundle: Bundle) -> bool:
    """Whether a bundle reads several modalities."""
    return SAMPLES in bundle.manifest.files


def open_runtime(path: str | Path, *, key: Path | None = None, lazy: bool = False) -> Runtime | MultimodalRuntime:
    """Open the bundle at `path` with the runtime that it needs. `lazy`: its engine is opened when it is first
    needed."""
    bundle = open_bundle(path, key=key)
    return MultimodalRuntime(bundle, lazy=lazy) if is_multimodal(bundle) else Runtime(bundle, lazy=lazy)


def export_multimodal(answering: Any, samples: Samples, names: Sequence[str]) -> bytes:
    """Export nn.multimodal.Answering over the arrays of `names` as ONNX, by torch.export. `samples`: two or more."""
    torch = need("torch", extra="train")
    arrays = _tensors(samples.arrays, names)
    rows = torch.export.Dim("rows")
    with torch.no_grad():
        model = export_torch_module(
            answering.eval().requires_grad_(False), arrays, input_names=names, output_names=GRAPH_OUTPUTS,
            dynamic_shapes=(tuple({0: rows} for _ in arrays),),
        )  # fmt: skip
    graph: bytes = model.SerializeToString()
    return graph


def check_multimodal_parity(answering: Any, graph: bytes, samples: Samples, names: Sequence[str]) -> MultimodalParity:
    """Compare the graph's outputs with torch's on real rows, several and one alone, and on rows at the edge
    (checks.edges), what training masks among them.

    CheckError above TOLERANCE, and where the graph gives a number that is not finite and torch one that is.
    """
    session = open_session(graph, GRAPH, num_threads=1)

    def answers(arrays: Arrays) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        inputs = {name: np.ascontiguousarray(arrays[name]) for name in names}
        return _torch_outputs(answering, inputs, names), dict(
            zip(GRAPH_OUTPUTS, session.run(list(GRAPH_OUTPUTS), inputs), strict=True)
        )

    largest = 0.0
    for num_rows in PARITY_BATCH_SIZES:
        expected, outputs = answers(Samples(samples.tensors[:num_rows]).arrays)
        for name, reference in expected.items():
            scale = max(1.0, float(np.abs(reference).max(initial=0.0)))
            largest = max(largest, float(absolute_errors(outputs[name], reference).max(initial=0.0)) / scale)
    if not largest <= TOLERANCE:
        raise CheckError(
            f"the exported graph differs from the net by {largest:.2g}", expected=f"at most {TOLERANCE:g}",
            fix="report it: this is a fault of the exporter",
        )  # fmt: skip
    edges = make_edge_samples({name: samples.arrays[name] for name in names})
    edge_check = check_edges(edges, *answers(edges.arrays), limit=TOLERANCE, what="the exported graph")
    return MultimodalParity(min(max(PARITY_BATCH_SIZES), len(samples)), largest, edge_check)


def _torch_outputs(answering: Any, arrays: Arrays, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Outputs of the torch module, by the names of the graph's outputs."""
    torch = need("torch", extra="train")
    with torch.inference_mode():
        outputs = answering(*_tensors(arrays, names))
    return {name: output.numpy() for name, output in zip(GRAPH_OUTPUTS, outputs, strict=True)}


def run_graph(
    graph: bytes, arrays: Arrays, rows: NDArray[Any], *, without: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Run a graph on chosen rows of decoded samples; returns all its outputs by name. `without`: modalities that are
    masked."""
    session = open_session(graph, GRAPH, num_threads=1)
    names = [value.name for value in session.get_inputs()]
    chunks: list[list[NDArray[Any]]] = []
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk_rows = rows[start : start + CHUNK_ROWS]
        inputs = {name: np.ascontiguousarray(arrays[name][chunk_rows]) for name in names}
        inputs |= {name + PRESENT_SUFFIX: np.zeros(len(chunk_rows), bool) for name in without}
        chunks.append(session.run(list(GRAPH_OUTPUTS), inputs))
    return {name: np.concatenate([chunk[index] for chunk in chunks]) for index, name in enumerate(GRAPH_OUTPUTS)}


class MultimodalRuntime:
    """An open bundle of several modalities. predict() may be called from several threads at once. `lazy`: the graph is
    loaded when it is first needed."""

    def __init__(self, bundle: Bundle, *, num_threads: int = 1, lazy: bool = False) -> None:
        if not is_multimodal(bundle):
            raise InputError(
                f"{bundle.path} reads a table alone", expected="a bundle of several modalities",
                fix="open it with deepseek.load",
            )  # fmt: skip
        self.bundle, self.manifest = bundle, bundle.manifest
        self.preparer = SamplePreparer.from_bytes(bundle.read(SAMPLES))
        check_inputs(self.manifest, self.preparer.inputs(), SAMPLES)
        self.decision = Decision.from_bytes(
            bundle.read(DECISION), task=cast("Task", self.manifest.task), labels=tuple(self.manifest.labels)
        )
        self._num_threads = num_threads
        self._open: Any = None
        self._opening = threading.Lock()
        if not lazy:
            _ = self._session

    @classmethod
    def open(
        cls, path: str | Path, *, key: Path | None = None, num_threads: int = 1, lazy: bool = False
    ) -> MultimodalRuntime:
        """Open the bundle at `path`; arguments and errors are those of Runtime.open."""
        return cls(open_bundle(path, key=key), num_threads=num_threads, lazy=lazy)

    @property
    def _session(self) -> Any:
        with self._opening:
            if self._open is None:
                session = open_session(self.bundle.read(GRAPH), GRAPH, num_threads=self._num_threads)
                self._check(session)
                self._open = session
            return self._open

    def _check(self, session: Any) -> None:
        """IntegrityError unless the graph reads what is prepared, and answers for every label."""
        shapes = self.preparer.shapes
        known = {name: shape for name, (shape, _) in shapes.items()} | {name + PRESENT_SUFFIX: () for name in shapes}
        for value in session.get_inputs():
            if value.name not in known:
                raise graph_mismatch_error(GRAPH, f"it reads {value.name[:100]!r}, which {SAMPLES} does not prepare")
            check_row_shape(GRAPH, value, known[value.name])
        check_outputs(GRAPH, session, GRAPH_OUTPUTS, max(1, len(self.manifest.labels)))

    def with_graph(self, graph: bytes) -> MultimodalRuntime:
        """The same bundle with another graph of the same inputs and outputs: to see what depends on its weights."""
        other = MultimodalRuntime(self.bundle, num_threads=self._num_threads, lazy=True)
        other._open = open_session(graph, GRAPH, num_threads=self._num_threads)
        return other

    @property
    def name(self) -> str:
        """What the bundle is called where it is served."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The bundle's own version, as its manifest says it."""
        return self.manifest.version

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in order; empty for regression."""
        return self.decision.labels

    def prepare(self, records: Sequence[Record], *, root: Path | None = None, broken: BrokenPolicy = "fail") -> Samples:
        """Samples of records by column name, as SamplePreparer.rows() makes them."""
        return self.preparer.rows(records, root=root, broken=broken)

    def run(self, samples: Samples | Tensors) -> dict[str, NDArray[Any]]:
        """All outputs of the graph by name: margin, output, voices, gates, attention."""
        session = self._session
        inputs = {value.name: samples.arrays[value.name] for value in session.get_inputs()}
        try:
            return dict(zip(list(GRAPH_OUTPUTS), session.run(list(GRAPH_OUTPUTS), inputs), strict=True))
        except runtime_errors(need("onnxruntime", extra="serve")) as error:
            raise compute_error(GRAPH, error) from error

    def score(self, samples: Samples | Tensors) -> Scores:
        """Margins and calibrated outputs of N samples."""
        outputs = self.run(samples)
        return Scores(margin=outputs["margin"], output=outputs["output"])

    def predict(
        self,
        data: Any,
        *,
        root: Path | None = None,
        broken: BrokenPolicy = "fail",
        faults: list[Fault] | None = None,
        first_row: int = 0,
    ) -> Prediction:
        """Answers for records, a Table, or whatever read_table takes. Paths of files lie below `root`: by default the
        folder of the table's own file. `faults` is given what was masked, by its row in `data`; `first_row` is what
        errors call the first row."""
        if isinstance(data, (str, Path)) and root is None:
            root = Path(data).parent
        table: Table | None = None
        if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
            table = data if isinstance(data, Table) else read_table(data)
        elif not all(isinstance(record, Mapping) for record in data):
            raise InputError(
                "a row is not a record", expected="a list of objects by column name",
                fix='give [{"COLUMN": value, ...}, ...]',
            )  # fmt: skip
        outputs, flags = self.outputs(
            data if table is None else table, root=root, broken=broken, faults=faults, first_row=first_row
        )
        return self.decision.apply(outputs, flags)

    @property
    def formats(self) -> dict[str, ColumnFormat]:
        """How texts say numbers and dates in rows for this model, the target with them, as training found it."""
        target = target_format(self.manifest.lineage.config)
        columns = {} if self.preparer.table is None else self.preparer.table.formats
        return columns | ({} if target is None else {self.manifest.target: target})

    def outputs(
        self,
        data: Sequence[Record] | Table,
        *,
        root: Path | None,
        broken: BrokenPolicy = "fail",
        faults: list[Fault] | None = None,
        first_row: int = 0,
    ) -> tuple[Float32, list[Flag]]:
        """Outputs (N, C) of records or of a table's rows, and what was replaced in them; as predict() takes them."""
        num_rows = data.num_rows if isinstance(data, Table) else len(data)
        if not num_rows:
            raise InputError("there are no rows to score", expected="at least one row", fix="give rows")
        outputs: list[Float32] = []
        flags: list[Flag] = []
        for first in range(0, num_rows, CHUNK_ROWS):
            part = (
                table_records(data, first, CHUNK_ROWS) if isinstance(data, Table) else data[first : first + CHUNK_ROWS]
            )
            try:
                samples = self.preparer.rows(part, root=root, broken=broken, first_row=first_row + first)
            except FILE_ERRORS as error:
                if not isinstance(data, Table):
                    raise
                rest = data.take(np.arange(first, num_rows))
                faults_of_all = find_faults(self.preparer, rest, root=root, first_row=first_row + first)
                raise name_all_faults(error, faults_of_all) from error
            outputs.append(self.score(samples).output)
            check_numbers(outputs[-1], self.manifest.outputs[-1].name, model=self.name, first_row=first)
            flags += [Flag(first + flag.row, flag.column, flag.what) for flag in samples.flags]
            if faults is not None:
                faults += [Fault(first + fault.row, fault.column, fault.message) for fault in samples.faults]
        return np.concatenate(outputs), flags

    def score_packed(self, arrays: Arrays) -> Arrays:
        """Outputs (N, C) of rows as data.samples.requests packs them, and the "faults" (N,) of those that have none."""
        samples, faults = decode_requests(self.preparer, arrays)
        return {"output": self.score(samples).output, "faults": faults}

    def unpack_samples(self, arrays: Arrays) -> Tensors:
        """Samples of rows as data.samples.requests packs them. Raises why one of them cannot be read."""
        samples, faults = decode_requests(self.preparer, arrays)
        if (error := first_fault(faults)) is not None:
            raise error
        return samples

    @cached_property
    def example(self) -> Record:
        """One typical record, with small files that a reader takes, in the form in which a request holds them."""
        files = {c.name: make_example(c.kind, c.reader) for c in self.preparer.media if c.kind != "text"}
        record = read_example(self.bundle, files)
        return {name: record[name] for name in self.preparer.columns()}

    def _repr_html_(self) -> str:
        """The bundle's card, for a notebook."""
        from deepseek.bundle.card import bundle_card

        return bundle_card(self.bundle)

    def close(self) -> None:
        """Let the session go."""
        self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tensors(arrays: Arrays, names: Sequence[str]) -> tuple[Any, ...]:
    torch = need("torch", extra="train")
    return tuple(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in names)
