"""Rules of ONNX-ML: trees, linear models and what prepares their columns. They take rows (N, columns); what has a
single axis is one row to them.

Source: Operators-ml.md of ONNX 1.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, known_size, total_size, unknown_size
from deepseek.engines.onnx_file.mixing.tensor import (
    NodeCall,
    Rule,
    TracedTensor,
    require,
    require_rows_first,
    resize_axis,
    tensor_of_rows,
)


def _table_rows(call: NodeCall) -> TracedTensor:
    return require_rows_first(call.only_first_has_rows(), rank=2)


def classifier(call: NodeCall) -> Sequence[TracedTensor]:
    """Classifiers give a label and a score for each class."""
    num_rows = _table_rows(call).sizes[0]
    label_lists = [call.attributes.get(name) for name in (
        "classlabels_strings", "classlabels_int64s", "classlabels_ints")]  # fmt: skip
    lengths = [len(labels) for labels in label_lists if isinstance(labels, tuple) and labels]
    return [tensor_of_rows(num_rows), tensor_of_rows(num_rows, known_size(lengths[0]) if lengths else None)]


def regressor(call: NodeCall) -> TracedTensor:
    """Regressors give a number for each target."""
    num_targets = call.number("targets", call.number("n_targets", 1))
    return tensor_of_rows(_table_rows(call).sizes[0], known_size(num_targets))


def column_transform(call: NodeCall) -> TracedTensor:
    """Scaler, Normalizer, Imputer: they change each column, or each row by itself."""
    return _table_rows(call)


def each_element(call: NodeCall) -> TracedTensor:
    """LabelEncoder, CategoryMapper, Binarizer: they change each element by itself."""
    tensor = call.input(0)
    return TracedTensor(tensor.axis, tensor.shape)


def one_hot_categories(call: NodeCall) -> TracedTensor:
    """OneHotEncoder adds a last axis of its categories."""
    tensor = call.input(0)
    category_lists = [call.attributes.get(name) for name in ("cats_int64s", "cats_strings")]
    lengths = [len(categories) for categories in category_lists if isinstance(categories, tuple)]
    size: Size = known_size(lengths[0]) if lengths else unknown_size()
    return TracedTensor(tensor.axis, (*tensor.sizes, size))


def feature_extractor(call: NodeCall) -> TracedTensor:
    """ArrayFeatureExtractor picks indices of the last axis, the same for each row; or for each row its indices of a
    list."""
    tensor, index_tensor = call.input(0), call.input(1)
    if index_tensor.axis is not None:
        require(
            not tensor.has_rows and total_size(index_tensor.sizes[: index_tensor.axis]) == ONE,
            "it picks for each row from all of them",
        )
        leading = tensor.sizes[:-1] or (ONE,)
        return TracedTensor(len(leading), (*leading, total_size(index_tensor.sizes)))
    require(tensor.axis is not None and tensor.axis < tensor.rank - 1, "it picks among the rows")
    index_shape = call.input(1).shape
    return resize_axis(tensor, tensor.rank - 1, index_shape[-1] if index_shape else None)


def feature_vectorizer(call: NodeCall) -> TracedTensor:
    """FeatureVectorizer joins columns behind each other."""
    tensors = [require_rows_first(tensor, rank=2) for tensor in call.present]
    require(len({tensor.sizes[0] for tensor in tensors}) == 1, "its tensors have several numbers of rows")
    return tensor_of_rows(tensors[0].sizes[0], None)


RULES: Mapping[str, Rule] = {
    "ArrayFeatureExtractor": feature_extractor,
    "Binarizer": each_element,
    "CategoryMapper": each_element,
    "FeatureVectorizer": feature_vectorizer,
    "Imputer": column_transform,
    "LabelEncoder": each_element,
    "LinearClassifier": classifier,
    "LinearRegressor": regressor,
    "Normalizer": column_transform,
    "OneHotEncoder": one_hot_categories,
    "SVMClassifier": classifier,
    "SVMRegressor": regressor,
    "Scaler": column_transform,
    "TreeEnsemble": regressor,
    "TreeEnsembleClassifier": classifier,
    "TreeEnsembleRegressor": regressor,
}
