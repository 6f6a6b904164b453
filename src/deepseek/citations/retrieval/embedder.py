"""Texts as vectors, for retrieval: a Hugging Face folder in OpenVINO, or anything that meets the protocol.

    embedder = FolderEmbedder("all-MiniLM")
    embedder.passages(["a clause"]) @ embedder.queries(["a question"]).T     # cosines (1, 1)

A folder's own prompts (config_sentence_transformers.json, "prompts": "query", "passage" or "document") stand in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.serve.backend import Precision
from deepseek.engines.text.serve.engine import available_precisions
from deepseek.engines.text.source.folder import read_object

BATCH_TEXTS = 32
PROMPTS_FILE = "config_sentence_transformers.json"


class Embedder(Protocol):
    """Two ways in: what is looked for, and what is searched."""

    @property
    def name(self) -> str:
        """The model and its weights, in a word: vectors are kept under it."""
        ...

    @property
    def weight(self) -> float:
        """Beside the other embedders of an index; 1 is usual."""
        ...

    def queries(self, texts: Sequence[str]) -> Float32:
        """Vectors (N, D) of length 1."""
        ...

    def passages(self, texts: Sequence[str]) -> Float32:
        """Vectors (N, D) of length 1."""
        ...


class FolderEmbedder:
    """An encoder of engines/text. A text that is longer than the model reads is cut: its beginning is embedded."""

    def __init__(
        self, folder: str | Path, *, precision: Precision = "bf16", num_threads: int = 1, weight: float = 1.0
    ) -> None:
        self.weight = weight
        self._model = TextModel.open(folder)
        chosen = precision if precision in available_precisions([precision]) else "f32"
        self._engine = TextEngine.open(folder, precision=chosen, num_threads=num_threads)
        prompts = read_object(Path(folder), PROMPTS_FILE, is_optional=True).get("prompts")
        by_role = prompts if isinstance(prompts, dict) else {}
        self._query = str(by_role.get("query", ""))
        self._passage = str(by_role.get("passage", by_role.get("document", "")))
        self.name = f"{self._model.name}-{self._model.digest[:12]}"

    def queries(self, texts: Sequence[str]) -> Float32:
        return self._embed([self._query + text for text in texts])

    def passages(self, texts: Sequence[str]) -> Float32:
        return self._embed([self._passage + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> Float32:
        vectors = np.zeros((len(texts), self._model.size), np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            tokens = self._model.prepare([texts[index] for index in chosen])
            vectors[chosen] = self._engine.run(self._model.join(tokens))["embedding"]
        return normalize_rows(vectors)


def normalize_rows(rows: Float32) -> Float32:
    """Rows (N, D) brought to length 1; a row of zeros stays one."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
