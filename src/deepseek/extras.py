"""The only door to a module that may not be installed.

>>> need("json", extra="serve").dumps({})
'{}'
>>> need("no_such_module", extra="train")  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
deepseek.errors.ExtraError: no_such_module is not installed. Expected: the extra 'train'. To mend it: ...
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from deepseek.errors import ExtraError

#: Modules that each room needs beyond the base install; `deepseek doctor` reports on them.
ROOMS: dict[str, tuple[str, ...]] = {
    "data": ("pyarrow", "pandas"),
    "train": ("sklearn", "xgboost", "onnx"),
    "features": ("numba",),
    "nn": ("torch",),
    "automl": ("optuna",),
    "engines": ("onnxruntime",),
    "explain": ("xgboost",),
    "serve": ("httptools", "msgspec", "orjson"),
    "observe": ("prometheus_client",),
    "bundle": ("cryptography",),
    "privacy": ("Crypto", "httpx", "starlette", "tenseal", "uvicorn"),
}


def need(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or raise ExtraError that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".", maxsplit=1)[0] != error.name.split(".")[0]:
            raise
        raise ExtraError(
            f"{module} is not installed", expected=f"the extra {extra!r}", fix=install_advice(extra)
        ) from error


def install_advice(extra: str) -> str:
    """What brings an extra. Not by the package's name: on the public index that name belongs to somebody else.

    >>> install_advice("serve")
    "in the clone of this project: pip install -e '.[serve]'"
    """
    return f"in the clone of this project: pip install -e '.[{extra}]'"


def lazy_attributes(
    package: str, modules: Mapping[str, str], renamed: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported when they are first used: name -> its module there.
    `renamed`: names of the last release -> their names of today; they work, with a warning.

    >>> lazy_attributes("json", {"JSONDecoder": "decoder"})("JSONDecoder").__module__
    'json.decoder'
    """

    def find(name: str) -> Any:
        if name in (renamed or {}):
            return renamed_attributes(package, renamed or {})(name)
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return find


def renamed_attributes(module: str, renamed: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module that goes on answering to names of the last release: old name -> name of today."""

    def find(name: str) -> Any:
        if name not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {module}.{renamed[name]}", DeprecationWarning, stacklevel=3)
        return getattr(importlib.import_module(module), renamed[name])

    return find


def is_installed(module: str) -> bool:
    """Whether `module` could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None
