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

from deepseek.engines.onnx_file.mixing.sizes import ONE, N, Size, known, total, unknown
from deepseek.engines.onnx_file.mixing.tensor import (
    Call,
    MixesError,
    Numbering,
    Rule,
    Tensor,
    broadcast,
    check,
    place_of,
    rows_first,
)

PLAIN = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd",
    "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div",
    "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish",
    "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "RegexFullMatch", "Relu", "Round", "Selu",
    "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "StringConcat", "Sub", "Sum",
    "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip
_MAX_VALUES = 256  # of a tensor whose contents are followed


def elementwise(call: Call) -> Tensor:
    """Any number of tensors."""
    tensors = call.present
    if call.operator == "CastLike":
        tensors = tensors[:1]
    if any(each.numbering is not None for each in tensors):
        return replace(broadcast(tensors), numbering=_renumbered(call.operator, tensors))
    if all(each.values is not None for each in tensors):
        return _computed(call.operator, tensors)
    check(not any(each.counts_rows for each in tensors), "it computes with the number of rows")
    check(call.version >= 7 or len({each.rank for each in tensors}) == 1, "it broadcasts by rules of older versions")
    return broadcast(tensors)


def _computed(name: str, tensors: Sequence[Tensor]) -> Tensor:
    """What an operation gives for tensors of which the contents are followed."""
    bare = broadcast([Tensor(None, each.shape) for each in tensors])
    counts = any(each.counts_rows for each in tensors)
    flat = all(each.shape is not None and each.rank < 2 for each in tensors)
    length = max(len(each.values or ()) for each in tensors)
    if not flat or length > _MAX_VALUES or any(len(each.values or ()) not in (1, length) for each in tensors):
        check(not counts, "it computes with the number of rows")
        return bare
    columns = [(each.values or ()) * (1 if len(each.values or ()) == length else length) for each in tensors]
    compute = _ARITHMETIC.get(name)
    found = tuple(_value(compute, row) for row in zip(*columns, strict=True))
    return Tensor(None, bare.shape, found)


def _renumbered(name: str, tensors: Sequence[Tensor]) -> Numbering | None:
    """What becomes of places: added to others, and whole rows multiplied by what a row has of them."""
    check(not any(each.counts_rows for each in tensors), "it computes with the number of rows")
    found = [each.numbering or _number(each) for each in tensors]
    if name in ("Cast", "Identity"):
        return found[0]
    one, other = found if len(found) == 2 else (None, None)
    if name == "Add" and one is not None and other is not None and not (one.is_column or other.is_column):
        step = _sum(one.step, other.step)
        if step is not None:
            return Numbering(step, _sum_of_limits(one.limit, other.limit))
    if name == "Mul" and len(tensors) == 2:
        for places, factor in (tensors, tensors[::-1]):
            by = factor.values if factor.values is not None and len(factor.values) == 1 else None
            if by and places.numbering is not None and not places.numbering.is_column:
                return Numbering(places.numbering.step * by[0], _multiplied(places.numbering.limit, by[0]))
    return Numbering(ONE, None) if any(each.numbers_rows for each in tensors) else None


def _sum_of_limits(one: Size | None, other: Size | None) -> Size | None:
    """Below which the sum of two numbers is, that are below these."""
    if one is None or other is None or ONE in (one, other):
        return other if one == ONE else one if other == ONE else None
    below = _sum(one, other)
    return None if below is None else _difference(below, ONE)


def _multiplied(limit: Size | None, factor: Size) -> Size | None:
    """Below which a number is, that was below `limit` and is multiplied."""
    if limit == ONE:
        return ONE
    number, by = (None, None) if limit is None else (limit.whole, factor.whole)
    return None if number is None or by is None or by < 0 else known((number - 1) * by + 1)


def _number(tensor: Tensor) -> Numbering | None:
    """Of whole numbers that are known."""
    found = tensor.whole_values()
    return None if not found or min(found) < 0 else Numbering(known(0), known(max(found) + 1))


def _value(compute: Callable[..., Size | None] | None, values: Sequence[Size]) -> Size:
    try:
        found = None if compute is None else compute(*values)
    except (ArithmeticError, ValueError):
        found = None
    return unknown(counts_rows=any(value.counts_rows for value in values)) if found is None else found


def _numeric(compute: Callable[..., float | Fraction | bool]) -> Callable[..., Size | None]:
    """Of numbers alone."""

    def of_sizes(*values: Size) -> Size | None:
        numbers = [value.number for value in values]
        return None if None in numbers else known(compute(*numbers))

    return of_sizes


def _sum(one: Size, other: Size) -> Size | None:
    if known(0) in (one, other):
        return other if one == known(0) else one
    if one.powers == other.powers:
        return Size(one.factor + other.factor, one.powers)
    return None


def _difference(one: Size, other: Size) -> Size | None:
    return known(0) if one == other else _sum(one, Size(-other.factor, other.powers))


def _quotient(one: Size, other: Size) -> Size | None:
    """Whole where it comes out even; whole numbers are cut, others are not, so nothing is said of the rest."""
    found = one / other
    return found if found.is_integral else None


def _equal(one: Size, other: Size) -> Size | None:
    """Sizes of axes are never below 0, which is what exporters ask for."""
    if one == other:
        return ONE
    if one.number is not None and other.number is not None:
        return known(0)
    below = [each for each in (one, other) if each.number is not None and each.number < 0]
    return known(0) if below and all(_is_axis(each) for each in (one, other) if each not in below) else None


def _is_axis(size: Size) -> bool:
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
    "Floor": lambda value: value if value.is_integral else _numeric(math.floor)(value),
    "Ceil": lambda value: value if value.is_integral else _numeric(math.ceil)(value),
    "Neg": lambda value: Size(-value.factor, value.powers),
    "Abs": _numeric(abs),
    "Not": _numeric(operator.not_),
    "And": _numeric(lambda one, other: bool(one and other)),
    "Or": _numeric(lambda one, other: bool(one or other)),
    "Greater": _numeric(operator.gt),
    "GreaterOrEqual": _numeric(operator.ge),
    "Less": _numeric(operator.lt),
    "LessOrEqual": _numeric(operator.le),
    "Mod": _numeric(operator.mod),
    "Min": _numeric(min),
    "Max": _numeric(max),
}


def dropout(call: Call) -> Sequence[Tensor]:
    """Outside of training, all of it passes. The training mode was an attribute before opset 7, and is an input now."""
    mode = call.optional(2)
    values = [0] if mode is None else mode.whole_values()
    is_trained = call.version < 7 and not call.number("is_test")
    check(values == [0] and not is_trained, "it draws numbers")
    found = replace(call.input(0), values=None)
    return (found, found)


def quantize(call: Call) -> Tensor:
    """QuantizeLinear and DequantizeLinear: a scale for all, for each place of an axis, or for blocks along it."""
    tensor = call.only_first_has_rows()
    scale = call.input(1)
    if tensor.has_rows and scale.shape != () and scale.sizes != (ONE,):
        check(place_of(call.number("axis", 1), tensor.rank) != tensor.axis, "it has a scale for each row")
        check(scale.rank == 1 or scale.sizes[tensor.row_axis] == ONE, "it has a scale for each row")
    return Tensor(tensor.axis, tensor.shape)


def one_hot(call: Call) -> Tensor:
    """A new axis of `depth` places."""
    tensor = call.only_first_has_rows()
    rank = tensor.rank + 1
    axis = place_of(call.number("axis", -1), rank)
    depth = (call.input(1).values or (unknown(),))[0]
    shape = (*tensor.sizes[:axis], depth, *tensor.sizes[axis:])
    return Tensor(None if tensor.axis is None else tensor.axis + (axis <= tensor.axis), shape)


def constant_of_shape(call: Call) -> Tensor:
    """One number everywhere; the same for each row where the shape counts the rows."""
    lengths = call.input(0).values
    if lengths is None:
        check(not call.input(0).has_rows, "a shape depends on the numbers of the rows")
        return Tensor(None, None)
    axis = counted_axis(lengths)
    filling = call.attributes.get("value")
    value = filling.values[0] if isinstance(filling, Tensor) and filling.values else known(0)
    length = total(lengths).whole
    values = (value,) * length if axis is None and length is not None and length <= _MAX_VALUES else None
    return Tensor(axis, lengths, values)


def counted_axis(lengths: Sequence[Size]) -> int | None:
    """The one axis of a shape that counts rows, if there is one. MixesError when it does not count just them."""
    found = [place for place, length in enumerate(lengths) if length.counts_rows]
    if not found:
        return None
    check(len(found) == 1 and lengths[found[0]].of_a_row is not None, "a shape counts the rows in another way")
    return found[0]


def span(call: Call) -> Tensor:
    """Range."""
    start, limit, step = (call.input(place) for place in range(3))
    check(not any(each.has_rows for each in call.present), "its length depends on the numbers of the rows")
    from_zero = start.whole_values() == [0] and step.whole_values() == [1]
    if from_zero and limit.values == (N,):
        return Tensor(0, (N,), numbering=Numbering(ONE, ONE))
    check(not any(each.counts_rows for each in call.present), "it numbers the rows")
    ends = [each.whole_values() for each in (start, limit, step)]
    if all(end is not None for end in ends):
        (first,), (last,), (by,) = (end or [0] for end in ends)
        if by and len(range(first, last, by)) <= _MAX_VALUES:
            numbers = range(first, last, by)
            return Tensor(None, (known(len(numbers)),), tuple(map(known, numbers)))
    if not from_zero or limit.values is None:
        return Tensor(None, (unknown(),))
    return Tensor(None, limit.values, numbering=Numbering(known(0), limit.values[0]))


def shape_of(call: Call) -> Tensor:
    """Shape: it counts the rows, but their numbers do not change it."""
    sizes = call.input(0).shape
    if sizes is None:
        return Tensor(None, None)
    start, end = call.number("start"), call.attributes.get("end")
    found = sizes[start : end if isinstance(end, int) else len(sizes)]
    return Tensor(None, (known(len(found)),), found)


def size_of(call: Call) -> Tensor:
    """Size: the number of all elements."""
    sizes = call.input(0).shape
    return Tensor(None, (), None if sizes is None else (total(sizes),))


def constant(call: Call) -> Tensor:
    """What it holds, in whichever attribute."""
    for name in ("value", "sparse_value"):
        found = call.attributes.get(name)
        if isinstance(found, Tensor):
            return found
    for name in ("value_int", "value_float"):
        found = call.attributes.get(name)
        if isinstance(found, (int, float)):
            return Tensor(None, (), (known(found),)) if math.isfinite(found) else Tensor(None, ())
    for name in ("value_ints", "value_floats"):
        found = call.attributes.get(name)
        if isinstance(found, tuple):
            numbers = [each for each in found if isinstance(each, (int, float)) and math.isfinite(each)]
            whole = len(numbers) == len(found)
            return Tensor(None, (known(len(found)),), tuple(map(known, numbers)) if whole else None)
    if isinstance(call.attributes.get("value_string"), str):
        return Tensor(None, ())
    raise MixesError("a constant is in a form that is not read")


def window(call: Call) -> Tensor:
    """HannWindow and its like: one axis."""
    check(not call.input(0).has_rows and not call.input(0).counts_rows, "its length depends on the rows")
    return Tensor(None, (unknown(),))


def grid_sample(call: Call) -> Tensor:
    """A picture and a grid for each row."""
    picture, grid = (rows_first(call.input(place)) for place in (0, 1))
    check(picture.sizes[0] == grid.sizes[0], "it has other rows in its grid")
    return Tensor(0, (*picture.sizes[:2], *grid.sizes[1:-1]))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(PLAIN, elementwise),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), window),
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DequantizeLinear": quantize,
    "Dropout": dropout,
    "GridSample": grid_sample,
    "OneHot": one_hot,
    "QuantizeLinear": quantize,
    "Range": span,
    "Shape": shape_of,
    "Size": size_of,
}
