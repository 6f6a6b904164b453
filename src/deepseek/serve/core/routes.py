"""Routes, the router that holds them, and where the paths of a model begin.

>>> model_paths("loans", "2")
('/v1/models/loans/versions/2', '/v2/models/loans/versions/2')
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from deepseek.contracts import JsonObject
from deepseek.serve.core.request import Handler, Request, Response

MAX_SMALL_BODY_BYTES = 64 * 1024  # of a request that brings no rows


@dataclass(frozen=True, slots=True)
class Route:
    """The handler of one path, and the conditions of a request to it."""

    name: str  # with M for the model, so that events of one route share it
    method: str
    handler: Handler
    needs_key: bool = True  # in a server that has API keys
    max_body_bytes: int | None = None  # None: as many as the settings allow
    changes: bool = False  # whether it changes what is served
    any_host: bool = False  # whether any header Host is accepted
    streams_body: bool = False  # whether lines in chunks are answered while they come
    is_chat: bool = False  # whether a key that may only chat opens it


class ModelRoutes(Protocol):
    """Routes of a model beside those that every model has, and what they need until the server ends."""

    def add_to(self, router: Router, find_model: Callable[[str], Any]) -> None:
        """Add them; `find_model` gives the loaded model of a name."""
        ...

    def describe(self) -> JsonObject:
        """Their paths with their operations, for the OpenAPI document."""
        ...

    def close(self) -> None:
        """Called once, after the last response."""
        ...


class Router:
    """Routes by their whole path, so that finding one costs a lookup."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}

    def add_get(
        self,
        path: str,
        content: Callable[[], Response | Awaitable[Response]],
        *,
        needs_key: bool = True,
        any_host: bool = False,
    ) -> None:
        """Add a GET route whose response does not depend on the request."""

        def handler(_: Request) -> Response | Awaitable[Response]:
            return content()

        self.add_page(path, handler, needs_key=needs_key, any_host=any_host)

    def add_page(self, path: str, handler: Handler, *, needs_key: bool = True, any_host: bool = False) -> None:
        """Add a GET route."""
        self.routes[path] = Route(path, "GET", handler, needs_key, MAX_SMALL_BODY_BYTES, any_host=any_host)

    def add_post(self, path: str, handler: Handler, max_body_bytes: int | None = None) -> None:
        """Add a POST route; `max_body_bytes` below the limit of the settings, or None."""
        self.routes[path] = Route(path, "POST", handler, max_body_bytes=max_body_bytes)

    def remove_model(self, name: str, version: str | None) -> None:
        """Remove the routes of a version, or of a model with all its versions."""
        v1, v2 = model_paths(name, version)
        below = (f"{v1}/", f"{v1}:", f"{v2}/")
        for path in [path for path in self.routes if path in (v1, v2) or path.startswith(below)]:
            del self.routes[path]


def model_paths(name: str, version: str | None) -> tuple[str, str]:
    """The paths under which the routes of a model, or of a version of it, begin: /v1 and /v2."""
    rest = "" if version is None else f"/versions/{version}"
    return f"/v1/models/{name}{rest}", f"/v2/models/{name}{rest}"
