"""Routes beside the protocols: the console at /, /docs, /openapi.json, /metrics and /v1/stats.

Metrics and statistics are kept elsewhere (observe); here they are two callables.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from deepseek.contracts import JsonObject
from deepseek.errors import MissingError
from deepseek.serve.core.accept import prefers
from deepseek.serve.core.request import EMPTY_MAPPING, HTML_TYPE, Header, Request, Response
from deepseek.serve.core.routes import ModelRoutes
from deepseek.serve.models.registry import ModelRegistry
from deepseek.serve.openai.writers import WritingModel
from deepseek.serve.openapi.document import openapi_document

#: Prometheus text exposition format, version 0.0.4.
EXPOSITION_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
#: OpenMetrics, which carries exemplars: Prometheus asks for it by the header Accept.
OPENMETRICS_TYPE = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
PageHandler = Callable[[Request], Response | Awaitable[Response]]
VARIES = ((b"vary", b"accept"),)
_SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pages:
    """Sources of /metrics and /v1/stats: `metrics` returns the exposition for Prometheus, `openmetrics` the same in
    that form, for scrapers that ask for it, `stats` the figures of the last minutes. `refresh` is awaited before any of
    them is read, where other processes count as well. `more`: other pages, by path."""

    metrics: Callable[[], bytes] | None = None
    openmetrics: Callable[[], bytes] | None = None
    stats: Callable[[], Mapping[str, object]] | None = None
    refresh: Callable[[], Awaitable[None]] | None = None
    more: Mapping[str, PageHandler] = field(default_factory=dict)

    def routes(
        self,
        models: ModelRegistry,
        generators: Mapping[str, WritingModel] = EMPTY_MAPPING,
        more_routes: Sequence[ModelRoutes] = (),
    ) -> dict[str, PageHandler]:
        """The handlers of the GET routes by path. `generators`: the models that write, by name. `more_routes`: of
        models, beside those that every model has."""

        def document() -> JsonObject:
            names = [name for name, model in generators.items() if model.task != "intents"]  # which describe themselves
            return openapi_document(models, names, [routes.describe() for routes in more_routes])

        return {
            "/": get_console,
            "/docs": lambda _: get_docs(document()),
            "/openapi.json": lambda _: Response.json(document()),
            "/metrics": partial(self._answer_after_refresh, self._metrics),
            "/v1/stats": partial(self._answer_after_refresh, self._stats),
            **self.more,
        }

    def _answer_after_refresh(
        self, answer: Callable[[Request], Response], request: Request
    ) -> Response | Awaitable[Response]:
        """The answer: at once where this process alone counts."""
        return answer(request) if self.refresh is None else self._refresh_then_answer(self.refresh, answer, request)

    @staticmethod
    async def _refresh_then_answer(
        refresh: Callable[[], Awaitable[None]], answer: Callable[[Request], Response], request: Request
    ) -> Response:
        await refresh()
        return answer(request)

    def _metrics(self, request: Request) -> Response:
        if self.metrics is None:
            raise _not_kept_error("metrics")
        accept = request.headers.get(b"accept", b"")
        if self.openmetrics is not None and prefers(accept, b"application/openmetrics-text", b"text/plain"):
            return Response(self.openmetrics(), media_type=OPENMETRICS_TYPE, headers=VARIES)
        return Response(self.metrics(), media_type=EXPOSITION_TYPE, headers=VARIES)

    def _stats(self, _: Request) -> Response:
        if self.stats is None:
            raise _not_kept_error("statistics")
        return Response.json(self.stats())


def _not_kept_error(subject: str) -> MissingError:
    return MissingError(
        f"this server keeps no {subject}",
        expected="a server that was made with them",
        fix="start it with `deepseek serve`, or give create_app its `pages`",
    )


def get_console(request: Request) -> Response:
    """The page at /, compressed for who takes it so: a third of the bytes."""
    return _console_response(prefers(request.headers.get(b"accept-encoding", b""), b"gzip", b"identity"))


@cache
def _console_response(is_compressed: bool) -> Response:
    """The page is the same for everybody, so it is made, hashed and compressed once."""
    from deepseek.serve.console.page import console_page

    response = html_response(console_page())
    headers: tuple[Header, ...] = (*response.headers, (b"vary", b"accept-encoding"))
    if not is_compressed:
        return replace(response, headers=headers)
    body = gzip.compress(response.body, mtime=0)
    return replace(response, body=body, headers=(*headers, (b"content-encoding", b"gzip")))


def get_docs(document: JsonObject) -> Response:
    """The OpenAPI document as a page to read."""
    from deepseek.serve.console.page import docs_page

    return html_response(docs_page(document))


def html_response(text: str) -> Response:
    """A response with a page that may run its own scripts, allowed by their hash, and call this server alone."""
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in _SCRIPT.findall(text))
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        f"form-action 'self'; frame-ancestors 'none'; script-src {scripts}"
    )
    return Response(text.encode(), media_type=HTML_TYPE, headers=((b"content-security-policy", policy.encode()),))
