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
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays
from deepseek.engines.text.serve.entities import Entity, extract_entities
from deepseek.engines.text.source.architecture import CONFIG_FILE, Architecture, TensorNames
from deepseek.engines.text.source.converted_folder import ConvertedFolder, is_converted
from deepseek.engines.text.source.folder import check_folder, files_digest, read_object
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE, TextTokenizer, TokenRow, Tokens
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import InputError

_UNBOUNDED = 10**30  # transformers writes an int of this size where a tokenizer has no limit


class TextAnswer(TypedDict, total=False):
    """The answer to one text, as a server writes it: an embedding, or a label with probabilities, or entities."""

    embedding: list[float]  # D numbers
    label: str  # the likeliest
    probabilities: dict[str, float]  # by label
    labels: list[str]  # those of at least 0.5, where several may hold
    entities: list[Entity]
    truncated: bool  # True where the text was cut, else left out


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
        names = converted.names if converted else self._check_weights(folder)
        self.max_tokens = self._read_limit(folder)
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
        """The labels in the order of the logits; empty for embeddings."""
        return self.architecture.labels

    @property
    def size(self) -> int:
        """How many numbers one embedding has, or the hidden size of a model with labels."""
        return self.architecture.hidden * (len(self.pooling.modes) if self.task == "embedding" else 1)

    @property
    def mask_id(self) -> int | None:
        """The id of a hidden token; None where the tokenizer has none."""
        return self._tokenizer.mask_id

    def prepare(self, texts: Sequence[str], *, with_offsets: bool = False) -> Tokens:
        """Token ids of texts (N >= 1), cut to `max_tokens`. InputError, which gives the number of the text, for one
        that cannot be read.

        `with_offsets`: with the letters of each token in the text that was tokenized, which is another one than the
        caller's where the model puts a prompt before it.
        """
        if isinstance(texts, str) or not len(texts):
            raise InputError("there are no texts", expected="a list with at least one text", fix="send a list of texts")
        if self.task == "embedding" and (self.pooling.lower or self.pooling.prompt):
            texts = [self._add_prompt(text) for text in texts]
        return self._tokenizer.encode(texts, with_offsets=with_offsets or self.task == "token-classification")

    def join(self, rows: Sequence[TokenRow]) -> Arrays:
        """One batch, padded to its longest row: "input_ids" and "attention_mask", (N, L) int64."""
        lengths = np.array([len(row) for row in rows], np.int64)
        shape = (len(rows), int(lengths.max()))
        mask = np.arange(shape[1]) < lengths[:, None]
        ids = np.full(shape, self.architecture.pad_id, np.int64)
        ids[mask] = np.concatenate([row.ids for row in rows])
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}

    def answers(self, outputs: Arrays, tokens: Sequence[TokenRow]) -> list[TextAnswer]:
        """One answer per text, from an engine's outputs for these rows: a batch, or a part along its first axis."""
        answers: list[TextAnswer]
        if self.task == "embedding":
            answers = [{"embedding": vector} for vector in outputs["embedding"].tolist()]
        elif self.task == "token-classification":
            probabilities = _softmax(outputs["logits"])
            answers = [
                {"entities": extract_entities(row, probabilities[index, : len(row)], self.labels)}
                for index, row in enumerate(tokens)
            ]
        else:
            answers = [self._classify(row) for row in self.probabilities(outputs, tokens).tolist()]
        for row, answer in zip(tokens, answers, strict=True):
            if row.truncated:
                answer["truncated"] = True
        return answers

    def num_tokens(self, rows: Sequence[TokenRow]) -> int:
        """Tokens that are computed, special ones too: what "usage" counts."""
        return sum(len(row) for row in rows)

    def probabilities(self, outputs: Arrays, tokens: Sequence[TokenRow]) -> NDArray[Any]:
        """The probabilities of the labels: (N, C), or (number of all tokens, C) where tokens have labels."""
        logits = outputs["logits"]
        if self.task == "token-classification":
            logits = np.concatenate([logits[index, : len(row)] for index, row in enumerate(tokens)])
        return _sigmoid(logits) if self.architecture.multi_label else _softmax(logits)

    def _classify(self, probabilities: list[float]) -> TextAnswer:
        by_label = dict(zip(self.labels, probabilities, strict=True))
        answer: TextAnswer = {"label": self.labels[int(np.argmax(probabilities))], "probabilities": by_label}
        if self.architecture.multi_label:
            answer["labels"] = [label for label, probability in by_label.items() if probability >= 0.5]
        return answer

    def _add_prompt(self, text: str) -> str:
        if not isinstance(text, str):
            return text  # type: ignore[unreachable]  # which the tokenizer refuses by its number
        text = self.pooling.prompt + text
        return text.lower() if self.pooling.lower else text

    def _read_limit(self, folder: Path) -> int:
        """sentence-transformers' limit, else the tokenizer's own, never more than there are positions."""
        settings = read_object(folder, SETTINGS_FILE, is_optional=True)
        own = settings.field("model_max_length", float, _UNBOUNDED, most=10 * _UNBOUNDED)
        return min(self.pooling.max_tokens or int(own), self.architecture.max_tokens)

    def _check_weights(self, folder: Path) -> list[str]:
        """The files that decide the answers. Errors of Weights.open and TensorNames.find for weights that do not
        fit."""
        weights = Weights.open(folder)
        TensorNames.find(self.architecture, weights)
        pooling_files = self.pooling.files if self.task == "embedding" else ()
        return [CONFIG_FILE, TOKENIZER_FILE, *weights.files, *pooling_files]


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    power = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(power / power.sum(axis=-1, keepdims=True))


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))
