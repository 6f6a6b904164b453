"""Runs the graph of a converted folder in OpenVINO: padded ids in, embeddings or logits out.

engine = TextEngine.open("./deberta")                                   # on a ConvertedBackend where it was converted
engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]     # (N, D)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.openvino import cpu_settings, openvino_core
from deepseek.engines.text.serve.backend import Precision, ThreadRequests, TokenArray
from deepseek.engines.text.serve.padded import PaddedBackend
from deepseek.engines.text.source.converted_folder import CONVERT_AGAIN, GRAPH_FILE, INPUTS, OUTPUT, ConvertedFolder
from deepseek.engines.text.source.pooling import Pooling
from deepseek.errors import IntegrityError


class ConvertedBackend(PaddedBackend):
    """In float32 or bfloat16; there is no int8 of a graph that was not built here."""

    def __init__(
        self, folder: Path, *, precision: Precision = "f32", num_threads: int = 1, graph: bytes | None = None
    ) -> None:
        """`graph` stands for that of the folder."""
        super().__init__(ConvertedFolder.read(folder).architecture, precision, Pooling.read(folder))
        self._folder = folder
        try:
            openvino = openvino_core(extra="text")
            compiled = openvino.compile_model(
                str(folder / GRAPH_FILE) if graph is None else openvino.read_model(graph), "CPU",
                cpu_settings(num_threads, bf16=precision != "f32"),
            )  # fmt: skip
        except RuntimeError as error:
            raise self._mismatch_error(str(error).strip().splitlines()[-1][:200]) from error
        input_names = {name for port in compiled.inputs for name in port.get_names()}
        if input_names != set(INPUTS) or [OUTPUT in port.get_names() for port in compiled.outputs] != [True]:
            raise self._mismatch_error(f"its inputs and outputs are not {', '.join(INPUTS)} and {OUTPUT}")
        self._requests = ThreadRequests(compiled)

    def close(self) -> None:
        self._requests.close()

    def _infer(self, ids: TokenArray, mask: TokenArray) -> Float32:
        request = self._requests.current()
        request.infer(dict(zip(INPUTS, (ids, mask), strict=True)), share_inputs=True)
        return np.array(request.get_tensor(OUTPUT).data, np.float32)

    def _mismatch_error(self, reason: str) -> IntegrityError:
        return IntegrityError(
            f"{GRAPH_FILE} in {self._folder} cannot be run: {reason}",
            expected="the graph that convert has written",
            fix=CONVERT_AGAIN,
        )
