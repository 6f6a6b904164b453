"""What each token and sentence has added to a text model's answer, with their places in the text.

    explainer = TextExplainer.open("./my-classifier")
    found = explainer.explain(["Good, but late."])         # base_value + values.sum(1) = output; one value a text
    found.parts[0][0]["tokens"]                            # [{"text": "Good", "start": 0, "end": 4, "value", "error"}]

Owen values over sentences, clauses, words and tokens (partition.py). A token is taken away by the mask that the model
was trained with, else by leaving it out of the attention; the tokens that the tokenizer sets itself always stay. Of a
class the log-odds are explained, of an embedding its cosine with that of the whole text.

Shapes: N texts; of one text L tokens in the model, M of them players.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Float64
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.tokens import TokenRow
from deepseek.errors import InputError
from deepseek.explain.hierarchy import Hierarchy, borders_of, sentences_of
from deepseek.explain.partition import Budget, OwenValues, owen

COLUMN = "text"  # of a text model
COSINE = "cosine similarity"
METHOD = "Owen values over sentences, clauses, words and tokens"
CHUNK_TOKENS = 1 << 13  # that go through the model at once
Run = Callable[[Arrays], Arrays]


class TextExplainer:
    """Meets contracts.Explainer, with texts for features. Safe to call from several threads."""

    def __init__(self, model: TextModel, run: Run, budget: Budget | None = None) -> None:
        """`run` as TextEngine.run; `budget` is for each text. InputError for a model that labels single tokens."""
        if model.task == "token-classification":
            raise InputError(
                f"{model.name} labels single tokens, and what is explained is one answer to a text",
                expected="a model of classes, or of embeddings", fix="ask this one for predictions alone",
            )  # fmt: skip
        self._model, self._run, self._budget = model, run, budget or Budget()

    @classmethod
    def open(cls, path: str | Path, budget: Budget | None = None) -> TextExplainer:
        """Of a folder that engines.text opens; it raises what that does."""
        return cls(TextModel.open(path), TextEngine.open(path).run, budget)

    def unpack(self, arrays: Arrays) -> NDArray[np.object_]:
        """The texts that pack_texts() has packed."""
        ends = np.cumsum(arrays["sizes"]).tolist()
        data = arrays["bytes"].tobytes()
        texts = [data[end - size : end].decode() for size, end in zip(arrays["sizes"].tolist(), ends, strict=True)]
        return np.array(texts, object)

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
        place = model.labels.index(target) if target is not None else None
        began_s = time.perf_counter()
        base, output, parts = np.zeros(len(rows)), np.zeros(len(rows)), []
        for number, (row, text) in enumerate(zip(rows, features, strict=True)):
            if self._budget.time_limit_s is not None:  # what a text leaves is for those behind it
                left_s = self._budget.time_limit_s * (number + 1) - (time.perf_counter() - began_s)
                budget = replace(budget, time_limit_s=left_s)
            found, told = self._of_one(row, text, place, budget)
            base[number], output[number] = found
            parts.append((told,))
        return Attribution(
            names=(COLUMN,), values=(output - base)[:, None], base_value=base, output=output,
            scale="log-odds" if model.labels else COSINE, method=f"{METHOD}; {self._hidden}", target=target,
            why="a text model is asked as a black box, so its answers are those that it is served with",
            is_partial=any(told["is_partial"] for (told,) in parts), parts=tuple(parts),
        )  # fmt: skip

    @property
    def _hidden(self) -> str:
        how = "become the tokenizer's mask" if self._model.mask_id is not None else "are left out of the attention"
        return f"absent tokens {how}"

    def _of_one(
        self, row: TokenRow, given: str, place: int | None, budget: Budget
    ) -> tuple[tuple[float, float], dict[str, Any]]:
        """((base, output), what the parts add)."""
        text, shift = self._shown(row, given)
        players = [at for at, (start, end) in enumerate(row.offsets) if end > max(start, -shift)]
        if row.words:
            players = [at for at in players if row.words[at] is not None]
        value = self._value(row, np.array(players, np.int64), place)
        spans = [(max(0, row.offsets[at][0] + shift), row.offsets[at][1] + shift) for at in players]
        if not players:
            output = float(value(np.ones((1, 0), bool))[0])
            found, borders = None, np.zeros(0, np.int64)
            ends = output, output
        else:
            borders = borders_of(text, spans, [row.words[at] for at in players])
            found = owen(value, Hierarchy((len(players),), borders), budget=budget)
            ends = found.base, found.output
        return ends, told_text(COLUMN, text, spans, borders, found, is_cut=row.truncated)

    def _shown(self, row: TokenRow, given: str) -> tuple[str, int]:
        """The text that places are told in, and how far offsets move: a prompt before it is not the reader's."""
        prompt = self._model.pooling.prompt if self._model.task == "embedding" else ""
        if len(row.text) == len(prompt) + len(given):
            return given, -len(prompt)
        return row.text[len(prompt) :], -len(prompt)  # lower case has made other letters of it

    def _value(self, row: TokenRow, players: NDArray[np.int64], place: int | None) -> Callable[[Any], Float64]:
        """v of masks (S, M)."""
        mask_id = self._model.mask_id
        whole = self._run(self._model.join([row]))["embedding"][0].astype(np.float64) if place is None else None

        def value(masks: NDArray[np.bool_]) -> Float64:
            found = []
            size = max(1, CHUNK_TOKENS // len(row))
            for start in range(0, len(masks), size):
                keep = np.ones((len(masks[start : start + size]), len(row)), bool)
                keep[:, players] = masks[start : start + size]
                ids = np.broadcast_to(row.ids, keep.shape)
                if mask_id is not None:
                    ids, keep = np.where(keep, ids, mask_id), np.ones_like(keep)
                outputs = self._run({"input_ids": np.ascontiguousarray(ids), "attention_mask": keep.astype(np.int64)})
                found.append(
                    _cosines(outputs["embedding"], whole) if whole is not None
                    else self._log_odds(outputs["logits"], cast("int", place))
                )  # fmt: skip
            return np.concatenate(found)

        return value

    def _log_odds(self, logits: NDArray[Any], place: int) -> Float64:
        """(S, C) -> (S,): of the class against the others together, or of a label that holds or not."""
        wide = logits.astype(np.float64)
        if self._model.architecture.multi_label or wide.shape[1] == 1:
            return wide[:, place]
        return log_odds(wide, place)


def log_odds(margins: Float64, place: int) -> Float64:
    """(S, C) -> (S,): the margin of one class against the others together."""
    others = np.delete(margins, place, axis=1)
    highest = others.max(1)
    found: Float64 = margins[:, place] - highest - np.log(np.exp(others - highest[:, None]).sum(1))
    return found


def told_text(
    column: str,
    text: str,
    spans: Sequence[tuple[int, int]],
    borders: NDArray[np.int64],
    found: OwenValues | None,
    *,
    is_cut: bool,
) -> dict[str, Any]:
    """The parts of a text as JSON: {"column", "kind": "text", "tokens", "sentences", ...}. `found` None: no token."""
    told: dict[str, Any] = {"column": column, "kind": "text", "tokens": [], "sentences": [], "is_cut": is_cut}
    notes = []
    if is_cut:
        told["end_read"] = max((end for _, end in spans), default=0)
        notes.append(
            f"the text is longer than the model reads: what stands behind letter {told['end_read']} was cut and has "
            "no part in the answer"
        )
    if found is None:
        notes.append("there is no token to explain: the answer is that to an empty text")
        return told | {"num_evaluations": 1, "is_partial": False, "notes": notes}
    for (start, end), value, error in zip(spans, found.values.tolist(), found.error.tolist(), strict=True):
        told["tokens"].append(
            {"text": text[start:end], "start": start, "end": end, "value": value, "error": error}
        )  # fmt: skip
    for first, last in sentences_of(borders):
        start, end = spans[first][0], spans[last - 1][1]
        told["sentences"].append(
            {"text": text[start:end], "start": start, "end": end, "value": float(found.values[first:last].sum()),
             "error": error_of(found, first, last)}
        )  # fmt: skip
    return told | {"num_evaluations": found.num_evaluations, "is_partial": found.is_partial,
                   "notes": notes + notes_of(found)}  # fmt: skip


def notes_of(found: OwenValues) -> list[str]:
    """What a reader of the parts of an input must know."""
    notes = []
    if found.is_partial:
        notes.append(
            f"partial: a limit came before the error that was asked for, after {found.num_evaluations} answers"
        )
    if not found.values.any() and found.output == found.base:
        notes.append("the answer is the same with and without it: every contribution is 0")
    return notes


def error_of(found: OwenValues, first: int, last: int) -> float:
    """Standard error of what some neighbouring players add together: sharing a region evenly costs nothing where all of
    it is among them."""
    square = 0.0
    for region in found.regions:
        ((start, stop),) = region.box
        share = max(0, min(stop, last) - max(start, first)) / (stop - start)
        square += (share * region.error) ** 2 + share * (1 - share) * region.spread
    return float(square**0.5)


def pack_texts(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Texts as arrays, for a process that explains."""
    data = [text.encode() for text in texts]
    return {
        "sizes": np.array([len(each) for each in data], np.int64),
        "bytes": np.frombuffer(b"".join(data), np.uint8),
    }


def _cosines(found: NDArray[Any], whole: Float64) -> Float64:
    """(S, D) with (D,) -> (S,)."""
    wide = found.astype(np.float64)
    sizes = np.linalg.norm(wide, axis=1) * np.linalg.norm(whole)
    cosines: Float64 = wide @ whole / np.maximum(sizes, 1e-12)
    return cosines


def explained_texts(explainer: TextExplainer, texts: Sequence[str], labels: Sequence[str | None]) -> list[Attribution]:
    """One attribution for each text, of its own class."""
    return [explainer.explain([text], target=label) for text, label in zip(texts, labels, strict=True)]


def largest(parts: Sequence[Mapping[str, Any]], most: int) -> list[tuple[str, float]]:
    """(what, value) of the parts that add or take most, for sentences about them.

    >>> largest([{"tokens": [{"text": "not", "value": -2.0}, {"text": "good", "value": 1.0}]}], 1)
    [('"not"', -2.0)]
    """
    found = [(f'"{token["text"]}"', token["value"]) for part in parts for token in part.get("tokens", ())]
    return sorted((each for each in found if each[1]), key=lambda each: -abs(each[1]))[:most]
