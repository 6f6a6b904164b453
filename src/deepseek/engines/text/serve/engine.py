"""Runs a text model: padded ids in, embeddings or logits out.

    engine = TextEngine.open("./all-MiniLM", precision="int8", num_threads=1)
    engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]      # (N, D)

Precisions: "f32" is exact; "bf16" computes in bfloat16 where the CPU can; "int8" runs the dense layers in int8 and the
rest as bf16 where the CPU can. The last two are lossy: see tuning/tune.py. Others run in torch: torch_engine.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, get_args

from deepseek.contracts import Arrays
from deepseek.engines.openvino import has_bf16
from deepseek.engines.text.serve.backend import PRECISIONS, Precision, TextBackend
from deepseek.engines.text.serve.calibrate import calibrate
from deepseek.engines.text.serve.converted_engine import ConvertedBackend
from deepseek.engines.text.serve.openvino_backend import OpenVinoBackend
from deepseek.engines.text.serve.quantize import ActivationRange, ranges_from_bytes
from deepseek.engines.text.serve.torch_engine import TorchBackend
from deepseek.engines.text.source.converted_folder import is_converted
from deepseek.engines.text.source.folder import check_folder
from deepseek.errors import InputError


class TextEngineOptions(TypedDict, total=False):
    """Options of an engine in plain values and bytes, which can be sent to another process."""

    precision: Precision
    ranges: bytes  # of ranges_to_bytes(), for "int8"


class TextEngine:
    """A text model on the backend that its folder and precision ask for. Safe to share between threads."""

    def __init__(self, backend: TextBackend) -> None:
        self.architecture, self.precision = backend.architecture, backend.precision
        self._backend = backend

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        precision: Precision = "f32",
        num_threads: int = 1,
        ranges: Mapping[str, ActivationRange] | None = None,
        states_depth: int = 0,
    ) -> TextEngine:
        """An engine for the folder at `path`. "int8" runs the dense layers that `ranges` has (calibrate) in int8;
        without ranges they are measured on sample sentences. `num_threads` is for one call. `states_depth`: run() also
        gives "states" (N, L, H) of the tokens behind so many layers of an embedding model, from 1.

        MissingError, IntegrityError or InputError for a folder that is not whole or not run here; ExtraError without
        openvino.
        """
        folder = check_folder(path)
        if precision not in get_args(Precision):
            raise InputError(
                f"precision is {repr(precision)[:40]}", expected=", ".join(get_args(Precision)), fix="give one of these"
            )
        if states_depth and (precision not in PRECISIONS or is_converted(folder)):
            raise InputError(
                f"the tokens' states of {folder} are not to be had", expected="a BERT, DistilBERT or RoBERTa encoder",
                fix="take another encoder for pairs of questions",
            )  # fmt: skip
        if precision not in PRECISIONS:
            return cls(TorchBackend(folder, precision=precision, num_threads=num_threads))
        if is_converted(folder):
            if precision == "int8":
                raise InputError(
                    f"{folder} was converted, and there is no int8 of such a graph",
                    expected="f32, bf16",
                    fix="give bf16",
                )
            return cls(ConvertedBackend(folder, precision=precision, num_threads=num_threads))
        if precision != "int8":
            ranges = None
        elif ranges is None:
            ranges = calibrate(folder, num_threads=num_threads)
        return cls(OpenVinoBackend(folder, precision=precision, num_threads=num_threads, ranges=ranges,
                                   states_depth=states_depth))  # fmt: skip

    @classmethod
    def from_options(cls, path: str | Path, options: Mapping[str, Any]) -> TextEngine:
        """open() with TextEngineOptions, which may have come from another process."""
        data = options.get("ranges")
        ranges = None if data is None else ranges_from_bytes(data)
        return cls.open(path, precision=options.get("precision", "f32"), ranges=ranges)

    def run(self, arrays: Arrays) -> Arrays:
        """See TextBackend.run: {"input_ids", "attention_mask"} to {"embedding"} or {"logits"}."""
        return self._backend.run(arrays)

    def close(self) -> None:
        """Give the memory back; run() fails afterwards."""
        self._backend.close()


def available_precisions(kinds: Sequence[Precision] = PRECISIONS) -> list[Precision]:
    """The precisions among `kinds` for which this machine has an arithmetic."""
    return [kind for kind in kinds if kind != "bf16" or has_bf16(extra="text")]
