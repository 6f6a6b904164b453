"""What each token and sentence has added to a text model's answer, with their places in the text.

    explainer = TextExplainer.open("./my-classifier")
    attribution = explainer.explain(["Good, but late."])         # base_value + values.sum(1) = output; one value a text
    attribution.parts[0][0]["tokens"]                            # [{"text": "Good", "start": 0, "end": 4, "value", ...

Owen values over sentences, clauses, words and tokens (partition.py). A token is taken away by the mask that the model
was trained with, else by leaving it out of the attention; the tokens that the tokenizer sets itself always stay. Of a
class the log-odds are explained, of an embedding its cosine with that of the whole text.

Shapes: N texts; of one text L tokens in the model, M of them players.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Float64
from deepseek.engines.process.attributions import unpack_texts
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.source.tokens import TokenRow
from deepseek.errors import InputError
from deepseek.explain.media.modalities import log_odds
from deepseek.explain.media.records import TextParts
from deepseek.explain.media.serialize import serialize_text
from deepseek.explain.shapley.hierarchy import Hierarchy, token_borders
from deepseek.explain.shapley.partition import Budget, OwenValues, owen_values

TEXT_COLUMN = "text"  # of a text model
COSINE_SCALE = "cosine similarity"
METHOD_NAME = "Owen values over sentences, clauses, words and tokens"
TOKENS_PER_CHUNK = 1 << 13  # that go through the model at once
RunFunction = Callable[[Arrays], Arrays]
Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MaskedText:
    """One text whose tokens can be taken away. Masks are (S, M)."""

    text: str  # that places are told in
    spans: list[tuple[int, int]]  # (M,)
    borders: NDArray[np.int64]  # (M - 1,)
    is_cut: bool
    num_tokens: int  # L
    value: Callable[[Masks], Float64]  # what is explained, (S,)
    logits: Callable[[Masks], Float64]  # (S, C); of an embedding (S, D)

    def owen(self, budget: Budget) -> OwenValues | None:
        """What each token adds; None where there is none."""
        if not self.spans:
            return None
        return owen_values(self.value, Hierarchy((len(self.spans),), self.borders), budget=budget)


class TextExplainer:
    """Meets contracts.Explainer, with texts for features. Safe to call from several threads."""

    def __init__(self, model: TextModel, run: RunFunction, budget: Budget | None = None) -> None:
        """`run` as TextEngine.run; `budget` is for each text. InputError for a model that labels single tokens."""
        if model.task == "token-classification":
            raise InputError(
                f"{model.name} labels single tokens, and what is explained is one answer to a text",
                expected="a model of classes, or of embeddings", fix="ask this one for predictions alone",
            )  # fmt: skip
        self._model, self._run, self._budget = model, run, budget or Budget()

    @classmethod
    def open(cls, path: str | Path, budget: Budget | None = None) -> TextExplainer:
        """The explainer of a folder that engines.text opens; it raises what that does."""
        return cls(TextModel.open(path), TextEngine.open(path).run, budget)

    def unpack(self, arrays: Arrays) -> NDArray[np.object_]:
        """The texts of rows that came packed."""
        return unpack_texts(arrays)

    def explain(self, features: Sequence[str], *, target: str | None = None) -> Attribution:
        """Attributions of N texts. `target` is a class: by default the second of two, and the class predicted for the
        first text among many. InputError for a class that the model does not know, and for what is no text."""
        model, budget = self._model, self._budget
        rows = cast("Sequence[TokenRow]", model.prepare(list(features), with_offsets=True))
        if target is not None and target not in model.labels:
            raise InputError(
                f"there is no class {target!r}", expected=", ".join(model.labels) or "no class: the model embeds texts",
                fix="leave target out, or name one of these",
            )  # fmt: skip
        if model.labels and target is None:
            logits = self._run(model.join(rows[:1]))["logits"]
            target = model.labels[1] if len(model.labels) == 2 else model.labels[int(logits[0].argmax())]
        began_s = time.perf_counter()
        base, output, parts = np.zeros(len(rows)), np.zeros(len(rows)), []
        for number, (row, text) in enumerate(zip(rows, features, strict=True)):
            if self._budget.time_limit_s is not None:  # what a text leaves is for those behind it
                left_s = self._budget.time_limit_s * (number + 1) - (time.perf_counter() - began_s)
                budget = replace(budget, time_limit_s=left_s)
            (base[number], output[number]), part = self._explain_text(self._mask_row(row, text, target), budget)
            parts.append(part)
        return Attribution(
            names=(TEXT_COLUMN,), values=(output - base)[:, None], base_value=base, output=output,
            scale="log-odds" if model.labels else COSINE_SCALE, method=f"{METHOD_NAME}; {self._removal_text}",
            target=target,
            why="a text model is asked as a black box, so its answers are those that it is served with",
            is_partial=any(part.is_partial for part in parts),
            parts=tuple((part.document(),) for part in parts),
        )  # fmt: skip

    @property
    def _removal_text(self) -> str:
        how = "become the tokenizer's mask" if self._model.mask_id is not None else "are left out of the attention"
        return f"absent tokens {how}"

    @property
    def taken_away(self) -> str:
        """How a token is taken away: "mask" or "attention"."""
        return "mask" if self._model.mask_id is not None else "attention"

    def with_run(self, run: RunFunction) -> TextExplainer:
        """The explainer of the same model on another engine."""
        return TextExplainer(self._model, run, self._budget)

    def code(self, logits: Float64, target: str) -> NDArray[np.int64]:
        """Codes (S,) of the predictions of logits (S, C): the class's place, or of single labels whether `target`
        holds."""
        if self._model.architecture.multi_label or logits.shape[1] == 1:
            return np.asarray(logits[:, self._model.labels.index(target)] >= 0, np.int64)
        return np.asarray(logits.argmax(1), np.int64)

    def sign(self, code: int, target: str) -> int:
        """Whether what adds to `target` speaks for that answer (1), or against it (-1); 0 where it is neither."""
        labels, place = self._model.labels, self._model.labels.index(target)
        if self._model.architecture.multi_label or len(labels) == 1:
            return 1 if code else -1
        return 1 if code == place else -1 if len(labels) == 2 else 0

    def answer_text(self, code: int, target: str) -> str:
        """The prediction of a code in words."""
        if self._model.architecture.multi_label or len(self._model.labels) == 1:
            return target if code else f"not {target}"
        return self._model.labels[code]

    def mask_text(self, text: str, target: str | None) -> MaskedText:
        """One text, as explain() takes its tokens away for a class that the model knows, None for an embedding."""
        (row,) = cast("Sequence[TokenRow]", self._model.prepare([text], with_offsets=True))
        return self._mask_row(row, text, target)

    def _mask_row(self, row: TokenRow, text: str, target: str | None) -> MaskedText:
        shown, shift = self._displayed_text(row, text)
        players = [at for at, (start, end) in enumerate(row.offsets) if end > max(start, -shift)]
        if any(word is not None for word in row.words):  # there are tokenizers that know no words
            players = [at for at in players if row.words[at] is not None]
        spans = [(max(0, row.offsets[at][0] + shift), row.offsets[at][1] + shift) for at in players]
        words = [row.words[at] for at in players]
        borders = token_borders(shown, spans, () if None in words else words) if players else np.zeros(0, np.int64)
        outputs = self._outputs(row, np.array(players, np.int64))
        return MaskedText(shown, spans, borders, row.truncated, len(row), self._value(row, outputs, target), outputs)

    def _explain_text(self, masked: MaskedText, budget: Budget) -> tuple[tuple[float, float], TextParts]:
        """The parts of one text, as ((base, output), record)."""
        owen = masked.owen(budget)
        if owen is None:
            output = float(masked.value(np.ones((1, 0), bool))[0])
            ends = output, output
        else:
            ends = owen.base, owen.output
        return ends, serialize_text(TEXT_COLUMN, masked.text, masked.spans, masked.borders, owen, is_cut=masked.is_cut)

    def _displayed_text(self, row: TokenRow, text: str) -> tuple[str, int]:
        """The text that places are told in, and how far offsets move: a prompt before it is not the reader's."""
        prompt = self._model.pooling.prompt if self._model.task == "embedding" else ""
        if len(row.text) == len(prompt) + len(text):
            return text, -len(prompt)
        return row.text[len(prompt) :], -len(prompt)  # lower case has made other letters of it

    def _outputs(self, row: TokenRow, players: NDArray[np.int64]) -> Callable[[Masks], Float64]:
        """The function from masks (S, M) to the logits or embeddings of the masked text."""
        mask_id, name = self._model.mask_id, "logits" if self._model.labels else "embedding"

        def outputs(masks: Masks) -> Float64:
            answers = []
            size = max(1, TOKENS_PER_CHUNK // len(row))
            for start in range(0, len(masks), size):
                keep = np.ones((len(masks[start : start + size]), len(row)), bool)
                keep[:, players] = masks[start : start + size]
                ids = np.broadcast_to(row.ids, keep.shape)
                if mask_id is not None:
                    ids, keep = np.where(keep, ids, mask_id), np.ones_like(keep)
                arrays = {"input_ids": np.ascontiguousarray(ids), "attention_mask": keep.astype(np.int64)}
                answers.append(self._run(arrays)[name].astype(np.float64))
            return np.concatenate(answers)

        return outputs

    def _value(
        self, row: TokenRow, outputs: Callable[[Masks], Float64], target: str | None
    ) -> Callable[[Masks], Float64]:
        """The value function of one text: log-odds of `target`, or the cosine with the whole text's embedding."""
        if target is None:
            whole = self._run(self._model.join([row]))["embedding"][0].astype(np.float64)
            return lambda masks: _cosine_similarity(outputs(masks), whole)
        place = self._model.labels.index(target)
        return lambda masks: self._log_odds(outputs(masks), place)

    def _log_odds(self, logits: Float64, place: int) -> Float64:
        """Log-odds (S,) of class `place` in logits (S, C): against the others together, or of a label that holds or
        not."""
        if self._model.architecture.multi_label or logits.shape[1] == 1:
            return logits[:, place]
        return log_odds(logits, place)


def _cosine_similarity(embeddings: Float64, whole: Float64) -> Float64:
    """Cosine similarities (S,) of embeddings (S, D) with one (D,)."""
    sizes = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(whole)
    cosines: Float64 = embeddings @ whole / np.maximum(sizes, 1e-12)
    return cosines
