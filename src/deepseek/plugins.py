"""Names to objects: built-ins and entry points, one find().

    find("engines", "onnxruntime")       # the object, imported now
    names("candidates")                  # every name that find would take

A room lists its own in one table: names to "module:attribute" strings, so that listing them imports nothing heavy, or
objects that carry their `name`. Another package adds to a group in its pyproject.toml, and every listed plugin runs
tests/test_plugins_contract.py:

    [project.entry-points."deepseek.candidates"]
    tabnet = "my_package.tabnet:CANDIDATE"
"""

from __future__ import annotations

import difflib
import importlib
import operator
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from deepseek.errors import InputError, MissingError

#: Group (its entry points are "deepseek.GROUP") to its built-ins, or to where the room keeps that table. Strings: no
#: room is imported from here.
TABLES: dict[str, str | dict[str, str]] = {
    "modalities": "deepseek.data.features.registry:MODALITIES",
    "candidates": "deepseek.train.candidates:BUILT_IN",
    "parts": "deepseek.nn.model:KINDS",
    "engines": "deepseek.engines.registry:ENGINES",
    "explainers": {"additive": "deepseek.explain.tabular.explainer:explainer_for"},
    "sinks": {"metrics": "deepseek.observe.metrics:Metrics", "live": "deepseek.observe.live:LiveStats"},
}

#: Ratios of difflib from which on two words, and two names of several words, are one that is misspelled.
MIN_WORD_LIKENESS, MIN_NAME_LIKENESS = 0.6, 0.85


def find(group: str, name: str) -> Any:
    """The object that `name` stands for in `group`. MissingError names the nearest name that exists."""
    built_in, others = _built_in_plugins(group), _entry_points(group)
    if name in built_in and name in others:
        raise InputError(
            f"{others[name].value} calls itself {name!r} in deepseek.{group}, which is built in",
            fix=f"uninstall that package or ask its authors for another name; {name!r} stays ours",
            expected="a name of its own",
        )
    if name in built_in:
        return _load_target(built_in[name])
    if name in others:
        return _load_target(others[name].value)
    known = names(group)
    raise MissingError(
        f"there is no {name!r} in {group}.{did_you_mean(name, known)}",
        expected=", ".join(known) or "a package that brings one",
        fix="take one of these, or install the package that brings it",
    )


def names(group: str) -> tuple[str, ...]:
    """Every name in `group`: built-ins first, in the room's order, then those of other packages."""
    built_in = _built_in_plugins(group)
    return (*built_in, *(name for name in sorted(_entry_points(group)) if name not in built_in))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    >>> did_you_mean("shp", ["ship", "serve"])
    " Did you mean 'ship'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def did_you_mean_column(name: str, columns: Iterable[str]) -> str:
    """As did_you_mean(), for names of columns: those that differ in a number or in a whole word are different columns.

    >>> did_you_mean_column("are_mean", ["area_mean", "area_worst"]), did_you_mean_column("area_mean", ["area_worst"])
    (" Did you mean 'area_mean'?", '')
    """
    return did_you_mean(name, (column for column in columns if _is_misspelling(name.lower(), column.lower())))


def _is_misspelling(name: str, column: str) -> bool:
    if re.findall(r"\d+", name) != re.findall(r"\d+", column):
        return False
    words, others = re.split(r"[\W_]+", name), re.split(r"[\W_]+", column)
    if len(words) != len(others):
        return difflib.SequenceMatcher(None, name, column).ratio() >= MIN_NAME_LIKENESS
    pairs = zip(words, others, strict=True)
    return all(difflib.SequenceMatcher(None, word, other).ratio() >= MIN_WORD_LIKENESS for word, other in pairs)


def _built_in_plugins(group: str) -> Mapping[str, Any]:
    if group not in TABLES:
        near = did_you_mean(group, TABLES)
        raise MissingError(
            f"there is no plugin group {group!r}.{near}", expected=", ".join(TABLES), fix="take one of these"
        )
    table = _load_target(TABLES[group])
    return table if isinstance(table, Mapping) else {plugin.name: plugin for plugin in table}


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    """Entry points of installed packages. Reading them costs milliseconds, so it is done once."""
    return {point.name: point for point in entry_points(group=f"deepseek.{group}")}


def _load_target(target: Any) -> Any:
    """The object behind a "module:attribute" string; anything else is the object itself."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        return operator.attrgetter(attribute)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{target} cannot be loaded: {error}",
            fix="install what it needs, or remove it",
            expected="a module that can be imported",
        ) from error
