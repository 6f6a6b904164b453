"""Rules of ONNX-ML: trees, linear models and what prepares their columns. They take rows (N, columns); what has a
single axis is one row to them.

Source: Operators-ml.md of ONNX 1.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, known, total, unknown
from deepseek.engines.onnx_file.mixing.tensor import Call, Rule, Tensor, check, rows_by, rows_first, with_axis


def _rows(call: Call) -> Tensor:
    return rows_first(call.only_first_has_rows(), rank=2)


def classifier(call: Call) -> Sequence[Tensor]:
    """A label and a score for each class."""
    num_rows = _rows(call).sizes[0]
    names = [call.attributes.get(name) for name in (
        "classlabels_strings", "classlabels_int64s", "classlabels_ints")]  # fmt: skip
    lengths = [len(found) for found in names if isinstance(found, tuple) and found]
    return [rows_by(num_rows), rows_by(num_rows, known(lengths[0]) if lengths else None)]


def regressor(call: Call) -> Tensor:
    """A number for each target."""
    num_targets = call.number("targets", call.number("n_targets", 1))
    return rows_by(_rows(call).sizes[0], known(num_targets))


def columns(call: Call) -> Tensor:
    """Scaler, Normalizer, Imputer: each column, or each row by itself."""
    return _rows(call)


def each(call: Call) -> Tensor:
    """LabelEncoder, CategoryMapper, Binarizer: each element."""
    tensor = call.input(0)
    return Tensor(tensor.axis, tensor.shape)


def categories(call: Call) -> Tensor:
    """OneHotEncoder: a new last axis."""
    tensor = call.input(0)
    lists = [call.attributes.get(name) for name in ("cats_int64s", "cats_strings")]
    lengths = [len(found) for found in lists if isinstance(found, tuple)]
    size: Size = known(lengths[0]) if lengths else unknown()
    return Tensor(tensor.axis, (*tensor.sizes, size))


def extract(call: Call) -> Tensor:
    """ArrayFeatureExtractor: places of the last axis, the same for each row; or for each row its places of a list."""
    tensor, own = call.input(0), call.input(1)
    if own.axis is not None:
        check(not tensor.has_rows and total(own.sizes[: own.axis]) == ONE, "it picks for each row from all of them")
        ahead = tensor.sizes[:-1] or (ONE,)
        return Tensor(len(ahead), (*ahead, total(own.sizes)))
    check(tensor.axis is not None and tensor.axis < tensor.rank - 1, "it picks among the rows")
    places = call.input(1).shape
    return with_axis(tensor, tensor.rank - 1, places[-1] if places else None)


def join(call: Call) -> Tensor:
    """FeatureVectorizer: columns behind each other."""
    tensors = [rows_first(tensor, rank=2) for tensor in call.present]
    check(len({tensor.sizes[0] for tensor in tensors}) == 1, "its tensors have several numbers of rows")
    return rows_by(tensors[0].sizes[0], None)


RULES: Mapping[str, Rule] = {
    "ArrayFeatureExtractor": extract,
    "Binarizer": each,
    "CategoryMapper": each,
    "FeatureVectorizer": join,
    "Imputer": columns,
    "LabelEncoder": each,
    "LinearClassifier": classifier,
    "LinearRegressor": regressor,
    "Normalizer": columns,
    "OneHotEncoder": categories,
    "SVMClassifier": classifier,
    "SVMRegressor": regressor,
    "Scaler": columns,
    "TreeEnsemble": regressor,
    "TreeEnsembleClassifier": classifier,
    "TreeEnsembleRegressor": regressor,
}
