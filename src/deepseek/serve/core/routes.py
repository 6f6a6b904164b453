"""Routes, and where the paths of a model begin.

>>> model_paths("loans", "2")
('/v1/models/loans/versions/2', '/v2/models/loans/versions/2')
"""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.serve.core.request import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """The handler of one path, and what a request needs to reach it."""

    name: str  # with M for the model, so that events of one route share it
    method: str
    handler: Handler
    needs_key: bool = True  # in a server that has API keys
    max_body_bytes: int | None = None  # None: as many as the settings allow
    changes: bool = False  # whether it changes what is served
    any_host: bool = False  # whether any header Host is accepted


def model_paths(name: str, version: str | None) -> tuple[str, str]:
    """The paths under which the routes of a model, or of a version of it, begin: /v1 and /v2."""
    rest = "" if version is None else f"/versions/{version}"
    return f"/v1/models/{name}{rest}", f"/v2/models/{name}{rest}"
