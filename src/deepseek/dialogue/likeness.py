"""How alike two questions are in their words: a cosine of hashed words and pieces of words. No model.

>>> vectors = embed(["how do I reset my PIN", "how do I reset the pin?", "opening hours"])
>>> bool(vectors[0] @ vectors[1] > 0.7 > vectors[0] @ vectors[2])
True
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from deepseek.contracts import Float32

SIZE = 1_024
MAX_CHARS = 500
_TOKEN = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]")
_COMMON = frozenset(
    (
        "a", "an", "the", "my", "your", "i", "is", "are", "do", "does", "can", "to", "of", "for", "it", "in", "on",
        "how", "what", "please", "我", "的", "了", "吗", "呢", "是", "请", "问",
    )
)  # fmt: skip


def embed(questions: Sequence[str]) -> Float32:
    """Vectors of length 1, (N, SIZE); zeros for a question without a word."""
    vectors = np.zeros((len(questions), SIZE), np.float32)
    for row, question in enumerate(questions):
        for piece, weight in Counter(_pieces(question)).items():
            vectors[row, zlib.crc32(piece.encode()) % SIZE] += np.sqrt(weight) * (0.3 if piece in _COMMON else 1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)


def _pieces(question: str) -> Iterator[str]:
    tokens = _TOKEN.findall(question[:MAX_CHARS].lower())
    yield from tokens
    for token, following in pairwise(tokens):
        if not token.isascii() and not following.isascii():
            yield token + following
    for token in tokens:
        if token.isascii() and len(token) > 3 and token not in _COMMON:
            yield token[:4] + "*"


def group(questions: Sequence[str], least: float = 0.5) -> list[list[int]]:
    """Places of questions that are alike, the largest group first; within it in their order. Each question joins the
    group whose mean it is most alike to, from `least` on."""
    vectors, groups = embed(questions), list[list[int]]()
    sums, lengths = np.zeros_like(vectors), np.ones(len(vectors), np.float32)
    for place, vector in enumerate(vectors):
        likeness = sums[: len(groups)] @ vector / lengths[: len(groups)]
        best = int(likeness.argmax()) if groups else -1
        if best >= 0 and likeness[best] >= least:
            groups[best].append(place)
        else:
            best = len(groups)
            groups.append([place])
        sums[best] += vector
        lengths[best] = max(float(np.linalg.norm(sums[best])), 1e-9)
    return sorted(groups, key=lambda places: (-len(places), places[0]))
