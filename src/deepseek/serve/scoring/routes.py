"""POST /v1/models/M:score and :label, for models with a state.

    app = create_app({"cards": runtime}, more_routes=[ScoringRoutes("cards", queue)])

A body of lines whose length is not known when it begins (chunks) is answered while it comes, line by line, for as long
as the client sends: one connection carries what would be tens of thousands of requests a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deepseek.contracts import JsonObject
from deepseek.errors import BusyError
from deepseek.http_errors import RateLimitError
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.bodies.stream import BodyStream, is_ndjson
from deepseek.serve.core.request import JSON_TYPE, Request, Response, error_response
from deepseek.serve.core.routes import Route, Router, model_paths
from deepseek.serve.scoring.document import scoring_paths
from deepseek.serve.scoring.monitor import DecisionMonitor
from deepseek.serve.scoring.queue import ScoredPart, ScoringQueue
from deepseek.serve.scoring.reading import BodyForm, RawRows, RowReader, may_be_record, media_type_of
from deepseek.serve.scoring.writing import NDJSON_TYPE, answer_columns, join_rows, verdict_rows

if TYPE_CHECKING:
    from deepseek.features import FeatureStore
    from deepseek.serve.models.served_model import ServedModel

#: Lines of a stream that are answered together: others have their turn between them.
MAX_LINES = 512
#: From one look for lines of a stream to the next: a group costs half a millisecond, however few they are. A line that
#: comes after a pause is answered at once.
TURN_S = 0.002
#: Before a stream tries again to be let into a full queue.
BUSY_PAUSE_S = 0.02
FindModel = Callable[[str], "ServedModel"]


class LineRoutes:
    """What routes of models with a state share: a body of lines that are answered while it comes."""

    _find_model: FindModel  # set when they are added

    def __init__(self, name: str, queue: ScoringQueue) -> None:
        self._name, self._queue = name, queue
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """Of the model."""
        return self._name

    @property
    def store(self) -> Any:
        """The state that rows are answered by."""
        return self._queue.scorer.store

    def close(self) -> None:
        """Close the queue and its scorer."""
        self._queue.close()

    def _respond_lines(self, request: Request, body: BodyStream) -> None:
        request.model = self._find_model(self._name)
        request.respond(Response(b"", media_type=NDJSON_TYPE, chunks=self._answer_lines(request, body)))

    def _read(self, request: Request, reader: RowReader, submit: Callable[[Request, RawRows], None]) -> None:
        """Reads the rows of a body, a large one in a thread, and passes them on."""
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

    async def _answer_lines(self, request: Request, body: BodyStream) -> AsyncGenerator[bytes, None]:
        """Answers to the lines of a body while it comes, in their order. What was answered is on the disk."""
        try:
            loop = asyncio.get_running_loop()
            async for lines in body:
                began_s = loop.time()
                for first in range(0, len(lines), MAX_LINES):
                    part = lines[first : first + MAX_LINES]
                    await _wait_for_rate(request, len(part))
                    yield b"\n".join(await self._answer_messages(part)) + b"\n"
                if (rest_s := began_s + TURN_S - loop.time()) > 0:
                    await asyncio.sleep(rest_s)
        except Exception as error:  # noqa: BLE001  (a full disk, a bug of ours: what was answered stands, and it ends here)
            body.end(is_whole=False)
            yield b'{"status":"stopped",%b\n' % error_response(error, request).body.lstrip()[1:]

    async def _answer_messages(self, lines: list[bytes]) -> list[bytes]:
        """The answers to some lines, once they are on the disk. Waits while too many others wait."""
        while True:
            answered: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
            try:
                self._queue.answer(lines, partial(_resolve, answered))
            except BusyError:
                await asyncio.sleep(BUSY_PAUSE_S)
            else:
                return await answered

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class ScoringRoutes(LineRoutes):
    """The handlers of one model that scores events."""

    @property
    def store(self) -> FeatureStore:
        """The state that events are scored by."""
        return self._queue.scorer.store

    def add_to(self, router: Router, find_model: FindModel) -> None:
        """Add both routes. `find_model`: the loaded model of a name."""
        self._find_model = find_model
        path, _ = model_paths(self._name, None)
        for verb, handler in (("score", self.score), ("label", self.label)):
            name = f"/v1/models/M:{verb}"
            router.routes[f"{path}:{verb}"] = Route(name, "POST", handler, streams_body=verb == "score")

    @property
    def monitor(self) -> DecisionMonitor:
        """Whether the model keeps what its bundle promises."""
        return self._queue.scorer.monitor

    def describe(self) -> JsonObject:
        """Both routes, for the OpenAPI document."""
        return scoring_paths(f"/v1/models/{quote(self._name)}", self._queue.scorer)

    def score(self, request: Request) -> None:
        """POST /v1/models/M:score"""
        if request.body_stream is not None:
            self._respond_lines(request, request.body_stream)
            return
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

    def _score(self, request: Request, raw: RawRows) -> None:
        request.take_rows(len(raw))
        self._queue.score(raw, partial(self._respond, request, raw.form))

    def _respond(self, request: Request, form: BodyForm, part: ScoredPart | Exception) -> None:
        request.respond(part if isinstance(part, Exception) else _response(form, part))

    def _label(self, request: Request, raw: RawRows) -> None:
        request.take_rows(len(raw))

        def on_labeled(status: list[int] | Exception) -> None:
            if isinstance(status, Exception):
                request.respond(status)
                return
            body, media_type = join_rows(verdict_rows(raw.columns[0], status), raw.form)
            request.respond(Response(body, media_type=media_type))

        self._queue.label(raw, on_labeled)


async def _read_large(
    request: Request, reader: RowReader, media_type: bytes, submit: Callable[[Request, RawRows], None]
) -> None:
    try:
        body = request.body
        submit(request, await offload(len(body), reader.read, body, media_type, request.settings.max_rows))
    except Exception as error:  # noqa: BLE001  (a bug of ours is this request's alone)
        request.respond(error)


def _response(form: BodyForm, part: ScoredPart) -> Response:
    if form == "columns":
        reasons = {row - part.start: text for row, text in part.reasons.items() if part.start <= row < part.stop}
        return Response(answer_columns(part.scored, part.start, part.stop, reasons))
    body, media_type = join_rows(part.rows[part.start : part.stop], form)
    return Response(body, media_type=media_type)


def _resolve(answered: asyncio.Future[list[bytes]], result: list[bytes] | Exception) -> None:
    if answered.done():  # the client went away
        return
    if isinstance(result, Exception):
        answered.set_exception(result)
    else:
        answered.set_result(result)


async def _wait_for_rate(request: Request, num_rows: int) -> None:
    """Returns when the client may send so many rows: a stream is slowed down, not refused."""
    num_before = request.num_rows
    while True:
        try:
            request.take_rows(num_rows)
        except RateLimitError as error:
            await asyncio.sleep(error.retry_after_s or 1)
        else:
            break
        finally:
            request.num_rows = num_before
    request.num_rows = num_before + num_rows
