"""POST /v1/models/M:score and :label, for models with a state.

    app = create_app({"cards": runtime}, more_routes=[ScoringRoutes("cards", queue)])

Alerts alone are explained, after the state was written: no other event waits for them. Where they cannot be explained
the answer says why, and stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.errors import DeepseekError
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.core.request import JSON_TYPE, Request, Response
from deepseek.serve.core.routes import Route, Router, model_paths
from deepseek.serve.protocols.records import reason_rows
from deepseek.serve.scoring.queue import ScoredPart, ScoringQueue
from deepseek.serve.scoring.reading import BodyForm, RawRows, RowReader, is_ndjson, may_be_record, media_type_of
from deepseek.serve.scoring.writing import add_reasons, answer_columns, join_rows, verdict_rows

if TYPE_CHECKING:
    from deepseek.features import FeatureStore
    from deepseek.serve.models.served_model import ServedModel

#: Reasons of an alert.
NUM_REASONS = 3
#: Alerts of one request that are explained; a body of which more are alerts is no stream of payments.
MAX_EXPLAINED = 64
FindModel = Callable[[str], "ServedModel"]


class ScoringRoutes:
    """The handlers of one model."""

    _find_model: FindModel  # set when they are added

    def __init__(self, name: str, queue: ScoringQueue) -> None:
        self._name, self._queue = name, queue
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def store(self) -> FeatureStore:
        """The state that events are scored by."""
        return self._queue.scorer.store

    def add_to(self, router: Router, find_model: FindModel) -> None:
        """Add both routes. `find_model`: the loaded model of a name."""
        self._find_model = find_model
        path, _ = model_paths(self._name, None)
        for verb, handler in (("score", self.score), ("label", self.label)):
            router.routes[f"{path}:{verb}"] = Route(f"/v1/models/M:{verb}", "POST", handler)

    def close(self) -> None:
        """Close the queue and its scorer."""
        self._queue.close()

    def score(self, request: Request) -> None:
        """POST /v1/models/M:score"""
        body = request.body
        if request.headers.get(b"content-type", JSON_TYPE) == JSON_TYPE and len(body) < 4_096 and may_be_record(body):
            request.check_encoding()
            request.model = self._find_model(self._name)
            request.take_rows(1)
            self._queue.score(body, partial(self._respond, request, "record"))
            return
        self._read(request, self._queue.scorer.reader, self._score)

    def label(self, request: Request) -> None:
        """POST /v1/models/M:label"""
        self._read(request, self._queue.scorer.verdict_reader, self._label)

    def _read(self, request: Request, reader: RowReader, submit: Callable[[Request, RawRows], None]) -> None:
        media_type = media_type_of(request.headers)
        if is_ndjson(media_type):
            request.check_encoding()
        else:
            request.check_media_type()
        request.model = self._find_model(self._name)
        if len(request.body) > INLINE_BYTES:
            self._keep(asyncio.get_running_loop().create_task(_read_large(request, reader, media_type, submit)))
        else:
            submit(request, reader.read(request.body, media_type, request.settings.max_rows))

    def _score(self, request: Request, raw: RawRows) -> None:
        request.take_rows(len(raw))
        self._queue.score(raw, partial(self._respond, request, raw.form))

    def _respond(self, request: Request, form: BodyForm, part: ScoredPart | Exception) -> None:
        if isinstance(part, Exception):
            request.respond(part)
        elif part.has_alerts:
            self._keep(asyncio.get_running_loop().create_task(self._respond_with_reasons(request, form, part)))
        else:
            request.respond(_response(form, part, {}))

    def _label(self, request: Request, raw: RawRows) -> None:
        request.take_rows(len(raw))

        def on_labeled(status: list[int] | Exception) -> None:
            if isinstance(status, Exception):
                request.respond(status)
                return
            body, media_type = join_rows(verdict_rows(raw.columns[0], status), raw.form)
            request.respond(Response(body, media_type=media_type))

        self._queue.label(raw, on_labeled)

    async def _respond_with_reasons(self, request: Request, form: BodyForm, part: ScoredPart) -> None:
        try:
            response: Response | Exception = _response(form, part, await self._explain(request, part))
        except Exception as error:  # noqa: BLE001  (a bug of ours is this request's alone)
            response = error
        request.respond(response)

    async def _explain(self, request: Request, part: ScoredPart) -> Mapping[int, bytes]:
        """The reasons of each alert of a request, as JSON, by its row."""
        scored = part.scored
        alerts = np.flatnonzero(scored.is_alert)
        first, last = np.searchsorted(alerts, (part.start, part.stop)).tolist()
        last = min(last, first + MAX_EXPLAINED)
        model = self._find_model(self._name)
        records = [self._queue.scorer.describe(values) for values in scored.alert_values[first:last].tolist()]
        places = (alerts[first:last] - part.start).tolist()
        try:
            explained = await model.explanations.explain(request, scored.alert_inputs[first:last], [None] * len(places))
            reasons: list[Any] = reason_rows(model, explained, records, NUM_REASONS)
        except DeepseekError as error:
            reasons = [{"error": str(error)}] * len(places)
        return dict(zip(places, map(encode_json, reasons), strict=True))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _read_large(
    request: Request, reader: RowReader, media_type: bytes, submit: Callable[[Request, RawRows], None]
) -> None:
    try:
        body = request.body
        submit(request, await offload(len(body), reader.read, body, media_type, request.settings.max_rows))
    except Exception as error:  # noqa: BLE001  (a bug of ours is this request's alone)
        request.respond(error)


def _response(form: BodyForm, part: ScoredPart, reasons: Mapping[int, bytes]) -> Response:
    if form == "columns":
        return Response(answer_columns(part.scored, part.start, part.stop, reasons))
    rows = part.rows[part.start : part.stop]
    for place, text in reasons.items():
        rows[place] = add_reasons(rows[place], text)
    body, media_type = join_rows(rows, form)
    return Response(body, media_type=media_type)
