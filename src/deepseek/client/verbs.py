"""The methods of both clients, each written once as a flow of requests that a transport drives (messages.py).

    class Client(BlockingClient): ...        # client.predict(rows) is a PredictResponse
    class AsyncClient(AwaitedClient): ...    # client.predict(rows) is a coroutine of one

Rows of arrays and tables go as an Arrow stream where pyarrow is installed on both sides, others as JSON by position.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from urllib.parse import quote

from deepseek.client.answers import (
    ModelEntry,
    PredictResponse,
    parse_body,
    read_arrow,
    read_attribution,
    read_columns,
    read_embeddings,
    read_models,
    read_predictions,
    takes_tensors,
)  # fmt: skip
from deepseek.client.attempts import MAX_RETRIES, TIMEOUT_S, Attempts, normalize_key, split_url, tls_context
from deepseek.client.conversations import ChatAnswer, converse_body, read_answer
from deepseek.client.decisions import NDJSON_TYPE, EventDecision, encode_lines, read_decisions
from deepseek.client.messages import Request, RequestFlow
from deepseek.client.rows import arrow_stream, arrow_table, encode_json, is_array, is_columnar, positional_rows
from deepseek.errors import ExtraError, InputError
from deepseek.extras import is_installed
from deepseek.http_errors import MediaTypeError

if TYPE_CHECKING:
    from deepseek.contracts import Attribution, Float32

ARROW_TYPE = "application/vnd.apache.arrow.stream"
JSON_TYPE = "application/json"
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class ApiMethod(Generic[Parameters, Result]):
    """Makes a method of both clients from a flow: a BlockingClient returns the flow's result, an AwaitedClient a
    coroutine of it."""

    def __init__(self, flow: Callable[Concatenate[Any, Parameters], RequestFlow[Result]]) -> None:
        self._flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, client: BlockingClient, owner: type) -> Callable[Parameters, Result]: ...
    @overload
    def __get__(self, client: AwaitedClient, owner: type) -> Callable[Parameters, Coroutine[Any, Any, Result]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    def __get__(self, client: BlockingClient | AwaitedClient | None, owner: type) -> Callable[..., Any]:
        if client is None:
            return self._flow

        @functools.wraps(self._flow)
        def run(*args: Parameters.args, **options: Parameters.kwargs) -> Any:
            return client.run(self._flow(client, *args, **options))

        return run


class BaseClient:
    """What both clients share: the options, the methods, and what they remember of the server's models.

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
        self._address = split_url(self.url)
        self._tls = tls_context(ca_file) if self._address.scheme == "https" else None
        self._api_key = normalize_key(api_key)
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._server_has_arrow = True  # as far as is known
        self._columns: dict[str, tuple[str, ...]] = {}  # model -> its inputs
        self._tensor_models: set[str] = set()  # whose inputs are no columns
        self._only_model = ""
        self._prepare()

    def _prepare(self) -> None:
        """Make what the transport keeps between calls."""

    @ApiMethod
    def predict(
        self, rows: Any, *, model: str | None = None, reasons: int = 0, timeout_s: float | None = None
    ) -> RequestFlow[PredictResponse]:
        """Answers for N rows: records, columns by name, a numpy matrix in the order of the model's inputs, or an Arrow
        table. `reasons` is how many columns to name that moved each answer."""
        attempts = self._attempts(timeout_s)
        name = yield from self._model_name(model, attempts)
        path = f"/v1/models/{quote(name)}:predict"
        if self._server_has_arrow and not reasons and is_columnar(rows) and is_installed("pyarrow"):
            # The inputs of the model name the columns of a matrix, or are tensors.
            names = (yield from self._columns_of(name, attempts)) if is_array(rows) else ()
            if name not in self._tensor_models:
                stream = arrow_stream(arrow_table(rows, names))
                try:
                    headers = {"content-type": ARROW_TYPE, "accept": ARROW_TYPE}
                    response = yield from attempts.send(Request("POST", path, stream, headers))
                    return parse_body(read_arrow, response.body)
                except ExtraError:  # the server has no pyarrow: from now on as JSON
                    self._server_has_arrow = False
                except MediaTypeError:  # the model has no columns
                    self._tensor_models.add(name)
        body = positional_rows(rows).to_dict() | ({"reasons": reasons} if reasons else {})
        response = yield from attempts.send(_post(path, body))
        return parse_body(read_predictions, response.body)

    @ApiMethod
    def score(
        self, rows: Any, *, model: str | None = None, timeout_s: float | None = None
    ) -> RequestFlow[list[EventDecision]]:
        """Decisions on N raw events, which change the state of the model: records, columns by name, or an Arrow table.
        A request that is sent again after a break changes nothing twice: an event that is known by its id gets the
        decision of then."""
        attempts = self._attempts(timeout_s)
        name = yield from self._model_name(model, attempts)
        request = Request("POST", f"/v1/models/{quote(name)}:score", encode_lines(rows), {"content-type": NDJSON_TYPE})
        response = yield from attempts.send(request)
        return parse_body(read_decisions, response.body)

    @ApiMethod
    def explain(
        self, rows: Any, *, model: str | None = None, target: str | None = None, timeout_s: float | None = None
    ) -> RequestFlow[Attribution]:
        """Contributions (N, P) of the columns; `target` is the class to speak of."""
        attempts = self._attempts(timeout_s)
        name = yield from self._model_name(model, attempts)
        cells = positional_rows(rows)
        names = cells.columns or (yield from self._columns_of(name, attempts))
        body: dict[str, object] = {"instances": cells.records(names)}
        body |= {"target": target} if target is not None else {}
        response = yield from attempts.send(_post(f"/v1/models/{quote(name)}:explain", body))
        return parse_body(read_attribution, response.body)

    @ApiMethod
    def embed(
        self, texts: Sequence[str], *, model: str | None = None, timeout_s: float | None = None
    ) -> RequestFlow[Float32]:
        """Vectors (N, D) of N texts."""
        attempts = self._attempts(timeout_s)
        name = yield from self._model_name(model, attempts)
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise InputError("texts is no list of texts", expected='["...", ...]', fix="give at least one text")
        body = {"model": name, "input": list(texts), "encoding_format": "base64"}
        response = yield from attempts.send(_post("/v1/embeddings", body))
        return parse_body(read_embeddings, response.body)

    @ApiMethod
    def converse(
        self,
        text: str,
        *,
        conversation: str = "",
        choose: str = "",
        model: str | None = None,
        timeout_s: float | None = None,
    ) -> RequestFlow[ChatAnswer]:
        """What an assistant says to a message; `conversation` is the id in the answer before, `choose` the value of a
        button. A message that is sent again after a break is answered once."""
        attempts = self._attempts(timeout_s)
        name = yield from self._model_name(model, attempts)
        body = converse_body(text, conversation, choose)
        response = yield from attempts.send(_post(f"/v1/models/{quote(name)}:converse", body))
        return parse_body(read_answer, response.body)

    @ApiMethod
    def models(self, *, timeout_s: float | None = None) -> RequestFlow[list[ModelEntry]]:
        """The models that are served: "id", "version", "task", "digest"."""
        return (yield from self._list_models(self._attempts(timeout_s)))

    @ApiMethod
    def ready(self, *, timeout_s: float | None = None) -> RequestFlow[bool]:
        """Whether the server takes requests. UnreachableError when none answers."""
        request = Request("GET", "/v2/health/ready", any_status=True)
        response = yield from self._attempts(timeout_s).send(request)
        return response.status == 200

    def _attempts(self, timeout_s: float | None) -> Attempts:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return Attempts(self.url, self._api_key, limit_s, self._max_retries)

    def _list_models(self, attempts: Attempts) -> RequestFlow[list[ModelEntry]]:
        response = yield from attempts.send(Request("GET", "/v1/models"))
        return parse_body(read_models, response.body)

    def _model_name(self, model: str | None, attempts: Attempts) -> RequestFlow[str]:
        """The model that is meant: the one that is named, or the server's only one."""
        if model or self._only_model:
            return model or self._only_model
        names = [entry["id"] for entry in (yield from self._list_models(attempts))]
        if len(names) != 1:
            raise InputError(
                f"the server has {len(names)} models, and none is named",
                expected=", ".join(names[:20]) or "a model",
                fix="name one: model=...",
            )
        self._only_model = names[0]
        return self._only_model

    def _columns_of(self, model: str, attempts: Attempts) -> RequestFlow[tuple[str, ...]]:
        """The names of a model's inputs, which are fetched once."""
        if model not in self._columns:
            response = yield from attempts.send(Request("GET", f"/v1/models/{quote(model)}"))
            self._columns[model] = parse_body(read_columns, response.body)
            if parse_body(takes_tensors, response.body):
                self._tensor_models.add(model)
        return self._columns[model]


class BlockingClient(BaseClient, ABC):
    """A client whose methods return when the answer is there."""

    @abstractmethod
    def run(self, flow: RequestFlow[Result]) -> Result:
        """Send what a flow asks for and return its result."""


class AwaitedClient(BaseClient, ABC):
    """A client whose methods are awaited."""

    @abstractmethod
    async def run(self, flow: RequestFlow[Result]) -> Result:
        """Send what a flow asks for and return its result."""


def _post(path: str, body: Mapping[str, object]) -> Request:
    return Request("POST", path, encode_json(body), {"content-type": JSON_TYPE})
