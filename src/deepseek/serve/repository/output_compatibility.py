"""Versions that share the requests of one model have to answer alike: a client reads all of them with the same code.

check_compatible("loans", {"v1": output_signature(v1), "v2": output_signature(v2)})      # InputError that names the
first difference
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepseek.errors import InputError
from deepseek.serve.protocols.tensor_rows import output_metadata

if TYPE_CHECKING:
    from deepseek.serve.models.registry import ServedModel

OutputSignature = dict[str, Any]  # as JSON has it: it travels between processes


def output_signature(model: ServedModel) -> OutputSignature:
    """The form of a model's predictions: task, labels in their order, outputs with their types and shapes."""
    outputs = [f"{each['name']} {each['datatype']} {each['shape']}" for each in output_metadata(model)]
    return {"task": model.task, "labels": list(model.card.labels), "outputs": outputs}


def check_compatible(name: str, forms: Mapping[str, OutputSignature]) -> None:
    """InputError unless all versions of the model `name` have the same signature, shadows too.

    >>> check_compatible("loans", {"v1": {"task": "binary"}, "v2": {"task": "regression"}})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: the versions of 'loans' cannot share its requests: the task of 'v1' is binary, ...
    """
    (first, form), *others = forms.items() or [("", {})]
    for version, other in others:
        part = next((part for part in form if form[part] != other[part]), None)
        if part is not None:
            raise InputError(
                f"the versions of {name!r} cannot share its requests: the {part} of {first!r} "
                f"{_describe_part(form[part])}, of {version!r} {_describe_part(other[part])}",
                expected="versions with the same task, labels and outputs",
                fix=f"leave {version} out of --route and serve it under a name of its own; versions that change "
                "together are loaded together, by the name alone",
            )


def _describe_part(part: Any) -> str:
    if isinstance(part, str):
        return f"is {part}"
    return f"are {', '.join(part)[:200] or 'none'}"
