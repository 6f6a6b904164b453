"""Rules of operators that multiply and add: matrices, convolutions, pools, Einsum. Rows are never summed, nor
multiplied by each other.

Source: the operators named here in the ONNX specification; numpy.matmul for MatMul.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, known_size, unknown_size
from deepseek.engines.onnx_file.mixing.tensor import (
    NodeCall,
    Rule,
    TracedTensor,
    broadcast,
    require,
    require_rows_first,
)

_SUMS_ROWS = "it sums over the rows"
_MULTIPLIES_ROWS = "it multiplies rows by each other"


def matrix_product(first: TracedTensor, second: TracedTensor) -> TracedTensor:
    """numpy.matmul of two tensors: rows are never summed over, nor multiplied by each other."""
    if first.shape is None or second.shape is None:
        require(not first.has_rows and not second.has_rows, "the number of axes of a tensor is not known")
        return TracedTensor(None, None)
    require(first.rank > 0 and second.rank > 0, "its tensors have no axes")
    require(first.axis != first.rank - 1, _SUMS_ROWS)
    require(second.axis != max(second.rank - 2, 0), _SUMS_ROWS)
    rank = max(first.rank, second.rank, 2)
    rows_in_first = first.axis is not None and first.axis == first.rank - 2
    rows_in_second = second.axis is not None and second.axis == second.rank - 1
    require(not (rows_in_first and second.has_rows) and not (rows_in_second and first.has_rows), _MULTIPLIES_ROWS)
    leading = broadcast(
        [
            TracedTensor(None, factor.sizes[:-2])
            if is_row_factor or factor.rank < 2
            else replace(factor, shape=factor.sizes[:-2], values=None)
            for factor, is_row_factor in ((first, rows_in_first), (second, rows_in_second))
        ]
    )
    height = [first.sizes[-2]] if first.rank > 1 else []
    width = [second.sizes[-1]] if second.rank > 1 else []
    shape = (*leading.sizes, *height, *width)
    if rows_in_first:
        return TracedTensor(rank - 2, shape, outer=first.outer)
    if rows_in_second:
        return TracedTensor(len(shape) - 1, shape, outer=second.outer)
    return TracedTensor(leading.axis, shape, outer=leading.outer)


def matmul(call: NodeCall) -> TracedTensor:
    return matrix_product(call.input(0), call.input(1))


def scaled_matmul(call: NodeCall) -> TracedTensor:
    """MatMulInteger: its zero points are the same for all rows."""
    for point in call.inputs[2:]:
        require(point is None or (not point.has_rows and _is_single(point)), "it has a zero point for each row")
    return matrix_product(call.input(0), call.input(1))


def quantized_matmul(call: NodeCall) -> TracedTensor:
    """QLinearMatMul: scale and zero point of the first factor and of the answer are one for all."""
    for index in (1, 2, 4, 5, 6, 7):
        point = call.input(index)
        require(not point.has_rows and (_is_single(point) or index in (4, 5)), "it has a scale for each row")
    return matrix_product(call.input(0), call.input(3))


def _is_single(tensor: TracedTensor) -> bool:
    return tensor.shape is not None and all(size == ONE for size in tensor.sizes)


def swap_last_axes(tensor: TracedTensor) -> TracedTensor:
    """The tensor with its last two axes exchanged."""
    require(tensor.rank > 1, "its tensors are no matrices")
    shape = (*tensor.sizes[:-2], tensor.sizes[-1], tensor.sizes[-2])
    axis = {tensor.rank - 1: tensor.rank - 2, tensor.rank - 2: tensor.rank - 1}.get(tensor.axis or 0, tensor.axis)
    return TracedTensor(None if tensor.axis is None else axis, shape, outer=tensor.outer)


def gemm(call: NodeCall) -> TracedTensor:
    """Gemm: a product, and what is added to it."""
    first = swap_last_axes(call.input(0)) if call.number("transA") else call.input(0)
    second = swap_last_axes(call.input(1)) if call.number("transB") else call.input(1)
    result = matrix_product(first, second)
    added = call.optional(2)
    return result if added is None else broadcast([result, added])


def convolution(call: NodeCall) -> TracedTensor:
    """Conv and its like compute each image by itself, with weights that are the same for all."""
    tensor, weights = require_rows_first(call.only_first_has_rows()), call.input(1)
    return _spatial_output(tensor, weights.sizes[0], _spatial_sizes(call, tensor, weights.sizes[2:]))


def quantized_convolution(call: NodeCall) -> TracedTensor:
    """QLinearConv, of which the weights are the fourth input."""
    tensor, weights = require_rows_first(call.only_first_has_rows()), call.input(3)
    return _spatial_output(tensor, weights.sizes[0], _spatial_sizes(call, tensor, weights.sizes[2:]))


def deformed_convolution(call: NodeCall) -> TracedTensor:
    """DeformConv: each row has its own offsets."""
    tensor, weights = require_rows_first(call.input(0)), call.input(1)
    require(not weights.has_rows and (call.optional(3) is None or not call.input(3).has_rows), _MULTIPLIES_ROWS)
    for offsets in (call.input(2), call.optional(4)):
        require(
            offsets is None or (offsets.axis == 0 and offsets.sizes[0] == tensor.sizes[0]),
            "it has other rows in its offsets",
        )
    return _spatial_output(tensor, weights.sizes[0])


def _spatial_output(tensor: TracedTensor, channels: Size | None, spatial: Sequence[Size] = ()) -> TracedTensor:
    require(tensor.rank > 2, "it takes all rows for one")
    width = unknown_size() if channels is None else channels
    return TracedTensor(0, (tensor.sizes[0], width, *(spatial or [unknown_size() for _ in tensor.sizes[2:]])))


def _spatial_sizes(call: NodeCall, tensor: TracedTensor, kernel: Sequence[Size] = ()) -> list[Size]:
    """Height, width and so on of what a kernel gives, where they are known."""
    num_axes = tensor.rank - 2
    spans = call.numbers("kernel_shape") or tuple(size.whole or 0 for size in kernel)
    strides, dilations = (call.numbers(name) or (1,) * num_axes for name in ("strides", "dilations"))
    pads = call.numbers("pads") or (0,) * 2 * num_axes
    is_known = call.text("auto_pad", "NOTSET") in ("NOTSET", "VALID") and len(spans) == num_axes and all(spans)
    sizes = []
    for axis, size in enumerate(tensor.sizes[2:]):
        if size.whole is None or not is_known or len(pads) != 2 * num_axes:
            sizes.append(unknown_size())
            continue
        steps = size.whole + pads[axis] + pads[axis + num_axes] - dilations[axis] * (spans[axis] - 1) - 1
        up = strides[axis] - 1 if call.number("ceil_mode") else 0
        # A last window that would begin beyond the end is left out, which runtimes do not agree on.
        sizes.append(unknown_size() if up and steps % strides[axis] else known_size(steps // strides[axis] + 1))
    return sizes


def transposed_convolution(call: NodeCall) -> TracedTensor:
    """ConvTranspose computes each image by itself."""
    return _spatial_output(require_rows_first(call.only_first_has_rows()), None)


def pool(call: NodeCall) -> TracedTensor:
    """Pools go over positions alone. Indices of the largest, a second output, are counted from the first row on."""
    require(call.num_outputs == 1, "it numbers the places of all rows")
    tensor = require_rows_first(call.only_first_has_rows())
    return _spatial_output(tensor, tensor.sizes[1], _spatial_sizes(call, tensor))


def global_pool(call: NodeCall) -> TracedTensor:
    """Global pools go over all positions of an image."""
    tensor = require_rows_first(call.only_first_has_rows())
    require(tensor.rank > 2, "it takes all rows for one")
    return TracedTensor(0, (*tensor.sizes[:2], *(ONE for _ in tensor.sizes[2:])))


def einsum(call: NodeCall) -> TracedTensor:
    """Einsum: the letter of the rows must stand once in each tensor that has them, and in the answer."""
    equation = call.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    require(bool(arrow) and "." not in equation and len(terms) == len(call.inputs), "its equation is not followed")
    sizes: dict[str, Size] = {}
    letters: set[str] = set()
    for term, tensor in zip(terms, call.present, strict=True):
        require(len(term) == tensor.rank, "its equation does not fit")
        for letter, size in zip(term, tensor.sizes, strict=True):
            sizes[letter] = size if letter not in sizes or sizes[letter] == ONE else sizes[letter]
        if tensor.axis is not None:
            letters.add(term[tensor.axis])
    require(len(letters) == 1, _MULTIPLIES_ROWS)
    (rows,) = letters
    require(right.count(rows) == 1, _SUMS_ROWS)
    counts = set()
    for term, tensor in zip(terms, call.present, strict=True):
        require(term.count(rows) == (1 if tensor.has_rows else 0), _MULTIPLIES_ROWS)
        if tensor.axis is not None:
            counts.add(tensor.sizes[tensor.axis])
    require(len(counts) == 1, "its tensors have several numbers of rows")
    sizes[rows] = counts.pop()
    return TracedTensor(right.index(rows), tuple(sizes[letter] for letter in right))


def attention(call: NodeCall) -> Sequence[TracedTensor]:
    """Attention of opset 23: each row attends to itself. Masks may be of all rows, (L, S) or (1, H, L, S)."""
    query, key, value = (require_rows_first(call.input(index)) for index in range(3))
    num_rows = query.sizes[0]
    mask = call.optional(3)
    if mask is not None:
        has_same_rows = mask.axis == 0 and mask.rank == 4 and mask.sizes[0] == num_rows
        has_no_rows = not mask.has_rows and (mask.rank < 4 or mask.sizes[0] == ONE)
        require(has_same_rows or has_no_rows, "its mask is of several rows")
    require(key.sizes[0] == value.sizes[0] == num_rows, "its tensors have several numbers of rows")
    for past in call.inputs[4:]:
        require(past is None or (past.axis == 0 and past.sizes[0] == num_rows), "its past is of other rows")
    shape = (num_rows, *query.sizes[1:-1])
    heads = call.number("q_num_heads")
    last = query.sizes[-1] if not heads or query.sizes == value.sizes else unknown_size()
    more_outputs = [
        TracedTensor(0, (num_rows, *(unknown_size() for _ in range(3)))) for _ in range(call.num_outputs - 1)
    ]
    width = last if query.sizes[-1] == value.sizes[-1] else unknown_size()
    return [TracedTensor(0, (*shape, width)), *more_outputs]


def rotary(call: NodeCall) -> TracedTensor:
    """RotaryEmbedding of opset 23: input, cos, sin, and the positions of each row, or of all."""
    tensor = require_rows_first(call.input(0))
    for table in call.inputs[1:]:
        has_same_rows = table is not None and table.axis == 0 and table.sizes[0] == tensor.sizes[0]
        require(table is None or has_same_rows or not table.has_rows, "its places are of other rows")
    with_places = call.optional(3) is not None
    require(with_places or all(table.has_rows or table.sizes[0] == ONE for table in call.present[1:3]),
          "it counts on a number of rows")  # fmt: skip
    return tensor


def spectrum(call: NodeCall) -> TracedTensor:
    """STFT of each row's signal; DFT along an axis that is not that of the rows."""
    tensor = call.only_first_has_rows()
    if call.operator == "STFT":
        return TracedTensor(0, (require_rows_first(tensor).sizes[0], unknown_size(), unknown_size(), known_size(2)))
    axis_input = call.optional(2)
    axis = [call.number("axis", 1)] if call.version < 20 else [-2] if axis_input is None else axis_input.whole_values()
    require(axis is not None and axis[0] % tensor.rank != tensor.axis, "it goes over the rows")
    require(tensor.axis != tensor.rank - 1, "it goes over the rows")
    return TracedTensor(
        tensor.axis, tuple(size if index == tensor.axis else unknown_size() for index, size in enumerate(tensor.sizes))
    )


RULES: Mapping[str, Rule] = {
    "Attention": attention,
    "AveragePool": pool,
    "Conv": convolution,
    "ConvInteger": convolution,
    "ConvTranspose": transposed_convolution,
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
