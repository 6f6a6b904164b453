"""What is known of a tensor before anything runs: along which axis its rows stand, its sizes, and small contents.

With N = NUM_ROWS and k = known_size:

TracedTensor(axis=0, shape=(N, k(4)))              # a row is a slice of four numbers
TracedTensor(axis=0, shape=(N * k(8), k(4)))       # each row has eight slices, one after the other
TracedTensor(0, (k(8) * N, k(4)), outer=k(8))      # eight times a slice of each row: (8, N, 4), flattened
TracedTensor(None, (k(2),), (N, k(4)))             # a shape; it counts the rows, but no row's numbers change it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, known_size, unknown_size


class MixesError(Exception):
    """Rows may change each other's answers, or nothing shows that they do not; the message says where."""


@dataclass(frozen=True, slots=True)
class RowIndices:
    """Whole numbers that point to rows: in row n, n times `step` plus something from 0 to below `limit`. Computed with
    in any other way they no longer point to the same row: `limit` is None then."""

    step: Size  # 0: they are the same in each row
    limit: Size | None
    is_column: bool = False  # only the first number along the last axis is one

    @property
    def depends_on_rows(self) -> bool:
        return self.step.factor != 0


@dataclass(frozen=True, slots=True)
class TracedTensor:
    """What is known of one value of a graph: the axis of its rows, its sizes, and small contents."""

    axis: int | None  # of the rows; None: whatever rows come, it is the same
    shape: tuple[Size, ...] | None  # None: not known, only without rows
    values: tuple[Size, ...] | None = None  # of a small tensor without rows, in their order
    outer: Size = ONE  # how often all rows come by along the axis
    numbering: RowIndices | None = None  # where its numbers point to rows

    @property
    def has_rows(self) -> bool:
        return self.axis is not None

    @property
    def counts_rows(self) -> bool:
        """Whether it holds how many rows there are."""
        return self.values is not None and any(value.counts_rows for value in self.values)

    @property
    def numbers_rows(self) -> bool:
        """Whether its numbers depend on the index of a row among the others."""
        return self.numbering is not None and self.numbering.depends_on_rows

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes of all axes. MixesError when they are not known."""
        if self.shape is None:
            raise MixesError("the number of axes of a tensor is not known")
        return self.shape

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def row_axis(self) -> int:
        """The axis of the rows. MixesError for a tensor that has none."""
        if self.axis is None:
            raise MixesError("a tensor is the same for all rows where one with rows is expected")
        return self.axis

    def whole_values(self) -> list[int] | None:
        """The contents, where all of them are whole numbers that are known; else None."""
        if self.values is None:
            return None
        numbers = [value.whole for value in self.values]
        return None if None in numbers else [number for number in numbers if number is not None]


Attribute = int | float | str | TracedTensor | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeCall:
    """One node with its input tensors and attributes, as rules see it."""

    operator: str
    version: int  # of the operator set
    inputs: tuple[TracedTensor | None, ...]
    num_outputs: int = 1
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def input(self, index: int) -> TracedTensor:
        """The input at `index`. MixesError when it is left out."""
        tensor = self.optional(index)
        if tensor is None:
            raise MixesError(f"its input {index} is missing")
        return tensor

    def optional(self, index: int) -> TracedTensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def present(self) -> list[TracedTensor]:
        """The inputs that are not left out."""
        return [tensor for tensor in self.inputs if tensor is not None]

    def number(self, name: str, default: int = 0) -> int:
        """An attribute that is a whole number."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise MixesError(f"its attribute {name} is no whole number")
        return value

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of whole numbers; None where it is left out."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(isinstance(number, int) for number in value):
            raise MixesError(f"its attribute {name} is no list of whole numbers")
        return tuple(int(number) for number in value)

    def text(self, name: str, default: str = "") -> str:
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise MixesError(f"its attribute {name} is no text")
        return value

    def list_of(self, name: str, index: int) -> list[int] | None:
        """What was an attribute in older versions and is an input now; None where it is left out. MixesError when it
        is not known."""
        if (listed := self.numbers(name)) is not None:
            return list(listed)
        tensor = self.optional(index)
        if tensor is None:
            return None
        numbers = tensor.whole_values()
        if numbers is None:
            raise MixesError(f"its {name} are not known")
        return numbers

    def only_first_has_rows(self) -> TracedTensor:
        """The first input. MixesError when another one depends on rows."""
        if any(tensor.has_rows or tensor.counts_rows for tensor in self.inputs[1:] if tensor is not None):
            raise MixesError("what should be the same for all rows depends on them")
        return self.input(0)


Rule = Callable[[NodeCall], TracedTensor | Sequence[TracedTensor]]


def normalize_axis(axis: int, rank: int) -> int:
    """The axis counted from the front. MixesError when there is none.

    >>> normalize_axis(-1, 3)
    2
    """
    if not -rank <= axis < rank:
        raise MixesError("an axis is beyond the shape")
    return axis % rank


def require(is_kept_apart: bool, words: str) -> None:
    """Raise MixesError with this message unless rows are kept apart."""
    if not is_kept_apart:
        raise MixesError(words)


def require_rows_first(tensor: TracedTensor, *, rank: int | None = None) -> TracedTensor:
    """Return the tensor. MixesError unless its rows stand along the first axis."""
    require(tensor.axis == 0, "its rows do not stand along the first axis")
    require(rank is None or tensor.rank == rank, "it takes all rows for one")
    return tensor


def resize_axis(tensor: TracedTensor, axis: int, size: Size | None = None) -> TracedTensor:
    """The tensor with another size of an axis, which is not that of the rows."""
    shape = list(tensor.sizes)
    shape[axis] = unknown_size() if size is None else size
    return TracedTensor(tensor.axis, tuple(shape), outer=tensor.outer)


def tensor_of_rows(size: Size, *others: Size | None) -> TracedTensor:
    """A tensor with rows along the first axis, and other axes behind it; None is a size that is not known."""
    return TracedTensor(0, (size, *(unknown_size() if other is None else other for other in others)))


def broadcast(tensors: Sequence[TracedTensor]) -> TracedTensor:
    """What an operation on each element gives. MixesError when rows meet other rows, or values that are not the same
    for each of them."""
    with_rows = [tensor for tensor in tensors if tensor.axis is not None]
    if not with_rows and any(tensor.shape is None for tensor in tensors):
        return TracedTensor(None, None)
    rank = max(tensor.rank for tensor in tensors)
    axes = {tensor.row_axis + rank - tensor.rank for tensor in with_rows}
    require(len(axes) < 2 and len({tensor.outer for tensor in with_rows}) < 2, "it puts each row together with others")
    axis = axes.pop() if axes else None
    shape = [ONE] * rank
    for tensor in tensors:
        for index, size in enumerate(tensor.sizes, rank - tensor.rank):
            if index != axis:
                shape[index] = _common_size(shape[index], size)
            elif tensor.axis is None:
                require(size == ONE, "it counts on a number of rows")
            else:
                require(shape[index] in (ONE, size), "it puts each row together with others")
                shape[index] = size
    return TracedTensor(axis, tuple(shape), outer=with_rows[0].outer if with_rows else ONE)


def _common_size(first: Size, second: Size) -> Size:
    """The size of an axis that has these sizes in two tensors, one of which may be repeated."""
    if second in (first, ONE):
        return first
    if first == ONE or (second.number is not None and first.number is None):
        return second
    return first if first.number is not None else unknown_size()


def stored_tensor(shape: tuple[Size, ...] | None, numbers: Sequence[float | Fraction]) -> TracedTensor:
    """A tensor of the file with these numbers."""
    return TracedTensor(None, shape, tuple(known_size(number) for number in numbers))
