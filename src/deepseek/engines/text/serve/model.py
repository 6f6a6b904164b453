"""The half of a text model that runs where requests arrive: texts to arrays, an engine's outputs to JSON rows.

    model = TextModel.open("./all-MiniLM")
    tokens = model.prepare(["a text", "another"])
    model.answers(engine.run(model.join(tokens)), tokens)     # [{"embedding": [...]}, {"embedding": [...]}]

Opening checks every file: config, tokenizer, and the headers of the weights (all
bytes where it was converted). It imports tokenizers, never openvino.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.text.serve.entities import extract_entities
from deepseek.engines.text.source.architecture import CONFIG_FILE, Architecture, TensorNames
from deepseek.engines.text.source.converted_folder import ConvertedFolder, is_converted
from deepseek.engines.text.source.folder import check_folder, files_digest, read_field, read_object
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE, TextTokenizer, TokenRow, Tokens
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import InputError

_UNBOUNDED = 10**30  # transformers writes an int of this size where a tokenizer has no limit


class TextModel:
    """An open text model. Safe to share between threads."""

    version = "1"
    example = {"text": "The delivery came a day late, but the support was kind."}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        converted = ConvertedFolder.read(folder) if is_converted(folder) else None
        self.architecture = converted.architecture if converted else Architecture.read(folder)
        self.pooling = Pooling.read(folder)
        if converted:
            converted.check(folder, self.pooling)
        names = converted.names if converted else self._checked(folder)
        self.max_tokens = self._limit(folder)
        self._tokenizer = TextTokenizer(folder, vocab_size=self.architecture.vocab_size, max_tokens=self.max_tokens)
        self.path = folder
        self.digest = files_digest(folder, names)

    @classmethod
    def open(cls, path: str | Path) -> TextModel:
        """The model in a folder. MissingError names a file that is not there, IntegrityError one that is damaged or
        does not fit the others, InputError an architecture or a module that is not run here; ExtraError without
        tokenizers."""
        return cls(check_folder(path))

    @property
    def name(self) -> str:
        """The folder's name, with - for what may not stand in the address of a model."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.path.resolve().name).strip("-.") or "text"

    @property
    def task(self) -> str:
        return self.architecture.task

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the logits; empty for embeddings."""
        return self.architecture.labels

    @property
    def size(self) -> int:
        """Numbers of one embedding, or the hidden size where labels are given."""
        return self.architecture.hidden * (len(self.pooling.modes) if self.task == "embedding" else 1)

    @property
    def mask_id(self) -> int | None:
        """The id of a hidden token; None where the tokenizer has none."""
        return self._tokenizer.mask_id

    def prepare(self, texts: Sequence[str], *, with_offsets: bool = False) -> Tokens:
        """Token ids of texts (N >= 1), cut to `max_tokens`. `with_offsets`: with the places of tokens in the text that
        was read, which is not the given one where the model puts a prompt before it. InputError, which gives the number
        of the text, for one that cannot be read."""
        if isinstance(texts, str) or not len(texts):
            raise InputError("there are no texts", expected="a list with at least one text", fix="send a list of texts")
        if self.task == "embedding" and (self.pooling.lower or self.pooling.prompt):
            texts = [self._dressed(text) for text in texts]
        return self._tokenizer.encode(texts, with_offsets=with_offsets or self.task == "token-classification")

    def join(self, rows: Sequence[TokenRow]) -> Arrays:
        """One batch, padded to its longest row: "input_ids" and "attention_mask", (N, L) int64."""
        lengths = np.array([len(row) for row in rows], np.int64)
        shape = (len(rows), int(lengths.max()))
        mask = np.arange(shape[1]) < lengths[:, None]
        ids = np.full(shape, self.architecture.pad_id, np.int64)
        ids[mask] = np.concatenate([row.ids for row in rows])
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}

    def answers(self, outputs: Arrays, tokens: Sequence[TokenRow]) -> list[dict[str, Any]]:
        """One JSON row per text, from an engine's outputs for these rows: a batch, or a part along its first axis.

        {"embedding": [D numbers]}, {"label", "probabilities": {label: p}} (with "labels", those of at least 0.5,
        where several may hold), or {"entities": [{"text", "label", "start", "end", "probability"}]}. "truncated": true
        stands in it when the text was cut.
        """
        if self.task == "embedding":
            found = [{"embedding": row} for row in outputs["embedding"].tolist()]
        elif self.task == "token-classification":
            shares = _softmax(outputs["logits"])
            found = [
                {"entities": extract_entities(row, shares[number, : len(row)], self.labels)}
                for number, row in enumerate(tokens)
            ]
        else:
            found = self._classes(self.probabilities(outputs, tokens))
        for row, answer in zip(tokens, found, strict=True):
            if row.truncated:
                answer["truncated"] = True
        return found

    def num_tokens(self, rows: Sequence[TokenRow]) -> int:
        """Tokens that are computed, special ones too: what "usage" counts."""
        return sum(len(row) for row in rows)

    def probabilities(self, outputs: Arrays, tokens: Sequence[TokenRow]) -> np.ndarray[Any, Any]:
        """Of the labels: (N, C), or (number of all tokens, C) where tokens have labels."""
        logits = outputs["logits"]
        if self.task == "token-classification":
            logits = np.concatenate([logits[number, : len(row)] for number, row in enumerate(tokens)])
        return _sigmoid(logits) if self.architecture.multi_label else _softmax(logits)

    def _classes(self, shares: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        several = self.architecture.multi_label
        found = []
        for row in shares.tolist():
            answer: dict[str, Any] = {
                "label": self.labels[int(np.argmax(row))],
                "probabilities": dict(zip(self.labels, row, strict=True)),
            }
            if several:
                answer["labels"] = [label for label, share in zip(self.labels, row, strict=True) if share >= 0.5]
            found.append(answer)
        return found

    def _dressed(self, text: str) -> str:
        if not isinstance(text, str):
            return text  # type: ignore[unreachable]  # which the tokenizer refuses by its number
        text = self.pooling.prompt + text
        return text.lower() if self.pooling.lower else text

    def _limit(self, folder: Path) -> int:
        """sentence-transformers' limit, else the tokenizer's own, never more than there are positions."""
        settings = read_object(folder, SETTINGS_FILE, {})
        own = read_field(
            settings, "model_max_length", float, f"{SETTINGS_FILE} in {folder}", _UNBOUNDED, most=10 * _UNBOUNDED
        )
        return min(self.pooling.max_tokens or int(own), self.architecture.max_tokens)

    def _checked(self, folder: Path) -> list[str]:
        """The files that decide the answers; errors for weights that do not fit."""
        weights = Weights.open(folder)
        TensorNames.find(self.architecture, weights)
        besides = self.pooling.files if self.task == "embedding" else ()
        return [CONFIG_FILE, TOKENIZER_FILE, *weights.files, *besides]


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    power = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(power / power.sum(axis=-1, keepdims=True))


def _sigmoid(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))
