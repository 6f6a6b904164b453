"""Rules of operators that bring elements of an axis together: sums, orders, norms. Never along the rows.

Source: the operators named here in the ONNX specification, with what older versions of them did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepseek.engines.onnx_file.mixing.sizes import ONE, unknown_size
from deepseek.engines.onnx_file.mixing.tensor import (
    NodeCall,
    Rule,
    TracedTensor,
    normalize_axis,
    require,
    require_rows_first,
    resize_axis,
)

_OVER_ROWS = "it goes over the rows"


def reduce(call: NodeCall) -> TracedTensor:
    """ReduceSum and its like. Without axes it goes over all of them, unless an attribute turns that off."""
    tensor = call.only_first_has_rows()
    axes = call.list_of("axes", 1)
    if not axes and call.number("noop_with_empty_axes"):
        return TracedTensor(tensor.axis, tensor.shape)
    return _reduce_axes(call, tensor, axes)


def arg_extreme(call: NodeCall) -> TracedTensor:
    """ArgMax and ArgMin remove, or keep as size 1, the axis that they go over."""
    return _reduce_axes(call, call.input(0), [call.number("axis")])


def _reduce_axes(call: NodeCall, tensor: TracedTensor, axes: Sequence[int] | None) -> TracedTensor:
    if tensor.axis is None and tensor.shape is None:
        return TracedTensor(None, None)
    gone = {normalize_axis(axis, tensor.rank) for axis in axes or range(tensor.rank)}
    require(tensor.axis not in gone, _OVER_ROWS)
    if call.number("keepdims", 1):
        return TracedTensor(tensor.axis, tuple(ONE if axis in gone else size for axis, size in enumerate(tensor.sizes)))
    shape = tuple(size for axis, size in enumerate(tensor.sizes) if axis not in gone)
    return TracedTensor(None if tensor.axis is None else tensor.axis - sum(axis < tensor.axis for axis in gone), shape)


def softmax(call: NodeCall) -> TracedTensor:
    """Softmax, LogSoftmax, Hardmax: along one axis; before opset 13 along that and all behind it, flattened."""
    tensor = call.input(0)
    if tensor.axis is None:
        return TracedTensor(None, tensor.shape)
    if call.version < 13:
        require(tensor.axis < normalize_axis(call.number("axis", 1), tensor.rank), _OVER_ROWS)
    else:
        require(tensor.axis != normalize_axis(call.number("axis", -1), tensor.rank), _OVER_ROWS)
    return tensor


def lp_normalization(call: NodeCall) -> TracedTensor:
    """LpNormalization goes over one axis, the last if none is named."""
    tensor = call.input(0)
    require(tensor.axis is None or tensor.axis != normalize_axis(call.number("axis", -1), tensor.rank), _OVER_ROWS)
    return TracedTensor(tensor.axis, tensor.shape)


def cumulative(call: NodeCall) -> TracedTensor:
    """CumSum and CumProd, whose axis is an input."""
    tensor = call.only_first_has_rows()
    axis = call.input(1).whole_values()
    require(axis is not None and normalize_axis(axis[0], tensor.rank) != tensor.axis, _OVER_ROWS)
    return TracedTensor(tensor.axis, tensor.shape)


def top_k(call: NodeCall) -> Sequence[TracedTensor]:
    """TopK gives values and indices of one axis."""
    tensor = call.only_first_has_rows()
    axis = normalize_axis(call.number("axis", -1), tensor.rank)
    require(axis != tensor.axis, _OVER_ROWS)
    most = call.optional(1)
    size = most.values[0] if most is not None and most.values else unknown_size()
    return [resize_axis(tensor, axis, size)] * 2


def layer_norm(call: NodeCall) -> Sequence[TracedTensor]:
    """LayerNormalization and RMSNormalization: over an axis and all behind it. Its mean and deviation keep the axis."""
    tensor = call.only_first_has_rows()
    axis = normalize_axis(call.number("axis", -1), tensor.rank)
    require(tensor.axis is None or tensor.axis < axis, _OVER_ROWS)
    shape = tuple(ONE if index >= axis else size for index, size in enumerate(tensor.sizes))
    statistics = TracedTensor(tensor.axis, shape, outer=tensor.outer)
    return [replace(tensor, values=None), *[statistics] * (call.num_outputs - 1)]


def batch_norm(call: NodeCall) -> TracedTensor:
    """BatchNormalization with stored statistics. In training they are those of the rows, which older versions show by
    more outputs."""
    tensor = require_rows_first(call.only_first_has_rows())
    is_trained = call.number("training_mode") or (call.version < 7 and not call.number("is_test"))
    require(not is_trained and call.num_outputs == 1, "it takes its statistics from the rows")
    return tensor


def instance_norm(call: NodeCall) -> TracedTensor:
    """InstanceNormalization, GroupNormalization, LRN: they stay within a row, of which the channels come next."""
    return require_rows_first(call.only_first_has_rows())


def mean_variance(call: NodeCall) -> TracedTensor:
    """MeanVarianceNormalization, by default over rows and positions."""
    tensor = call.input(0)
    axes = call.numbers("axes") or (0, 2, 3)
    require(tensor.axis not in {normalize_axis(axis, tensor.rank) for axis in axes}, _OVER_ROWS)
    return tensor


def determinant(call: NodeCall) -> TracedTensor:
    """Det removes the last two axes."""
    tensor = call.input(0)
    require(tensor.axis is None or tensor.axis < tensor.rank - 2, _OVER_ROWS)
    return TracedTensor(tensor.axis, None if tensor.shape is None else tensor.sizes[:-2])


_REDUCE = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
RULES: Mapping[str, Rule] = {
    **{f"Reduce{kind}": reduce for kind in _REDUCE.split()},
    "ArgMax": arg_extreme,
    "ArgMin": arg_extreme,
    "BatchNormalization": batch_norm,
    "CumProd": cumulative,
    "CumSum": cumulative,
    "Det": determinant,
    "GroupNormalization": instance_norm,
    "Hardmax": softmax,
    "InstanceNormalization": instance_norm,
    "LRN": instance_norm,
    "LayerNormalization": layer_norm,
    "LogSoftmax": softmax,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance,
    "RMSNormalization": layer_norm,
    "SimplifiedLayerNormalization": layer_norm,
    "Softmax": softmax,
    "TopK": top_k,
}
