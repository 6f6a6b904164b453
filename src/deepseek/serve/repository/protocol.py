"""The model repository extension of the Open Inference Protocol: what may be loaded, loading, unloading.

    POST /v2/repository/index                      [{"name", "version", "state", "reason"}, ...]
    POST /v2/repository/models/M/load              {"parameters": {"version": "2"}}, or nothing for the latest
    POST /v2/repository/models/M/unload

What is loaded comes from the folder that the server was started with; a configuration or files in a request are
refused.

Source: https://github.com/triton-inference-server/server, docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MissingError
from deepseek.plugins import did_you_mean
from deepseek.serve.core.json_body import decode_object, json_type_name
from deepseek.serve.core.request import Request, Response

if TYPE_CHECKING:
    from deepseek.serve.models.registry import ModelRegistry
    from deepseek.serve.repository.loader import ModelLifecycle

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
#: A parameter of unloading that Triton's clients send; models here have no dependents.
_DEPENDENTS = "unload_dependents"


class IndexEntry(msgspec.Struct, frozen=True):
    """A version of a model in the index. `reason`: why one is not loaded; `code`: that of the error that refused it,
    empty where none did."""

    name: str
    version: str
    state: str  # READY or UNAVAILABLE
    reason: str = ""
    code: str = ""


async def repository_index(request: Request, models: ModelRegistry, loader: ModelLifecycle | None) -> Response:
    """POST /v2/repository/index"""
    body = _read_body(request)
    return Response.json(await list_repository(models, loader, ready=body.get("ready") is True))


async def list_repository(models: ModelRegistry, loader: ModelLifecycle | None, *, ready: bool) -> list[IndexEntry]:
    """The index: loaded versions and, unless `ready`, those that could be loaded."""
    entries = [IndexEntry(model.name, model.version, READY) for model in models.all()]
    if loader is not None and not ready:
        entries += [
            IndexEntry(entry.name, entry.version, UNAVAILABLE, entry.reason, entry.code)
            for entry in await loader.list_unloaded()
        ]
    return entries


async def load_or_unload(request: Request, loader: ModelLifecycle | None, name: str, verb: str) -> Response:
    """POST /v2/repository/models/M/load and /unload"""
    parameters = _read_body(request).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InputError('"parameters" is no object', expected='{"version": "2"}', fix="correct it, or leave it out")
    _check_parameters(parameters, "version" if verb == "load" else _DEPENDENTS)
    if loader is None:
        raise MissingError(
            "this server loads nothing while it serves",
            expected="a server that was given a folder to load from",
            fix="start it with: deepseek serve --repository DIR",
        )
    if verb == "unload":
        await loader.unload(name)
        return Response.json({"name": name, "state": UNAVAILABLE})
    versions = await loader.load(name, parameters.get("version", ""))
    return Response.json({"name": name, "versions": versions, "state": READY})


def _check_parameters(parameters: JsonObject, known: str) -> None:
    for key, value in parameters.items():
        if key != known:
            raise InputError(
                f"the parameter {key[:100]!r} is not taken here.{did_you_mean(key[:100], [known])}",
                expected=f"{known}, or none: models are loaded as they lie in the repository",
                fix="leave it out",
            )
        if key == "version" and not isinstance(value, str):
            raise InputError(
                f'"version" is {json_type_name(value)}', expected='a string such as "2"', fix="write it in quotes"
            )


def _read_body(request: Request) -> JsonObject:
    if not request.body.strip():
        return {}
    request.check_media_type()
    return decode_object(request.body)
