"""Rules of operators that compute each element by itself, with those at the same place of other tensors.

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
    """Any number of tensors."""
    tensors = call.present
    if call.operator == "CastLike":
        tensors = tensors[:1]
    if any(each.numbering is not None for each in tensors):
        return replace(broadcast(tensors), numbering=_follow_indices(call.operator, tensors))
    if all(each.values is not None for each in tensors):
        return _follow_values(call.operator, tensors)
    require(not any(each.counts_rows for each in tensors), "it computes with the number of rows")
    require(call.version >= 7 or len({each.rank for each in tensors}) == 1, "it broadcasts by rules of older versions")
    return broadcast(tensors)


def _follow_values(name: str, tensors: Sequence[TracedTensor]) -> TracedTensor:
    """What an operation gives for tensors of which the contents are followed."""
    bare = broadcast([TracedTensor(None, each.shape) for each in tensors])
    counts = any(each.counts_rows for each in tensors)
    flat = all(each.shape is not None and each.rank < 2 for each in tensors)
    length = max(len(each.values or ()) for each in tensors)
    if not flat or length > _MAX_VALUES or any(len(each.values or ()) not in (1, length) for each in tensors):
        require(not counts, "it computes with the number of rows")
        return bare
    columns = [(each.values or ()) * (1 if len(each.values or ()) == length else length) for each in tensors]
    compute = _ARITHMETIC.get(name)
    found = tuple(_compute_size(compute, row) for row in zip(*columns, strict=True))
    return TracedTensor(None, bare.shape, found)


def _follow_indices(name: str, tensors: Sequence[TracedTensor]) -> RowIndices | None:
    """What becomes of places: added to others, and whole rows multiplied by what a row has of them."""
    require(not any(each.counts_rows for each in tensors), "it computes with the number of rows")
    found = [each.numbering or _known_indices(each) for each in tensors]
    if name in ("Cast", "Identity"):
        return found[0]
    one, other = found if len(found) == 2 else (None, None)
    if name == "Add" and one is not None and other is not None and not (one.is_column or other.is_column):
        step = _sum(one.step, other.step)
        if step is not None:
            return RowIndices(step, _add_limits(one.limit, other.limit))
    if name == "Mul" and len(tensors) == 2:
        for places, factor in (tensors, tensors[::-1]):
            by = factor.values if factor.values is not None and len(factor.values) == 1 else None
            if by and places.numbering is not None and not places.numbering.is_column:
                return RowIndices(places.numbering.step * by[0], _multiply_limit(places.numbering.limit, by[0]))
    return RowIndices(ONE, None) if any(each.numbers_rows for each in tensors) else None


def _add_limits(one: Size | None, other: Size | None) -> Size | None:
    """Below which the sum of two numbers is, that are below these."""
    if one is None or other is None or ONE in (one, other):
        return other if one == ONE else one if other == ONE else None
    below = _sum(one, other)
    return None if below is None else _difference(below, ONE)


def _multiply_limit(limit: Size | None, factor: Size) -> Size | None:
    """Below which a number is, that was below `limit` and is multiplied."""
    if limit == ONE:
        return ONE
    number, by = (None, None) if limit is None else (limit.whole, factor.whole)
    return None if number is None or by is None or by < 0 else known_size((number - 1) * by + 1)


def _known_indices(tensor: TracedTensor) -> RowIndices | None:
    """Of whole numbers that are known."""
    found = tensor.whole_values()
    return None if not found or min(found) < 0 else RowIndices(known_size(0), known_size(max(found) + 1))


def _compute_size(compute: Callable[..., Size | None] | None, values: Sequence[Size]) -> Size:
    try:
        found = None if compute is None else compute(*values)
    except (ArithmeticError, ValueError):
        found = None
    return unknown_size(counts_rows=any(value.counts_rows for value in values)) if found is None else found


def _lift_to_sizes(compute: Callable[..., float | Fraction | bool]) -> Callable[..., Size | None]:
    """Of numbers alone."""

    def of_sizes(*values: Size) -> Size | None:
        numbers = [value.number for value in values]
        return None if None in numbers else known_size(compute(*numbers))

    return of_sizes


def _sum(one: Size, other: Size) -> Size | None:
    if known_size(0) in (one, other):
        return other if one == known_size(0) else one
    if one.powers == other.powers:
        return Size(one.factor + other.factor, one.powers)
    return None


def _difference(one: Size, other: Size) -> Size | None:
    return known_size(0) if one == other else _sum(one, Size(-other.factor, other.powers))


def _quotient(one: Size, other: Size) -> Size | None:
    """Whole where it comes out even; whole numbers are cut, others are not, so nothing is said of the rest."""
    found = one / other
    return found if found.is_integral else None


def _equal(one: Size, other: Size) -> Size | None:
    """Sizes of axes are never below 0, which is what exporters ask for."""
    if one == other:
        return ONE
    if one.number is not None and other.number is not None:
        return known_size(0)
    below = [each for each in (one, other) if each.number is not None and each.number < 0]
    return known_size(0) if below and all(_is_axis_size(each) for each in (one, other) if each not in below) else None


def _is_axis_size(size: Size) -> bool:
    return size.factor >= 0 and not any("?" in name for name, _ in size.powers)


def _where(condition: Size, one: Size, other: Size) -> Size | None:
    if one == other:
        return one
    return None if condition.number is None else (one if condition.number else other)


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
    found = replace(call.input(0), values=None)
    return (found, found)


def quantize(call: NodeCall) -> TracedTensor:
    """QuantizeLinear and DequantizeLinear: a scale for all, for each place of an axis, or for blocks along it."""
    tensor = call.only_first_has_rows()
    scale = call.input(1)
    if tensor.has_rows and scale.shape != () and scale.sizes != (ONE,):
        require(normalize_axis(call.number("axis", 1), tensor.rank) != tensor.axis, "it has a scale for each row")
        require(scale.rank == 1 or scale.sizes[tensor.row_axis] == ONE, "it has a scale for each row")
    return TracedTensor(tensor.axis, tensor.shape)


def one_hot(call: NodeCall) -> TracedTensor:
    """A new axis of `depth` places."""
    tensor = call.only_first_has_rows()
    rank = tensor.rank + 1
    axis = normalize_axis(call.number("axis", -1), rank)
    depth = (call.input(1).values or (unknown_size(),))[0]
    shape = (*tensor.sizes[:axis], depth, *tensor.sizes[axis:])
    return TracedTensor(None if tensor.axis is None else tensor.axis + (axis <= tensor.axis), shape)


def constant_of_shape(call: NodeCall) -> TracedTensor:
    """One number everywhere; the same for each row where the shape counts the rows."""
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
    """The one axis of a shape that counts rows, if there is one. MixesError when it does not count just them."""
    found = [place for place, length in enumerate(lengths) if length.counts_rows]
    if not found:
        return None
    require(len(found) == 1 and lengths[found[0]].of_a_row is not None, "a shape counts the rows in another way")
    return found[0]


def range_rule(call: NodeCall) -> TracedTensor:
    """Range."""
    start, limit, step = (call.input(place) for place in range(3))
    require(not any(each.has_rows for each in call.present), "its length depends on the numbers of the rows")
    from_zero = start.whole_values() == [0] and step.whole_values() == [1]
    if from_zero and limit.values == (NUM_ROWS,):
        return TracedTensor(0, (NUM_ROWS,), numbering=RowIndices(ONE, ONE))
    require(not any(each.counts_rows for each in call.present), "it numbers the rows")
    ends = [each.whole_values() for each in (start, limit, step)]
    if all(end is not None for end in ends):
        (first,), (last,), (by,) = (end or [0] for end in ends)
        if by and len(range(first, last, by)) <= _MAX_VALUES:
            numbers = range(first, last, by)
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
    found = sizes[start : end if isinstance(end, int) else len(sizes)]
    return TracedTensor(None, (known_size(len(found)),), found)


def size_of(call: NodeCall) -> TracedTensor:
    """Size: the number of all elements."""
    sizes = call.input(0).shape
    return TracedTensor(None, (), None if sizes is None else (total_size(sizes),))


def constant(call: NodeCall) -> TracedTensor:
    """What it holds, in whichever attribute."""
    for name in ("value", "sparse_value"):
        found = call.attributes.get(name)
        if isinstance(found, TracedTensor):
            return found
    for name in ("value_int", "value_float"):
        found = call.attributes.get(name)
        if isinstance(found, (int, float)):
            return TracedTensor(None, (), (known_size(found),)) if math.isfinite(found) else TracedTensor(None, ())
    for name in ("value_ints", "value_floats"):
        found = call.attributes.get(name)
        if isinstance(found, tuple):
            numbers = [each for each in found if isinstance(each, (int, float)) and math.isfinite(each)]
            whole = len(numbers) == len(found)
            return TracedTensor(None, (known_size(len(found)),), tuple(map(known_size, numbers)) if whole else None)
    if isinstance(call.attributes.get("value_string"), str):
        return TracedTensor(None, ())
    raise MixesError("a constant is in a form that is not read")


def window(call: NodeCall) -> TracedTensor:
    """HannWindow and its like: one axis."""
    require(not call.input(0).has_rows and not call.input(0).counts_rows, "its length depends on the rows")
    return TracedTensor(None, (unknown_size(),))


def grid_sample(call: NodeCall) -> TracedTensor:
    """A picture and a grid for each row."""
    picture, grid = (require_rows_first(call.input(place)) for place in (0, 1))
    require(picture.sizes[0] == grid.sizes[0], "it has other rows in its grid")
    return TracedTensor(0, (*picture.sizes[:2], *grid.sizes[1:-1]))


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
