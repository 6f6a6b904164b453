"""Runs a text model in OpenVINO on the CPU, by a graph that is built here from the weights (graph.py).

backend = OpenVinoBackend(Path("all-MiniLM"))
backend.run({"input_ids": ids, "attention_mask": mask})["embedding"]      # (N, D)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays
from deepseek.engines.openvino import cpu_settings, openvino_core
from deepseek.engines.text.serve.backend import Precision, TextBackend, ThreadRequests, TokenArray, row_lengths
from deepseek.engines.text.serve.graph import NUM_GROUPS, RANGE_PREFIX, STATES_OUTPUT, build_encoder
from deepseek.engines.text.serve.length_groups import group_by_length, padded_width
from deepseek.engines.text.serve.quantize import ActivationRange, merge_ranges
from deepseek.engines.text.source.architecture import Architecture, TensorNames
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.weights import Weights

#: Numbers of tokens are rounded up to this: for each new size OpenVINO prepares its kernels anew.
TOKENS_STEP = 16


class PackedBatch(NamedTuple):
    """A batch as the graph takes it: the tokens of all rows in one list."""

    inputs: dict[str, NDArray[Any]]  # the graph's, by name (graph.py)
    order: NDArray[np.int64]  # (N,) the rows in the order of the graph's groups
    token_index: NDArray[np.int32]  # (N, L) where in the list a token stands


class OpenVinoBackend(TextBackend):
    """Runs the graph of graph.py. `num_threads` is for one call."""

    def __init__(
        self,
        folder: Path,
        *,
        precision: Precision = "f32",
        num_threads: int = 1,
        ranges: Mapping[str, ActivationRange] | None = None,
        observe: bool = False,
        weights: Weights | None = None,
        states_depth: int = 0,
    ) -> None:
        """`ranges`: dense layers to run in int8. `observe`: a graph that observe() can read. `weights` stand for those
        of the folder. `states_depth`: run() also gives "states" (N, L, H), those of the tokens behind so many layers.
        """
        super().__init__(Architecture.read(folder), precision)
        weights = weights or Weights.open(folder)
        self._weights: Weights | None = weights  # the compiled model may share their memory
        names = TensorNames.find(self.architecture, weights)
        model = build_encoder(
            self.architecture, Pooling.read(folder), names, weights, ranges=ranges, observe=observe,
            states_depth=states_depth,
        )  # fmt: skip
        self._states_depth = states_depth
        settings = cpu_settings(num_threads, bf16=precision != "f32")
        self._requests = ThreadRequests(openvino_core(extra="text").compile_model(model, "CPU", settings))

    def run(self, arrays: Arrays) -> Arrays:
        ids, mask = self.check_inputs(arrays)
        packed = self._pack(ids, mask)
        request = self._requests.current()
        request.infer(packed.inputs, share_inputs=True)
        output = np.asarray(request.get_tensor(self.output_name).data)
        if self.architecture.task == "token-classification":
            return {self.output_name: output[packed.token_index]}
        rows = np.empty((len(ids), output.shape[1]), np.float32)
        rows[packed.order] = output[: len(ids)]
        if not self._states_depth:
            return {self.output_name: rows}
        states = np.asarray(request.get_tensor(STATES_OUTPUT).data)[packed.token_index]
        return {self.output_name: rows, STATES_OUTPUT: states}

    def observe(self, arrays: Arrays, ranges: dict[str, ActivationRange]) -> None:
        """Widen `ranges` by the values that this batch sends into the dense layers of a graph that observes."""
        request = self._requests.current()
        request.infer(self._pack(*self.check_inputs(arrays)).inputs, share_inputs=True)
        names = [name for output in self._requests.compiled.outputs for name in output.get_names()]
        outputs = {name: request.get_tensor(name).data for name in names if name.startswith(RANGE_PREFIX)}
        merge_ranges(ranges, outputs, RANGE_PREFIX)

    def close(self) -> None:
        self._weights = None
        self._requests.close()

    def _pack(self, ids: TokenArray, mask: NDArray[np.bool_]) -> PackedBatch:
        """Put the tokens of all rows into one list, and round sizes up."""
        num_tokens = int(mask.sum())
        total = max(1, -(-num_tokens // TOKENS_STEP)) * TOKENS_STEP
        token_index = np.zeros(ids.shape, np.int32)
        token_index[mask] = np.arange(num_tokens)
        lengths = row_lengths(mask)
        groups = group_by_length(lengths.tolist(), most=NUM_GROUPS)
        inputs = {}
        cells = np.empty(ids.shape, np.int32)  # where the attention's groups, one after the other, have a token
        num_cells = 0
        for number in range(NUM_GROUPS):
            # A group that is not needed has a row without a token.
            rows = groups[number] if number < len(groups) else np.empty(0, np.int64)
            num_rows, width = max(1, len(rows)), padded_width(int(lengths[rows].max(initial=1)))
            columns = min(width, ids.shape[1])
            for name, values in (("index", token_index), ("mask", mask)):
                wide = np.zeros((num_rows, width), np.int32 if name == "index" else np.float32)
                wide[: len(rows), :columns] = values[rows, :columns]
                inputs[f"{name}{number}"] = wide
            cells[rows] = num_cells + np.arange(len(rows))[:, None] * width + np.arange(ids.shape[1])
            num_cells += num_rows * width
        inputs |= {
            "ids": _pad_to_size(ids[mask], total, self.architecture.pad_id),
            "positions": _pad_to_size(self._positions(ids)[mask], total, 0),
            "back": _pad_to_size(cells[mask], total, 0),
        }
        return PackedBatch(inputs, np.concatenate(groups), token_index)

    def _positions(self, ids: TokenArray) -> NDArray[Any]:
        """(N, L). RoBERTa counts what is not the padding's id, from behind that id, and gives the rest that id."""
        if self.architecture.family != "roberta":
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        is_token = ids != self.architecture.pad_id
        return np.asarray(np.cumsum(is_token, axis=1) * is_token + self.architecture.pad_id)


def _pad_to_size(values: NDArray[Any], size: int, padding: int) -> NDArray[np.int32]:
    padded = np.full(size, padding, np.int32)
    padded[: len(values)] = values
    return padded
