"""Runs the graph of a converted folder in OpenVINO: padded ids in, embeddings or logits out.

engine = TextEngine.open("./deberta")                                   # a ConvertedEngine where it was converted
engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]     # (N, D)
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.engines.openvino import cpu_settings, openvino_core
from deepseek.engines.text.serve.engine import Precision
from deepseek.engines.text.serve.padded import PaddedEngine
from deepseek.engines.text.source.converted_folder import CONVERT_AGAIN, GRAPH_FILE, INPUTS, OUTPUT, ConvertedFolder
from deepseek.engines.text.source.pooling import Pooling
from deepseek.errors import IntegrityError


class ConvertedEngine(PaddedEngine):
    """Of float32 or bfloat16; there is no int8 of a graph that was not built here. Threads may share it."""

    def __init__(
        self, folder: Path, *, precision: Precision = "f32", num_threads: int = 1, graph: bytes | None = None
    ) -> None:
        """`graph` stands for that of the folder."""
        self.architecture = ConvertedFolder.read(folder).architecture
        self.precision = precision
        self._weights = None
        self._pooling = Pooling.read(folder)
        self._folder = folder
        try:
            engine = openvino_core(extra="text")
            self._compiled = engine.compile_model(
                str(folder / GRAPH_FILE) if graph is None else engine.read_model(graph), "CPU",
                cpu_settings(num_threads, bf16=precision != "f32"),
            )  # fmt: skip
        except RuntimeError as error:
            raise self._unfit(str(error).strip().splitlines()[-1][:200]) from error
        named = {name for put in self._compiled.inputs for name in put.get_names()}
        if named != set(INPUTS) or [OUTPUT in put.get_names() for put in self._compiled.outputs] != [True]:
            raise self._unfit(f"its inputs and outputs are not {', '.join(INPUTS)} and {OUTPUT}")
        self._threads = threading.local()
        self._output = "embedding" if self.architecture.task == "embedding" else "logits"

    def _infer(self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        request = self._request()
        request.infer(dict(zip(INPUTS, (ids, mask), strict=True)), share_inputs=True)
        return np.array(request.get_tensor(OUTPUT).data, np.float32)

    def _unfit(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{GRAPH_FILE} in {self._folder} cannot be run: {why}",
            expected="the graph that convert has written",
            fix=CONVERT_AGAIN,
        )
