"""A part of a model that is an ONNX graph as it stands: a torch module that `train` has made, exported.

    part = GraphWeights.of(graph, baseline)         # features (N, F) float32 -> one output (N, K) float32
    part.margin(features)                           # (N, K)

There are no arrays that numpy could compute with, so onnxruntime is its own reference here; that the graph gives what
the module gave is checked when it is exported. An explanation asks for answers alone, against the row `baseline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.engines.onnx import compute_error, open_session, runtime_errors
from deepseek.extras import need

KIND = "graph"
FILE = "the graph of a part"


@dataclass(frozen=True, eq=False)
class GraphWeights:
    """Meets deepseek.nn.model.OpaqueWeights. Safe to share between threads."""

    kind: ClassVar[str] = KIND
    method: ClassVar[str] = "KernelSHAP against a typical training row"

    graph: NDArray[np.uint8]  # the bytes of the ONNX file
    baseline: Float32  # (F,) what a column reads that is taken away

    @classmethod
    def of(cls, graph: bytes, baseline: Float32) -> GraphWeights:
        return cls(np.frombuffer(graph, np.uint8), np.asarray(baseline, np.float32))

    @cached_property
    def _session(self) -> Any:
        return open_session(self.graph.tobytes(), FILE, num_threads=1)

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K). ComputeError for rows that the graph cannot be run on."""
        name = self._session.get_inputs()[0].name
        try:
            (output,) = self._session.run(None, {name: np.ascontiguousarray(features, np.float32)})
        except runtime_errors(need("onnxruntime", extra="serve")) as error:
            raise compute_error(FILE, error) from error
        return np.asarray(output, np.float64)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"graph": self.graph, "baseline": self.baseline}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> GraphWeights:
        graph, baseline = arrays["graph"], np.asarray(arrays["baseline"], np.float32)
        if graph.dtype != np.uint8 or graph.ndim != 1 or baseline.ndim != 1:
            raise ValueError(f"graph is {graph.dtype} {graph.shape}, and baseline has the shape {baseline.shape}")
        return cls(graph, baseline)  # type: ignore[arg-type]

    def add_to(self, graph: Any, features: str) -> str:
        """Add the nodes to an engines.graph.OnnxGraphBuilder; the name of their result (N, K)."""
        return str(graph.embed(self.graph.tobytes(), features))
