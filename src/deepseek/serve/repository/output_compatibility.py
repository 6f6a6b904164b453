"""Versions that share the requests of a model need compatible outputs: a client reads all with the same code.

check_compatible("loans", {"v1": output_signature(v1), "v2": output_signature(v2)})   # InputError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from deepseek.errors import InputError
from deepseek.serve.protocols.tensor_rows import output_metadata

if TYPE_CHECKING:
    from deepseek.serve.models.served_model import ServedModel


class OutputSignature(msgspec.Struct, frozen=True):
    """The form of a model's predictions. It is sent between the processes of a group."""

    task: str
    labels: list[str] = []
    outputs: list[str] = []  # "name datatype shape" of each


def output_signature(model: ServedModel) -> OutputSignature:
    """The signature of a model, from its card and its typical prediction."""
    outputs = [f"{output.name} {output.datatype} {output.shape}" for output in output_metadata(model)]
    return OutputSignature(model.task, list(model.card.labels), outputs)


def check_compatible(name: str, signatures: Mapping[str, OutputSignature]) -> None:
    """InputError unless all versions of the model `name` have the same signature, shadows too.

    >>> binary, regression = OutputSignature("binary"), OutputSignature("regression")
    >>> check_compatible("loans", {"v1": binary, "v2": regression})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: the versions of 'loans' cannot share its requests: the task of 'v1' is binary, ...
    """
    if not signatures:
        return
    (first, expected), *others = signatures.items()
    for version, other in others:
        parts = (part for part in OutputSignature.__struct_fields__ if getattr(expected, part) != getattr(other, part))
        if part := next(parts, None):
            raise InputError(
                f"the versions of {name!r} cannot share its requests: the {part} of {first!r} "
                f"{_describe_part(getattr(expected, part))}, of {version!r} {_describe_part(getattr(other, part))}",
                expected="versions with the same task, labels and outputs",
                fix=f"leave {version} out of --route and serve it under a name of its own; versions that change "
                "together are loaded together, by the name alone",
            )


def _describe_part(part: str | list[str]) -> str:
    if isinstance(part, str):
        return f"is {part}"
    return f"are {', '.join(part)[:200] or 'none'}"
