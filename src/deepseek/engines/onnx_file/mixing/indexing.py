"""Rules of operators that read or write single places: Gather and Scatter. A row picks from what is its own, or from
what is the same for all.

Source: the operators named here in the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.engines.onnx_file.mixing.sizes import NUM_ROWS, ONE, Size
from deepseek.engines.onnx_file.mixing.tensor import NodeCall, RowIndices, Rule, TracedTensor, normalize_axis, require


def gather(call: NodeCall) -> TracedTensor:
    """Places of a table for each row, or the same places of each row."""
    tensor, places = call.input(0), call.input(1)
    require(not places.counts_rows, "it picks by the number of rows")
    require(not tensor.numbers_rows, "it computes with the place of a row")
    if tensor.shape is None or places.shape is None:
        require(not tensor.has_rows and not places.has_rows, "its shapes are not known")
        return TracedTensor(None, None)
    axis = normalize_axis(call.number("axis"), tensor.rank)
    shape = (*tensor.sizes[:axis], *places.sizes, *tensor.sizes[axis + 1 :])
    if places.has_rows and tensor.has_rows:
        require(
            axis == 0 == tensor.axis and _picks_own_rows(places.numbering, tensor), "it picks for each row from all"
        )
        return TracedTensor(places.axis, shape)
    require(not places.numbers_rows, "it picks by the place of a row")
    if places.has_rows:
        return TracedTensor(axis + places.row_axis, shape)
    if tensor.axis is not None:
        require(axis != tensor.axis, "it picks among the rows")
        return TracedTensor(tensor.axis + (places.rank - 1 if axis < tensor.axis else 0), shape)
    return TracedTensor(None, shape, _gather_values(tensor, places))


def _picks_own_rows(places: RowIndices | None, tensor: TracedTensor) -> bool:
    """Whether each row picks from what is its own of a tensor whose rows stand along the first axis."""
    share = tensor.sizes[0].of_a_row
    if places is None or places.is_column or share is None or tensor.outer != ONE:
        return False
    below, most = (None, None) if places.limit is None else (places.limit.whole, share.whole)
    is_below = below is not None and most is not None and below <= most
    return places.step == share and (is_below or places.limit in (ONE, share))


def _gather_values(tensor: TracedTensor, places: TracedTensor) -> tuple[Size, ...] | None:
    """Contents at places, of a list."""
    at = places.whole_values()
    if tensor.values is not None and tensor.rank == 1 and at is not None:
        require(all(-len(tensor.values) <= one < len(tensor.values) for one in at), "it picks beyond the end")
        return tuple(tensor.values[one] for one in at)
    require(not tensor.counts_rows, "it computes with the number of rows")
    return None


def gather_elements(call: NodeCall) -> TracedTensor:
    """For each element a place along an axis that is not that of the rows."""
    tensor, places = call.input(0), call.input(1)
    if not tensor.has_rows and not places.has_rows:
        return TracedTensor(None, places.shape)
    require(tensor.axis is not None and tensor.axis == places.axis, "it picks among the rows")
    axis = normalize_axis(call.number("axis"), tensor.rank)
    require(axis != tensor.axis, "it picks among the rows")
    require(tensor.sizes[tensor.row_axis] == places.sizes[places.row_axis], "it has another number of rows")
    return TracedTensor(places.axis, places.shape)


def scatter_elements(call: NodeCall) -> TracedTensor:
    """The same, written."""
    tensor, places, updates = (call.input(place) for place in range(3))
    if not any(each.has_rows for each in call.present):
        return TracedTensor(None, tensor.shape)
    require(tensor.axis is not None and tensor.axis == places.axis == updates.axis, "it writes among the rows")
    require(normalize_axis(call.number("axis"), tensor.rank) != tensor.axis, "it writes among the rows")
    sizes = {each.sizes[each.row_axis] for each in (tensor, places, updates)}
    require(len(sizes) == 1, "it has another number of rows")
    return tensor


def gather_nd(call: NodeCall) -> TracedTensor:
    """Places in a table for each row; in each row its own only with batch_dims."""
    tensor, places = call.input(0), call.input(1)
    require(not tensor.numbers_rows, "it computes with the place of a row")
    num_shared = call.number("batch_dims")
    depth = places.sizes[-1].whole
    require(depth is not None, "its depth is not known")
    if places.numbers_rows:
        is_own = (
            tensor.axis == 0
            and tensor.sizes[0] == NUM_ROWS
            and places.numbering == RowIndices(ONE, ONE, is_column=True)
        )
        require(is_own and num_shared == 0, "it picks by the place of a row")
        return TracedTensor(places.axis, (*places.sizes[:-1], *tensor.sizes[depth or 0 :]))
    shape = (*places.sizes[:-1], *tensor.sizes[num_shared + (depth or 0) :])
    if tensor.axis is None and places.axis is None:
        return TracedTensor(None, shape)
    if tensor.axis is None:
        require(places.row_axis < places.rank - 1, "it picks by the numbers of several rows")
        require(places.row_axis >= num_shared, "it counts on a number of rows")
        return TracedTensor(places.axis, shape)
    if tensor.axis < num_shared:
        require(places.axis == tensor.axis, "it picks among the rows")
        require(tensor.sizes[tensor.axis] == places.sizes[tensor.axis], "it has another number of rows")
        return TracedTensor(tensor.axis, shape)
    require(not places.has_rows and tensor.axis >= num_shared + (depth or 0), "it picks among the rows")
    return TracedTensor(tensor.axis - num_shared - (depth or 0) + places.rank - 1, shape)


RULES: Mapping[str, Rule] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
}
