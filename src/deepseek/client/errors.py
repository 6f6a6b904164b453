"""An error body back to the error that the server raised, by its code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from deepseek import http_errors
from deepseek.errors import DeepseekError


class UnreachableError(DeepseekError):
    """No server answers at the address, or what answers is none of ours."""

    exit_code = 3
    status = 503
    code = "unreachable"


def error_from_body(status: int, body: bytes, url: str) -> DeepseekError:
    """The error that a server raised, from the response that tells it.

    >>> error = error_from_body(404, b'{"error": {"code": "not_found", "message": "there is no model"}}', "http://x")
    >>> type(error).__name__, error.message
    ('MissingError', 'there is no model')
    """
    try:
        error_object = json.loads(body)["error"]
        fields = {name: str(error_object.get(name, "")) for name in ("code", "message", "expected", "fix")}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # another server's page, a proxy's
        return UnreachableError(
            f"{url} answers with status {status}, and not as this server does",
            expected="a deepseek model server",
            fix="check the address, and what stands between",
        )
    # To OpenAI's clients the message says all, since they show nothing else.
    if fields["expected"]:
        fields["message"] = fields["message"].partition(f" Expected: {fields['expected'].rstrip('.')}")[0]
    kind = _CLASS_BY_CODE.get(fields["code"], DeepseekError)
    error = kind.__new__(kind)  # some have parameters of their own
    DeepseekError.__init__(error, fields["message"], expected=fields["expected"], fix=fields["fix"])
    error.status = status
    return error


def _subclass_tree(kind: type[DeepseekError]) -> Iterator[type[DeepseekError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _subclass_tree(subclass)


def _classes_by_code() -> Mapping[str, type[DeepseekError]]:
    """The class of each code: the one that brought it, not one that inherits it."""
    classes: dict[str, type[DeepseekError]] = {}
    for kind in _subclass_tree(DeepseekError):
        if kind.__module__ in (DeepseekError.__module__, http_errors.__name__):
            classes.setdefault(kind.code, kind)
    return classes


_CLASS_BY_CODE = _classes_by_code()
