"""Rules of operators that move, cut and join elements: their rows must stay whole and in their order.

Source: the operators named here in the ONNX specification; row-major order for Reshape and Flatten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from deepseek.engines.onnx_file.mixing.elementwise import axis_that_counts_rows
from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, known_size, total_size, unknown_size
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
    resize_axis,
)

_ROWS_BROKEN_UP = "it puts elements of several rows into one place, or takes rows apart"
_END_OF_AXIS = 2**31 - 1  # what exporters write for "to the end of the axis", or more


def reshape(call: NodeCall) -> TracedTensor:
    """Reshape must keep an element of a row in that row: its axis, in row-major order, is of that many rows still."""
    tensor, target = call.input(0), call.input(1)
    if target.values is None:
        require(not target.has_rows and not tensor.has_rows, "a shape is not known")
        return TracedTensor(None, None)
    copies = not call.number("allowzero")
    shape = [
        tensor.sizes[axis] if copies and size == known_size(0) and axis < len(tensor.sizes) else size
        for axis, size in enumerate(target.values)
    ]
    return reshape_tensor(tensor, shape)


def reshape_tensor(tensor: TracedTensor, shape: Sequence[Size]) -> TracedTensor:
    """Put the elements of a tensor into another shape, of which one size may be -1."""
    if tensor.shape is None:
        require(not any(size.counts_rows for size in shape), "it counts on a number of rows")
        return TracedTensor(None, tuple(unknown_size() if size == known_size(-1) else size for size in shape))
    known_total = total_size(size for size in shape if size != known_size(-1))
    if known_size(-1) in shape:
        require(known_total != known_size(0), "a shape holds 0")
        shape = [total_size(tensor.sizes) / known_total if size == known_size(-1) else size for size in shape]
    if tensor.axis is None:
        require(not any(size.counts_rows for size in shape), "it counts on a number of rows")
        return TracedTensor(None, tuple(shape), tensor.values, numbering=tensor.numbering)
    row_axes = [axis for axis, size in enumerate(shape) if size.counts_rows]
    require(len(row_axes) == 1, _ROWS_BROKEN_UP)
    (axis,) = row_axes
    outer = total_size(tensor.sizes[: tensor.axis]) * tensor.outer / total_size(shape[:axis])
    # Where an exporter has written 7 for a free size, both shapes hold as many elements only when it is 7.
    for repeats in (outer, outer * total_size(shape) / total_size(tensor.sizes)):
        if repeats.is_integral and (shape[axis] / repeats).per_row is not None:
            return TracedTensor(axis, tuple(shape), outer=repeats, numbering=tensor.numbering)
    raise MixesError(_ROWS_BROKEN_UP)


def flatten(call: NodeCall) -> TracedTensor:
    """Flatten makes two axes: those before `axis` joined, and the rest."""
    tensor = call.input(0)
    axis = call.number("axis", 1)
    axis += tensor.rank if axis < 0 else 0
    return reshape_tensor(tensor, (total_size(tensor.sizes[:axis]), total_size(tensor.sizes[axis:])))


def transpose(call: NodeCall) -> TracedTensor:
    """Transpose puts axes in another order, the reverse one if none is given."""
    tensor = call.input(0)
    if tensor.shape is None:
        return TracedTensor(None, None)
    order = call.numbers("perm") or tuple(reversed(range(tensor.rank)))
    require(sorted(order) == list(range(tensor.rank)), "its order of axes does not fit")
    values = tensor.values if tensor.rank < 2 else None
    require(values is not None or not tensor.counts_rows, "it computes with the number of rows")
    return TracedTensor(
        None if tensor.axis is None else order.index(tensor.axis),
        tuple(tensor.sizes[axis] for axis in order),
        values,
        tensor.outer,
        tensor.numbering,
    )


def squeeze(call: NodeCall) -> TracedTensor:
    """Squeeze removes axes of size 1. Where none is named, one row alone would lose its axis."""
    tensor = call.input(0)
    axes = call.list_of("axes", 1)
    if tensor.shape is None:
        return TracedTensor(None, None)
    if axes is None:
        require(tensor.axis is None, "it takes the axis of a single row away")
        kept = [size for size in tensor.sizes if size != ONE]
        known_sizes = all(size.number is not None for size in tensor.sizes)
        return TracedTensor(None, tuple(kept) if known_sizes else None, tensor.values)
    gone = {normalize_axis(axis, tensor.rank) for axis in axes}
    require(tensor.axis not in gone, "it takes the axis of a single row away")
    shape = tuple(size for index, size in enumerate(tensor.sizes) if index not in gone)
    axis = None if tensor.axis is None else tensor.axis - sum(index < tensor.axis for index in gone)
    return TracedTensor(axis, shape, tensor.values, tensor.outer, tensor.numbering)


def unsqueeze(call: NodeCall) -> TracedTensor:
    """Unsqueeze adds axes of size 1."""
    tensor = call.input(0)
    axes = call.list_of("axes", 1)
    if tensor.shape is None:
        return TracedTensor(None, None)
    rank = tensor.rank + len(axes or ())
    new = {normalize_axis(axis, rank) for axis in axes or ()}
    require(len(new) == rank - tensor.rank, "its axes do not fit")
    old = [index for index in range(rank) if index not in new]
    sizes = iter(tensor.sizes)
    shape = tuple(ONE if index in new else next(sizes) for index in range(rank))
    axis = None if tensor.axis is None else old[tensor.axis]
    return TracedTensor(axis, shape, tensor.values, tensor.outer, tensor.numbering)


def expand(call: NodeCall) -> TracedTensor:
    """Expand repeats along axes of size 1, for each row where the shape counts the rows."""
    tensor, target = call.input(0), call.input(1)
    require(not tensor.counts_rows, "it computes with the number of rows")
    if target.values is None:
        require(not target.has_rows and not tensor.has_rows, "a shape is not known")
        return TracedTensor(None, None)
    if tensor.shape is None:
        require(not target.counts_rows, "it counts on a number of rows")
        return TracedTensor(None, None)
    output = broadcast([tensor, TracedTensor(axis_that_counts_rows(target.values), target.values)])
    return replace(output, numbering=tensor.numbering)


def tile(call: NodeCall) -> TracedTensor:
    """Tile repeats copies one after the other; not along the rows."""
    tensor, repeats = call.input(0), call.input(1).values
    require(not tensor.counts_rows, "it computes with the number of rows")
    if repeats is None or tensor.shape is None:
        require(not call.input(1).has_rows and not tensor.has_rows, "its copies are not known")
        return TracedTensor(None, None)
    require(len(repeats) == tensor.rank, "its copies do not fit")
    shape = tuple(size * copies for size, copies in zip(tensor.sizes, repeats, strict=True))
    if tensor.axis is None:
        return TracedTensor(axis_that_counts_rows(shape), shape)
    require(axis_that_counts_rows(shape) == tensor.axis and repeats[tensor.axis] == ONE, "it repeats all rows together")
    return TracedTensor(tensor.axis, shape)


def concat(call: NodeCall) -> TracedTensor:
    """Concat joins tensors along an axis that is not that of the rows."""
    tensors = call.present
    if any(tensor.shape is None for tensor in tensors) and not any(tensor.has_rows for tensor in tensors):
        require(not any(tensor.counts_rows for tensor in tensors), "it computes with the number of rows")
        return TracedTensor(None, None)
    axis = normalize_axis(call.number("axis", 1), tensors[0].rank)
    require(len({tensor.rank for tensor in tensors}) == 1, "its tensors have several numbers of axes")
    with_rows = [tensor for tensor in tensors if tensor.has_rows]
    length = _sum_sizes([tensor.sizes[axis] for tensor in tensors])
    if not with_rows:
        flat = all(tensor.rank == 1 and tensor.values is not None for tensor in tensors)
        require(flat or not any(tensor.counts_rows for tensor in tensors), "it computes with the number of rows")
        values = tuple(value for tensor in tensors for value in tensor.values or ()) if flat else None
        output = resize_axis(tensors[0], axis, length)
        return TracedTensor(None, output.shape, values)
    first = with_rows[0]
    require(len(with_rows) == len(tensors), "it counts on a number of rows")
    require(
        all(tensor.axis == first.axis for tensor in tensors) and first.axis != axis, "it joins rows one after the other"
    )
    require(len({tensor.sizes[first.row_axis] for tensor in tensors}) == 1, "its tensors have several numbers of rows")
    return replace(resize_axis(first, axis, length), numbering=_concat_indices(tensors, axis))


def _concat_indices(tensors: Sequence[TracedTensor], axis: int) -> RowIndices | None:
    """Row indices in a joined last axis: the number of the row first and others behind it is what GatherND takes."""
    first, *others = tensors
    if not any(tensor.numbers_rows for tensor in tensors):
        return None
    is_number = first.numbering == RowIndices(ONE, ONE) and first.sizes[-1] == ONE and axis == first.rank - 1
    if is_number and not any(tensor.numbers_rows for tensor in others):
        return RowIndices(ONE, ONE, is_column=True)
    return RowIndices(ONE, None)


def _sum_sizes(sizes: Sequence[Size]) -> Size | None:
    numbers = [size.number for size in sizes]
    return None if None in numbers else known_size(sum(number for number in numbers if number is not None))


def split(call: NodeCall) -> Sequence[TracedTensor]:
    """Split cuts along an axis that is not that of the rows."""
    tensor = call.only_first_has_rows()
    if tensor.shape is None:
        return [TracedTensor(None, None)] * call.num_outputs
    axis = normalize_axis(call.number("axis"), tensor.rank)
    require(axis != tensor.axis, "it splits the rows")
    pieces = call.list_of("split", 1)
    if pieces is None:
        even = tensor.sizes[axis] / known_size(call.num_outputs)
        sizes = [even if even.is_integral else unknown_size() for _ in range(call.num_outputs)]
    else:
        sizes = [known_size(piece) for piece in pieces]
    outputs = [resize_axis(tensor, axis, size) for size in sizes]
    if tensor.rank == 1 and tensor.values is not None and pieces is not None:
        ends = list(accumulate(pieces))
        values = [tensor.values[end - piece : end] for end, piece in zip(ends, pieces, strict=True)]
        return [TracedTensor(None, output.shape, part) for output, part in zip(outputs, values, strict=True)]
    require(not tensor.counts_rows, "it computes with the number of rows")
    return outputs


def slice_(call: NodeCall) -> TracedTensor:
    """Slice cuts along axes that are not that of the rows."""
    tensor = call.input(0)
    starts, ends = (_bounds(call, name, index) for index, name in ((1, "starts"), (2, "ends")))
    axes, steps = call.list_of("axes", 3), call.list_of("steps", 4)
    if tensor.shape is None or starts is None or ends is None:
        require(not any(used.has_rows or used.counts_rows for used in call.present), "its cuts are not known")
        return TracedTensor(None, None if tensor.shape is None else tuple(unknown_size() for _ in tensor.sizes))
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(axes) if steps is None else steps
    shape, values = list(tensor.sizes), tensor.values
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index = normalize_axis(axis, tensor.rank)
        size = shape[index]
        is_to_the_end = end == size or (end.number is not None and end.number >= _END_OF_AXIS)
        if index == tensor.axis:
            require(is_to_the_end and start == known_size(0) and step == 1, "it cuts among the rows")
            continue
        require(not start.counts_rows and (not end.counts_rows or is_to_the_end), "it cuts by the number of rows")
        first, last, length = start.whole, end.whole, size.whole
        if is_to_the_end and start == known_size(0) and step == 1:
            continue
        if first is not None and last is not None and length is not None:
            positions = range(length)[first:last:step]
            shape[index] = known_size(len(positions))
            values = None if values is None or tensor.rank != 1 else tuple(values[position] for position in positions)
        else:
            whole_from_zero = start == known_size(0) and step == 1 and end.is_integral
            shape[index] = end if whole_from_zero else unknown_size()
            values = None
    require(values is not None or not tensor.counts_rows, "it computes with the number of rows")
    return TracedTensor(tensor.axis, tuple(shape), values)


def _bounds(call: NodeCall, name: str, index: int) -> tuple[Size, ...] | None:
    listed = call.numbers(name)
    if listed is not None:
        return tuple(map(known_size, listed))
    tensor = call.optional(index)
    return None if tensor is None else tensor.values


def pad(call: NodeCall) -> TracedTensor:
    """Pad adds elements at the ends of axes that are not that of the rows."""
    tensor = call.only_first_has_rows()
    if tensor.axis is None:
        return TracedTensor(None, None if tensor.shape is None else tuple(unknown_size() for _ in tensor.sizes))
    amounts = call.list_of("pads", 1)
    if amounts is None:
        amounts = call.list_of("paddings", 1)  # of opset 1
    axes = call.list_of("axes", 3) if call.version >= 18 else None
    axes = list(range(tensor.rank)) if axes is None else axes
    require(amounts is not None and len(amounts) == 2 * len(axes), "its amounts are not known")
    shape = list(tensor.sizes)
    for axis, before, after in zip(axes, (amounts or [])[: len(axes)], (amounts or [])[len(axes) :], strict=True):
        index = normalize_axis(axis, tensor.rank)
        require(index != tensor.axis or before == after == 0, "it adds rows")
        if before or after:
            size = shape[index].number
            shape[index] = unknown_size() if size is None else known_size(size + before + after)
    return TracedTensor(tensor.axis, tuple(shape))


def resize(call: NodeCall) -> TracedTensor:
    """Resize and Upsample change axes that are not that of the rows."""
    tensor = call.input(0)
    require(not any(used.has_rows for used in call.present[1:]), "its sizes depend on the rows")
    require(
        call.text("coordinate_transformation_mode") != "tf_crop_and_resize", "it cuts along axes that are not followed"
    )
    scales, sizes = (
        (call.optional(1), None) if call.operator == "Upsample" or call.version < 11
        else (call.optional(2), call.optional(3))
    )  # fmt: skip
    axes = call.numbers("axes") or tuple(range(tensor.rank))
    axes = tuple(normalize_axis(axis, tensor.rank) for axis in axes)
    if tensor.axis in axes:
        index = axes.index(tensor.row_axis)
        factors = () if scales is None else scales.values or ()
        lengths = () if sizes is None else sizes.values or ()
        is_same_size = index < len(lengths) and lengths[index] == tensor.sizes[tensor.row_axis]
        require(
            is_same_size or (index < len(factors) and factors[index] == ONE and not lengths),
            "it makes more rows of them",
        )
    return TracedTensor(
        tensor.axis, tuple(size if index == tensor.axis else unknown_size() for index, size in enumerate(tensor.sizes))
    )


def depth_to_space(call: NodeCall) -> TracedTensor:
    """DepthToSpace and SpaceToDepth change each image by itself."""
    tensor = require_rows_first(call.input(0), rank=4)
    return TracedTensor(0, (tensor.sizes[0], *(unknown_size() for _ in range(3))))


def trilu(call: NodeCall) -> TracedTensor:
    """Trilu keeps a triangle of the last two axes."""
    tensor = call.only_first_has_rows()
    require(tensor.axis is None or tensor.axis < tensor.rank - 2, "it cuts among the rows")
    return TracedTensor(tensor.axis, tensor.shape)


def reverse_sequence(call: NodeCall) -> TracedTensor:
    """ReverseSequence turns each row round by its own length."""
    tensor, lengths = call.input(0), require_rows_first(call.input(1), rank=1)
    require(tensor.axis == call.number("batch_axis", 1), "it turns the rows round")
    require(tensor.sizes[tensor.row_axis] == lengths.sizes[0], "it has another number of rows")
    return tensor


RULES: Mapping[str, Rule] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Pad": pad,
    "Reshape": reshape,
    "Resize": resize,
    "ReverseSequence": reverse_sequence,
    "Slice": slice_,
    "SpaceToDepth": depth_to_space,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
}
