"""Shadow versions: they get the requests of a model after its response was sent, and are compared with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from math import isclose
from typing import Any

import msgspec

from deepseek.contracts import Event
from deepseek.serve.core.request import Handler, Request, Response
from deepseek.serve.models.routing import ModelVersions
from deepseek.serve.models.served_model import ServedModel

MAX_WAITING_SHADOWS = 256  # shadow requests at a time; further ones are dropped


#: Relative difference up to which two values count as the same: float32 keeps 7 digits.
VALUE_TOLERANCE = 1e-5


class ShadowTraffic:
    """Repeats requests on shadows. Their errors affect nobody; their responses are compared and dropped."""

    def __init__(
        self, begin: Callable[[Request, Callable[[Request, Response], None]], None], emit: Callable[[Event], None]
    ) -> None:
        self._handle = begin
        self._emit = emit
        self._num_waiting = 0

    def follow(
        self, request: Request, work: Callable[[Request, ServedModel], Any], slot: ModelVersions[ServedModel]
    ) -> None:
        """Repeat a request on the shadows of its model, after its own response was written."""
        on_response, body, headers = request.on_response, request.body, request.headers

        def follow_response(request: Request, response: Response) -> None:
            on_response(request, response)
            if response.chunks is not None or response.status != 200 or request.model is None:
                return
            expected = _strip_version(response.body, request.model.version)
            compressed = any(name == b"content-encoding" for name, _ in response.headers)
            for shadow in slot.shadows:
                if compressed or self._num_waiting >= MAX_WAITING_SHADOWS:
                    self._count(shadow, "not asked")
                else:
                    self._ask(shadow, request, headers, body, work, expected)

        request.on_response = follow_response

    def _ask(
        self,
        shadow: ServedModel,
        request: Request,
        headers: Mapping[bytes, bytes],
        body: bytes,
        work: Callable[[Request, ServedModel], Any],
        expected: bytes,
    ) -> None:
        self._num_waiting += 1
        copy = Request(request.method, request.path, {**headers, b"x-priority": b"low"}, request.settings, body=body)
        copy.handler = _bind_model(work, shadow)
        begin = partial(self._handle, copy, partial(self._compare, shadow, expected))
        asyncio.get_running_loop().call_soon(begin)  # so that requests that have come meanwhile go first

    def _compare(self, shadow: ServedModel, expected: bytes, _: Request, response: Response) -> None:
        self._num_waiting -= 1
        if response.chunks is not None or response.status != 200:
            self._count(shadow, "failed")
        else:
            same = bodies_agree(expected, _strip_version(response.body, shadow.version))
            self._count(shadow, "yes" if same else "no")

    def _count(self, shadow: ServedModel, same: str) -> None:
        self._emit(Event("shadow", shadow.name, shadow.version, fields={"same": same}))


def _bind_model(work: Callable[[Request, ServedModel], Any], model: ServedModel) -> Handler:
    def handler(request: Request) -> Any:
        request.model = model
        return work(request, model)

    return handler


def _strip_version(body: bytes, version: str) -> bytes:
    """The body without the version, which always differs."""
    return body.replace(b'"model_version":%b' % msgspec.json.encode(version), b"", 1)


def bodies_agree(one: bytes, other: bytes) -> bool:
    """Whether two bodies agree: equal labels, or values that differ by rounding alone.

    >>> bodies_agree(b'{"predictions":[{"label":"a","p":0.9}]}', b'{"predictions":[{"label":"a","p":0.8}]}')
    True
    >>> bodies_agree(b'{"predictions":[{"value":1.0}]}', b'{"predictions":[{"value":1.1}]}')
    False
    """
    if one == other:
        return True
    try:
        return _values_agree(
            _comparable_values(msgspec.json.decode(one)), _comparable_values(msgspec.json.decode(other))
        )
    except msgspec.DecodeError:  # Arrow, raw tensors, or compressed: bytes are all there is to compare
        return False


def _comparable_values(body: Any) -> Any:
    """The part of a body that is compared: labels where there are some, else all of it."""
    if isinstance(body, dict):
        for key in ("predictions", "columns"):
            if key in body:
                return _comparable_values(body[key])
        if "label" in body:
            return body["label"]
        if isinstance(body.get("outputs"), list):
            outputs = {output["name"]: output.get("data") for output in body["outputs"]}
            return outputs.get("label", outputs)
    if isinstance(body, list):
        return [_comparable_values(item) for item in body]
    return body


def _values_agree(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_values_agree(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_values_agree, one, other))
    if type(one) is float and type(other) is float:
        return isclose(one, other, rel_tol=VALUE_TOLERANCE)
    return bool(one == other)
