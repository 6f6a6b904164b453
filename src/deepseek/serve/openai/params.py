"""Parameters of OpenAI's routes, one by one.

    size = Params(body).read("n", int, 1)           # ParamError names the parameter

Source: https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.serve.core.json_body import json_type_name

T = TypeVar("T")

#: Parameters that only label a request; they are accepted and listed as "ignored".
IGNORED_PARAMS = frozenset(
    [
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "parallel_tool_calls",
    ]
)
#: Parameters that are not supported, and the values of each that change nothing.
NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "logit_bias": (None, {}), "suffix": (None, ""), "best_of": (None, 1), "tools": (None, []),
    "tool_choice": (None, "none", "auto"), "functions": (None, []), "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]), "audio": (None,), "prediction": (None,), "moderation": (None,),
    "reasoning_effort": (None, "none"), "verbosity": (None,), "web_search_options": (None,),
}  # fmt: skip


class ParamError(InputError):
    """A parameter of a request that cannot be used."""

    def __init__(self, param: str, message: str, *, expected: str, fix: str = "") -> None:
        super().__init__(message, expected=expected, fix=fix or f"correct {param}, or leave it out")
        self.param = param


def check_tokens(param: str, row: Sequence[Any], vocab_size: int) -> None:
    """ParamError unless every item is the number of a token."""
    if not all(type(item) is int and 0 <= item < vocab_size for item in row):
        raise ParamError(
            param, f"{param} holds a token that does not exist", expected=f"whole numbers from 0 to {vocab_size - 1}"
        )


class Params:
    """The parameters in the JSON object of a request. What is read and cannot be used is a ParamError with its name."""

    def __init__(self, values: JsonObject) -> None:
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        """A parameter as it was sent, not checked."""
        return self._values.get(key, default)

    def check(self, known: Collection[str]) -> None:
        """ParamError for a parameter that is unknown, or not supported with its value."""
        for key in self._values:
            if key in known or key in IGNORED_PARAMS:
                continue
            near = difflib.get_close_matches(key[:100], known, 1)
            raise ParamError(
                key[:100],
                f"there is no parameter {key[:100]!r}",
                expected=near[0] if near else "a parameter of this route",
                fix=f"did you mean {near[0]}?" if near else "leave it out",
            )
        for key, neutral in NEUTRAL_VALUES.items():
            if key in known and key in self._values and self._values[key] not in neutral:
                raise ParamError(key, f"{key} is not supported", expected=f"no {key}", fix=f"leave {key} out")

    @property
    def model_name(self) -> str:
        """The name of the requested model."""
        model = self._values.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= 256:
            raise ParamError(
                "model", f"model is {describe_value(model)}", expected="a name", fix="GET /v1/models lists the names"
            )
        return model

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the parameters that change nothing."""
        return tuple(sorted(key for key in IGNORED_PARAMS if self._values.get(key) is not None))

    def read(self, key: str, kind: type[T], default: T | None) -> T | None:
        """A parameter of exactly this type; null and absent give the default. Integers above 64 bits are refused."""
        value = self._values.get(key)
        if value is None:
            return default
        if type(value) is not kind or (isinstance(value, int) and abs(value) >= 1 << 63):
            names = {int: "a whole number", bool: "true or false", dict: "an object"}
            raise ParamError(key, f"{key} is {describe_value(value)}", expected=names[kind])
        return value

    def number(self, key: str, default: float) -> float:
        """A parameter as a number; null and absent give the default."""
        value = self._values.get(key)
        if value is None:
            return default
        if type(value) not in (int, float):
            raise ParamError(key, f"{key} is {describe_value(value)}", expected="a number")
        return float(max(min(value, 1e9), -1e9))


def call_for_param(param: str, parse: Callable[..., T], value: Any) -> T:
    """The result of `parse(value)`; its InputError becomes a ParamError with the parameter's name."""
    try:
        return parse(value)
    except InputError as error:
        param_error = ParamError(param, error.message, expected=error.expected, fix=error.fix)
        param_error.status, param_error.code = error.status, error.code
        raise param_error from None


def describe_value(value: Any) -> str:
    """A value in words for a message: itself when it is short, else its JSON type.

    >>> describe_value(True), describe_value("x"), describe_value([1])
    ('a boolean', "'x'", 'an array')
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return repr(value)[:100] if not isinstance(value, int) or abs(value) < 1 << 64 else "a very large number"
    return json_type_name(value)
