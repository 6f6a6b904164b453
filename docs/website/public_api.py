"""The public names of the package: what `__all__` of the package and of its rooms lists, and the errors.

    public_names("bundle")[0]       # PublicName(module='deepseek.bundle', name='FORMAT', ...)

tests/docs holds that each has a docstring (a constant: a comment), and that none only repeats its name.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deepseek

#: Words that say nothing about what a name stands for.
EMPTY_WORDS = frozenset(("a", "an", "the", "of", "and", "or", "to", "is", "it", "its", "this", "that", "for", "in",
                         "on", "by", "with", "one", "all", "get", "set", "return", "value", "class"))  # fmt: skip
_NOT_IMPORTED = frozenset(("__main__", "moved"))


@dataclass(frozen=True, slots=True)
class PublicName:
    """One public name and the object that it stands for."""

    module: str  # where it is public
    name: str
    value: Any

    @property
    def definition(self) -> str:
        """Where its code stands, as mkdocstrings looks for it; "" for a constant.

        >>> public_names("optimizers")[0].definition
        'deepseek.optimizers.adaptive.AdaptiveOptimizer'
        """
        if not (inspect.isclass(self.value) or inspect.isroutine(self.value)):
            return ""
        return f"{self.value.__module__}.{self.value.__qualname__}"

    @property
    def summary(self) -> str:
        """Its docstring; of a constant the comment above it or behind it in the file that defines it."""
        if inspect.isclass(self.value) or inspect.isroutine(self.value) or inspect.ismodule(self.value):
            return inspect.getdoc(self.value) or ""
        return constant_comment(self.module, self.name)


def rooms() -> list[str]:
    """Modules of the package that list public names, and the errors; "" is the package itself."""
    names = [module.name for module in pkgutil.iter_modules(deepseek.__path__) if module.name not in _NOT_IMPORTED]
    return ["", *(name for name in names if public_names(name))]


def public_names(room: str) -> list[PublicName]:
    """What is public in a room, in the order of its `__all__`."""
    module = importlib.import_module(f"deepseek.{room}" if room else "deepseek")
    if room == "errors":
        listed = [name for name, value in vars(module).items() if inspect.isclass(value)]
    else:
        listed = list(getattr(module, "__all__", ()))
    return [PublicName(module.__name__, name, getattr(module, name)) for name in listed]


def members(public: PublicName) -> list[tuple[str, str]]:
    """Public methods and properties that a class defines itself, each with its docstring."""
    if not inspect.isclass(public.value):
        return []
    rows = []
    for name, value in vars(public.value).items():
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            rows.append((name, value.__doc__ or ""))
        elif inspect.isfunction(getattr(value, "__func__", value)):
            rows.append((name, inspect.getdoc(getattr(public.value, name)) or ""))
    return rows


def constant_comment(module: str, name: str) -> str:
    """The comment of a constant: `#:` above its assignment, or `#` behind it. Where the module only passes the name on,
    the modules of its package are looked through."""
    source = importlib.import_module(module).__file__
    if source is None:
        return ""
    files = [Path(source), *sorted(Path(source).parent.rglob("*.py") if source.endswith("__init__.py") else ())]
    for file in files:
        lines = file.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            if not re.match(rf"{name}(?:: [^=]+)? = ", line):
                continue
            above = number
            while above and lines[above - 1].startswith("#:"):
                above -= 1
            text = " ".join(comment.removeprefix("#:").strip() for comment in lines[above:number])
            if text or "  # " in line:
                return text or line.rpartition("  # ")[2]
    return ""


def only_repeats(name: str, docstring: str) -> bool:
    """Whether the first paragraph of a docstring says no more than the name.

    >>> only_repeats("TrainConfig", "The train config."), only_repeats("TrainConfig", "How long a run goes on.")
    (True, False)
    """
    return _words(docstring.split("\n\n", maxsplit=1)[0]) - EMPTY_WORDS <= _words(name)


def _words(text: str) -> set[str]:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", text)
    return {re.sub(r"(?:es|s|ed|ing)$", "", word.lower()) for word in re.findall(r"[A-Za-z]+", split)}
