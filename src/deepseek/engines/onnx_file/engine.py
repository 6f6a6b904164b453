"""Runs the graph of an ONNX file: onnxruntime on the CPU or a GPU, or OpenVINO on the CPU.

    engine = open_kind("openvino-f32", path, signature)
    engine.run({"x": x})                           # one call of the graph
    GraphEngines.open(file.spec()).run(arrays)    # rows, by the engine that was measured to be fastest for so many

GPU kinds are there where this onnxruntime was built for them and a device is in the machine. They were written without
one at hand, so no test has run them; like every kind they must give the answers of the CPU before they serve.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.execution_mode import has_gpu
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.onnx import open_session, runtime_errors
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.engines.onnx_file.probed_range import ProbedRange
from deepseek.engines.onnx_file.signature import Signature
from deepseek.engines.openvino import cpu_settings, has_bf16, keep_signal_stack, openvino_core
from deepseek.errors import InputError, IntegrityError
from deepseek.extras import is_installed, need

REFERENCE = "onnxruntime"
#: Kinds that run a copy of the graph in int8, which tune.py makes.
INT8_KINDS = ("onnxruntime-int8", "openvino-int8")
LOSSY_KINDS = frozenset(["openvino-bf16", *INT8_KINDS])
_CPU = "CPUExecutionProvider"
#: TF32 would round inputs to ten bits.
_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})
#: Kind -> providers in the order in which onnxruntime tries them for each operator.
PROVIDERS: dict[str, tuple[Any, ...]] = {
    "onnxruntime-tensorrt": ("TensorrtExecutionProvider", _CUDA, _CPU),
    "onnxruntime-cuda": (_CUDA, _CPU),
    REFERENCE: (_CPU,),
}
MAX_TEXT_BYTES = 1 << 26  # of a tensor of texts, which is as wide as its longest


class GraphEngine(Protocol):
    """An engine that computes one call of a graph."""

    def run(self, arrays: Arrays) -> Arrays: ...
    def close(self) -> None: ...


def available_kinds(signature: Signature, *, lossy: bool = False) -> list[str]:
    """The kinds of engines that this machine has for such a graph, the reference first, then by rank."""
    providers_here = set(need("onnxruntime", extra="serve").get_available_providers())
    has_device = has_gpu()
    kinds = [REFERENCE]
    for kind, providers in PROVIDERS.items():
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if kind != REFERENCE and has_device and first in providers_here:
            kinds.append(kind)
    has_texts = any(spec.dtype == "str" for spec in (*signature.inputs, *signature.outputs))
    if is_installed("openvino") and not has_texts:
        kinds.append("openvino-f32")
        if lossy and has_bf16(extra="text"):
            kinds.append("openvino-bf16")
    if lossy:
        kinds += [kind for kind in INT8_KINDS if kind == INT8_KINDS[0] or (is_installed("openvino") and not has_texts)]
    return kinds


def open_kind(kind: str, path: Path, signature: Signature, operators: OperatorLibrary | None = None) -> GraphEngine:
    """Open an engine of a kind; one of INT8_KINDS takes the path of the copy, and the reference alone `operators`.
    IntegrityError when it does not take the graph."""
    if kind in PROVIDERS:
        return OnnxruntimeGraph(path, signature, PROVIDERS[kind], operators)
    if kind == INT8_KINDS[0]:
        return OnnxruntimeGraph(path, signature, PROVIDERS[REFERENCE])
    return OpenvinoGraph(path, signature, bf16=kind.endswith("bf16"))


class OnnxruntimeGraph:
    """A graph in an onnxruntime session, whose run() holds no state between calls."""

    def __init__(
        self, path: Path, signature: Signature, providers: Sequence[Any], operators: OperatorLibrary | None = None
    ) -> None:
        self._session: Any = open_session(
            str(path),
            path.name,
            num_threads=1,
            providers=providers,
            configure=None if operators is None else operators.register,
        )
        self._names = [spec.name for spec in signature.outputs]
        runtime = need("onnxruntime", extra="serve")
        self._refusals = runtime_errors(runtime)
        self._options = runtime.RunOptions()
        self._options.log_severity_level = 4

    def run(self, arrays: Arrays) -> Arrays:
        """InputError, in onnxruntime's words, for inputs on which the graph fails."""
        try:
            outputs = self._session.run(self._names, arrays, self._options)
        except self._refusals as error:
            raise _run_error(str(error)) from error
        return {name: _to_numpy_text(array) for name, array in zip(self._names, outputs, strict=True)}

    def close(self) -> None:
        self._session = None


class OpenvinoGraph:
    """A graph compiled by OpenVINO; each thread has an InferRequest of its own."""

    def __init__(self, path: Path, signature: Signature, *, bf16: bool) -> None:
        self._threads = threading.local()
        try:
            with keep_signal_stack():
                model = openvino_core(extra="text").read_model(path)
                self._compiled: Any = openvino_core(extra="text").compile_model(
                    model, "CPU", cpu_settings(1, bf16=bf16)
                )
                self._inputs = {spec.name: self._compiled.input(spec.name) for spec in signature.inputs}
                self._outputs = {spec.name: self._compiled.output(spec.name) for spec in signature.outputs}
        except RuntimeError as error:
            raise IntegrityError(
                f"{path.name} is not run by OpenVINO: {' '.join(str(error).split())[-300:]}",
                expected="operators and names that it knows",
                fix="leave it to onnxruntime",
            ) from error

    def run(self, arrays: Arrays) -> Arrays:
        if not hasattr(self._threads, "request"):
            self._threads.request = self._compiled.create_infer_request()
        request = self._threads.request
        inputs = {self._inputs[name]: np.require(array, requirements=["C", "A"]) for name, array in arrays.items()}
        try:
            request.infer(inputs, share_inputs=True)
        except RuntimeError as error:
            raise _run_error(str(error)) from error
        return {name: np.array(request.get_tensor(port).data) for name, port in self._outputs.items()}

    def close(self) -> None:
        self._threads = threading.local()
        self._inputs = self._outputs = {}
        self._compiled = None


class GraphSpec(TypedDict):
    """A file for an engine process to open, as a message holds it; OnnxFile.spec() writes it."""

    path: str
    digest: str  # that examine_file() must find
    signature: JsonObject  # Signature.to_dict()
    engines: Sequence[Sequence[Any]]  # [kind, from how many rows on]
    tried: JsonObject  # ProbedRange.to_dict()
    int8: NotRequired[Sequence[str] | None]  # path and digest of the copy in int8
    operators: NotRequired[JsonObject | None]  # OperatorLibrary.to_dict()


class GraphEngines:
    """The engines of one file, each from its number of rows on, for inputs within the probed range."""

    def __init__(
        self,
        path: Path,
        signature: Signature,
        engines: Sequence[tuple[str, int]],
        probed: ProbedRange,
        int8: Path | None = None,
        operators: OperatorLibrary | None = None,
    ) -> None:
        self.signature = signature
        self._path, self._int8, self._operators = path, int8, operators
        self._probed = probed
        self._engines: dict[str, GraphEngine] = {}
        self._kinds = [(kind, size) for kind, size in engines]
        for kind, size in engines:
            run_rows(self._engine_of(kind), signature, signature.sample(size))  # no request shall pay for a first time

    @classmethod
    def open(cls, spec: GraphSpec) -> GraphEngines:
        """Open what a front end describes. IntegrityError when the file is no longer the one that it has looked at."""
        path, signature = Path(spec["path"]), Signature.from_dict(spec["signature"])
        operators = OperatorLibrary.from_dict(spec.get("operators"))
        _check_digest(path, spec["digest"], operators)
        int8 = None
        if (copy := spec.get("int8")) is not None:
            int8 = Path(copy[0])
            _check_digest(int8, copy[1])
        pairs = [(str(kind), int(size)) for kind, size in spec["engines"]]
        engines = cls(path, signature, pairs, ProbedRange.from_dict(spec["tried"]), int8, operators)
        return_freed_memory()
        return engines

    def run(self, arrays: Arrays) -> Arrays:
        """Compute rows (N, ...) of each input to rows of each output. InputError for inputs on which the graph
        fails."""
        num_rows = len(next(iter(arrays.values())))
        kind = next(kind for kind, size in reversed(self._kinds) if num_rows >= size)
        if kind != REFERENCE and not self._probed.covers(arrays, self.signature):
            kind = REFERENCE
        return run_rows(self._engine_of(kind), self.signature, arrays)

    def _engine_of(self, kind: str) -> GraphEngine:
        """The engine of a kind, opened when it is first needed: few models ever need the reference besides."""
        if kind not in self._engines:
            path = self._int8 if kind in INT8_KINDS and self._int8 is not None else self._path
            self._engines[kind] = open_kind(kind, path, self.signature, self._operators)
        return self._engines[kind]

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()
        self._engines = {}
        self._kinds = []
        return_freed_memory()


def _check_digest(path: Path, digest: str, operators: OperatorLibrary | None = None) -> None:
    """IntegrityError unless the file is the one that the front end has looked at."""
    if examine_file(path, operators).digest != digest:
        raise IntegrityError(
            f"{path} now holds another model than the one that is served",
            expected=digest,
            fix="load the model again, so that the new one takes the place of the old one",
        )


def run_rows(engine: GraphEngine, signature: Signature, arrays: Arrays) -> Arrays:
    """Compute rows (N, ...) by a graph, in one call or in one for each row. InputError where an output has another
    number of rows."""
    num_rows = len(next(iter(arrays.values())))
    if signature.rows == "joined":
        outputs = engine.run(arrays)
        for name, array in outputs.items():
            if not array.ndim or len(array) != num_rows:
                raise InputError(
                    f"the output {name!r} has the shape {list(array.shape)} for {num_rows} rows",
                    expected="as many rows as went in",
                    fix="tell who made the model: its answers depend on the values of its inputs in another way",
                )
        return outputs
    outputs_by_row = [_run_single_row(engine, signature, arrays, row) for row in range(num_rows)]
    return concatenate_outputs(outputs_by_row)


def _run_single_row(engine: GraphEngine, signature: Signature, arrays: Arrays, row: int) -> Arrays:
    """Compute one row; the outputs have an axis of rows, of size 1, before them."""
    if signature.rows == "single":
        return engine.run({name: array[row : row + 1] for name, array in arrays.items()})
    outputs = engine.run({name: array[row, ...] for name, array in arrays.items()})
    return {name: array[None] for name, array in outputs.items()}


def concatenate_outputs(parts: Sequence[Arrays]) -> Arrays:
    """Join outputs along their rows. InputError when their shapes differ, so that they cannot stand in one array."""
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except ValueError as error:
        raise InputError(
            f"the outputs of the rows differ in shape ({str(error)[:200]})",
            expected="rows whose answers have one shape",
            fix="send these rows one by one",
        ) from error


def _to_numpy_text(array: Any) -> np.ndarray[Any, Any]:
    """An output as numpy's own text where it holds Python's, so that its bytes can travel."""
    texts = np.asarray(array)
    if texts.dtype != object:
        return texts
    widest = max((len(text) for text in texts.ravel().tolist()), default=0)
    if widest * texts.size * 4 > MAX_TEXT_BYTES:
        raise InputError(
            f"the graph answers with {texts.size} texts of up to {widest} characters",
            expected=f"at most {MAX_TEXT_BYTES} bytes of an output",
            fix="ask for fewer rows at a time",
        )
    return texts.astype(np.str_)


def _run_error(message: str) -> InputError:
    reason = " ".join(message.rpartition("Status Message:")[2].split())[-400:]
    return InputError(
        f"the graph fails on these inputs: {reason}",
        expected="values and sizes that the model was made for",
        fix="GET /v2/models/M names the types and shapes; free sizes may still have to fit each other",
    )
