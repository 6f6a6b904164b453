"""Rules of operators that read or write single elements: Gather and Scatter. A row picks from what is its own, or from
what is the same for all.

Source: the operators named here in the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.engines.onnx_file.mixing.sizes import NUM_ROWS, ONE, Size
from deepseek.engines.onnx_file.mixing.tensor import NodeCall, RowIndices, Rule, TracedTensor, normalize_axis, require


def gather(call: NodeCall) -> TracedTensor:
    """Gather picks indices of a table for each row, or the same indices of each row."""
    tensor, indices = call.input(0), call.input(1)
    require(not indices.counts_rows, "it picks by the number of rows")
    require(not tensor.numbers_rows, "it computes with the place of a row")
    if tensor.shape is None or indices.shape is None:
        require(not tensor.has_rows and not indices.has_rows, "its shapes are not known")
        return TracedTensor(None, None)
    axis = normalize_axis(call.number("axis"), tensor.rank)
    shape = (*tensor.sizes[:axis], *indices.sizes, *tensor.sizes[axis + 1 :])
    if indices.has_rows and tensor.has_rows:
        require(
            axis == 0 == tensor.axis and _picks_own_rows(indices.numbering, tensor), "it picks for each row from all"
        )
        return TracedTensor(indices.axis, shape)
    require(not indices.numbers_rows, "it picks by the place of a row")
    if indices.has_rows:
        return TracedTensor(axis + indices.row_axis, shape)
    if tensor.axis is not None:
        require(axis != tensor.axis, "it picks among the rows")
        return TracedTensor(tensor.axis + (indices.rank - 1 if axis < tensor.axis else 0), shape)
    return TracedTensor(None, shape, _gather_values(tensor, indices))


def _picks_own_rows(indices: RowIndices | None, tensor: TracedTensor) -> bool:
    """Whether each row picks from what is its own of a tensor whose rows stand along the first axis."""
    share = tensor.sizes[0].per_row
    if indices is None or indices.is_column or share is None or tensor.outer != ONE:
        return False
    limit, num_own = (None, None) if indices.limit is None else (indices.limit.whole, share.whole)
    is_below = limit is not None and num_own is not None and limit <= num_own
    return indices.step == share and (is_below or indices.limit in (ONE, share))


def _gather_values(tensor: TracedTensor, indices: TracedTensor) -> tuple[Size, ...] | None:
    """The contents of a known list at known indices; None where they are not known."""
    positions = indices.whole_values()
    if tensor.values is not None and tensor.rank == 1 and positions is not None:
        require(
            all(-len(tensor.values) <= position < len(tensor.values) for position in positions),
            "it picks beyond the end",
        )
        return tuple(tensor.values[position] for position in positions)
    require(not tensor.counts_rows, "it computes with the number of rows")
    return None


def gather_elements(call: NodeCall) -> TracedTensor:
    """GatherElements picks for each element an index along an axis that is not that of the rows."""
    tensor, indices = call.input(0), call.input(1)
    if not tensor.has_rows and not indices.has_rows:
        return TracedTensor(None, indices.shape)
    require(tensor.axis is not None and tensor.axis == indices.axis, "it picks among the rows")
    axis = normalize_axis(call.number("axis"), tensor.rank)
    require(axis != tensor.axis, "it picks among the rows")
    require(tensor.sizes[tensor.row_axis] == indices.sizes[indices.row_axis], "it has another number of rows")
    return TracedTensor(indices.axis, indices.shape)


def scatter_elements(call: NodeCall) -> TracedTensor:
    """ScatterElements writes where GatherElements reads."""
    tensor, indices, updates = (call.input(index) for index in range(3))
    if not any(operand.has_rows for operand in call.present):
        return TracedTensor(None, tensor.shape)
    require(tensor.axis is not None and tensor.axis == indices.axis == updates.axis, "it writes among the rows")
    require(normalize_axis(call.number("axis"), tensor.rank) != tensor.axis, "it writes among the rows")
    sizes = {operand.sizes[operand.row_axis] for operand in (tensor, indices, updates)}
    require(len(sizes) == 1, "it has another number of rows")
    return tensor


def gather_nd(call: NodeCall) -> TracedTensor:
    """GatherND picks indices of a table for each row; in each row its own only with batch_dims."""
    tensor, indices = call.input(0), call.input(1)
    require(not tensor.numbers_rows, "it computes with the place of a row")
    num_shared = call.number("batch_dims")
    depth = indices.sizes[-1].whole
    require(depth is not None, "its depth is not known")
    if indices.numbers_rows:
        is_own = (
            tensor.axis == 0
            and tensor.sizes[0] == NUM_ROWS
            and indices.numbering == RowIndices(ONE, ONE, is_column=True)
        )
        require(is_own and num_shared == 0, "it picks by the place of a row")
        return TracedTensor(indices.axis, (*indices.sizes[:-1], *tensor.sizes[depth or 0 :]))
    shape = (*indices.sizes[:-1], *tensor.sizes[num_shared + (depth or 0) :])
    if tensor.axis is None and indices.axis is None:
        return TracedTensor(None, shape)
    if tensor.axis is None:
        require(indices.row_axis < indices.rank - 1, "it picks by the numbers of several rows")
        require(indices.row_axis >= num_shared, "it counts on a number of rows")
        return TracedTensor(indices.axis, shape)
    if tensor.axis < num_shared:
        require(indices.axis == tensor.axis, "it picks among the rows")
        require(tensor.sizes[tensor.axis] == indices.sizes[tensor.axis], "it has another number of rows")
        return TracedTensor(tensor.axis, shape)
    require(not indices.has_rows and tensor.axis >= num_shared + (depth or 0), "it picks among the rows")
    return TracedTensor(tensor.axis - num_shared - (depth or 0) + indices.rank - 1, shape)


RULES: Mapping[str, Rule] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
}
