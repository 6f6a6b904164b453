"""Messages one by one, each an event or a verdict: what comes by a stream.

rows = StreamScorer(scorer, reasons).answer([b'{"id": 17, ...}', b'{"id": 3, "label": 1}'])
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepseek.errors import InputError
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.scoring.reading import RawRows
from deepseek.serve.scoring.reasons import AlertExplainer
from deepseek.serve.scoring.scorer import STATUS_NAMES, EventScorer
from deepseek.serve.scoring.writing import add_reasons, answer_rows, verdict_rows

JSON = b"application/json"


class StreamScorer:
    """Answers one message by one: an event, a verdict (an object with the columns of ids and of labels), or what is
    neither, which is said, counted and passed over."""

    def __init__(self, scorer: EventScorer, reasons: AlertExplainer | None = None) -> None:
        self.scorer = scorer
        self._reasons = reasons
        self.counts: dict[str, int] = {}

    def answer(self, bodies: Sequence[bytes]) -> list[bytes]:
        """One answer for each body, in order; the state has changed, and is not yet synced."""
        try:
            return self._score(self.scorer.reader.read_records(bodies))
        except InputError:  # nothing has changed
            pass
        kinds = [self._classify(body) for body in bodies]
        answers = [b""] * len(bodies)
        bad = [place for place, kind in enumerate(kinds) if kind == "bad"]
        for place, answer in zip(bad, self._refuse([bodies[place] for place in bad]), strict=True):
            answers[place] = answer
        good = [place for place, kind in enumerate(kinds) if kind != "bad"]  # those between must not part them
        for kind, run in itertools.groupby(good, kinds.__getitem__):
            places = list(run)
            answer_run = self._answer_events if kind == "event" else self._answer_verdicts
            for place, answer in zip(places, answer_run([bodies[place] for place in places]), strict=True):
                answers[place] = answer
        return answers

    def sync(self) -> None:
        """Returns once all that was answered is on the disk."""
        self.scorer.sync()

    def _classify(self, body: bytes) -> str:
        for kind, reader in (("event", self.scorer.reader), ("verdict", self.scorer.verdict_reader)):
            try:
                reader.read_records([body])
            except InputError:
                continue
            return kind
        return "bad"

    def _answer_events(self, bodies: Sequence[bytes]) -> list[bytes]:
        try:
            return self._score(self.scorer.reader.read_records(bodies))
        except InputError as error:
            return self._each(bodies, error, self._answer_events)

    def _answer_verdicts(self, bodies: Sequence[bytes]) -> list[bytes]:
        try:
            raw = self.scorer.verdict_reader.read_records(bodies)
            status = self.scorer.label(raw)
        except InputError as error:
            return self._each(bodies, error, self._answer_verdicts)
        self._count(status, "label_")
        return verdict_rows(raw.columns[0], status.tolist())

    def _each(
        self, bodies: Sequence[bytes], error: InputError, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> list[bytes]:
        """The answers of bodies of which one is at fault, half by half; of a single one its error."""
        if len(bodies) > 1:
            middle = len(bodies) // 2
            return answer(bodies[:middle]) + answer(bodies[middle:])
        self.counts["bad_input"] = self.counts.get("bad_input", 0) + 1
        return [encode_json({"status": "bad_input", "error": {"code": error.code, "message": str(error)}})]

    def _refuse(self, bodies: Sequence[bytes]) -> list[bytes]:
        rows: list[bytes] = []
        for body in bodies:
            try:
                self.scorer.reader.read(body, JSON, 1)
                error = InputError(
                    "a message holds more than an event", expected="one object", fix="send one a message"
                )
            except InputError as reason:
                error = reason
            rows += self._each([body], error, self._refuse)
        return rows

    def _score(self, raw: RawRows) -> list[bytes]:
        scored = self.scorer.score(raw)
        self._count(scored.status, "")
        rows = answer_rows(scored)
        alerts = np.flatnonzero(scored.is_alert).tolist()
        if self._reasons is not None and alerts:
            texts = self._reasons.explain(scored.alert_inputs, scored.alert_values)
            for place, text in zip(alerts, texts, strict=True):
                rows[place] = add_reasons(rows[place], text)
        return rows

    def _count(self, status: np.ndarray[Any, np.dtype[np.int8]], prefix: str) -> None:
        for one, number in zip(*(part.tolist() for part in np.unique(status, return_counts=True)), strict=True):
            name = prefix + STATUS_NAMES[one]
            self.counts[name] = self.counts.get(name, 0) + number
