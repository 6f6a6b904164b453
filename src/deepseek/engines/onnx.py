"""The engine for every bundle: model.onnx in onnxruntime, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from deepseek.contracts import Engine, Float32, Scores
from deepseek.engines.first_run import LimitedSession
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.registry import Source
from deepseek.errors import ComputeError, IntegrityError, MissingError
from deepseek.extras import need
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import Model

GRAPH = "model.onnx"
_INPUT = "features"
_OUTPUTS = ("margin", "output")


class OnnxEngine:
    """One session, safe to share between threads: InferenceSession.run holds no state between calls.

    `num_threads` is for one call. 1 suits a server, where requests run side by side; idle threads sleep, never spin.
    """

    kind = "onnxruntime"

    def __init__(self, graph: bytes, *, num_threads: int = 1, source: Source | None = None) -> None:
        """`source`: the sizes that the graph must have."""
        self._session: Any = open_session(graph, GRAPH, num_threads=num_threads)
        if source is not None:
            _check_session(self._session, source)
        return_freed_memory()
        self._refusals = runtime_errors(need("onnxruntime", extra="serve"))

    @classmethod
    def open(cls, source: Source) -> Engine:
        return cls(source.load_graph(), num_threads=source.num_threads, source=source)

    @staticmethod
    def supports(model: Model) -> bool:
        """Every model has a graph."""
        return bool(model.parts)

    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F)."""
        if self._session is None:
            raise RuntimeError("this engine is closed")
        try:
            margin, output = self._session.run(_OUTPUTS, {_INPUT: np.ascontiguousarray(features, np.float32)})
        except self._refusals as error:
            raise compute_error(GRAPH, error) from error
        return Scores(margin=margin, output=output)

    def close(self) -> None:
        """Let the session go; score() fails afterwards."""
        self._session = None


class Int8Engine(OnnxEngine):
    """The same graph in int8, which is lossy: see lossy_precision.py, which makes it."""

    kind = "onnxruntime-int8"

    @classmethod
    def open(cls, source: Source) -> Engine:
        """MissingError where no copy was made."""
        if source.load_int8 is None:
            raise MissingError(
                "there is no int8 of this model",
                expected="a copy that was made on this machine",
                fix="serve with --lossy",
            )
        return cls(source.load_int8(), num_threads=source.num_threads, source=source)

    @staticmethod
    def supports(model: Model) -> bool:
        """Whether there are matrices to multiply: a perceptron."""
        return any(isinstance(part.weights, Perceptron) for part in model.parts)


def open_session(
    graph: bytes | str,
    name: str,
    *,
    num_threads: int,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
    configure: Callable[[Any], object] | None = None,
) -> Any:
    """An InferenceSession of a graph, or of the file at a path, whose first run is limited. `configure` sets what else
    its SessionOptions need. IntegrityError, which calls it `name`, for what onnxruntime does not take."""
    runtime = need("onnxruntime", extra="serve")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised, too; stdout and stderr belong to the server
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if configure is not None:
        configure(options)
    try:
        session = runtime.InferenceSession(graph, options, providers=list(providers))
        return LimitedSession(session, name, partial(_quiet_run_options, runtime))
    except runtime_errors(runtime) as error:
        raise IntegrityError(
            f"{name} cannot be loaded: {error}",
            expected="a graph that onnxruntime takes",
            fix="make it again, or take an unharmed copy",
        ) from error


def _quiet_run_options(runtime: Any) -> Any:
    """Options of a run that writes nothing to stderr."""
    options = runtime.RunOptions()
    options.log_severity_level = 4
    return options


def check_row_shape(graph: str, value: Any, expected: Sequence[int]) -> None:
    """IntegrityError when one input or output of a session states another size of a row than `expected`. A graph need
    not state its shapes."""
    sizes = value.shape[1:]
    fits = len(sizes) == len(expected) and all(
        not isinstance(size, int) or size == expected_size for size, expected_size in zip(sizes, expected, strict=True)
    )
    if value.shape and not fits:
        raise graph_mismatch_error(graph, f"{value.name[:100]!r} has the shape {value.shape}, not {['N', *expected]}")


def check_outputs(graph: str, session: Any, names: Sequence[str], num_outputs: int) -> None:
    """IntegrityError unless a session has these outputs, and "output" as many columns as there are answers."""
    outputs = {output.name: output for output in session.get_outputs()}
    absent = [name for name in names if name not in outputs]
    if absent:
        raise graph_mismatch_error(graph, f"it has no output {absent[0]!r}")
    check_row_shape(graph, outputs["output"], (num_outputs,))


def compute_error(graph: str, error: Exception) -> ComputeError:
    """The error for a graph that onnxruntime has loaded and cannot run."""
    return ComputeError(
        f"{graph} cannot be computed: {str(error)[:300]}",
        expected="a graph that runs on the rows which it was made for, in the memory that there is",
        fix="give it more memory; if that does not help make the bundle again, or take an unharmed copy",
    )


def graph_mismatch_error(graph: str, what: str) -> IntegrityError:
    """The error for a graph that is not the one of its bundle."""
    return IntegrityError(
        f"{graph} does not fit bundle.json and the preprocessing: {what}",
        expected="the graph that was written with them",
        fix="make the bundle again, or take an unharmed copy",
    )


def _check_session(session: Any, source: Source) -> None:
    """IntegrityError unless the graph takes the features that are prepared, and answers for every label."""
    inputs = session.get_inputs()
    if [value.name for value in inputs] != [_INPUT]:
        raise graph_mismatch_error(
            GRAPH, f"it reads {', '.join(value.name[:50] for value in inputs[:5])}, not {_INPUT}"
        )
    check_row_shape(GRAPH, inputs[0], (source.num_features,))
    if source.num_outputs is not None:
        check_outputs(GRAPH, session, _OUTPUTS, source.num_outputs)


def runtime_errors(runtime: Any) -> tuple[type[Exception], ...]:
    """The exceptions that onnxruntime raises about a graph or its inputs."""
    module = runtime.capi.onnxruntime_pybind11_state
    names = (
        "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf",
        "ModelRequiresCompilation", "NoModel", "NoSuchFile", "NotFound", "NotImplemented", "RuntimeException",
    )  # fmt: skip
    errors = [getattr(module, name) for name in names if hasattr(module, name)]
    return (*errors, UnicodeDecodeError)  # when it would quote a broken name
