"""Within which inputs an engine is known to do what the reference does.

    probed = probe_range(run, signature, budget_s=2.0)    # run: one row through the reference
    probed.covers(arrays, signature)                      # else the reference computes

Engines differ in what they make of inputs that a model was not made for: where onnxruntime refuses an index beyond the
end of a table, OpenVINO answers with zeros. So whatever was not tried goes to the reference: larger numbers in
whole-number inputs, larger free sizes, and numbers that are not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.onnx_file.signature import Signature
from deepseek.errors import InputError

MAX_PROBED_VALUE, MAX_PROBED_SIZE = 1 << 20, 1 << 12
#: A probe that takes so much longer than the first: numbers that mean sizes need more and more memory.
SLOW_FACTOR, SLOW_S = 8.0, 0.05

RunRow = Callable[[Arrays], object]


@dataclass(frozen=True, slots=True)
class ProbedRange:
    """The largest free size, and the largest number of each whole-number input, that the reference took. Nothing below
    0 was tried."""

    size: int = 0
    values: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, document: JsonObject) -> ProbedRange:
        """Read what to_dict() gave. KeyError, TypeError or ValueError for anything else."""
        return cls(int(document["size"]), {str(name): int(value) for name, value in document["values"].items()})

    def to_dict(self) -> JsonObject:
        return {"size": self.size, "values": dict(self.values)}

    def covers(self, arrays: Arrays, signature: Signature) -> bool:
        """Whether these rows are within what was tried."""
        for spec in signature.inputs:
            array, kind = arrays[spec.name], spec.numpy.kind
            dims = zip(array.shape[1:], signature.row_shape(spec), strict=True)
            if any(size > self.size for size, dim in dims if not isinstance(dim, int)) or not array.size:
                return False
            if kind == "f" and not np.isfinite(array.sum()):
                return False
            if kind in "iu" and not (array.min() >= 0 and array.max() <= self.values[spec.name]):
                return False
        return True

    def extremes(self, signature: Signature) -> list[Arrays]:
        """One row with the largest numbers, and one of the largest size."""
        return [_constant_sample(signature, self.values), signature.sample(1, free=self.size)]


def probe_range(run: RunRow, signature: Signature, budget_s: float) -> ProbedRange:
    """Try larger and larger inputs on the reference, for about `budget_s`; returns how far it takes them."""
    started_s = perf_counter()
    run(signature.sample(1))
    most_s = SLOW_S + SLOW_FACTOR * (perf_counter() - started_s)

    def takes(arrays: Arrays) -> bool:
        call_s = perf_counter()
        if call_s > started_s + budget_s:
            return False
        try:
            run(arrays)
        except InputError:
            return False
        return perf_counter() - call_s < most_s

    def takes_value(name: str, value: int) -> bool:
        return takes(_constant_sample(signature, {name: value}))

    size = _largest_that_fits(lambda size: takes(signature.sample(1, free=size)), signature.free, MAX_PROBED_SIZE)
    values: dict[str, int] = {}
    for spec in signature.inputs:
        if spec.numpy.kind in "iu":
            most = min(MAX_PROBED_VALUE, int(np.iinfo(spec.numpy).max))
            values[spec.name] = _largest_that_fits(partial(takes_value, spec.name), 1, most)
    return ProbedRange(size, values)


def _largest_that_fits(fits: Callable[[int], bool], known: int, most: int) -> int:
    """The largest number up to `most` that fits, when all below it do; `known` does.

    >>> _largest_that_fits(lambda number: number < 1000, 1, 1 << 20), _largest_that_fits(lambda number: True, 1, 100)
    (999, 100)
    """
    good, bad = known, most + 1
    while good < most and bad > most:
        candidate = min(2 * good, most)
        good, bad = (candidate, bad) if fits(candidate) else (good, candidate)
    while bad - good > 1 and bad <= most:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _constant_sample(signature: Signature, values: Mapping[str, int]) -> Arrays:
    """A sample of one row, in which some inputs hold one number everywhere: name of the input -> number."""
    return {
        name: np.full_like(array, values[name]) if name in values else array
        for name, array in signature.sample(1).items()
    }
