"""Limits that a compressed model must meet (score, size, speed), checked before any long work.

Limits(keep=0.99, max_mb=50, min_speedup=2.0).check(size_bytes=98_000_000, methods=("int8", "prune"))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

#: Smallest share of a float32 file's bytes that each method alone can reach, by the bits of a stored weight; 0.0 where
#: no bound is known.
MIN_SIZE_SHARE: Mapping[str, float] = {
    "bf16": 0.5,
    "fp8": 0.25,
    "int8": 0.25,
    "int4": 0.125,
    "prune": 0.0,
    "distill": 0.0,
}
#: Two timings of the same model differ by up to 2 %: a variant counts as slower only below this speedup.
SAME_SPEED_RATIO = 0.98


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on score, size and speed. InputError for a value out of its range.

    >>> Limits(keep=99.0)
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: keep is 99.0. Expected: a share above 0 and up to 1. To mend it: for 99 % write 0.99.
    """

    keep: float = 0.99  # smallest share of the original model's score, above 0 and up to 1
    max_mb: float | None = None  # largest size of all files needed to answer, in millions of bytes
    min_speedup: float | None = None  # ratio of CPU time per row to the original model in its fastest exact engine

    def __post_init__(self) -> None:
        if not _is_number(self.keep) or not 0 < self.keep <= 1:
            is_percent = _is_number(self.keep) and self.keep >= 2
            fix = f"for {self.keep:g} % write {self.keep / 100:g}" if is_percent else "for example keep=0.99"
            raise InputError(f"keep is {self.keep!r}", expected="a share above 0 and up to 1", fix=fix)
        for name, minimum in (("max_mb", 0.0), ("min_speedup", 1.0)):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or value < minimum or value == 0):
                expected = "a number above 0" if name == "max_mb" else "a number of 1 or more"
                fix = f"leave {name} out, or give such a number"
                raise InputError(f"{name} is {value!r}", expected=expected, fix=fix)

    def check(self, size_bytes: int, methods: Sequence[str]) -> None:
        """InputError when no combination of `methods` could make `size_bytes` of float32 weights small enough."""
        if self.max_mb is None:
            return
        shares = [MIN_SIZE_SHARE.get(method, 0.0) for method in methods]
        smallest_bytes = min(shares, default=1.0) * size_bytes
        if size_bytes > self.max_mb * 1e6 and smallest_bytes > self.max_mb * 1e6:
            raise InputError(
                f"max_mb is {self.max_mb:g}, and {' and '.join(methods) or 'no method'} can make no less than "
                f"{smallest_bytes / 1e6:.1f} MB of {size_bytes / 1e6:.1f} MB",
                expected="a limit that the methods can reach",
                fix="allow prune or distill, too, or raise the limit",
            )

    def describe(self) -> str:
        """In words.

        >>> Limits(0.99, max_mb=23).describe()
        'at least 99 % of the score, at most 23 MB, no slower'
        """
        size = "no larger" if self.max_mb is None else f"at most {self.max_mb:g} MB"
        speed = "no slower" if self.min_speedup is None else f"at least {self.min_speedup:g} times as fast"
        return f"at least {100 * self.keep:.6g} % of the score, {size}, {speed}"


#: How an error tells the user to enable a method that needs more arguments.
_METHOD_FIXES = {
    "distill": "give --train TEXTS for a classifier of texts, --train ROWS.npz --student FILE.py:NAME for a module, or "
    "take some of these",
}


def check_methods(methods: Sequence[str], known: Sequence[str], model_name: str) -> tuple[str, ...]:
    """`methods` without repeats, in their order; InputError for one that is not in `known`. `model_name` is for the
    message."""
    for method in methods:
        if method not in known:
            raise InputError(
                f"{model_name} cannot be compressed by {method!r}.{did_you_mean(method, known)}",
                expected=", ".join(known),
                fix=_METHOD_FIXES.get(method, "take some of these"),
            )
    return tuple(dict.fromkeys(methods))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
