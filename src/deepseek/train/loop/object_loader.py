"""An object by its name, from a file of the user's or from an installed module: "net.py:build", "torch.nn:MSELoss"."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepseek.errors import InputError, MissingError
from deepseek.plugins import did_you_mean

#: Keyword arguments of a function of the user's, as a job's file gives them.
Arguments = Mapping[str, Any]
#: What a user's code raises when it is wrong.
USER_CODE_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError,
)  # fmt: skip


def load_object(key: str, name: str, home: Path, *, call: bool = False, args: Arguments | None = None) -> Any:
    """The object that `name` stands for, or with `call` what it returns for `args`.

    InputError names the key, and the line at fault in code that does not run.
    """
    source, colon, attribute = name.rpartition(":")
    if not colon or not source or not attribute:
        raise InputError(
            f"{key} is {name!r}", expected="FILE.py:NAME, or MODULE:NAME of an installed module",
            fix=f'such as {key} = "net.py:build"',
        )  # fmt: skip
    module = _load_module(key, source, home)
    if not hasattr(module, attribute):
        public = [entry for entry in dir(module) if not entry.startswith("_")]
        raise MissingError(
            f"{key}: {source} has no {attribute!r}.{did_you_mean(attribute, public)}",
            expected="a function or a class that it defines", fix="check the name",
        )  # fmt: skip
    target = getattr(module, attribute)
    if not call:
        return target
    try:
        return target(**(args or {}))
    except USER_CODE_ERRORS as error:
        raise _user_code_error(f"{key}: {name} fails", error) from error


def _load_module(key: str, source: str, home: Path) -> Any:
    if not source.endswith(".py"):
        try:
            return importlib.import_module(source)
        except USER_CODE_ERRORS as error:
            raise _user_code_error(f"{key}: {source} cannot be imported", error) from error
    path = (home / source).resolve()
    if not path.is_file():
        raise MissingError(
            f"{key}: there is no file {path}", expected="a Python file", fix="check the name and the folder"
        )
    cached = sys.modules.get(_module_name(path))
    if cached is not None:  # the model and the data may stand in one file
        return cached
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    assert spec is not None and spec.loader is not None  # noqa: PT018, S101 - it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[_module_name(path)] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except USER_CODE_ERRORS as error:
        del sys.modules[_module_name(path)]
        raise _user_code_error(f"{key}: {source} cannot be imported", error) from error
    return module


def _module_name(path: Path) -> str:
    return f"deepseek_job_{path.stem}_{abs(hash(path))}"


def _user_code_error(what: str, error: BaseException) -> InputError:
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if "deepseek/train" not in frame.filename]
    where = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
    return InputError(
        f"{what}: {type(error).__name__}: {error}{where}", expected="code that runs", fix="mend it, or its arguments"
    )
