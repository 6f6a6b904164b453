"""A fitted estimator as one ONNX graph from prepared features to its scores, by skl2onnx, onnxmltools or CatBoost.

    for route in routes(split_steps(model)[1]):
        graph = make_graph(model, columns, route)       # features (N, F) float32 -> "score" (N, K) float32

The transforming steps and the last estimator are converted one by one: arithmetic in float64, as scikit-learn does it,
and trees in float32, as onnxruntime runs them. Which of the routes agrees best with the estimator is for who compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from deepseek.data.features.wide_numbers import MISSING_HEAD
from deepseek.engines.graph import DOUBLE, FLOAT, INT64, ML_DOMAIN, OPSET_VERSION, OnnxGraphBuilder
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.integrations.sklearn.columns import ColumnEntry, ModelColumns
from deepseek.integrations.sklearn.steps import (
    column_names,
    package_of,
    pipeline_steps,
    split_steps,
    splits_in_float32,
    walk,
)

Precision = Literal["float64", "float32"]
ML_VERSION = 3  # of the operators for trees: every onnxruntime that is admitted runs them
UNKNOWN_TEXT = "\uffff"  # what a text is that is missing or was never seen: no level of a column
_ONNX_TYPES = {"float64": DOUBLE, "float32": FLOAT}
#: What converters raise for a step that they know and cannot convert.
_CONVERTER_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """The precision of the transforming steps and of the last estimator."""

    steps: Precision
    last: Precision


def routes(last: Any) -> tuple[Route, ...]:
    """The routes in the order in which they are tried: that of the estimator's own arithmetic is first."""
    exact, mixed, plain = Route("float64", "float64"), Route("float64", "float32"), Route("float32", "float32")
    return (mixed, plain, exact) if splits_in_float32(last) else (exact, mixed, plain)


def make_graph(model: Any, columns: ModelColumns, route: Route) -> bytes:
    """The graph of a fitted model. Its score is the probability (N, 1) of the second of two classes, the probabilities
    (N, K) of more, or the value (N, 1). InputError where a converter fails."""
    steps, last = split_steps(model)
    builder = OnnxGraphBuilder("features", num_features=len(columns.preprocessor.feature_names))
    transformers = [part for _, step in steps for part in pipeline_steps(step)]
    if transformers and isinstance(transformers[0], ColumnTransformer):
        matrix = _add_column_transformer(builder, columns, transformers[0], route.steps)
        for step in transformers[1:]:
            matrix = _add_step(builder, step, matrix, route.steps)
    else:
        matrix = _add_steps(builder, columns.entries, transformers, route.steps, last)
    matrix = builder.add("Cast", matrix, to=_ONNX_TYPES[route.last])
    score = builder.embed(_convert_last(last, route.last), matrix, output=1 if is_classifier(last) else 0)
    num_scores = len(last.classes_) if is_classifier(last) else 1
    if is_classifier(last) and num_scores == 2:
        score = builder.add("Gather", score, builder.constant(np.array([1], np.int64)), axis=1)
    builder.output("score", score, width=1 if num_scores <= 2 else num_scores)
    return builder.to_bytes(ml_version=ML_VERSION)


def _add_numbers(builder: OnnxGraphBuilder, entries: Sequence[ColumnEntry], precision: Precision) -> str:
    """Columns of numbers as they were, (N, M), NaN where one is missing."""
    places = np.array([entry.feature for entry in entries], np.int64)
    head = builder.add("Gather", "features", builder.constant(places), axis=1)
    rest = builder.add("Gather", "features", builder.constant(places + 1), axis=1)
    total = builder.add("Add", builder.add("Cast", head, to=DOUBLE), builder.add("Cast", rest, to=DOUBLE))
    is_missing = builder.add("LessOrEqual", head, builder.constant(np.array(MISSING_HEAD, np.float32)))
    numbers = builder.add("Where", is_missing, builder.constant(np.array(np.nan)), total)
    return builder.add("Cast", numbers, to=_ONNX_TYPES[precision])


def _add_text(builder: OnnxGraphBuilder, entry: ColumnEntry, missing_text: str) -> str:
    """One column of texts (N, 1): its level, UNKNOWN_TEXT for what was never seen, `missing_text` for what is not
    there."""
    code, is_missing = (
        builder.add("Gather", "features", builder.constant(np.array([place], np.int64)), axis=1)
        for place in (entry.feature, entry.missing_feature)
    )
    texts = builder.constant(np.array([UNKNOWN_TEXT, *entry.levels, missing_text], object))
    level = builder.add("Cast", code, to=INT64)
    first, last, missing = (
        builder.constant(np.array(value)) for value in (0, len(entry.levels), len(entry.levels) + 1)
    )
    is_beyond = builder.add("Or", builder.add("Less", level, first), builder.add("Greater", level, last))
    known = builder.add("Where", is_beyond, first, level)
    is_absent = builder.add("Greater", is_missing, builder.constant(np.array(0.5, np.float32)))
    return builder.add("Gather", texts, builder.add("Where", is_absent, missing, known), axis=0)


def _add_steps(
    builder: OnnxGraphBuilder, entries: Sequence[ColumnEntry], steps: Sequence[Any], precision: Precision, reader: Any
) -> str:
    """Columns as one matrix, then each step in turn. `reader`: who reads the matrix where there are no steps."""
    texts = [entry for entry in entries if entry.is_text]
    if not texts:
        matrix = _add_numbers(builder, entries, precision)
    elif len(texts) < len(entries):
        raise InputError(
            f"column {texts[0].name!r} holds texts, and {type([*steps, reader][0]).__name__} reads numbers beside it",
            expected="a ColumnTransformer that encodes the columns of texts",
            fix=f"begin the Pipeline with one, for example OneHotEncoder for {texts[0].name!r}",
        )
    else:
        missing_texts = [UNKNOWN_TEXT] * len(texts)
        if steps and isinstance(steps[0], SimpleImputer):
            missing_texts, steps = [str(text) for text in steps[0].statistics_], steps[1:]
        parts = [_add_text(builder, entry, text) for entry, text in zip(texts, missing_texts, strict=True)]
        matrix = parts[0] if len(parts) == 1 else builder.add("Concat", *parts, axis=1)
        if not steps:
            raise InputError(
                f"column {texts[0].name!r} holds texts when the last estimator reads it", expected="numbers",
                fix="encode it first, for example by OneHotEncoder",
            )  # fmt: skip
    for place, step in enumerate(steps):
        matrix = _add_step(builder, step, matrix, precision, is_text=bool(texts) and not place)
    return matrix


def _add_step(builder: OnnxGraphBuilder, step: Any, matrix: str, precision: Precision, *, is_text: bool = False) -> str:
    """What one transformer gives for a matrix (N, M), as numbers of `precision`."""
    if _is_passthrough(step):
        return matrix
    if isinstance(step, SimpleImputer) and not is_text and _is_plain(step):
        usual = np.asarray(step.statistics_, precision)[None]
        return builder.add("Where", builder.add("IsNaN", matrix), builder.constant(usual), matrix)
    proto = _convert(Pipeline([("step", step)]), _matrix_type(precision, step.n_features_in_, is_text=is_text))
    return builder.add("Cast", builder.embed(proto.SerializeToString(), matrix), to=_ONNX_TYPES[precision])


def _is_plain(imputer: Any) -> bool:
    """Whether an imputer of numbers puts a number where NaN is, and nothing else."""
    missing, usual = imputer.missing_values, np.asarray(imputer.statistics_)
    return (
        isinstance(missing, float)
        and np.isnan(missing)
        and not imputer.add_indicator
        and bool(np.isfinite(usual).all())
    )


def _add_column_transformer(
    builder: OnnxGraphBuilder, columns: ModelColumns, transformer: ColumnTransformer, precision: Precision
) -> str:
    """What a ColumnTransformer gives, (N, D): each of its transformers converted by itself, for their results may be of
    several types, which skl2onnx does not join."""
    by_name = {entry.name: entry for entry in columns.entries}
    parts = []
    for _, inner, selected in transformer.transformers_:
        entries = [by_name[name] for name in column_names(selected, tuple(by_name))]
        if entries and not (isinstance(inner, str) and inner == "drop"):
            parts.append(_add_steps(builder, entries, pipeline_steps(inner), precision, transformer))
    return parts[0] if len(parts) == 1 else builder.add("Concat", *parts, axis=1)


def _is_passthrough(step: Any) -> bool:
    """Whether scikit-learn has put this step where a user wrote "passthrough"."""
    return isinstance(step, FunctionTransformer) and step.func is None


def _matrix_type(precision: Precision, width: int, *, is_text: bool = False) -> list[tuple[str, Any]]:
    """What skl2onnx is told of a matrix (N, width)."""
    types = need("skl2onnx.common.data_types", extra="sklearn")
    number = types.DoubleTensorType if precision == "float64" else types.FloatTensorType
    return [("X", (types.StringTensorType if is_text else number)([None, width]))]


def _convert(model: Any, input_types: list[tuple[str, Any]], options: Any = None) -> Any:
    """The ONNX model of scikit-learn's converter. InputError in its words.

    A text that an encoder was not fitted on is none of its levels, whether it would have refused it or not: a server
    answers such a row, with a flag.
    """
    skl2onnx = need("skl2onnx", extra="sklearn")
    for _, step in walk(model):
        _register_converters(package_of(step))
    try:
        proto = skl2onnx.convert_sklearn(
            model, initial_types=input_types, options=options, target_opset={"": OPSET_VERSION, ML_DOMAIN: ML_VERSION}
        )
    except _CONVERTER_ERRORS as error:
        names, words = ", ".join(type(step).__name__ for _, step in walk(model)), " ".join(str(error).split())
        raise InputError(
            f"{names} cannot be converted: {words[:300]}", expected="steps that skl2onnx converts",
            fix="replace the step that it names, or apply it before the model is called",
        ) from error  # fmt: skip
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "OneHotEncoder" and attribute.name == "zeros":
                attribute.i = 1
    return proto


def _convert_last(last: Any, precision: Precision) -> bytes:
    """The last estimator, from a matrix (N, F): label and probabilities, or the value."""
    if package_of(last) == "catboost":
        return _convert_catboost(last)
    if hasattr(last, "flatten_transform"):  # of VotingClassifier; it changes transform() alone, and is not converted
        last = copy(last)
        last.flatten_transform = False
    options = {id(last): {"zipmap": False}} if is_classifier(last) else None
    proto = _convert(last, _matrix_type(precision, last.n_features_in_), options)
    data: bytes = proto.SerializeToString()
    return data


def _convert_catboost(last: Any) -> bytes:
    """CatBoost's own export, without the node that turns probabilities into a list of maps."""
    proto = need("catboost.utils", extra="sklearn").convert_to_onnx_object(last)
    for node in [node for node in proto.graph.node if node.op_type == "ZipMap"]:
        probabilities = next(value for value in proto.graph.output if value.name == node.output[0])
        probabilities.name = node.input[0]
        proto.graph.node.remove(node)
    data: bytes = proto.SerializeToString()
    return data


def _register_converters(package: str) -> None:
    """Tell skl2onnx of onnxmltools' converters for a package of boosted trees."""
    if package not in ("xgboost", "lightgbm"):
        return
    library = need(package, extra="sklearn")
    tools = need("onnxmltools.convert", extra="sklearn").__name__
    shapes = need("skl2onnx.common.shape_calculator", extra="sklearn")
    register = need("skl2onnx", extra="sklearn").update_registered_converter
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    if package == "xgboost":
        convert = need(f"{tools}.xgboost.operator_converters.XGBoost", extra="sklearn").convert_xgboost
        classes = (library.XGBClassifier, library.XGBRegressor)
    else:
        convert = _lightgbm_converter(need(f"{tools}.lightgbm.operator_converters.LightGbm", extra="sklearn"))
        classes = (library.LGBMClassifier, library.LGBMRegressor)
    register(
        classes[0], f"Deepseek{classes[0].__name__}", shapes.calculate_linear_classifier_output_shapes, convert,
        options=options,
    )  # fmt: skip
    register(classes[1], f"Deepseek{classes[1].__name__}", shapes.calculate_linear_regressor_output_shapes, convert)


def _lightgbm_converter(module: Any) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        operator.split = None  # an option of onnxmltools that skl2onnx does not set
        module.convert_lightgbm(scope, operator, container)

    return convert
