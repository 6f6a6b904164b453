"""A model that xgboost has saved (.ubj or .json), made into a bundle: then it is prepared, run, explained and served as
every other one is.

    bundle = import_xgboost(Path("model.ubj"), cache / "xgboost")       # a folder of its own there

The file is read by our own code with bounds and checked before anything runs it. Trees with numeric splits of these
objectives are taken; others are refused by name. Missing values go the way that each split says
(data/features/missing_values.py). Where
training stopped early, the rounds up to the best one are taken, as scikit-learn's wrapper of xgboost predicts with.
Source of the format: "Introduction to Model IO" in xgboost's documentation and its model schema.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import Bundle, EngineEntry, Lineage, Manifest, Output, check_name, now, write_bundle
from deepseek.bundle.paths import MANIFEST
from deepseek.bundle.read import open_bundle
from deepseek.contracts import Float32, JsonObject, Task
from deepseek.data.features.missing_values import MissingValueEncoder
from deepseek.data.features.prepare import MAX_FEATURES, Column, Preprocessor
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import FLOAT32_MAX
from deepseek.engines.parity import check_engine, check_parity
from deepseek.engines.registry import REFERENCE, Source
from deepseek.engines.tabular.export import export_onnx
from deepseek.engines.tabular.tune import autotune
from deepseek.engines.tabular.ubjson import read_ubjson
from deepseek.errors import CheckError, InputError, IntegrityError, TooLargeError
from deepseek.files import read_bounded
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_learner

MAX_BYTES = 2**30
#: The object "learner" of a file: objective, booster, names of columns. Nothing in it is sure before check_learner().
Learner = JsonObject
#: Part of the folder's name: what another version has made is not used again.
FOLDER_VERSION = 2
OBJECTIVES: Mapping[str, Task] = {
    "binary:logistic": "binary",
    "multi:softprob": "multiclass",
    "multi:softmax": "multiclass",
    "reg:squarederror": "regression",
    "reg:squaredlogerror": "regression",
    "reg:absoluteerror": "regression",
    "reg:pseudohubererror": "regression",
}
#: Rows on which the engines are compared and timed, and the share of their values that is missing.
NUM_CHECK_ROWS, MISSING_SHARE = 500, 0.1
TUNING_BUDGET_S = 0.6
#: Those that a server has. torch would take seconds to import, and trees gain nothing by it.
CHECKED_KINDS = (REFERENCE, "trees")
_SAVE_AGAIN = "save it again with booster.save_model('model.ubj'), or take an unharmed copy"


def import_xgboost(path: Path, folder: Path) -> Bundle:
    """Make the bundle of a file under `folder`, unless it is there already.

    MissingError, TooLargeError, IntegrityError (cut or changed) or InputError (a kind of model that is not run here).
    """
    data = read_bounded(path, MAX_BYTES, what="a model that xgboost has saved", smaller="use fewer trees")
    target = folder / f"{hashlib.sha256(data).hexdigest()}-{_model_name(path)}-{FOLDER_VERSION}"
    if (target / MANIFEST).is_file():
        return open_bundle(target)
    learner = _read_learner(data, path)
    try:
        check_learner(learner)
        learner = cut_at_best_round(learner)
        imported = _import_learner(learner)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise _malformed_error(
            f"a field is missing or of another kind ({type(error).__name__}: {str(error)[:80]})"
        ) from error
    manifest, files = _bundle_contents(imported, path)
    return write_bundle(target, manifest, files, overwrite=True)  # two may make it at once: they make the same


def _read_learner(data: bytes, path: Path) -> Learner:
    """Read the "learner" of a file in either form."""
    if path.suffix.casefold() == ".json":
        try:
            top = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _malformed_error(f"it is not JSON ({str(error)[:80]})") from error
    else:
        top = read_ubjson(data)
    if not isinstance(top, dict) or not isinstance(top.get("learner"), dict):
        raise InputError(
            f"{path} holds no model of xgboost", expected="a file that booster.save_model() wrote", fix=_SAVE_AGAIN
        )
    learner: Learner = top["learner"]
    return learner


def check_learner(learner: Learner) -> None:
    """InputError for a kind of model that is not run here, IntegrityError for trees that cannot be walked."""
    objective = learner["objective"]["name"]
    if objective not in OBJECTIVES:
        raise _unsupported_error(f"its objective is {repr(objective)[:60]}", ", ".join(OBJECTIVES))
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise _unsupported_error(f"its booster is {repr(booster['name'])[:60]}", "gbtree")
    sizes = learner["learner_model_param"]
    if int(sizes.get("num_target", 1)) > 1:
        raise _unsupported_error("it has several targets", "one target")
    if "c" in learner.get("feature_types", ()):
        raise _unsupported_error("it has categorical columns", "columns of numbers")
    num_features = int(sizes["num_feature"])
    if not 0 < num_features <= MAX_FEATURES // 2:
        raise TooLargeError(
            f"the model reads {num_features} columns", expected=f"1 to {MAX_FEATURES // 2}", fix="use fewer columns"
        )
    model = booster["model"]
    trees, num_margins = model["trees"], _num_margins(learner)
    outputs = _read_column(model, "tree_info")
    if not trees or len(trees) != len(outputs):
        raise _malformed_error(f"it has {len(trees)} trees, and says of {len(outputs)} what they add to")
    if num_margins > 10_000 or not ((outputs >= 0) & (outputs < num_margins)).all():
        raise _malformed_error("a tree adds to a class that is not there")
    for number, tree in enumerate(trees):
        problem = tree_problem(tree, num_features)
        if problem:
            raise _malformed_error(f"tree {number}: {problem}")


def cut_at_best_round(learner: Learner) -> Learner:
    """The "learner" without the trees behind its best round, where early stopping has noted one: those trees made the
    answers for held-out rows worse. IntegrityError for a round that is not there."""
    stated = learner.get("attributes", {}).get("best_iteration")
    if stated is None:
        return dict(learner)
    booster = learner["gradient_booster"]
    model = booster["model"]
    ends = model.get("iteration_indptr")
    if ends is None:  # files of older versions do not say
        per_round = max(1, int(learner["learner_model_param"]["num_class"]))
        per_round *= max(1, int(model["gbtree_model_param"].get("num_parallel_tree", 1)))
        ends = range(0, len(model["trees"]) + 1, per_round)
    ends = [int(end) for end in ends]
    best = int(stated)
    if not 0 <= best < len(ends) - 1 or not 0 < ends[best + 1] <= len(model["trees"]):
        raise _malformed_error(f"its best round is {best}, and it has {len(ends) - 1}, counted from 0")
    trees = {name: model[name][: ends[best + 1]] for name in ("trees", "tree_info")}
    return {**learner, "gradient_booster": {**booster, "model": {**model, **trees}}}


def tree_problem(tree: JsonObject, num_features: int) -> str:
    """What is wrong with a tree, in words; nothing when a walk ends in a leaf whichever way it goes."""
    left, right = (_read_column(tree, f"{side}_children").astype(np.int64) for side in ("left", "right"))
    size = len(left)
    columns = [_read_column(tree, "split_conditions", whole=False), _read_column(tree, "split_indices")]
    columns += [_read_column(tree, "default_left"), _read_column(tree, "sum_hessian", whole=False)]
    kinds = _read_column(tree, "split_type") if "split_type" in tree else np.zeros(size, np.int64)
    if not size or any(column.shape != (size,) for column in (right, kinds, *columns)):
        return "its arrays differ in length"
    inner = left != -1
    if kinds[inner].any():
        raise _unsupported_error("it has categorical splits", "splits of numbers")
    children = np.concatenate([left[inner], right[inner]])
    if children.size and (children.min() < 1 or children.max() >= size or len(np.unique(children)) < len(children)):
        return "a node has two parents, or a child that is not there"
    if not (np.abs(columns[0].astype(np.float32)) < FLOAT32_MAX).all():
        return "a threshold or a leaf is not finite"
    if not (np.abs(columns[3].astype(np.float64)) < FLOAT32_MAX).all():
        return "the weight of a node is not finite"
    features = columns[1][inner]
    if features.size and (features.min() < 0 or features.max() >= num_features):
        return "it reads a column that is not there"
    return ""


def _read_column(fields: JsonObject, name: str, *, whole: bool = True) -> NDArray[Any]:
    """A list of a file as an array (N,). ValueError for what holds no numbers, or where they must be `whole` others."""
    column = np.asarray(fields[name])
    if column.ndim != 1 or (column.size and column.dtype.kind not in ("iub" if whole else "iuf")):
        raise ValueError(f"{name} is no list of {'whole ' if whole else ''}numbers")
    return column


def _num_margins(learner: Learner) -> int:
    multiclass = OBJECTIVES[learner["objective"]["name"]] == "multiclass"
    return max(2, int(learner["learner_model_param"]["num_class"])) if multiclass else 1


@dataclass(frozen=True, slots=True)
class _ImportedModel:
    """A file as a model, the preprocessing of its columns, and rows to check engines on."""

    model: Model
    preprocessor: Preprocessor
    rows: Float32  # (N, F) features, to compare and time engines on


def _import_learner(learner: Learner) -> _ImportedModel:
    """Turn a checked "learner" into a model. Raises what fields of another kind raise."""
    task, num_margins = OBJECTIVES[learner["objective"]["name"]], _num_margins(learner)
    columns = _raw_columns(learner)
    preprocessor = Preprocessor(tuple(columns))
    starts = np.cumsum([0, *(len(column.coder.parts) for column in columns)])[:-1]
    both = np.array([len(column.coder.parts) > 1 for column in columns])

    def feature_of(indices: NDArray[Any], goes_left: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(starts[indices] + (both[indices] & ~goes_left))

    table = from_learner(learner, num_margins=num_margins, feature_of=feature_of)
    if not np.isfinite(table.bias).all():
        raise _malformed_error("its base score is not finite")
    num_labels = {"binary": 2, "multiclass": num_margins, "regression": 0}[task]
    labels = tuple(map(str, range(num_labels)))
    scale: Any = "target units" if task == "regression" else "log-odds"
    model = Model(task, labels, scale, (Part("xgboost", table),), bias=(0.0,) * num_margins)
    return _ImportedModel(model, preprocessor, _check_rows(learner, preprocessor))


def _bundle_contents(imported: _ImportedModel, path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and files of the bundle."""
    model, preprocessor = imported.model, imported.preprocessor
    task, labels = model.task, model.labels
    graph = export_onnx(model, len(preprocessor.feature_names)) if find_spec("onnx") is not None else None
    files = {
        **model.to_files(),
        "preprocess.json": preprocessor.to_bytes(),
        "decision.json": json.dumps({"threshold": 0.5 if task == "binary" else None}).encode(),
        "example.json": json.dumps(preprocessor.example()).encode(),
    }
    if graph is not None:
        files["model.onnx"] = graph
    answers = (Output("value", "float32"),) if task == "regression" else (
        Output("label", "str"), Output("probabilities", "float32", (len(labels),))
    )  # fmt: skip
    manifest = Manifest(
        name=_model_name(path), version="1", created=now(), task=task, target="target",
        inputs=preprocessor.inputs(), outputs=answers, labels=labels,
        threshold=0.5 if task == "binary" else None,
        engines=_choose_engines(model, graph, imported.rows), lineage=Lineage(),
    )  # fmt: skip
    return manifest, files


def _raw_columns(learner: Learner) -> list[Column]:
    """The raw columns. A missing value goes left, right, or both ways, as the trees have it."""
    num_features = int(learner["learner_model_param"]["num_feature"])
    stated = learner.get("feature_names") or [f"f{index}" for index in range(num_features)]
    names = list(stated) if isinstance(stated, list) else []
    if len(names) != num_features or len(set(names)) < num_features or not all(_is_column_name(name) for name in names):
        raise _malformed_error("its feature_names are not one name for each column")
    directions = np.zeros((num_features, 2), bool)
    thresholds: list[list[float]] = [[] for _ in names]
    for tree in learner["gradient_booster"]["model"]["trees"]:
        inner = np.asarray(tree["left_children"]) != -1
        features = np.asarray(tree["split_indices"])[inner]
        directions[features, np.where(np.asarray(tree["default_left"], bool)[inner], 0, 1)] = True
        for index, split in zip(features.tolist(), np.asarray(tree["split_conditions"])[inner].tolist(), strict=True):
            thresholds[index].append(split)
    directions[~directions.any(axis=1), 0] = True  # no tree reads it
    return [
        Column(
            name,
            "number_with_gaps",
            "gaps",
            MissingValueEncoder(bool(low), bool(high), _usual_value(column_thresholds)),
        )
        for name, (low, high), column_thresholds in zip(names, directions, thresholds, strict=True)
    ]


def _is_column_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 500 and name.isprintable()


def _usual_value(thresholds: Sequence[float]) -> float:
    """A usual value of a column: the median of the trees' thresholds, to four digits."""
    return float(f"{np.median(thresholds):.4g}") if thresholds else 0.0


def _check_rows(learner: Learner, preprocessor: Preprocessor) -> Float32:
    """Features (N, F) that take every way through the trees: values at and around each column's thresholds, and missing
    ones."""
    rng = np.random.default_rng(0)
    usual = np.array([column.coder.example() for column in preprocessor.columns])
    values = np.repeat(usual[None], NUM_CHECK_ROWS, axis=0)
    for tree in learner["gradient_booster"]["model"]["trees"]:
        inner = np.asarray(tree["left_children"]) != -1
        features = np.asarray(tree["split_indices"])[inner]
        picked_rows = rng.integers(0, NUM_CHECK_ROWS, (len(features), 2))
        splits = np.asarray(tree["split_conditions"], np.float32)[inner]
        values[picked_rows[:, 0], features] = splits
        values[picked_rows[:, 1], features] = np.nextafter(splits, np.float32(-np.inf))
    values[rng.random(values.shape) < MISSING_SHARE] = np.nan
    names = [column.name for column in preprocessor.columns]
    return preprocessor.rows(ColumnarRows(names, values)).features


def _choose_engines(model: Model, graph: bytes | None, rows: Float32) -> tuple[EngineEntry, ...]:
    """Choose the engines that run it, after the parity check. Without the package onnx there is no graph, and the trees
    run alone."""
    if graph is not None:
        source = Source(lambda: model, lambda: graph, rows.shape[1])
        parity = check_parity(model, graph, rows, kinds=CHECKED_KINDS)
        tuning = autotune(source, parity, rows, budget_s=TUNING_BUDGET_S)
        return tuning.entries
    source = Source(lambda: model, lambda: b"", rows.shape[1])
    trees_parity = check_engine(model, model.score(rows), rows, "trees", source)
    if not trees_parity.passes or trees_parity.output_difference is None:
        raise CheckError(
            f"the trees give other answers here than their definition: {trees_parity.to_dict()['max_abs_difference']}",
            expected="differences below the limits of engines/parity.py",
            fix="report it as a bug, with the model",
        )
    return (EngineEntry("trees", "model.json", trees_parity.output_difference, len(rows)),)


def _model_name(path: Path) -> str:
    """The file's own name, when a route and a folder can hold it."""
    try:
        check_name(path.stem)
    except InputError:
        return "model"
    return path.stem


def _unsupported_error(what: str, expected: str) -> InputError:
    return InputError(
        f"this model of xgboost is not run here: {what}",
        expected=expected,
        fix="train it again so, or serve it with xgboost itself",
    )


def _malformed_error(what: str) -> IntegrityError:
    return IntegrityError(
        f"this is no whole model of xgboost: {what}", expected="a model as it saves them", fix=_SAVE_AGAIN
    )
