"""The steps of a fitted estimator of scikit-learn: which there are, which can be converted, what their encoders know.

model = fitted_model(search)             # GridSearchCV -> its best estimator
split_steps(model)                       # [("prepare", ColumnTransformer), ...], (LogisticRegression)
check_converters(model)                  # InputError names the step that has no converter
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from deepseek.errors import InputError
from deepseek.extras import need

#: Packages of estimators whose converters come with onnxmltools or with the package itself.
BOOSTERS = ("xgboost", "lightgbm", "catboost")
MAX_MEMBERS = 1_000  # of an ensemble that are looked at


def fitted_model(estimator: Any) -> Any:
    """The estimator that answers: of a search its best one. InputError for what is not fitted, is neither classifier
    nor regressor, or gives no probabilities."""
    model = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(model, BaseEstimator) and package_of(model) not in BOOSTERS:
        raise InputError(
            f"{type(estimator).__name__} is no fitted estimator", expected="an estimator of scikit-learn, LightGBM, "
            "CatBoost or XGBoost, a Pipeline or a search over one", fix="fit it first; a search needs refit=True",
        )  # fmt: skip
    _check_fitted(model)
    if not (is_classifier(model) or is_regressor(model)):
        raise InputError(
            f"{type(model).__name__} neither classifies nor predicts a value",
            expected="a classifier or a regressor as the last step", fix="end the Pipeline with one",
        )  # fmt: skip
    if is_classifier(model) and not hasattr(model, "predict_proba"):
        raise InputError(
            f"{type(split_steps(model)[1]).__name__} gives no probabilities",
            expected="a classifier with predict_proba",
            fix="put it into CalibratedClassifierCV, or take SVC(probability=True)",
        )
    return model


def _check_fitted(model: Any) -> None:
    from sklearn.exceptions import NotFittedError

    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise InputError(
            f"{type(model).__name__} is not fitted", expected="a fitted estimator", fix="call fit() first"
        ) from error


def package_of(estimator: Any) -> str:
    """The package that an estimator comes from."""
    return type(estimator).__module__.partition(".")[0]


def split_steps(model: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The transforming steps of a Pipeline, those of Pipelines inside of it too, and its last estimator."""
    steps: list[tuple[str, Any]] = []
    while isinstance(model, Pipeline):
        steps += [(name, step) for name, step in model.steps[:-1] if step is not None and step != "passthrough"]
        model = model.steps[-1][1]
    return steps, model


def pipeline_steps(transformer: Any) -> list[Any]:
    """The transformers that a step runs one after the other; none for one that passes its columns through."""
    if isinstance(transformer, Pipeline):
        return [part for _, step in transformer.steps for part in pipeline_steps(step)]
    return [] if transformer is None or isinstance(transformer, str) else [transformer]


def splits_in_float32(estimator: Any) -> bool:
    """Whether the trees in an estimator, or in those that it joins, read float32: scikit-learn's (but for those of
    HistGradientBoosting), XGBoost's and CatBoost's do, whatever they are given."""
    waiting, seen = [estimator], 0
    while waiting and seen < MAX_MEMBERS:
        each, seen = waiting.pop(), seen + 1
        module = type(each).__module__
        if module.startswith(
            ("sklearn.tree", "sklearn.ensemble._forest", "sklearn.ensemble._gb", "xgboost", "catboost")
        ):
            return True
        for name in ("estimators_", "calibrated_classifiers_", "estimator_", "estimator", "final_estimator_"):
            member = getattr(each, name, None)
            if isinstance(member, (list, tuple, np.ndarray)):
                waiting += [part for part in np.ravel(np.array(member, object)).tolist() if part is not None]
            elif member is not None and not isinstance(member, str):
                waiting.append(member)
    return False


def walk(estimator: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every estimator that does work itself, by the names on its way: ("prepare.city.onehot", OneHotEncoder)."""
    children: list[tuple[str, Any]] = []
    if isinstance(estimator, Pipeline):
        children = list(estimator.steps)
    elif isinstance(estimator, ColumnTransformer):
        children = [(name, transformer) for name, transformer, _ in estimator.transformers_]
    elif isinstance(estimator, FeatureUnion):
        children = list(estimator.transformer_list)
    elif not isinstance(estimator, str) and estimator is not None:
        yield name or type(estimator).__name__, estimator
    for child_name, child in children:
        yield from walk(child, f"{name}.{child_name}" if name else child_name)


def check_converters(model: Any) -> None:
    """InputError that names the first step that no converter knows, and trees that split on categories themselves."""
    operators = need("skl2onnx._supported_operators", extra="sklearn").sklearn_operator_name_map
    last = split_steps(model)[1]
    for name, step in walk(model):
        package, kind = package_of(step), type(step).__name__
        if package == "catboost" and step is not last:
            raise _unconverted_error(
                name, kind, "CatBoost is converted as the last step alone", "end the Pipeline with it"
            )
        if package in BOOSTERS:
            _check_categories(name, step)
        elif type(step) not in operators or _has_own_function(step):
            why = "it calls a Python function" if _has_own_function(step) else "skl2onnx has no converter for it"
            raise _unconverted_error(name, kind, why, "replace the step, or apply it before the model is called")


def _has_own_function(step: Any) -> bool:
    return type(step).__name__ == "FunctionTransformer" and step.func is not None


def _check_categories(name: str, step: Any) -> None:
    package = package_of(step)
    if package == "xgboost":
        splits_on_categories = "c" in (step.get_booster().feature_types or ())
    elif package == "catboost":
        splits_on_categories = bool(step.get_cat_feature_indices())
    else:  # the lowest bit of a split's type
        lines = [line for line in step.booster_.model_to_string().splitlines() if line.startswith("decision_type=")]
        splits_on_categories = any(int(kind) & 1 for line in lines for kind in line.partition("=")[2].split())
    if splits_on_categories:
        raise _unconverted_error(
            name, type(step).__name__, "it splits on categories itself, which is not converted",
            "put a OneHotEncoder or an OrdinalEncoder before it",
        )  # fmt: skip


def _unconverted_error(name: str, kind: str, why: str, fix: str) -> InputError:
    return InputError(
        f"the step {name!r} ({kind}) cannot become a bundle: {why}", expected="steps that can be converted", fix=fix
    )


def unseen_warnings(model: Any) -> tuple[str, ...]:
    """What a person must know of encoders that refuse a category that they were not fitted on."""
    return tuple(
        f"the step {name!r} ({type(step).__name__}) refuses a category that it was not fitted on; the bundle answers "
        "such a row as if it had none, and flags it as unseen"
        for name, step in walk(model)
        if getattr(step, "handle_unknown", None) == "error"
    )


def known_levels(model: Any, columns: tuple[str, ...]) -> Mapping[str, set[str]]:
    """By column, the texts that the encoders of the first steps were fitted on: categories_ of an encoder that reads
    that column by its place."""
    levels: dict[str, set[str]] = {name: set() for name in columns}
    steps, last = split_steps(model)
    for step in [step for _, step in steps] or [last]:
        if isinstance(step, ColumnTransformer):
            for _, transformer, selected in step.transformers_:
                _add_levels(levels, transformer, column_names(selected, columns))
        else:
            _add_levels(levels, step, columns)
    return levels


def column_names(selected: Any, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that a ColumnTransformer selects: by name, place, slice of places or mask."""
    if isinstance(selected, (str, int)):
        selected = [selected]
    if isinstance(selected, slice):
        return columns[selected] if not isinstance(selected.start, str) else ()
    if len(selected) > 0 and all(isinstance(each, bool) or type(each).__name__ == "bool_" for each in selected):
        return tuple(name for name, is_in in zip(columns, selected, strict=True) if is_in)
    return tuple(str(each) if isinstance(each, str) else columns[each] for each in selected)


def _add_levels(levels: dict[str, set[str]], transformer: Any, names: tuple[str, ...]) -> None:
    for _, step in walk(transformer):
        categories = getattr(step, "categories_", None)
        if isinstance(categories, list) and len(categories) == len(names):
            for name, values in zip(names, categories, strict=True):
                levels[name] |= {value for value in values.tolist() if isinstance(value, str)}
