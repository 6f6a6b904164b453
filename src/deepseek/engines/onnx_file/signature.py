"""What goes into a graph and what comes out: names, types and shapes, and what a row of them is.

    signature.check(tensors)                     # InputError that names the input which does not fit
    signature.sample(3, seed=0)                  # made-up rows that fit

How rows are computed (`rows`), as measured when the file was opened:

    joined   the first axis of every input and output is free and means the rows, and no row changes another's answer
    single   the first axis of every one is fixed at 1: a row is a call
    whole    anything else: a row is a call with tensors as they are; here, a first axis of rows stands before them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, JsonObject, Tensors
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

RowMode = Literal["joined", "single", "whole"]
Dim = int | str | None  # fixed, of a name, or free
MAX_RANK = 16
#: Type of an element in onnxruntime's words -> numpy's name.
DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool", "string": "str",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, type and shape of one input or output."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    def describe(self) -> str:
        """The type and shape in words, for messages.

        >>> TensorSpec("x", "float32", ("N", 4)).describe()
        'float32 [N, 4]'
        """
        return f"{self.dtype} [{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of one graph and what a row of them is. `free`: the size of free axes, but that of the rows,
    in a sample."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rows: RowMode = "whole"
    free: int = 1

    @classmethod
    def from_dict(cls, document: JsonObject) -> Signature:
        """Read what to_dict() gave. KeyError, TypeError or ValueError for anything else."""
        ends = [
            tuple(TensorSpec(str(name), str(np.dtype(dtype).name if dtype != "str" else dtype), tuple(shape))
                  for name, dtype, shape in document[end])
            for end in ("inputs", "outputs")
        ]  # fmt: skip
        if document["rows"] not in get_args(RowMode) or not all(ends):
            raise ValueError("no signature")
        return cls(ends[0], ends[1], document["rows"], int(document["free"]))

    def to_dict(self) -> JsonObject:
        """Plain values, for a file or another process."""
        ends = {
            end: [[spec.name, spec.dtype, list(spec.shape)] for spec in specs]
            for end, specs in (("inputs", self.inputs), ("outputs", self.outputs))
        }
        return {**ends, "rows": self.rows, "free": self.free}

    def row_shape(self, spec: TensorSpec) -> tuple[Dim, ...]:
        """The shape of one row of a tensor."""
        return spec.shape if self.rows == "whole" else spec.shape[1:]

    def input(self, name: str) -> TensorSpec:
        """The input of that name. InputError, with the name that may have been meant."""
        for spec in self.inputs:
            if spec.name == name:
                return spec
        names = [spec.name for spec in self.inputs]
        raise InputError(
            f"the model has no input {name[:100]!r}.{did_you_mean(name[:100], names)}",
            expected=", ".join(names),
            fix="name the inputs as the graph does",
        )

    def check(self, tensors: Tensors) -> None:
        """InputError unless these rows fit: every input, its type, its fixed sizes, and equal sizes of one name."""
        arrays = tensors.arrays
        for name in arrays:
            self.input(name)
        sizes: dict[str, tuple[int, str]] = {}
        for spec in self.inputs:
            if spec.name not in arrays:
                raise InputError(
                    f"the input {spec.name!r} is missing", expected=spec.describe(), fix="give every input of the graph"
                )
            self._check_one(spec, arrays[spec.name], len(tensors), sizes)

    def _check_one(
        self, spec: TensorSpec, array: NDArray[Any], num_rows: int, sizes: dict[str, tuple[int, str]]
    ) -> None:
        if array.dtype.kind != spec.numpy.kind or (spec.dtype != "str" and array.dtype != spec.numpy):
            raise InputError(
                f"the input {spec.name!r} is {array.dtype.name}", expected=spec.describe(), fix="send it in that type"
            )
        if len(array) != num_rows:
            raise InputError(
                f"the input {spec.name!r} has {len(array)} rows, another has {num_rows}",
                expected="as many in each",
                fix="give every row a value for every input",
            )
        shape, expected = array.shape[1:], self.row_shape(spec)
        if len(shape) != len(expected):
            raise self._misfit(spec, shape)
        for size, dim in zip(shape, expected, strict=True):
            if isinstance(dim, int) and size != dim:
                raise self._misfit(spec, shape)
            if isinstance(dim, str) and sizes.setdefault(dim, (size, spec.name))[0] != size:
                other, name = sizes[dim]
                raise InputError(
                    f"{dim[:100]!r} is {size} in the input {spec.name!r} and {other} in {name!r}",
                    expected="one size for one name",
                    fix="let the shapes of the inputs agree",
                )

    def _misfit(self, spec: TensorSpec, shape: Sequence[int]) -> InputError:
        axes = list(shape) if self.rows == "whole" else ["N" if self.rows == "joined" else 1, *shape]
        return InputError(
            f"the input {spec.name!r} has the shape [{', '.join(map(str, axes))}]",
            expected=spec.describe(),
            fix="let its shape be that of the graph",
        )

    def sample(self, num_rows: int, *, seed: int = 0, free: int = 0) -> Arrays:
        """Made-up rows: normal numbers of two digits, and whole numbers 0 and 1, which every embedding knows."""
        rng = np.random.default_rng(seed)
        return {spec.name: self._sample_array(spec, num_rows, rng, free or self.free) for spec in self.inputs}

    def _sample_array(self, spec: TensorSpec, num_rows: int, rng: np.random.Generator, free: int) -> NDArray[Any]:
        shape = (num_rows, *(dim if isinstance(dim, int) else free for dim in self.row_shape(spec)))
        if spec.dtype == "str":
            return np.full(shape, "a")
        if spec.numpy.kind == "f":
            return np.asarray(rng.standard_normal(shape).round(2), spec.dtype)
        return np.asarray(rng.integers(0, 2, shape), spec.dtype)


def tensor_specs(path: Path, entries: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """TensorSpecs of onnxruntime's inputs or outputs. InputError for a type that is not served, or none at all."""
    specs = []
    for entry in entries:
        dtype = DTYPES.get(entry.type.removeprefix("tensor(").removesuffix(")"))
        if dtype is None or not entry.type.startswith("tensor(") or len(entry.shape) > MAX_RANK:
            raise InputError(
                f"{entry.name!r} of {path} is {entry.type}",
                expected=f"tensors of {', '.join(DTYPES)}",
                fix="export it so; a classifier of scikit-learn with the option zipmap=False",
            )
        shape = tuple(
            dim if isinstance(dim, str) or (isinstance(dim, int) and dim >= 0) else None for dim in entry.shape
        )
        specs.append(TensorSpec(entry.name, dtype, shape))
    if not specs:
        raise InputError(
            f"{path} has no inputs, or no outputs", expected="at least one of each", fix="export it with them"
        )
    return tuple(specs)
