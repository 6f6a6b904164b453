"""What a compressed model must meet, checked before any long work.

Limits(keep=0.99, max_mb=50, min_speedup=2.0).check(size_bytes=98_000_000, methods=("int8", "prune"))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

#: The least share of a float32 file that a method alone can reach: bits of a stored number. 0.0: no bound is known.
MIN_SIZE_SHARE: Mapping[str, float] = {
    "bf16": 0.5,
    "fp8": 0.25,
    "int8": 0.25,
    "int4": 0.125,
    "prune": 0.0,
    "distill": 0.0,
}
#: Two runs of one and the same model differ by so much: below 1 by less than it, nothing is called slower.
SAME_SPEED_RATIO = 0.98


@dataclass(frozen=True, slots=True)
class Limits:
    """Of size, of what must remain, of speed.

    >>> Limits(keep=99.0)
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: keep is 99.0. Expected: a share above 0 and up to 1. To mend it: for 99 % write 0.99.
    """

    keep: float = 0.99  # share of the given model's score that must remain, 0..1
    max_mb: float | None = None  # of all files that are needed to answer, in millions of bytes
    min_speedup: float | None = None  # over the given model in its fastest exact engine, by CPU time a row

    def __post_init__(self) -> None:
        if not _is_number(self.keep) or not 0 < self.keep <= 1:
            told = f"for {self.keep:g} % write {self.keep / 100:g}" if _is_number(self.keep) and self.keep >= 2 else ""
            raise InputError(
                f"keep is {self.keep!r}", expected="a share above 0 and up to 1", fix=told or "for example keep=0.99"
            )
        for name, least in (("max_mb", 0.0), ("min_speedup", 1.0)):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or value < least or value == 0):
                above = "a number above 0" if name == "max_mb" else "a number of 1 or more"
                raise InputError(f"{name} is {value!r}", expected=above, fix=f"leave {name} out, or give such a number")

    def check(self, size_bytes: int, methods: Sequence[str]) -> None:
        """InputError when no combination of `methods` could make `size_bytes` of float32 weights small enough."""
        if self.max_mb is None:
            return
        shares = [MIN_SIZE_SHARE.get(method, 0.0) for method in methods]
        least = min(shares, default=1.0) * size_bytes
        if size_bytes > self.max_mb * 1e6 and least > self.max_mb * 1e6:
            raise InputError(
                f"max_mb is {self.max_mb:g}, and {' and '.join(methods) or 'no method'} can make no less than "
                f"{least / 1e6:.1f} MB of {size_bytes / 1e6:.1f} MB",
                expected="a limit that the methods can reach",
                fix="allow prune or distill, too, or raise the limit",
            )


#: What a method takes that was not given.
_METHOD_FIXES = {
    "distill": "give --train TEXTS for a classifier of texts, --train ROWS.npz --student FILE.py:NAME for a module, or "
    "take some of these",
}


def check_methods(asked: Sequence[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    """The methods asked for, each once; InputError for one that this kind of model does not have."""
    for method in asked:
        if method not in known:
            raise InputError(
                f"{what} cannot be compressed by {method!r}.{did_you_mean(method, known)}",
                expected=", ".join(known),
                fix=_METHOD_FIXES.get(method, "take some of these"),
            )
    return tuple(dict.fromkeys(asked))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
