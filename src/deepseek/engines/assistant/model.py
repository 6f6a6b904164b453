"""A fitted assistant in memory: questions -> scores of all intents, and what the two judges say. Stored as data.

    model = AssistantModel.from_files(settings, terms, arrays, encoders)
    scored = model.score(["Where is my card?"])
    scored.shares, scored.right, scored.in_scope

`settings` is assistant.json, `terms` weights/terms.json, `arrays` weights/heads.safetensors; encoders lie in folders
beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32, Float64, JsonObject
from deepseek.engines.assistant.heads import CosineHead, KernelHead, TermHead
from deepseek.engines.assistant.judges import ConfidenceModel, judge_signals, softmax
from deepseek.engines.assistant.pair_head import PairHead, TokenEncoder
from deepseek.engines.assistant.pair_judge import MAX_TOKENS
from deepseek.engines.assistant.terms import TermWeights, question_form, split_words

NEVER = 2.0  # a threshold that no probability reaches
LEAST_SCOPE = 0.5  # of what is answered alone: sooner in scope than not


class Encoder(Protocol):
    """Texts to vectors (N, D) of length 1."""

    def embed(self, texts: Sequence[str]) -> Float32: ...


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """An encoder of the bundle, and which heads read it."""

    name: str
    folder: str  # inside the bundle
    gamma: float  # of the kernel head
    is_tuned: bool = False  # it has a cosine head instead


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which probability on what is decided."""

    answer: float  # of a question in scope whose first intent is right: answered alone; NEVER where nothing was proven
    scope: float  # of the question being in scope: below it is handed over


@dataclass(frozen=True)
class Scores:
    """Of N questions."""

    shares: Float64  # (N, C), the pool's: they sum to 1
    right: Float64  # (N,) that the first intent is right
    in_scope: Float64  # (N,) that any intent is


@dataclass(frozen=True)
class HeadScores:
    """What the heads say of N questions, before pool and judges."""

    heads: tuple[Float32, ...]  # H of (N, C)
    known: Float64  # (N,) share of the words that were seen in training


@dataclass(frozen=True)
class AssistantModel:
    """Heads, pool, judges and thresholds."""

    intents: tuple[str, ...]
    answers: Mapping[str, str]
    terms: TermWeights
    term_head: TermHead
    encoders: tuple[EncoderSettings, ...]
    kernel_heads: Mapping[str, KernelHead]  # by encoder, of those that were not tuned
    cosine_heads: Mapping[str, CosineHead]  # by encoder, of those that were tuned
    pool: Float64  # (H,) weights of the heads
    right: ConfidenceModel
    scope: ConfidenceModel
    thresholds: Thresholds
    exact: Mapping[str, str] = field(default_factory=dict)  # digest of a learned question -> its intent
    pairs: PairHead | None = None  # the last head, where held questions say that it helps

    def score_heads(self, texts: Sequence[str], encoders: Mapping[str, Encoder]) -> HeadScores:
        """What each head says: terms; regression and nearest question of each encoder; the mean of all tuned ones; the
        judge of pairs. `encoders` by name."""
        heads: list[Float32] = [self.term_head.scores(self.terms.rows(texts))]
        tuned: list[Float32] = []
        vectors: dict[str, Float32] = {}
        for settings in self.encoders:
            own = vectors[settings.name] = encoders[settings.name].embed(texts)
            if settings.is_tuned:
                tuned.append(self.cosine_heads[settings.name].scores(own))
            else:
                heads += self.kernel_heads[settings.name].scores(own)
        if tuned:
            heads.append(np.mean(tuned, axis=0, dtype=np.float32))
        if self.pairs is not None:
            name = self.pairs.judge.settings.encoder
            known = self.kernel_heads[name]
            states = cast("TokenEncoder", encoders[name]).token_states(texts, MAX_TOKENS)
            heads.append(self.pairs.scores(vectors[name] @ known.bank.T, known.intents, len(self.intents), states))
        return HeadScores(tuple(heads), known_shares(self.terms, texts))

    def score(self, texts: Sequence[str], encoders: Mapping[str, Encoder]) -> Scores:
        """Shares of the intents and both judges' probabilities."""
        said = self.score_heads(texts, encoders)
        pooled = pool_heads(said.heads, self.pool)
        signals = judge_signals(said.heads, pooled, said.known)
        return Scores(softmax(pooled), self.right.probabilities(signals), self.scope.probabilities(signals))

    def settings(self) -> JsonObject:
        """assistant.json."""
        return {
            "format": 1, "intents": list(self.intents), "answers": dict(self.answers),
            "encoders": [asdict(each) for each in self.encoders],
            "thresholds": asdict(self.thresholds), "exact": dict(self.exact),
            "pairs": None if self.pairs is None else self.pairs.judge.settings.to_dict(),
        }  # fmt: skip

    def arrays(self) -> Arrays:
        """weights/heads.safetensors."""
        arrays: dict[str, NDArray[Any]] = {
            "terms.idf": self.terms.idf, "terms.weights": self.term_head.weights.astype(np.float16),
            "terms.bias": self.term_head.bias, "pool": self.pool,
            **self.right.to_arrays("right"), **self.scope.to_arrays("scope"),
        }  # fmt: skip
        for name, head in self.kernel_heads.items():
            arrays[f"kernel.{name}.bank"] = head.bank.astype(np.float16)
            arrays[f"kernel.{name}.dual"] = head.dual
            arrays[f"kernel.{name}.intents"] = head.intents
        for name, cosines in self.cosine_heads.items():
            arrays[f"cosine.{name}"] = cosines.directions
        if self.pairs is not None:
            arrays |= self.pairs.to_arrays()
        return arrays

    @classmethod
    def from_files(cls, settings: JsonObject, terms: Sequence[str], arrays: Arrays) -> AssistantModel:
        """What settings() and arrays() gave. KeyError, TypeError or ValueError for a part that does not fit."""
        encoders = tuple(EncoderSettings(**each) for each in settings["encoders"])
        kernel_heads = {
            each.name: KernelHead(
                arrays[f"kernel.{each.name}.bank"].astype(np.float32), arrays[f"kernel.{each.name}.dual"],
                arrays[f"kernel.{each.name}.intents"], each.gamma,
            )
            for each in encoders if not each.is_tuned
        }  # fmt: skip
        return cls(
            tuple(settings["intents"]), dict(settings["answers"]), TermWeights(tuple(terms), arrays["terms.idf"]),
            TermHead(arrays["terms.weights"].astype(np.float32), arrays["terms.bias"]), encoders, kernel_heads,
            {each.name: CosineHead(arrays[f"cosine.{each.name}"]) for each in encoders if each.is_tuned},
            arrays["pool"], ConfidenceModel.from_arrays(arrays, "right"), ConfidenceModel.from_arrays(arrays, "scope"),
            Thresholds(**settings["thresholds"]), dict(settings["exact"]),
            None if settings.get("pairs") is None else PairHead.from_arrays(settings["pairs"], arrays),
        )  # fmt: skip


def pool_heads(heads: Sequence[Float32], weights: Float64) -> Float64:
    """The weighted sum of the heads' scores, (N, C)."""
    return np.asarray(sum(weight * head.astype(np.float64) for weight, head in zip(weights, heads, strict=True)))


def known_shares(terms: TermWeights, texts: Sequence[str]) -> Float64:
    """Share of the words of each text that were seen in training, (N,); 0 for a text without words."""
    shares = [
        float(np.mean([word in terms for word in words])) if (words := split_words(text)) else 0.0 for text in texts
    ]
    return np.array(shares, np.float64)


def question_digest(text: str) -> str:
    """By which a question is known again word for word, without keeping it."""
    return hashlib.sha256(question_form(text).encode()).hexdigest()[:32]
