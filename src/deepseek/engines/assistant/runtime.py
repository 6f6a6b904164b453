"""Opens the bundle of an assistant, and asks it.

    assistant = load_assistant(Path("help"))
    understanding, = assistant.understand(["Where is my card?"])
    understanding.decision, understanding.intents, understanding.in_scope, understanding.parts

Decisions: `answer` where the first intent is right with the probability that was proven when the bundle was made;
`hand_over` where the question is not one that the assistant knows; `ask`, with at most three intents to choose from,
in between. A question that was learned word for word is answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.bundle import Bundle, open_bundle
from deepseek.contracts import JsonObject
from deepseek.dialogue.understanding import Decision, ScoredIntent, Understanding
from deepseek.engines.assistant.model import LEAST_SCOPE, AssistantModel, Encoder, Scores, question_digest
from deepseek.engines.assistant.parts import cut_message
from deepseek.engines.assistant.terms import split_words
from deepseek.errors import InputError, IntegrityError

TASK: Literal["intents"] = "intents"
SETTINGS_FILE, TERMS_FILE, HEADS_FILE = "assistant.json", "weights/terms.json", "weights/heads.safetensors"
MAX_CHARACTERS = 2_000  # of a question that are read; a longer one is never answered alone
QUESTION_ROLE: Literal["query"] = "query"  # an encoder's own prompt of questions stands in front, where it has one
MOST_INTENTS = 3
EXACT_PROBABILITY = 0.999  # of a question that was learned word for word


class Assistant:
    """An open assistant: meets deepseek.dialogue.understanding.Understands. Safe to share between threads."""

    def __init__(self, model: AssistantModel, encoders: Mapping[str, Encoder], bundle: Bundle | None = None) -> None:
        self.model, self.bundle = model, bundle
        self._encoders = encoders

    @property
    def intents(self) -> tuple[str, ...]:
        return self.model.intents

    @property
    def answers(self) -> Mapping[str, str]:
        return self.model.answers

    def understand(self, questions: Sequence[str]) -> list[Understanding]:
        """One understanding for each question, in order.

        A question without a word (empty, pictures alone) has no intents and is handed over; one of more than
        MAX_CHARACTERS is read up to there and never answered alone. InputError for what is no text.
        """
        _check_texts(questions)
        whole = self._understand_whole(questions)
        pieces = {place: cut for place, text in enumerate(questions) if len(cut := cut_message(_readable(text))) > 1}
        if not pieces:
            return whole
        flat = [piece for cut in pieces.values() for piece in cut]
        understood = iter(self._understand_whole(flat))
        for place, cut in pieces.items():
            parts = self._confirm(cut, [next(understood) for _ in cut])
            if len(parts) > 1:
                whole[place] = _with_parts(whole[place], parts)
        return whole

    def _confirm(self, cut: tuple[str, ...], understood: Sequence[Understanding]) -> tuple[str, ...]:
        """The pieces, where each is a question in scope and not all ask the same; else nothing."""
        names = {each.intents[0].name for each in understood if each.intents and each.decision != "hand_over"}
        is_known = all(each.intents and each.decision != "hand_over" for each in understood)
        is_sure = sum(each.decision == "answer" for each in understood) >= 2
        return cut if is_known and is_sure and len(names) > 1 else ()

    def _understand_whole(self, questions: Sequence[str]) -> list[Understanding]:
        texts = [_readable(text) for text in questions]
        worded = [place for place, text in enumerate(texts) if split_words(text)]
        scores = self.model.score([texts[place] for place in worded], self._encoders) if worded else None
        results = [Understanding(text, (), 0.0, "hand_over", (text,)) for text in questions]
        for row, place in enumerate(worded):
            assert scores is not None  # noqa: S101
            results[place] = self._understand_row(questions[place], scores, row)
        return results

    def _understand_row(self, question: str, scores: Scores, row: int) -> Understanding:
        intents, in_scope = self._rank(scores, row), float(scores.in_scope[row])
        known = self.model.exact.get(question_digest(question))
        if known is not None and len(question) <= MAX_CHARACTERS:
            others = tuple(each for each in intents if each.name != known)
            scale = (1 - EXACT_PROBABILITY) / max(sum(each.probability for each in others), 1e-12)
            rest = tuple(ScoredIntent(each.name, min(1.0, each.probability * scale)) for each in others)
            intents, in_scope = (ScoredIntent(known, EXACT_PROBABILITY), *rest)[:MOST_INTENTS], EXACT_PROBABILITY
            return Understanding(question, intents, in_scope, "answer", (question,))
        decision = self._decide(intents[0].probability, in_scope)
        if len(question) > MAX_CHARACTERS and decision == "answer":
            decision = "ask"
        return Understanding(question, intents, in_scope, decision, (question,))

    def _decide(self, right: float, in_scope: float) -> Decision:
        if in_scope < self.model.thresholds.scope:
            return "hand_over"
        is_sure = in_scope >= LEAST_SCOPE and right * in_scope >= self.model.thresholds.answer
        return "answer" if is_sure else "ask"

    def _rank(self, scores: Scores, row: int) -> tuple[ScoredIntent, ...]:
        """The likeliest intents: the first with the judge's probability, the others share what is left of it as the
        pool has it."""
        shares, right = scores.shares[row], float(scores.right[row])
        order = np.argsort(-shares, kind="stable")[:MOST_INTENTS].tolist()
        left = (1 - right) / max(1 - float(shares[order[0]]), 1e-12)
        rest = [min(right, float(shares[place]) * left) for place in order[1:]]
        return tuple(
            ScoredIntent(self.model.intents[place], probability)
            for place, probability in zip(order, [right, *rest], strict=True)
        )


def load_assistant(path: Path | str, *, key: Path | None = None, num_threads: int = 1) -> Assistant:
    """Open a bundle. InputError for one that is no assistant, IntegrityError for files that do not fit, ExtraError
    where it has encoders and openvino is not there."""
    from safetensors.numpy import load_file

    bundle = open_bundle(path, key=key)
    if bundle.manifest.task != TASK:
        raise InputError(
            f"{path} has the task {bundle.manifest.task}", expected="a bundle of deepseek recipe assistant",
            fix="make one: deepseek recipe assistant FAQ.csv --out help",
        )  # fmt: skip
    try:
        settings: JsonObject = json.loads((bundle.path / SETTINGS_FILE).read_text("utf-8"))
        terms: list[str] = json.loads((bundle.path / TERMS_FILE).read_text("utf-8"))
        model = AssistantModel.from_files(settings, terms, load_file(bundle.path / HEADS_FILE))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise IntegrityError(
            f"{path} cannot be opened: {error}", expected="the files as their maker wrote them",
            fix="take an unharmed copy, or make it again",
        ) from error  # fmt: skip
    return Assistant(model, open_encoders(bundle.path, model, num_threads=num_threads), bundle)


def open_encoders(folder: Path, model: AssistantModel, *, num_threads: int = 1) -> dict[str, Encoder]:
    """The encoders of a bundle, by name."""
    if not model.encoders:
        return {}
    from deepseek.engines.text.serve.embedding import FolderEncoder

    depth_of = {model.pairs.judge.settings.encoder: model.pairs.judge.depth} if model.pairs is not None else {}
    return {
        each.name: FolderEncoder(
            folder / each.folder, num_threads=num_threads, role="plain" if each.is_tuned else QUESTION_ROLE,
            states_depth=depth_of.get(each.name, 0),
        )
        for each in model.encoders
    }  # fmt: skip


def _readable(text: str) -> str:
    return text[:MAX_CHARACTERS]


def _with_parts(whole: Understanding, parts: tuple[str, ...]) -> Understanding:
    return Understanding(whole.question, whole.intents, whole.in_scope, whole.decision, parts)


def _check_texts(questions: Sequence[str]) -> None:
    if isinstance(questions, str):
        raise InputError("the questions are one text", expected="a list of texts", fix="put it into a list")
    for place, text in enumerate(questions):
        if not isinstance(text, str):
            raise InputError(f"question {place} is {type(text).__name__}", expected="a text", fix="send texts alone")
