"""The engine for every bundle: model.onnx in onnxruntime, on the CPU."""

from __future__ import annotations

import numpy as np

from deepseek.contracts import Engine, Float32, Scores
from deepseek.engines.memory import give_back
from deepseek.engines.registry import Source
from deepseek.errors import IntegrityError
from deepseek.extras import need
from deepseek.nn.model import Model

_INPUT = "features"
_OUTPUTS = ("margin", "output")


class OnnxEngine:
    """One session, safe to share between threads: InferenceSession.run holds no state between calls.

    `num_threads` is for one call. 1 suits a server, where requests run side by side; idle threads sleep, never spin.
    """

    kind = "onnxruntime"

    def __init__(self, graph: bytes, *, num_threads: int = 1) -> None:
        runtime = need("onnxruntime", extra="serve")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: stdout and stderr belong to the server
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        raised = runtime.capi.onnxruntime_pybind11_state
        refusals = (
            raised.Fail,
            raised.InvalidArgument,
            raised.InvalidGraph,
            raised.InvalidProtobuf,
            raised.NotImplemented,
        )
        try:
            self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except refusals as error:
            raise IntegrityError(
                f"model.onnx cannot be loaded: {error}",
                expected="a graph that onnxruntime takes",
                fix="make the bundle again, or take an unharmed copy",
            ) from error
        give_back()
        self._run = self._session.run

    @classmethod
    def open(cls, source: Source) -> Engine:
        return cls(source.load_graph(), num_threads=source.num_threads)

    @staticmethod
    def supports(model: Model) -> bool:
        """Every model has a graph."""
        return bool(model.parts)

    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F)."""
        margin, output = self._run(_OUTPUTS, {_INPUT: np.ascontiguousarray(features, np.float32)})
        return Scores(margin=margin, output=output)

    def close(self) -> None:
        """Let the session go; score() fails afterwards."""
        self._run = _closed
        self._session = None


def _closed(*_: object) -> tuple[Float32, Float32]:
    raise RuntimeError("this engine is closed")
