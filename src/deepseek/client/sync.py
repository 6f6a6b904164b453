"""The client for scripts and threads: http.client, with connections that are kept and shared by the threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from deepseek.client.attempts import TRANSPORT_ERRORS
from deepseek.client.decisions import NDJSON_TYPE, EventDecision
from deepseek.client.messages import Request, RequestFlow, Response
from deepseek.client.streams import DecisionStream, StreamConnection
from deepseek.client.timed import DeadlineConnection
from deepseek.client.verbs import BlockingClient
from deepseek.errors import InputError

Result = TypeVar("Result")


class Client(BlockingClient):
    """Asks the server at `url`. Safe to use from several threads. Parameters and methods: see BaseClient."""

    def _prepare(self) -> None:
        self._idle: list[DeadlineConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score_stream(
        self, events: Iterable[Mapping[str, Any]], *, model: str | None = None, timeout_s: float | None = None
    ) -> Iterator[EventDecision]:
        """A decision for each raw event, while they are sent: both go over one connection, as long as there are events.

        The events are gone through in a thread of their own; the next may depend on the last decision. `timeout_s`
        bounds each wait for the server, and None does not. A stream that breaks is not sent again by itself: the events
        without a decision may be, for one that is known by its id gets the decision of then. InputError for https.
        """
        if self._tls is not None:
            raise InputError(
                "a stream goes both ways at once, which this client cannot do over https", expected="http",
                fix="send rows in requests: client.score(rows), or end TLS before the server",
            )  # fmt: skip
        name = model or self.run(self._model_name(None, self._attempts(None)))
        connection = StreamConnection(self._address.hostname or "", self._address.port, None)
        connection.wait_s = timeout_s
        headers = {"content-type": NDJSON_TYPE} | (
            {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        )
        path = f"{self._address.path}/v1/models/{quote(name)}:score"
        return DecisionStream(connection, path, headers).run(events)

    def run(self, flow: RequestFlow[Result]) -> Result:
        """Send what a flow asks for and return its result."""
        try:
            request = next(flow)
            while True:
                try:
                    response = self._send(request)
                except TRANSPORT_ERRORS as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _send(self, request: Request) -> Response:
        time.sleep(request.delay_s)
        connection = self._connection()
        connection.due_s = request.due_s
        try:
            path = self._address.path + request.path
            connection.request(request.method, path, request.body or None, dict(request.headers))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            response = Response(answer.status, headers, answer.read())
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return response

    def _connection(self) -> DeadlineConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return DeadlineConnection(self._address.hostname or "", self._address.port, self._tls)
