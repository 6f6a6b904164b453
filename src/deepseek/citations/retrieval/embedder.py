"""Texts as vectors, for retrieval: a Hugging Face folder in OpenVINO, or anything that meets the protocol.

    embedder = FolderEmbedder("all-MiniLM")
    embedder.passages(["a clause"]) @ embedder.queries(["a question"]).T     # cosines (1, 1)

A folder's own prompts (config_sentence_transformers.json, "prompts": "query", "passage" or "document") stand in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from deepseek.contracts import Float32
from deepseek.engines.text.serve.backend import Precision
from deepseek.engines.text.serve.embedding import FolderEncoder


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
        self._encoder = FolderEncoder(folder, precision=precision, num_threads=num_threads)
        self.name = self._encoder.name

    def queries(self, texts: Sequence[str]) -> Float32:
        """(N, D) of length one, with the prefix that the folder's model wants before a question."""
        return self._encoder.embed(texts, role="query")

    def passages(self, texts: Sequence[str]) -> Float32:
        """(N, D) of length one, with the prefix that the folder's model wants before a clause."""
        return self._encoder.embed(texts, role="passage")
