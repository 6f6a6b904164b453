"""Whether words without a signal word lay down a duty: a logistic regression on hashed n-grams, 8-bit weights.

Chinese: 由认证机构颁发证书 is a duty, 由当事人约定 is none. English: "we will notify you" is one, "this will help"
is none.
It was taught by sentences whose signal words decide, with these words taken out (benchmarks/checklist_model.py).
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from deepseek.citations.provisions.provision import Provision

NUM_BUCKETS = 4096
_STOPS = re.compile(r"[，。；：:,.;\s]")


@dataclass(frozen=True, slots=True)
class LanguageWeights:
    """Weights of one language: score = sigmoid(bias + scale * sum of the buckets' weights / square root of their
    number)."""

    weights: bytes  # int8, NUM_BUCKETS
    scale: float
    bias: float
    threshold: float


@dataclass(frozen=True, slots=True)
class DutyModel:
    """Weights by language: zh, en."""

    languages: Mapping[str, LanguageWeights]

    @classmethod
    @lru_cache(maxsize=1)
    def of_package(cls) -> DutyModel:
        """The model of the package."""
        table = json.loads(files("deepseek.citations.provisions").joinpath("duty_model.json").read_text("utf-8"))
        return cls({
            name: LanguageWeights(base64.b64decode(each["weights"]), each["scale"], each["bias"], each["threshold"])
            for name, each in table["languages"].items()
        })  # fmt: skip

    def threshold(self, language: str) -> float:
        """The least score of a duty."""
        return self.languages[language].threshold

    def score(self, text: str, candidate: Provision, language: str) -> float:
        """How surely a candidate is a duty, 0..1."""
        features = set(duty_features(text, candidate, language))
        weights = self.languages[language]
        total = sum(_to_signed(weights.weights[bucket_of(feature)]) for feature in features)
        margin = weights.bias + weights.scale * total / math.sqrt(max(1, len(features)))
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, margin))))


def bucket_of(feature: str) -> int:
    """The bucket of a feature."""
    return zlib.crc32(feature.encode()) % NUM_BUCKETS


def _to_signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def duty_features(text: str, candidate: Provision, language: str) -> Iterator[str]:
    """The features of a candidate: n-grams of the words behind the place of its signal word and of its subject."""
    behind = text[candidate.cue.end : candidate.clause.end]
    subject = candidate.subject.of(text) if candidate.subject else ""
    yield f"condition {bool(candidate.condition)}"
    yield f"subject {bool(subject)}"
    if language == "zh":
        piece = _STOPS.split(behind, maxsplit=1)[0]
        for size in (1, 2, 3):
            yield from (f"behind {piece[start : start + size]}" for start in range(min(len(piece), 16) - size + 1))
        yield from (f"first {piece[:size]}" for size in (1, 2))
        yield from (f"last {piece[-size:]}" for size in (1, 2) if piece)
        yield from (f"person {subject[-size:]}" for size in (1, 2, 3) if subject)
        return
    words = re.findall(r"[a-z']+", behind.casefold())[:6]
    heads = re.findall(r"[a-z']+", subject.casefold())
    yield from (f"behind {word}" for word in words)
    yield from (f"pair {first} {second}" for first, second in pairwise(words))
    yield f"first {' '.join(words[:1])}"
    yield f"first {' '.join(words[:2])}"
    yield from (f"person {word}" for word in heads[-2:])
    yield f"whole {' '.join(heads[-3:])}"
