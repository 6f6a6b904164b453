"""Texts as vectors of length 1 by an encoder in a Hugging Face folder: model and engine in one, for whoever has texts.

    encoder = FolderEncoder("all-MiniLM")
    encoder.embed(["a question", "a clause"])            # (2, D)
    encoder.embed(["a question"], role="query")          # with the folder's own prompt in front, where it has one

A folder's prompts stand in config_sentence_transformers.json, under "prompts": "query", "passage" or "document".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.text.serve.backend import Precision
from deepseek.engines.text.serve.engine import TextEngine, available_precisions
from deepseek.engines.text.serve.graph import STATES_OUTPUT
from deepseek.engines.text.serve.model import TextModel
from deepseek.engines.text.source.folder import read_object
from deepseek.engines.text.source.tokens import TokenRow

BATCH_TEXTS = 32
PROMPTS_FILE = "config_sentence_transformers.json"
Role = Literal["plain", "query", "passage"]


class FolderEncoder:
    """An encoder of engines/text. A text that is longer than the model reads is cut: its beginning is embedded."""

    def __init__(
        self, folder: str | Path, *, precision: Precision = "f32", num_threads: int = 1, role: Role = "plain",
        states_depth: int = 0,
    ) -> None:  # fmt: skip
        """`precision` where this machine computes in it, else f32; `role`: of texts that are embedded without one;
        `states_depth`: the layer behind which token_states() reads. Errors as those of TextModel.open()."""
        self._model = TextModel.open(folder)
        chosen = precision if precision in available_precisions([precision]) else "f32"
        self._engine = TextEngine.open(folder, precision=chosen, num_threads=num_threads, states_depth=states_depth)
        prompts = read_object(Path(folder), PROMPTS_FILE, is_optional=True).get("prompts")
        by_role = prompts if isinstance(prompts, dict) else {}
        passage = by_role.get("passage", by_role.get("document", ""))
        self._prompts: dict[Role, str] = {"plain": "", "query": str(by_role.get("query", "")), "passage": str(passage)}
        self.name = f"{self._model.name}-{self._model.digest[:12]}"
        self.size = self._model.size
        self._role: Role = role

    def embed(self, texts: Sequence[str], *, role: Role | None = None) -> Float32:
        """Vectors (N, D) of length 1."""
        prompt = self._prompts[role or self._role]
        vectors = np.zeros((len(texts), self.size), np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            tokens = self._model.prepare([prompt + texts[index] for index in chosen])
            vectors[chosen] = self._engine.run(self._model.join(tokens))["embedding"]
        return normalize_rows(vectors)

    def token_states(self, texts: Sequence[str], most: int) -> list[Float32]:
        """Of each text the states (L, H) of its first tokens, at most `most`, behind `states_depth` layers, which is
        not 0. No prompt stands in front."""
        states: list[Float32] = [np.empty((0, 0), np.float32)] * len(texts)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            batch = self._model.join([_cut(row, most) for row in self._model.prepare([texts[at] for at in chosen])])
            outputs = self._engine.run(batch)[STATES_OUTPUT]
            for at, row, length in zip(chosen, outputs, batch["attention_mask"].sum(axis=1).tolist(), strict=True):
                states[at] = row[:length].copy()
        return states


def _cut(row: TokenRow, most: int) -> TokenRow:
    return row if len(row) <= most else TokenRow(row.ids[:most], True)


def normalize_rows(rows: Float32) -> Float32:
    """Rows (N, D) brought to length 1; a row of zeros stays one."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
