"""Runs in the learner's process: installs the plugin as pip would, and asks the framework for its modality."""

from __future__ import annotations

import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.data.features.kinds import find_kinds
from deepseek.data.features.modality import ColumnProfile
from deepseek.data.features.prepare import Preprocessor, fit_preprocessor
from deepseek.data.table.table import Table
from deepseek.errors import DeepseekError
from deepseek.plugins import find, names

GROUP = "deepseek.modalities"
MAX_WORDS = 160


def install(folder: Path) -> str:
    """Put the package where Python and the framework find it; what is wrong, in words, or ""."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        points = {str(name): str(value) for name, value in project["entry-points"][GROUP].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"pyproject.toml: {type(error).__name__}: {error}"[:MAX_WORDS]
    info = Path.home() / "installed" / "plugin_of_the_lab-0.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-the-lab\nVersion: 0.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}", encoding="utf-8")
    source = folder / "src" if (folder / "src").is_dir() else folder
    sys.path[:0] = [str(source.resolve()), str(info.parent)]
    return ""


def describe(_learner: Any, name: str) -> JsonObject:
    """Whether the modality is there under its name, and what is wrong with its form."""
    if problem := install(Path("plugin")):
        return {"problem": problem}
    if name not in names("modalities"):
        return {"problem": f"no entry point is called {name}"}
    try:
        modality = find("modalities", name)
    except DeepseekError as error:
        return {"problem": error.message[:MAX_WORDS]}
    return {"problem": "", "wrong": _wrong_form(modality, name)}


def _wrong_form(modality: Any, name: str) -> str:
    if getattr(modality, "name", None) != name or tuple(getattr(modality, "kinds", ())) != (name,):
        return f"name and kinds are {getattr(modality, 'name', None)!r} and {getattr(modality, 'kinds', None)!r}"
    coder = getattr(modality, "coder", None)
    if not dataclasses.is_dataclass(coder) or not coder.__dataclass_params__.frozen:
        return "coder is no frozen dataclass"
    return ""


def table_of(values: Any) -> Table:
    column = np.array(values, float)
    other = np.arange(len(column)) % 7 + 0.5
    return Table({"direction": column, "load": other}, {"direction": "number", "load": "number"})


def fit(values: Any, name: str) -> Preprocessor:
    """A preprocessor of both columns, as ship fits it."""
    table = table_of(values)
    kinds = find_kinds(table, target=None, overrides={"direction": name})
    return fit_preprocessor(table, kinds, target="")


def own_features(preprocessor: Preprocessor, features: Any) -> Any:
    return features[:, [place for place, owner in enumerate(preprocessor.owners()) if owner == "direction"]]


def features_of(_learner: Any, name: str, train: Any, values: Any) -> Any:
    """The features of the directions, fitted on others; or what the framework says."""
    install(Path("plugin"))
    preprocessor = fit(train, name)
    return own_features(preprocessor, preprocessor.table(table_of(values)).features)


def contract(_learner: Any, name: str, train: Any, values: Any) -> str:
    """What does not hold, in words; "" where all does."""
    install(Path("plugin"))
    preprocessor, table = fit(train, name), table_of(values)
    by_table = preprocessor.table(table).features
    if not np.isfinite(by_table).all():
        return "features are not finite"
    again = Preprocessor.from_bytes(preprocessor.to_bytes())
    if again.to_bytes() != preprocessor.to_bytes() or not np.array_equal(again.table(table).features, by_table):
        return "after to_bytes and from_bytes the features are others"
    columns = zip(table.column("direction").tolist(), table.column("load").tolist(), strict=True)
    records = [{"direction": direction, "load": load} for direction, load in columns]
    if not np.array_equal(preprocessor.rows(records).features, by_table):
        return "rows() and table() give different numbers"
    one_by_one = np.concatenate([preprocessor.rows([record]).features for record in records])
    if not np.array_equal(one_by_one, by_table):
        return "a row alone and among others gives different numbers"
    example = next(each.coder for each in preprocessor.columns if each.name == "direction").example()
    if not isinstance(example, int | float):
        return f"example() is {example!r}, no number"
    return ""


def bad_values(_learner: Any, name: str, train: Any) -> JsonObject:
    """What becomes of values that are none."""
    install(Path("plugin"))
    preprocessor = fit(train, name)
    values = [1.0, float("nan"), 2.0]
    batch = preprocessor.table(table_of(values))
    flags = [(flag.row, flag.what) for flag in batch.flags if flag.column == "direction"]
    one = preprocessor.rows([{"direction": None, "load": 0.5}])
    text = _error_of(lambda: preprocessor.rows([{"direction": "north by chance", "load": 0.5}]))
    profile = ColumnProfile.from_table(table_of(train), "direction")
    return {
        "finite": bool(np.isfinite(batch.features).all() and np.isfinite(one.features).all()),
        "flags": [list(flag) for flag in flags],
        "one": [flag.what for flag in one.flags if flag.column == "direction"],
        "text": text,
        "claims": str(find("modalities", name).claims(profile) or ""),
    }  # fmt: skip


def _error_of(call: Any) -> str:
    try:
        call()
    except (ValueError, DeepseekError) as error:
        return type(error).__name__
    return ""


def measure(learner: Any, name: str, train: JsonObject, held: JsonObject) -> JsonObject:
    """What the learner's benchmark gives."""
    install(Path("plugin"))
    preprocessor = fit(train["direction"], name)

    def encode(values: Any) -> Any:
        return own_features(preprocessor, preprocessor.table(table_of(values)).features)

    return {str(key): float(value) for key, value in learner.measure(encode, train, held).items()}
