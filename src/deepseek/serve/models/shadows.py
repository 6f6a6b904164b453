"""Versions that answer in the shadow: asked after the one that answers, compared with it, and heard by nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from math import isclose
from typing import Any

import msgspec

from deepseek.contracts import Event
from deepseek.serve.core.request import Handler, Request, Response, StreamingResponse
from deepseek.serve.models.registry import ServedModel
from deepseek.serve.models.routing import ModelVersions

MAX_WAITING_SHADOWS = 256  # requests that shadows have not answered; those above are let go


#: Relative difference up to which two values count as the same: float32 keeps 7 digits.
VALUE_TOLERANCE = 1e-5


class ShadowTraffic:
    """Asks shadows what was answered already. They fail nothing, and their answers are compared and let go."""

    def __init__(
        self,
        begin: Callable[[Request, Callable[[Request, Response | StreamingResponse], None]], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._begin = begin
        self._emit = emit
        self._num_waiting = 0

    def follow(
        self, call: Request, work: Callable[[Request, ServedModel], Any], slot: ModelVersions[ServedModel]
    ) -> None:
        """Let the shadows of a slot answer a call too, after its own answer was written."""
        answered, body, headers = call.answered, call.body, call.headers

        def told(call: Request, answer: Response | StreamingResponse) -> None:
            answered(call, answer)
            if not isinstance(answer, Response) or answer.status != 200 or call.model is None:
                return
            expected = _strip_version(answer.body, call.model.version)
            compressed = any(name == b"content-encoding" for name, _ in answer.headers)
            for shadow in slot.shadows:
                if compressed or self._num_waiting >= MAX_WAITING_SHADOWS:
                    self._count(shadow, "not asked")
                else:
                    self._ask(shadow, call, headers, body, work, expected)

        call.answered = told

    def _ask(
        self,
        shadow: ServedModel,
        call: Request,
        headers: Mapping[bytes, bytes],
        body: bytes,
        work: Callable[[Request, ServedModel], Any],
        expected: bytes,
    ) -> None:
        self._num_waiting += 1
        copy = Request(call.method, call.path, {**headers, b"x-priority": b"low"}, call.settings, body=body)
        copy.handler = _bind_model(work, shadow)
        begin = partial(self._begin, copy, partial(self._compare, shadow, expected))
        asyncio.get_running_loop().call_soon(begin)  # so that what has come meanwhile goes first

    def _compare(self, shadow: ServedModel, expected: bytes, _: Request, answer: Response | StreamingResponse) -> None:
        self._num_waiting -= 1
        if not isinstance(answer, Response) or answer.status != 200:
            self._count(shadow, "failed")
        else:
            same = bodies_agree(expected, _strip_version(answer.body, shadow.version))
            self._count(shadow, "yes" if same else "no")

    def _count(self, shadow: ServedModel, same: str) -> None:
        self._emit(Event("shadow", shadow.name, shadow.version, fields={"same": same}))


def _bind_model(work: Callable[[Request, ServedModel], Any], model: ServedModel) -> Handler:
    def handler(call: Request) -> Any:
        call.model = model
        return work(call, model)

    return handler


def _strip_version(body: bytes, version: str) -> bytes:
    """The body without the one thing that two versions always answer differently."""
    return body.replace(b'"model_version":%b' % msgspec.json.encode(version), b"", 1)


def bodies_agree(one: bytes, other: bytes) -> bool:
    """Whether two bodies give the same answers: equal labels, or values that differ by rounding alone.

    >>> agree(b'{"predictions":[{"label":"a","p":0.9}]}', b'{"predictions":[{"label":"a","p":0.8}]}')
    True
    >>> agree(b'{"predictions":[{"value":1.0}]}', b'{"predictions":[{"value":1.1}]}')
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
    """What counts of a body: labels where there are some, else all of it."""
    if isinstance(body, dict):
        for key in ("predictions", "columns"):
            if key in body:
                return _comparable_values(body[key])
        if "label" in body:
            return body["label"]
        if isinstance(body.get("outputs"), list):
            named = {output["name"]: output.get("data") for output in body["outputs"]}
            return named.get("label", named)
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
