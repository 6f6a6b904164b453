"""Runs a text model in OpenVINO on the CPU: padded ids in, embeddings or logits out.

    engine = TextEngine.open("./all-MiniLM", precision="int8", num_threads=1)
    engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]      # (N, D)

Precisions: "f32" is exact; "bf16" computes in bfloat16 where the CPU can; "int8" runs the dense layers in int8 and the
rest as bf16 where the CPU can. The last two are lossy: see tune.py. Others run in torch: torch_engine.py.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.openvino import cpu_settings, has_bf16, openvino_core
from deepseek.engines.text.serve.graph import NUM_GROUPS, RANGE_PREFIX, build_encoder
from deepseek.engines.text.serve.length_groups import group_by_length, padded_width
from deepseek.engines.text.serve.quantize import ActivationRange, merge_ranges, ranges_from_bytes
from deepseek.engines.text.source.architecture import Architecture, TensorNames
from deepseek.engines.text.source.converted_folder import is_converted
from deepseek.engines.text.source.folder import check_folder
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import InputError

Precision = Literal[
    "f32", "bf16", "int8", "torch", "torch-compile", "torch-bf16", "torch-cuda", "torch-cuda-bf16"
]  # fmt: skip
#: Those of OpenVINO. The others are ways of torch (engines/execution_mode.py).
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8")
#: Numbers of tokens are rounded up to this: for each new size OpenVINO prepares its kernels anew.
TOKENS_STEP = 16


class TextEngine:
    """Safe to share between threads: each has an InferRequest of its own. `num_threads` is for one call."""

    def __init__(
        self,
        folder: Path,
        *,
        precision: Precision = "f32",
        num_threads: int = 1,
        ranges: Mapping[str, ActivationRange] | None = None,
        observe: bool = False,
        weights: Weights | None = None,
    ) -> None:
        """`weights` stand for those of the folder."""
        self.architecture = Architecture.read(folder)
        self.precision = precision
        weights = weights or Weights.open(folder)
        self._weights: Weights | None = weights  # the compiled model may share their memory
        names = TensorNames.find(self.architecture, weights)
        model = build_encoder(self.architecture, Pooling.read(folder), names, weights, ranges=ranges, observe=observe)
        self._compiled: Any = openvino_core(extra="text").compile_model(
            model, "CPU", cpu_settings(num_threads, bf16=precision != "f32")
        )
        self._threads = threading.local()
        self._output = "embedding" if self.architecture.task == "embedding" else "logits"

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        precision: Precision = "f32",
        num_threads: int = 1,
        ranges: Mapping[str, ActivationRange] | None = None,
    ) -> TextEngine:
        """An engine for the folder at `path`. "int8" runs the dense layers that `ranges` has (calibrate) in int8;
        without ranges they are measured on sample sentences.

        MissingError, IntegrityError or InputError for a folder that is not whole or not run here; ExtraError without
        openvino.
        """
        folder = check_folder(path)
        if precision not in get_args(Precision):
            raise InputError(
                f"precision is {repr(precision)[:40]}", expected=", ".join(get_args(Precision)), fix="give one of these"
            )
        if precision not in PRECISIONS:
            from deepseek.engines.text.serve.torch_engine import TorchTextEngine

            return TorchTextEngine(folder, precision=precision, num_threads=num_threads)
        if is_converted(folder):
            return cls._converted(folder, precision, num_threads)
        if precision == "int8" and ranges is None:
            from deepseek.engines.text.serve.calibrate import calibrate

            ranges = calibrate(folder, num_threads=num_threads)
        return cls(folder, precision=precision, num_threads=num_threads, ranges=ranges if precision == "int8" else None)

    @staticmethod
    def _converted(folder: Path, precision: Precision, num_threads: int) -> TextEngine:
        from deepseek.engines.text.serve.converted_engine import ConvertedEngine

        if precision == "int8":
            raise InputError(
                f"{folder} was converted, and there is no int8 of such a graph", expected="f32, bf16", fix="give bf16"
            )
        return ConvertedEngine(folder, precision=precision, num_threads=num_threads)

    @classmethod
    def from_options(cls, path: str | Path, options: Mapping[str, Any]) -> TextEngine:
        """open() with options that came from another process: the ranges are bytes."""
        ranges = options.get("ranges")
        return cls.open(
            path,
            precision=options.get("precision", "f32"),
            ranges=None if ranges is None else ranges_from_bytes(ranges),
        )

    def run(self, arrays: Arrays) -> Arrays:
        """{"input_ids": (N, L) int64, "attention_mask": (N, L) int64}, N and L >= 1 -> {"embedding": (N, D)} or
        {"logits": (N, C) or (N, L, C)}, float32.

        InputError for shapes or ids that do not fit. The mask may have its zeros anywhere; a row without a token gives
        numbers without meaning.
        """
        ids, mask = self._checked(arrays)
        flat, order, index = self._flat(ids, mask)
        request = self._request()
        request.infer(flat, share_inputs=True)
        made = np.asarray(request.get_tensor(self._output).data)
        if self.architecture.task == "token-classification":
            return {self._output: made[index]}
        found = np.empty((len(ids), made.shape[1]), np.float32)
        found[order] = made[: len(ids)]
        return {self._output: found}

    def observed(self, arrays: Arrays, found: dict[str, ActivationRange]) -> None:
        """Widen `found` by the values that this batch sends into the dense layers of a graph that observes."""
        request = self._request()
        request.infer(self._flat(*self._checked(arrays))[0], share_inputs=True)
        names = [name for output in self._compiled.outputs for name in output.get_names()]
        merge_ranges(
            found,
            {name: request.get_tensor(name).data for name in names if name.startswith(RANGE_PREFIX)},
            RANGE_PREFIX,
        )

    def close(self) -> None:
        """Give the memory back; run() fails afterwards."""
        self._compiled = None
        self._weights = None
        self._threads = threading.local()
        return_freed_memory()

    def _request(self) -> Any:
        if self._compiled is None:
            raise RuntimeError("this engine is closed")
        if not hasattr(self._threads, "request"):
            self._threads.request = self._compiled.create_infer_request()
        return self._threads.request

    def _checked(self, arrays: Arrays) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        missing = [name for name in ("input_ids", "attention_mask") if name not in arrays]
        if missing:
            raise InputError(
                f"there is no {missing[0]}", expected="input_ids and attention_mask", fix="give both, of one shape"
            )
        ids = np.asarray(arrays["input_ids"])
        mask = np.asarray(arrays["attention_mask"]) != 0
        most = self.architecture.max_tokens
        if (
            ids.ndim != 2
            or ids.shape != mask.shape
            or not ids.size
            or ids.shape[1] > most
            or ids.dtype.kind not in "iu"
        ):
            raise InputError(
                f"input_ids are {list(ids.shape)} of the type {ids.dtype}, attention_mask {list(mask.shape)}",
                expected=f"whole numbers [N, L] twice, with N >= 1 and L from 1 to {most}",
                fix="cut longer texts; pad shorter ones",
            )
        if ids.min() < 0 or ids.max() >= self.architecture.vocab_size:
            raise InputError(
                f"input_ids go from {ids.min()} to {ids.max()}",
                expected=f"from 0 to {self.architecture.vocab_size - 1}",
                fix="use the tokenizer of this model",
            )
        return ids, mask

    def _flat(
        self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]
    ) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The inputs of graph.py, the rows in the order of its groups, and where each token stands in the list (N, L).

        Sizes are rounded up, the tokens of all rows stand in one list.
        """
        num_tokens = int(mask.sum())
        total = max(1, -(-num_tokens // TOKENS_STEP)) * TOKENS_STEP
        index = np.zeros(ids.shape, np.int32)
        index[mask] = np.arange(num_tokens)
        lengths = (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1).clip(1)
        chosen = group_by_length(lengths.tolist(), most=NUM_GROUPS)
        inputs = {}
        cells = np.empty(ids.shape, np.int32)  # where the attention's groups, one after the other, have a token
        num_cells = 0
        for number in range(NUM_GROUPS):
            # A group that is not needed has a row without a token.
            rows = chosen[number] if number < len(chosen) else np.empty(0, np.int64)
            num_rows, width = max(1, len(rows)), padded_width(int(lengths[rows].max(initial=1)))
            columns = min(width, ids.shape[1])
            for name, values in (("index", index), ("mask", mask)):
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
        return inputs, np.concatenate(chosen), index

    def _positions(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(N, L). RoBERTa counts what is not the padding's id, from behind that id, and gives the rest that id."""
        if self.architecture.family != "roberta":
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        counted = ids != self.architecture.pad_id
        return np.asarray(np.cumsum(counted, axis=1) * counted + self.architecture.pad_id)


def _pad_to_size(values: np.ndarray[Any, Any], size: int, rest: int) -> np.ndarray[Any, Any]:
    found = np.full(size, rest, np.int32)
    found[: len(values)] = values
    return found


def available_precisions(kinds: Sequence[Precision] = PRECISIONS) -> list[Precision]:
    """Those of `kinds` that this machine really has."""
    return [kind for kind in kinds if kind != "bf16" or has_bf16(extra="text")]
