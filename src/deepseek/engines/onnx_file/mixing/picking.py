"""Rules of operators that read or write single places: Gather and Scatter. A row picks from what is its own, or from
what is the same for all.

Source: the operators named here in the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.engines.onnx_file.mixing.sizes import ONE, N, Size
from deepseek.engines.onnx_file.mixing.tensor import Call, Numbering, Rule, Tensor, check, place_of


def gather(call: Call) -> Tensor:
    """Places of a table for each row, or the same places of each row."""
    tensor, places = call.input(0), call.input(1)
    check(not places.counts_rows, "it picks by the number of rows")
    check(not tensor.numbers_rows, "it computes with the place of a row")
    if tensor.shape is None or places.shape is None:
        check(not tensor.has_rows and not places.has_rows, "its shapes are not known")
        return Tensor(None, None)
    axis = place_of(call.number("axis"), tensor.rank)
    shape = (*tensor.sizes[:axis], *places.sizes, *tensor.sizes[axis + 1 :])
    if places.has_rows and tensor.has_rows:
        check(axis == 0 == tensor.axis and _is_within(places.numbering, tensor), "it picks for each row from all")
        return Tensor(places.axis, shape)
    check(not places.numbers_rows, "it picks by the place of a row")
    if places.has_rows:
        return Tensor(axis + places.row_axis, shape)
    if tensor.axis is not None:
        check(axis != tensor.axis, "it picks among the rows")
        return Tensor(tensor.axis + (places.rank - 1 if axis < tensor.axis else 0), shape)
    return Tensor(None, shape, _picked(tensor, places))


def _is_within(places: Numbering | None, tensor: Tensor) -> bool:
    """Whether each row picks from what is its own of a tensor whose rows stand along the first axis."""
    share = tensor.sizes[0].of_a_row
    if places is None or places.is_column or share is None or tensor.outer != ONE:
        return False
    below, most = (None, None) if places.limit is None else (places.limit.whole, share.whole)
    is_below = below is not None and most is not None and below <= most
    return places.step == share and (is_below or places.limit in (ONE, share))


def _picked(tensor: Tensor, places: Tensor) -> tuple[Size, ...] | None:
    """Contents at places, of a list."""
    at = places.whole_values()
    if tensor.values is not None and tensor.rank == 1 and at is not None:
        check(all(-len(tensor.values) <= one < len(tensor.values) for one in at), "it picks beyond the end")
        return tuple(tensor.values[one] for one in at)
    check(not tensor.counts_rows, "it computes with the number of rows")
    return None


def gather_elements(call: Call) -> Tensor:
    """For each element a place along an axis that is not that of the rows."""
    tensor, places = call.input(0), call.input(1)
    if not tensor.has_rows and not places.has_rows:
        return Tensor(None, places.shape)
    check(tensor.axis is not None and tensor.axis == places.axis, "it picks among the rows")
    axis = place_of(call.number("axis"), tensor.rank)
    check(axis != tensor.axis, "it picks among the rows")
    check(tensor.sizes[tensor.row_axis] == places.sizes[places.row_axis], "it has another number of rows")
    return Tensor(places.axis, places.shape)


def scatter_elements(call: Call) -> Tensor:
    """The same, written."""
    tensor, places, updates = (call.input(place) for place in range(3))
    if not any(each.has_rows for each in call.present):
        return Tensor(None, tensor.shape)
    check(tensor.axis is not None and tensor.axis == places.axis == updates.axis, "it writes among the rows")
    check(place_of(call.number("axis"), tensor.rank) != tensor.axis, "it writes among the rows")
    sizes = {each.sizes[each.row_axis] for each in (tensor, places, updates)}
    check(len(sizes) == 1, "it has another number of rows")
    return tensor


def gather_nd(call: Call) -> Tensor:
    """Places in a table for each row; in each row its own only with batch_dims."""
    tensor, places = call.input(0), call.input(1)
    check(not tensor.numbers_rows, "it computes with the place of a row")
    num_shared = call.number("batch_dims")
    depth = places.sizes[-1].whole
    check(depth is not None, "its depth is not known")
    if places.numbers_rows:
        is_own = tensor.axis == 0 and tensor.sizes[0] == N and places.numbering == Numbering(ONE, ONE, is_column=True)
        check(is_own and num_shared == 0, "it picks by the place of a row")
        return Tensor(places.axis, (*places.sizes[:-1], *tensor.sizes[depth or 0 :]))
    shape = (*places.sizes[:-1], *tensor.sizes[num_shared + (depth or 0) :])
    if tensor.axis is None and places.axis is None:
        return Tensor(None, shape)
    if tensor.axis is None:
        check(places.row_axis < places.rank - 1, "it picks by the numbers of several rows")
        check(places.row_axis >= num_shared, "it counts on a number of rows")
        return Tensor(places.axis, shape)
    if tensor.axis < num_shared:
        check(places.axis == tensor.axis, "it picks among the rows")
        check(tensor.sizes[tensor.axis] == places.sizes[tensor.axis], "it has another number of rows")
        return Tensor(tensor.axis, shape)
    check(not places.has_rows and tensor.axis >= num_shared + (depth or 0), "it picks among the rows")
    return Tensor(tensor.axis - num_shared - (depth or 0) + places.rank - 1, shape)


RULES: Mapping[str, Rule] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
}
