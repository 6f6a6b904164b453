"""Runs a text model in torch by transformers' own classes: padded ids in, embeddings or logits out.

    engine = TextEngine.open("./all-MiniLM", precision="torch-compile")     # a TorchTextEngine
    engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]     # (N, D)

For machines whose GPU torch knows, and one more candidate elsewhere: tune.py measures it. No code of the folder is run
and no pickle is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.engines.execution_mode import compile_module, find_mode
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.text.serve.engine import Precision
from deepseek.engines.text.serve.length_groups import LENGTH_STEP
from deepseek.engines.text.serve.padded import PaddedEngine
from deepseek.engines.text.source.architecture import Architecture, TensorNames
from deepseek.engines.text.source.convert_source import check_variant
from deepseek.engines.text.source.folder import read_object
from deepseek.engines.text.source.library import TransformersLibrary
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import IntegrityError
from deepseek.extras import need

EXTRA = "llm-torch"  # torch, transformers and tokenizers


class TorchTextEngine(PaddedEngine):
    """Threads may share it; `num_threads` is for all of torch in this process."""

    def __init__(self, folder: Path, *, precision: Precision, num_threads: int = 1) -> None:
        torch, library = need("torch", extra=EXTRA), TransformersLibrary(extra=EXTRA)
        way = find_mode(precision)
        self.architecture = Architecture.read(folder)
        TensorNames.find(self.architecture, Weights.open(folder))
        check_variant(folder, read_object(folder, "config.json"))
        self.precision = precision
        self._folder, self._device, self._torch = folder, way.device, torch
        self._pooling = Pooling.read(folder)
        self._weights = None
        self._compiled = None
        self._output = "embedding" if self.architecture.task == "embedding" else "logits"
        torch.set_num_threads(num_threads)
        try:
            model = library.load(
                folder, self.architecture.task, dtype=torch.bfloat16 if way.bf16 else torch.float32, attention="sdpa"
            ).to(way.device)
        except library.raised as error:
            raise self._unfit((str(error).strip().splitlines() or [type(error).__name__])[0][:200]) from error

        def eager(ids: Any, mask: Any) -> Any:
            return model(input_ids=ids, attention_mask=mask)[0]

        self._eager: Callable[[Any, Any], Any] = eager
        self._many = compile_module(eager, self._examples) if way.compiled else eager

    def _examples(self) -> list[tuple[Any, Any]]:
        """Two batches that differ in both sizes. Some texts are shorter than others, as in those to come."""
        found = []
        for num_rows, steps in ((3, 2), (5, 4)):
            width = max(2, min(steps * LENGTH_STEP, self.architecture.max_tokens))
            ids = self._torch.ones((num_rows, width), dtype=self._torch.int64, device=self._device)
            mask = self._torch.ones_like(ids)
            mask[0, 1:] = 0
            found.append((ids, mask))
        return found

    def _infer(self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        torch = self._torch
        if self._eager is None:
            raise RuntimeError("this engine is closed")
        call = self._many if min(ids.shape) > 1 else self._eager  # a size of 1 would be compiled apart
        with torch.inference_mode():
            made = call(torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device))
            found: np.ndarray[Any, Any] = made.float().cpu().numpy()
        return found

    def close(self) -> None:
        """Give the memory back; run() fails afterwards."""
        self._eager = self._many = None  # type: ignore[assignment]
        return_freed_memory()

    def _unfit(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self._folder} cannot be run by transformers: {why}",
            expected="a folder that transformers opens without code of its own",
            fix="leave it to OpenVINO",
        )
