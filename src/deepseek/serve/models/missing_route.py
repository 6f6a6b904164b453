"""The error for a path without a route, as precise as the loaded models allow."""

from __future__ import annotations

from deepseek.errors import MissingError
from deepseek.serve.models.registry import ModelRegistry


def missing_route_error(path: str, models: ModelRegistry) -> MissingError:
    """MissingError for a path without a route; where the path has a model or version, it says which is not there."""
    for prefix in ("/v1/models/", "/v2/models/"):
        if path.startswith(prefix):
            name, _, rest = path.removeprefix(prefix).partition("/")
            name = name.split(":")[0]
            if name and name not in models:
                return models.missing_error(name)
            version = rest.removeprefix("versions/").split("/")[0].split(":")[0]
            if name and rest.startswith("versions/") and version not in models.slots[name].versions:
                return models.missing_version_error(name, version)
    if path.startswith("/v1/models/") and path.endswith((":score", ":label")):
        return MissingError(
            f"there is no route {path[:100]!r}: this server keeps no state",
            expected="a server that was started with --state",
            fix="deepseek serve BUNDLE --state DIR, with a bundle of deepseek recipe fraud",
        )
    return MissingError(
        f"there is no route {path[:100]!r}",
        expected="one such as /v1/models or /v1/models/M:predict",
        fix="GET /docs lists the routes",
    )
