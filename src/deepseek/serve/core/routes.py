"""What answers a path, and where the paths of a model begin.

>>> model_paths("loans", "2")
('/v1/models/loans/versions/2', '/v2/models/loans/versions/2')
"""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.serve.core.request import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one path."""

    name: str  # with M for the model, so that events of one route share it
    method: str
    handler: Handler
    needs_key: bool = True  # where API keys are asked for at all
    max_body_bytes: int | None = None  # None: as many as the settings allow
    changes: bool = False  # whether it changes what is served
    any_host: bool = False  # whether it answers by whatever name it is asked


def model_paths(name: str, version: str | None) -> tuple[str, str]:
    """Where the routes of a model begin, or those of a version of it, in either protocol."""
    rest = "" if version is None else f"/versions/{version}"
    return f"/v1/models/{name}{rest}", f"/v2/models/{name}{rest}"
