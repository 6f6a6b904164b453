"""Rules of operators that compute each element by itself, with those at the same index of other tensors.

Sizes are computed, too: what an exporter makes of `x.shape[0] * x.shape[1]` before it reshapes.
Source: "Multidirectional Broadcasting" of the ONNX specification, and the operators named here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from deepseek.engines.onnx_file.mixing.sizes import NUM_ROWS, ONE, Size, known_size, total_size, unknown_size
from deepseek.engines.onnx_file.mixing.tensor import (
    MixesError,
    NodeCall,
    RowIndices,
    Rule,
    TracedTensor,
    broadcast,
    normalize_axis,
    require,
    require_rows_first,
)

ELEMENTWISE_OPERATORS = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd",
    "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div",
    "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish",
    "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "RegexFullMatch", "Relu", "Round", "Selu",
    "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "StringConcat", "Sub", "Sum",
    "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip
_MAX_VALUES = 256  # of a tensor whose contents are followed


def elementwise(call: NodeCall) -> TracedTensor:
    """Operators of any number of tensors that compute each element by itself."""
    tensors = call.present
    if call.operator == "CastLike":
        tensors = tensors[:1]
    if any(tensor.numbering is not None for tensor in tensors):
        return replace(broadcast(tensors), numbering=_follow_indices(call.operator, tensors))
    if all(tensor.values is not None for tensor in tensors):
        return _follow_values(call.operator, tensors)
    require(not any(tensor.counts_rows for tensor in tensors), "it computes with the number of rows")
    require(
        call.version >= 7 or len({tensor.rank for tensor in tensors}) == 1, "it broadcasts by rules of older versions"
    )
    return broadcast(tensors)


def _follow_values(name: str, tensors: Sequence[TracedTensor]) -> TracedTensor:
    """The result for tensors whose contents are known, with its contents where they can be computed."""
    result = broadcast([TracedTensor(None, tensor.shape) for tensor in tensors])
    counts = any(tensor.counts_rows for tensor in tensors)
    flat = all(tensor.shape is not None and tensor.rank < 2 for tensor in tensors)
    length = max(len(tensor.values or ()) for tensor in tensors)
    if not flat or length > _MAX_VALUES or any(len(tensor.values or ()) not in (1, length) for tensor in tensors):
        require(not counts, "it computes with the number of rows")
        return result
    columns = [(tensor.values or ()) * (1 if len(tensor.values or ()) == length else length) for tensor in tensors]
    compute = _ARITHMETIC.get(name)
    values = tuple(_compute_size(compute, row) for row in zip(*columns, strict=True))
    return TracedTensor(None, result.shape, values)


def _follow_indices(name: str, tensors: Sequence[TracedTensor]) -> RowIndices | None:
    """What becomes of row indices: they may be added, and multiplied by the number of slices that a row has."""
    require(not any(tensor.counts_rows for tensor in tensors), "it computes with the number of rows")
    indices = [tensor.numbering or _known_indices(tensor) for tensor in tensors]
    if name in ("Cast", "Identity"):
        return indices[0]
    first, second = indices if len(indices) == 2 else (None, None)
    if name == "Add" and first is not None and second is not None and not (first.is_column or second.is_column):
        step = _sum(first.step, second.step)
        if step is not None:
            return RowIndices(step, _add_limits(first.limit, second.limit))
    if name == "Mul" and len(tensors) == 2:
        for indices_tensor, factor in (tensors, tensors[::-1]):
            factors = factor.values if factor.values is not None and len(factor.values) == 1 else None
            if factors and indices_tensor.numbering is not None and not indices_tensor.numbering.is_column:
                return RowIndices(
                    indices_tensor.numbering.step * factors[0],
                    _multiply_limit(indices_tensor.numbering.limit, factors[0]),
                )
    return RowIndices(ONE, None) if any(tensor.numbers_rows for tensor in tensors) else None


def _add_limits(first: Size | None, second: Size | None) -> Size | None:
    """The limit below which the sum of two numbers is that are below these limits."""
    if first is None or second is None or ONE in (first, second):
        return second if first == ONE else first if second == ONE else None
    limit = _sum(first, second)
    return None if limit is None else _difference(limit, ONE)


def _multiply_limit(limit: Size | None, factor: Size) -> Size | None:
    """The limit below which a number is, that was below `limit`, when it is multiplied by `factor`."""
    if limit == ONE:
        return ONE
    number, multiplier = (None, None) if limit is None else (limit.whole, factor.whole)
    return None if number is None or multiplier is None or multiplier < 0 else known_size((number - 1) * multiplier + 1)


def _known_indices(tensor: TracedTensor) -> RowIndices | None:
    """A tensor of known whole numbers as indices that are the same in each row; None where one is below 0."""
    numbers = tensor.whole_values()
    return None if not numbers or min(numbers) < 0 else RowIndices(known_size(0), known_size(max(numbers) + 1))


def _compute_size(compute: Callable[..., Size | None] | None, values: Sequence[Size]) -> Size:
    try:
        size = None if compute is None else compute(*values)
    except (ArithmeticError, ValueError):
        size = None
    return unknown_size(counts_rows=any(value.counts_rows for value in values)) if size is None else size


def _lift_to_sizes(compute: Callable[..., float | Fraction | bool]) -> Callable[..., Size | None]:
    """Make a function of numbers one of sizes, which knows its result where all sizes are numbers."""

    def of_sizes(*values: Size) -> Size | None:
        numbers = [value.number for value in values]
        return None if None in numbers else known_size(compute(*numbers))

    return of_sizes


def _sum(first: Size, second: Size) -> Size | None:
    if known_size(0) in (first, second):
        return second if first == known_size(0) else first
    if first.powers == second.powers:
        return Size(first.factor + second.factor, first.powers)
    return None


def _difference(first: Size, second: Size) -> Size | None:
    return known_size(0) if first == second else _sum(first, Size(-second.factor, second.powers))


def _quotient(dividend: Size, divisor: Size) -> Size | None:
    """Whole where it comes out even; whole numbers are cut, others are not, so nothing is said of the rest."""
    quotient = dividend / divisor
    return quotient if quotient.is_integral else None


def _equal(first: Size, second: Size) -> Size | None:
    """Sizes of axes are never below 0, which is what exporters ask for."""
    if first == second:
        return ONE
    if first.number is not None and second.number is not None:
        return known_size(0)
    negative = [size for size in (first, second) if size.number is not None and size.number < 0]
    return (
        known_size(0)
        if negative and all(_is_axis_size(size) for size in (first, second) if size not in negative)
        else None
    )


def _is_axis_size(size: Size) -> bool:
    return size.factor >= 0 and not any("?" in name for name, _ in size.powers)


def _where(condition: Size, if_true: Size, if_false: Size) -> Size | None:
    if if_true == if_false:
        return if_true
    return None if condition.number is None else (if_true if condition.number else if_false)


def _same(value: Size, *_: Size) -> Size:
    return value


_ARITHMETIC: Mapping[str, Callable[..., Size | None]] = {
    "Add": _sum,
    "Sub": _difference,
    "Mul": operator.mul,
    "Div": _quotient,
    "Equal": _equal,
    "Where": _where,
    "Cast": _same,
    "CastLike": _same,
    "Identity": _same,
    "Floor": lambda value: value if value.is_integral else _lift_to_sizes(math.floor)(value),
    "Ceil": lambda value: value if value.is_integral else _lift_to_sizes(math.ceil)(value),
    "Neg": lambda value: Size(-value.factor, value.powers),
    "Abs": _lift_to_sizes(abs),
    "Not": _lift_to_sizes(operator.not_),
    "And": _lift_to_sizes(lambda one, other: bool(one and other)),
    "Or": _lift_to_sizes(lambda one, other: bool(one or other)),
    "Greater": _lift_to_sizes(operator.gt),
    "GreaterOrEqual": _lift_to_sizes(operator.ge),
    "Less": _lift_to_sizes(operator.lt),
    "LessOrEqual": _lift_to_sizes(operator.le),
    "Mod": _lift_to_sizes(operator.mod),
    "Min": _lift_to_sizes(min),
    "Max": _lift_to_sizes(max),
}


def dropout(call: NodeCall) -> Sequence[TracedTensor]:
    """Outside of training, all of it passes. The training mode was an attribute before opset 7, and is an input now."""
    mode = call.optional(2)
    values = [0] if mode is None else mode.whole_values()
    is_trained = call.version < 7 and not call.number("is_test")
    require(values == [0] and not is_trained, "it draws numbers")
    output = replace(call.input(0), values=None)
    return (output, output)


def quantize(call: NodeCall) -> TracedTensor:
    """QuantizeLinear and DequantizeLinear: a scale for all, for each index of an axis, or for blocks along it."""
    tensor = call.only_first_has_rows()
    scale = call.input(1)
    if tensor.has_rows and scale.shape != () and scale.sizes != (ONE,):
        require(normalize_axis(call.number("axis", 1), tensor.rank) != tensor.axis, "it has a scale for each row")
        require(scale.rank == 1 or scale.sizes[tensor.row_axis] == ONE, "it has a scale for each row")
    return TracedTensor(tensor.axis, tensor.shape)


def one_hot(call: NodeCall) -> TracedTensor:
    """OneHot adds an axis of `depth` elements."""
    tensor = call.only_first_has_rows()
    rank = tensor.rank + 1
    axis = normalize_axis(call.number("axis", -1), rank)
    depth = (call.input(1).values or (unknown_size(),))[0]
    shape = (*tensor.sizes[:axis], depth, *tensor.sizes[axis:])
    return TracedTensor(None if tensor.axis is None else tensor.axis + (axis <= tensor.axis), shape)


def constant_of_shape(call: NodeCall) -> TracedTensor:
    """ConstantOfShape gives one number everywhere; it has rows where the shape counts the rows."""
    lengths = call.input(0).values
    if lengths is None:
        require(not call.input(0).has_rows, "a shape depends on the numbers of the rows")
        return TracedTensor(None, None)
    axis = axis_that_counts_rows(lengths)
    filling = call.attributes.get("value")
    value = filling.values[0] if isinstance(filling, TracedTensor) and filling.values else known_size(0)
    length = total_size(lengths).whole
    values = (value,) * length if axis is None and length is not None and length <= _MAX_VALUES else None
    return TracedTensor(axis, lengths, values)


def axis_that_counts_rows(lengths: Sequence[Size]) -> int | None:
    """The one axis of a shape that counts rows, if there is one. MixesError when the shape counts more than just
    them."""
    axes = [axis for axis, length in enumerate(lengths) if length.counts_rows]
    if not axes:
        return None
    require(len(axes) == 1 and lengths[axes[0]].per_row is not None, "a shape counts the rows in another way")
    return axes[0]


def range_rule(call: NodeCall) -> TracedTensor:
    """Range gives the numbers of the rows where it runs from 0 to the number of rows in steps of 1."""
    start, limit, step = (call.input(index) for index in range(3))
    require(not any(tensor.has_rows for tensor in call.present), "its length depends on the numbers of the rows")
    from_zero = start.whole_values() == [0] and step.whole_values() == [1]
    if from_zero and limit.values == (NUM_ROWS,):
        return TracedTensor(0, (NUM_ROWS,), numbering=RowIndices(ONE, ONE))
    require(not any(tensor.counts_rows for tensor in call.present), "it numbers the rows")
    ends = [tensor.whole_values() for tensor in (start, limit, step)]
    if all(end is not None for end in ends):
        (first,), (last,), (increment,) = (end or [0] for end in ends)
        if increment and len(range(first, last, increment)) <= _MAX_VALUES:
            numbers = range(first, last, increment)
            return TracedTensor(None, (known_size(len(numbers)),), tuple(map(known_size, numbers)))
    if not from_zero or limit.values is None:
        return TracedTensor(None, (unknown_size(),))
    return TracedTensor(None, limit.values, numbering=RowIndices(known_size(0), limit.values[0]))


def shape_of(call: NodeCall) -> TracedTensor:
    """Shape: it counts the rows, but their numbers do not change it."""
    sizes = call.input(0).shape
    if sizes is None:
        return TracedTensor(None, None)
    start, end = call.number("start"), call.attributes.get("end")
    kept = sizes[start : end if isinstance(end, int) else len(sizes)]
    return TracedTensor(None, (known_size(len(kept)),), kept)


def size_of(call: NodeCall) -> TracedTensor:
    """Size: the number of all elements."""
    sizes = call.input(0).shape
    return TracedTensor(None, (), None if sizes is None else (total_size(sizes),))


def constant(call: NodeCall) -> TracedTensor:
    """Constant gives what it holds, in whichever attribute."""
    for name in ("value", "sparse_value"):
        value = call.attributes.get(name)
        if isinstance(value, TracedTensor):
            return value
    for name in ("value_int", "value_float"):
        value = call.attributes.get(name)
        if isinstance(value, (int, float)):
            return TracedTensor(None, (), (known_size(value),)) if math.isfinite(value) else TracedTensor(None, ())
    for name in ("value_ints", "value_floats"):
        value = call.attributes.get(name)
        if isinstance(value, tuple):
            numbers = [number for number in value if isinstance(number, (int, float)) and math.isfinite(number)]
            whole = len(numbers) == len(value)
            return TracedTensor(None, (known_size(len(value)),), tuple(map(known_size, numbers)) if whole else None)
    if isinstance(call.attributes.get("value_string"), str):
        return TracedTensor(None, ())
    raise MixesError("a constant is in a form that is not read")


def window(call: NodeCall) -> TracedTensor:
    """HannWindow and its like give one axis."""
    require(not call.input(0).has_rows and not call.input(0).counts_rows, "its length depends on the rows")
    return TracedTensor(None, (unknown_size(),))


def grid_sample(call: NodeCall) -> TracedTensor:
    """GridSample takes an image and a grid for each row."""
    image, grid = (require_rows_first(call.input(index)) for index in (0, 1))
    require(image.sizes[0] == grid.sizes[0], "it has other rows in its grid")
    return TracedTensor(0, (*image.sizes[:2], *grid.sizes[1:-1]))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE_OPERATORS, elementwise),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), window),
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DequantizeLinear": quantize,
    "Dropout": dropout,
    "GridSample": grid_sample,
    "OneHot": one_hot,
    "QuantizeLinear": quantize,
    "Range": range_rule,
    "Shape": shape_of,
    "Size": size_of,
}
