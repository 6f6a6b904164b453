"""The arguments of a call of torch by their names, however they were handed over.

    bind_arguments(torch.Tensor.var, "var", (x, 1, False), {})        {"input": x, "dim": 1, "unbiased": False, ...}

Python functions are read by inspect.signature, built-in ones by the schemas of their overloads, in the order in which
torch tries them. `self` is called input, and NumPy's `axis` and `keepdims` dim and keepdim.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Arguments = dict[str, Any]  # of a call, by name: any values that torch takes
_SYNONYMS = {"self": "input", "axis": "dim", "keepdims": "keepdim"}
_NOT_INTEGERS = (torch.dtype, torch.layout, torch.memory_format)  # integers in a schema, names in Python


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an overload. `kind` is its type in words of TorchScript; "" takes anything."""

    name: str
    kind: str
    is_required: bool
    is_keyword_only: bool
    default: Any = None


_OVERLOADS: dict[Any, tuple[tuple[Parameter, ...], ...]] = {}


def bind_arguments(func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Arguments) -> Arguments | None:
    """Every argument of a call, defaults included. `name` is that of the operator in torch's schemas. None where no
    signature is known that these arguments fit."""
    overloads = _OVERLOADS.get(func)
    if overloads is None:
        overloads = _OVERLOADS[func] = _overloads_of(func, name)
    named = {_SYNONYMS.get(key, key): value for key, value in kwargs.items()}
    for parameters in overloads:
        arguments = _match_parameters(parameters, args, named)
        if arguments is not None:
            return arguments
    return None


def _match_parameters(parameters: tuple[Parameter, ...], args: Sequence[Any], kwargs: Arguments) -> Arguments | None:
    positional = [each for each in parameters if not each.is_keyword_only]
    if len(args) > len(positional):
        return None
    arguments = dict(zip((each.name for each in positional), args, strict=False))
    if arguments.keys() & kwargs.keys():
        return None
    arguments |= kwargs
    for each in parameters:
        if each.name not in arguments:
            if each.is_required:
                return None
            arguments[each.name] = each.default
        elif not _fits(arguments[each.name], each.kind):
            return None
    return arguments if len(arguments) == len(parameters) else None


def _overloads_of(func: Callable[..., Any], name: str) -> tuple[tuple[Parameter, ...], ...]:
    inner = getattr(func, "__closure__", None) and inspect.getclosurevars(func).nonlocals.get("if_false")
    try:
        signature = inspect.signature(inner or func)  # max_pool2d and its like choose between two functions
    except (ValueError, TypeError):
        return (
            tuple(map(_parameters_from_schema, torch._C._jit_get_schemas_for_operator(f"aten::{name}")))
            or _OPERATOR_OVERLOADS
        )
    kinds = {each.kind for each in signature.parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return ()
    return (tuple(_parameter_from_python(each) for each in signature.parameters.values()),)


def _parameter_from_python(parameter: inspect.Parameter) -> Parameter:
    is_required = parameter.default is inspect.Parameter.empty
    return Parameter(
        _SYNONYMS.get(parameter.name, parameter.name), "", is_required,
        parameter.kind is inspect.Parameter.KEYWORD_ONLY, None if is_required else parameter.default,
    )  # fmt: skip


def _parameters_from_schema(schema: Any) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            _SYNONYMS.get(each.name, each.name), _type_words(each), not each.has_default_value(), each.kwarg_only,
            each.default_value if each.has_default_value() else None,
        )
        for each in schema.arguments
    )  # fmt: skip


def _type_words(argument: Any) -> str:
    kind = str(argument.type)
    return kind.replace("List[int]", "List[int] or int") if getattr(argument, "N", None) else kind


#: a + b and its like, which are no operators by these names.
_OPERATOR_OVERLOADS = ((Parameter("input", "", True, False), Parameter("other", "", True, False)),)


def _fits(value: Any, kind: str) -> bool:
    """Whether torch takes a value for a parameter of this type."""
    if kind.startswith("Optional["):
        return value is None or _fits(value, kind[len("Optional[") : -1])
    if kind.startswith("List["):
        if isinstance(value, (tuple, list)):
            return all(_fits(each, kind[len("List[") :].split("]", maxsplit=1)[0]) for each in value)
        return kind.endswith(" or int") and _fits(value, "int")
    types = _TYPES.get(kind)
    return types is None or (isinstance(value, types) and (kind == "bool" or not isinstance(value, bool)))


#: What stands for a type of TorchScript in Python; yes and no are no numbers there.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "Tensor": Tensor, "bool": bool, "str": str, "float": (int, float), "number": (int, float, complex),
    "int": (int, *_NOT_INTEGERS), "SymInt": (int, *_NOT_INTEGERS),
}  # fmt: skip


def first_operand(args: Sequence[Any], kwargs: Arguments) -> Any:
    """The operand of a call that has one."""
    return args[0] if args else next((kwargs[name] for name in ("input", "self") if name in kwargs), None)
