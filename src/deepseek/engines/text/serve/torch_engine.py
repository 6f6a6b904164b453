"""Runs a text model in torch by transformers' own classes: padded ids in, embeddings or logits out.

    engine = TextEngine.open("./all-MiniLM", precision="torch-compile")     # on a TorchBackend
    engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]     # (N, D)

For machines whose GPU torch knows, and one more candidate elsewhere: tune.py measures it. No code of the folder is run
and no pickle is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepseek.contracts import Float32
from deepseek.engines.execution_mode import compile_module, find_mode
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.text.serve.backend import Precision, TokenArray
from deepseek.engines.text.serve.length_groups import LENGTH_STEP
from deepseek.engines.text.serve.padded import PaddedBackend
from deepseek.engines.text.source.architecture import Architecture, TensorNames
from deepseek.engines.text.source.convert_source import check_variant
from deepseek.engines.text.source.folder import read_object
from deepseek.engines.text.source.library import TransformersLibrary
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import IntegrityError
from deepseek.extras import need

EXTRA = "llm-torch"  # torch, transformers and tokenizers


class TorchBackend(PaddedBackend):
    """Runs transformers' own classes. `num_threads` is for all of torch in this process."""

    def __init__(self, folder: Path, *, precision: Precision, num_threads: int = 1) -> None:
        torch, library = need("torch", extra=EXTRA), TransformersLibrary(extra=EXTRA)
        mode = find_mode(precision)
        super().__init__(Architecture.read(folder), precision, Pooling.read(folder))
        TensorNames.find(self.architecture, Weights.open(folder))
        check_variant(folder, read_object(folder, "config.json"))
        self._folder, self._device, self._torch = folder, mode.device, torch
        torch.set_num_threads(num_threads)
        try:
            model = library.load(
                folder, self.architecture.task, dtype=torch.bfloat16 if mode.bf16 else torch.float32, attention="sdpa"
            ).to(mode.device)
        except library.raised as error:
            raise self._mismatch_error((str(error).strip().splitlines() or [type(error).__name__])[0][:200]) from error

        def eager(ids: Any, mask: Any) -> Any:
            return model(input_ids=ids, attention_mask=mask)[0]

        self._eager: Callable[[Any, Any], Any] = eager
        self._batched = compile_module(eager, self._examples) if mode.compiled else eager

    def _examples(self) -> list[tuple[Any, Any]]:
        """Two batches that differ in both sizes. Some texts are shorter than others, as in those to come."""
        examples = []
        for num_rows, steps in ((3, 2), (5, 4)):
            width = max(2, min(steps * LENGTH_STEP, self.architecture.max_tokens))
            ids = self._torch.ones((num_rows, width), dtype=self._torch.int64, device=self._device)
            mask = self._torch.ones_like(ids)
            mask[0, 1:] = 0
            examples.append((ids, mask))
        return examples

    def _infer(self, ids: TokenArray, mask: TokenArray) -> Float32:
        torch = self._torch
        if self._eager is None:
            raise RuntimeError("this engine is closed")
        forward = self._batched if min(ids.shape) > 1 else self._eager  # a size of 1 would be compiled apart
        with torch.inference_mode():
            output = forward(torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device))
            values: Float32 = output.float().cpu().numpy()
        return values

    def close(self) -> None:
        self._eager = self._batched = None  # type: ignore[assignment]
        return_freed_memory()

    def _mismatch_error(self, reason: str) -> IntegrityError:
        return IntegrityError(
            f"{self._folder} cannot be run by transformers: {reason}",
            expected="a folder that transformers opens without code of its own",
            fix="leave it to OpenVINO",
        )
