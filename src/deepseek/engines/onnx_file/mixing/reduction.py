"""Rules of operators that bring elements of an axis together: sums, orders, norms. Never along the rows.

Source: the operators named here in the ONNX specification, with what older versions of them did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepseek.engines.onnx_file.mixing.sizes import ONE, unknown
from deepseek.engines.onnx_file.mixing.tensor import (
    Call,
    Rule,
    Tensor,
    check,
    place_of,
    rows_first,
    with_axis,
)

_OVER_ROWS = "it goes over the rows"


def reduce(call: Call) -> Tensor:
    """ReduceSum and its like. Without axes it goes over all of them, unless it is told to do nothing then."""
    tensor = call.only_first_has_rows()
    axes = call.list_of("axes", 1)
    if not axes and call.number("noop_with_empty_axes"):
        return Tensor(tensor.axis, tensor.shape)
    return _without(call, tensor, axes)


def arg(call: Call) -> Tensor:
    """ArgMax and ArgMin."""
    return _without(call, call.input(0), [call.number("axis")])


def _without(call: Call, tensor: Tensor, axes: Sequence[int] | None) -> Tensor:
    if tensor.axis is None and tensor.shape is None:
        return Tensor(None, None)
    gone = {place_of(axis, tensor.rank) for axis in axes or range(tensor.rank)}
    check(tensor.axis not in gone, _OVER_ROWS)
    if call.number("keepdims", 1):
        return Tensor(tensor.axis, tuple(ONE if at in gone else size for at, size in enumerate(tensor.sizes)))
    shape = tuple(size for at, size in enumerate(tensor.sizes) if at not in gone)
    return Tensor(None if tensor.axis is None else tensor.axis - sum(at < tensor.axis for at in gone), shape)


def softmax(call: Call) -> Tensor:
    """Softmax, LogSoftmax, Hardmax: along one axis; before opset 13 along that and all behind it, flattened."""
    tensor = call.input(0)
    if tensor.axis is None:
        return Tensor(None, tensor.shape)
    if call.version < 13:
        check(tensor.axis < place_of(call.number("axis", 1), tensor.rank), _OVER_ROWS)
    else:
        check(tensor.axis != place_of(call.number("axis", -1), tensor.rank), _OVER_ROWS)
    return tensor


def along(call: Call) -> Tensor:
    """LpNormalization: along one axis, the last if none is named."""
    tensor = call.input(0)
    check(tensor.axis is None or tensor.axis != place_of(call.number("axis", -1), tensor.rank), _OVER_ROWS)
    return Tensor(tensor.axis, tensor.shape)


def running(call: Call) -> Tensor:
    """CumSum and CumProd, whose axis is an input."""
    tensor = call.only_first_has_rows()
    axis = call.input(1).whole_values()
    check(axis is not None and place_of(axis[0], tensor.rank) != tensor.axis, _OVER_ROWS)
    return Tensor(tensor.axis, tensor.shape)


def top(call: Call) -> Sequence[Tensor]:
    """TopK: values and places."""
    tensor = call.only_first_has_rows()
    axis = place_of(call.number("axis", -1), tensor.rank)
    check(axis != tensor.axis, _OVER_ROWS)
    most = call.optional(1)
    size = most.values[0] if most is not None and most.values else unknown()
    return [with_axis(tensor, axis, size)] * 2


def layer_norm(call: Call) -> Sequence[Tensor]:
    """LayerNormalization and RMSNormalization: over an axis and all behind it. Its mean and deviation keep the axis."""
    tensor = call.only_first_has_rows()
    axis = place_of(call.number("axis", -1), tensor.rank)
    check(tensor.axis is None or tensor.axis < axis, _OVER_ROWS)
    shape = tuple(ONE if at >= axis else size for at, size in enumerate(tensor.sizes))
    statistics = Tensor(tensor.axis, shape, outer=tensor.outer)
    return [replace(tensor, values=None), *[statistics] * (call.num_outputs - 1)]


def batch_norm(call: Call) -> Tensor:
    """With stored statistics. In training they are those of the rows, which older versions show by more outputs."""
    tensor = rows_first(call.only_first_has_rows())
    is_trained = call.number("training_mode") or (call.version < 7 and not call.number("is_test"))
    check(not is_trained and call.num_outputs == 1, "it takes its statistics from the rows")
    return tensor


def picture_norm(call: Call) -> Tensor:
    """InstanceNormalization, GroupNormalization, LRN: within a row, of which the channels come next."""
    return rows_first(call.only_first_has_rows())


def mean_variance(call: Call) -> Tensor:
    """MeanVarianceNormalization, by default over rows and places."""
    tensor = call.input(0)
    axes = call.numbers("axes") or (0, 2, 3)
    check(tensor.axis not in {place_of(axis, tensor.rank) for axis in axes}, _OVER_ROWS)
    return tensor


def matrices(call: Call) -> Tensor:
    """Det: of the last two axes."""
    tensor = call.input(0)
    check(tensor.axis is None or tensor.axis < tensor.rank - 2, _OVER_ROWS)
    return Tensor(tensor.axis, None if tensor.shape is None else tensor.sizes[:-2])


_REDUCE = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
RULES: Mapping[str, Rule] = {
    **{f"Reduce{kind}": reduce for kind in _REDUCE.split()},
    "ArgMax": arg,
    "ArgMin": arg,
    "BatchNormalization": batch_norm,
    "CumProd": running,
    "CumSum": running,
    "Det": matrices,
    "GroupNormalization": picture_norm,
    "Hardmax": softmax,
    "InstanceNormalization": picture_norm,
    "LRN": picture_norm,
    "LayerNormalization": layer_norm,
    "LogSoftmax": softmax,
    "LpNormalization": along,
    "MeanVarianceNormalization": mean_variance,
    "RMSNormalization": layer_norm,
    "SimplifiedLayerNormalization": layer_norm,
    "Softmax": softmax,
    "TopK": top,
}
