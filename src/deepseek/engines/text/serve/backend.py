"""What runs a text model: padded token ids in, embeddings or logits out. engine.py chooses among these."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.text.source.architecture import Architecture
from deepseek.errors import InputError

Precision = Literal[
    "f32", "bf16", "int8", "torch", "torch-compile", "torch-bf16", "torch-cuda", "torch-cuda-bf16"
]  # fmt: skip
#: Those of OpenVINO. The others are execution modes of torch (engines/execution_mode.py).
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8")
TokenArray = NDArray[np.int64]  # (N, L) ids, or 1 for a token and 0 for padding


class TextBackend(ABC):
    """Runs one text model. Safe to share between threads."""

    def __init__(self, architecture: Architecture, precision: Precision) -> None:
        self.architecture = architecture
        self.precision = precision

    @abstractmethod
    def run(self, arrays: Arrays) -> Arrays:
        """{"input_ids": (N, L) int64, "attention_mask": (N, L) int64}, N and L >= 1 -> {"embedding": (N, D)} or
        {"logits": (N, C) or (N, L, C)}, float32.

        InputError for shapes or ids that do not fit. The mask may have its zeros anywhere; a row without a token gives
        numbers without meaning.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the memory back; run() fails afterwards."""

    @property
    def output_name(self) -> str:
        return "embedding" if self.architecture.task == "embedding" else "logits"

    def check_inputs(self, arrays: Arrays) -> tuple[TokenArray, NDArray[np.bool_]]:
        """The ids and the mask of a batch, (N, L) each. InputError for arrays that do not fit the model."""
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


class ThreadRequests:
    """The InferRequests of a compiled OpenVINO model, one for each thread: sharing one gives wrong answers."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._local = threading.local()

    def current(self) -> Any:
        """The request of this thread. RuntimeError after close()."""
        if self.compiled is None:
            raise RuntimeError("this engine is closed")
        if not hasattr(self._local, "request"):
            self._local.request = self.compiled.create_infer_request()
        return self._local.request

    def close(self) -> None:
        """Let go of the model, and of its memory."""
        self.compiled = None
        self._local = threading.local()
        return_freed_memory()


def row_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row of a mask (N, L) where its last token ends, 1 at the least: (N,)."""
    ends: NDArray[np.int64] = (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1).clip(1)
    return ends
