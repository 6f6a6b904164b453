"""Rules of operators that multiply and add: matrices, convolutions, pools, Einsum. Rows are never summed, nor
multiplied by each other.

Source: the operators named here in the ONNX specification; numpy.matmul for MatMul.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, known, unknown
from deepseek.engines.onnx_file.mixing.tensor import Call, Rule, Tensor, broadcast, check, rows_first

_SUMMED = "it sums over the rows"
_CROSSED = "it multiplies rows by each other"


def product(one: Tensor, other: Tensor) -> Tensor:
    """numpy.matmul of two tensors."""
    if one.shape is None or other.shape is None:
        check(not one.has_rows and not other.has_rows, "the number of axes of a tensor is not known")
        return Tensor(None, None)
    check(one.rank > 0 and other.rank > 0, "its tensors have no axes")
    check(one.axis != one.rank - 1, _SUMMED)
    check(other.axis != max(other.rank - 2, 0), _SUMMED)
    rank = max(one.rank, other.rank, 2)
    is_row_of_one = one.axis is not None and one.axis == one.rank - 2
    is_row_of_other = other.axis is not None and other.axis == other.rank - 1
    check(not (is_row_of_one and other.has_rows) and not (is_row_of_other and one.has_rows), _CROSSED)
    ahead = broadcast(
        [
            Tensor(None, each.sizes[:-2])
            if is_ours or each.rank < 2
            else replace(each, shape=each.sizes[:-2], values=None)
            for each, is_ours in ((one, is_row_of_one), (other, is_row_of_other))
        ]
    )
    height = [one.sizes[-2]] if one.rank > 1 else []
    width = [other.sizes[-1]] if other.rank > 1 else []
    shape = (*ahead.sizes, *height, *width)
    if is_row_of_one:
        return Tensor(rank - 2, shape, outer=one.outer)
    if is_row_of_other:
        return Tensor(len(shape) - 1, shape, outer=other.outer)
    return Tensor(ahead.axis, shape, outer=ahead.outer)


def matmul(call: Call) -> Tensor:
    return product(call.input(0), call.input(1))


def scaled_matmul(call: Call) -> Tensor:
    """MatMulInteger: its zero points are the same for all rows."""
    for point in call.inputs[2:]:
        check(point is None or (not point.has_rows and _is_single(point)), "it has a zero point for each row")
    return product(call.input(0), call.input(1))


def quantized_matmul(call: Call) -> Tensor:
    """QLinearMatMul: scale and zero point of the first factor and of the answer are one for all."""
    for place in (1, 2, 4, 5, 6, 7):
        point = call.input(place)
        check(not point.has_rows and (_is_single(point) or place in (4, 5)), "it has a scale for each row")
    return product(call.input(0), call.input(3))


def _is_single(tensor: Tensor) -> bool:
    return tensor.shape is not None and all(size == ONE for size in tensor.sizes)


def turned(tensor: Tensor) -> Tensor:
    """With its last two axes exchanged."""
    check(tensor.rank > 1, "its tensors are no matrices")
    shape = (*tensor.sizes[:-2], tensor.sizes[-1], tensor.sizes[-2])
    axis = {tensor.rank - 1: tensor.rank - 2, tensor.rank - 2: tensor.rank - 1}.get(tensor.axis or 0, tensor.axis)
    return Tensor(None if tensor.axis is None else axis, shape, outer=tensor.outer)


def gemm(call: Call) -> Tensor:
    """A product, and what is added to it."""
    one = turned(call.input(0)) if call.number("transA") else call.input(0)
    other = turned(call.input(1)) if call.number("transB") else call.input(1)
    found = product(one, other)
    added = call.optional(2)
    return found if added is None else broadcast([found, added])


def convolution(call: Call) -> Tensor:
    """Conv and its like: pictures by themselves, with weights that are the same for all."""
    tensor, weights = rows_first(call.only_first_has_rows()), call.input(1)
    return _picture(tensor, weights.sizes[0], _places(call, tensor, weights.sizes[2:]))


def quantized_convolution(call: Call) -> Tensor:
    """QLinearConv, of which the weights are the fourth input."""
    tensor, weights = rows_first(call.only_first_has_rows()), call.input(3)
    return _picture(tensor, weights.sizes[0], _places(call, tensor, weights.sizes[2:]))


def deformed_convolution(call: Call) -> Tensor:
    """DeformConv: each row has its own offsets."""
    tensor, weights = rows_first(call.input(0)), call.input(1)
    check(not weights.has_rows and (call.optional(3) is None or not call.input(3).has_rows), _CROSSED)
    for own in (call.input(2), call.optional(4)):
        check(own is None or (own.axis == 0 and own.sizes[0] == tensor.sizes[0]), "it has other rows in its offsets")
    return _picture(tensor, weights.sizes[0])


def _picture(tensor: Tensor, channels: Size | None, places: Sequence[Size] = ()) -> Tensor:
    check(tensor.rank > 2, "it takes all rows for one")
    width = unknown() if channels is None else channels
    return Tensor(0, (tensor.sizes[0], width, *(places or [unknown() for _ in tensor.sizes[2:]])))


def _places(call: Call, tensor: Tensor, kernel: Sequence[Size] = ()) -> list[Size]:
    """Height, width and so on of what a kernel gives, where they are known."""
    num_axes = tensor.rank - 2
    spans = call.numbers("kernel_shape") or tuple(size.whole or 0 for size in kernel)
    strides, dilations = (call.numbers(name) or (1,) * num_axes for name in ("strides", "dilations"))
    pads = call.numbers("pads") or (0,) * 2 * num_axes
    is_known = call.text("auto_pad", "NOTSET") in ("NOTSET", "VALID") and len(spans) == num_axes and all(spans)
    found = []
    for at, size in enumerate(tensor.sizes[2:]):
        if size.whole is None or not is_known or len(pads) != 2 * num_axes:
            found.append(unknown())
            continue
        steps = size.whole + pads[at] + pads[at + num_axes] - dilations[at] * (spans[at] - 1) - 1
        up = strides[at] - 1 if call.number("ceil_mode") else 0
        # A last window that would begin beyond the end is left out, which runtimes do not agree on.
        found.append(unknown() if up and steps % strides[at] else known(steps // strides[at] + 1))
    return found


def unconvolution(call: Call) -> Tensor:
    """ConvTranspose."""
    return _picture(rows_first(call.only_first_has_rows()), None)


def pool(call: Call) -> Tensor:
    """Over places alone. Places of the largest, a second output, are counted from the first row on."""
    check(call.num_outputs == 1, "it numbers the places of all rows")
    tensor = rows_first(call.only_first_has_rows())
    return _picture(tensor, tensor.sizes[1], _places(call, tensor))


def global_pool(call: Call) -> Tensor:
    """Over all places."""
    tensor = rows_first(call.only_first_has_rows())
    check(tensor.rank > 2, "it takes all rows for one")
    return Tensor(0, (*tensor.sizes[:2], *(ONE for _ in tensor.sizes[2:])))


def einsum(call: Call) -> Tensor:
    """The letter of the rows stands once in each tensor that has them, and in the answer."""
    equation = call.text("equation").replace(" ", "")
    given, arrow, answer = equation.partition("->")
    terms = given.split(",")
    check(bool(arrow) and "." not in equation and len(terms) == len(call.inputs), "its equation is not followed")
    sizes: dict[str, Size] = {}
    letters: set[str] = set()
    for term, tensor in zip(terms, call.present, strict=True):
        check(len(term) == tensor.rank, "its equation does not fit")
        for letter, size in zip(term, tensor.sizes, strict=True):
            sizes[letter] = size if letter not in sizes or sizes[letter] == ONE else sizes[letter]
        if tensor.axis is not None:
            letters.add(term[tensor.axis])
    check(len(letters) == 1, _CROSSED)
    (rows,) = letters
    check(answer.count(rows) == 1, _SUMMED)
    counts = set()
    for term, tensor in zip(terms, call.present, strict=True):
        check(term.count(rows) == (1 if tensor.has_rows else 0), _CROSSED)
        if tensor.axis is not None:
            counts.add(tensor.sizes[tensor.axis])
    check(len(counts) == 1, "its tensors have several numbers of rows")
    sizes[rows] = counts.pop()
    return Tensor(answer.index(rows), tuple(sizes[letter] for letter in answer))


def attention(call: Call) -> Sequence[Tensor]:
    """Attention of opset 23: each row attends to itself. Masks may be of all rows, (L, S) or (1, H, L, S)."""
    query, key, value = (rows_first(call.input(place)) for place in range(3))
    num_rows = query.sizes[0]
    mask = call.optional(3)
    if mask is not None:
        own = mask.axis == 0 and mask.rank == 4 and mask.sizes[0] == num_rows
        alike = not mask.has_rows and (mask.rank < 4 or mask.sizes[0] == ONE)
        check(own or alike, "its mask is of several rows")
    check(key.sizes[0] == value.sizes[0] == num_rows, "its tensors have several numbers of rows")
    for past in call.inputs[4:]:
        check(past is None or (past.axis == 0 and past.sizes[0] == num_rows), "its past is of other rows")
    shape = (num_rows, *query.sizes[1:-1])
    heads = call.number("q_num_heads")
    last = query.sizes[-1] if not heads or query.sizes == value.sizes else unknown()
    rest = [Tensor(0, (num_rows, *(unknown() for _ in range(3)))) for _ in range(call.num_outputs - 1)]
    width = last if query.sizes[-1] == value.sizes[-1] else unknown()
    return [Tensor(0, (*shape, width)), *rest]


def rotary(call: Call) -> Tensor:
    """RotaryEmbedding of opset 23: input, cos, sin, and the places of each row, or of all."""
    tensor = rows_first(call.input(0))
    for each in call.inputs[1:]:
        own = each is not None and each.axis == 0 and each.sizes[0] == tensor.sizes[0]
        check(each is None or own or not each.has_rows, "its places are of other rows")
    with_places = call.optional(3) is not None
    check(with_places or all(each.has_rows or each.sizes[0] == ONE for each in call.present[1:3]),
          "it counts on a number of rows")  # fmt: skip
    return tensor


def spectrum(call: Call) -> Tensor:
    """STFT of each row's signal; DFT along an axis that is not that of the rows."""
    tensor = call.only_first_has_rows()
    if call.operator == "STFT":
        return Tensor(0, (rows_first(tensor).sizes[0], unknown(), unknown(), known(2)))
    place = call.optional(2)
    axis = [call.number("axis", 1)] if call.version < 20 else [-2] if place is None else place.whole_values()
    check(axis is not None and axis[0] % tensor.rank != tensor.axis, "it goes over the rows")
    check(tensor.axis != tensor.rank - 1, "it goes over the rows")
    return Tensor(tensor.axis, tuple(size if at == tensor.axis else unknown() for at, size in enumerate(tensor.sizes)))


RULES: Mapping[str, Rule] = {
    "Attention": attention,
    "AveragePool": pool,
    "Conv": convolution,
    "ConvInteger": convolution,
    "ConvTranspose": unconvolution,
    "DFT": spectrum,
    "DeformConv": deformed_convolution,
    "Einsum": einsum,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool,
    "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool,
    "LpPool": pool,
    "MatMul": matmul,
    "MatMulInteger": scaled_matmul,
    "MaxPool": pool,
    "QLinearConv": quantized_convolution,
    "QLinearMatMul": quantized_matmul,
    "RotaryEmbedding": rotary,
    "STFT": spectrum,
}
