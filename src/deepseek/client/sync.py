"""The client for scripts and threads: http.client, with connections that are kept and shared by the threads."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from deepseek.client.answers import PredictResponse
from deepseek.client.attempts import (
    MAX_RETRIES,
    TIMEOUT_S,
    Attempts,
    normalize_key,
    request_headers,
    split_url,
    tls_context,
)
from deepseek.client.timed import DeadlineConnection
from deepseek.client.verbs import ApiMethods, Request, RequestFlow, Response
from deepseek.contracts import Attribution, Float32
from deepseek.errors import DeepseekError

Result = TypeVar("Result")


class Client:
    """Asks the server at `url`. Safe to use from several threads.

    `timeout_s` bounds a call as a whole, with all that is tried again; a server that is too busy is asked again after
    the seconds that it names, `max_retries` times. `ca_file` holds the certificates to trust instead of the system's.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        ca_file: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._parts = split_url(self.url)
        self._tls = tls_context(ca_file) if self._parts.scheme == "https" else None
        self._api_key = normalize_key(api_key)
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._verbs = ApiMethods()
        self._idle: list[DeadlineConnection] = []
        self._lock = threading.Lock()

    def predict(
        self, rows: Any, *, model: str | None = None, reasons: int = 0, timeout_s: float | None = None
    ) -> PredictResponse:
        """Answers for N rows: records, columns by name, a numpy matrix in the order of the model's inputs, or an Arrow
        table. `reasons` is how many columns to name that moved each answer."""
        return self._run(self._verbs.predict(rows, model, reasons), timeout_s)

    def explain(
        self, rows: Any, *, model: str | None = None, target: str | None = None, timeout_s: float | None = None
    ) -> Attribution:
        """Contributions (N, P) of the columns; `target` is the class to speak of."""
        return self._run(self._verbs.explain(rows, model, target), timeout_s)

    def embed(self, texts: Sequence[str], *, model: str | None = None, timeout_s: float | None = None) -> Float32:
        """Vectors (N, D) of N texts."""
        return self._run(self._verbs.embed(texts, model), timeout_s)

    def models(self, *, timeout_s: float | None = None) -> list[dict[str, Any]]:
        """The models that are served: "id", "version", "task", "digest"."""
        return self._run(self._verbs.models(), timeout_s)

    def ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether the server takes requests. UnreachableError when none answers."""
        return self._run(self._verbs.ready(), timeout_s)

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

    def _run(self, steps: RequestFlow[Result], timeout_s: float | None) -> Result:
        tries = Attempts(self.url, self._timeout_s if timeout_s is None else timeout_s, self._max_retries)
        try:
            request = next(steps)
            while True:
                try:
                    response = self._ask(request, tries)
                except DeepseekError as error:  # the verb may know another way
                    request = steps.throw(error)
                else:
                    request = steps.send(response)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _ask(self, request: Request, tries: Attempts) -> Response:
        while True:
            try:
                response = self._send(request, tries)
            except TimeoutError as error:
                raise tries.late() from error
            except (OSError, http.client.HTTPException) as error:
                tries.lost(error)
                continue
            wait_s = tries.after(request, response)
            if wait_s is None:
                return response
            time.sleep(wait_s)

    def _send(self, request: Request, tries: Attempts) -> Response:
        left_s = tries.left_s()
        connection = self._connection()
        connection.due_s = tries.due_s
        try:
            headers = request_headers(request, self._api_key, left_s)
            connection.request(request.method, self._parts.path + request.path, request.body or None, headers)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            response = Response(answer.status, named, answer.read())
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
        return DeadlineConnection(self._parts.hostname or "", self._parts.port, self._tls)
