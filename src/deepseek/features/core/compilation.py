"""How the core is compiled: without counting references, for the arrays outlive every call and no function makes one.

Counting them cost seven eighths of the time (docs/decisions/0022-features-in-numba.md). `_nrt` is numba's own switch
for it, and not documented: a release without it fails at import, not in silence. No function divides by what may be 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
_compile = cast("Any", njit)


def _digest_sources() -> str:
    core = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(core.glob("*.py")), *sorted((core.parent / "hidden").glob("filters.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


#: Of all that is compiled: numba's cache looks at the age of one file alone.
SOURCE = _digest_sources()


def compile_once(function: F) -> F:
    """A function that is called seldom."""
    return cast("F", _compile(nogil=True, error_model="numpy", _nrt=False)(function))


def compile_inline(function: F) -> F:
    """A function that is drawn into its callers: a call would copy plan and state, a hundred numbers."""
    return cast("F", _compile(nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function))


def compile_cached(function: F) -> F:
    """A function that Python calls. Compiled once for a machine, then read from numba's cache."""
    return cast("F", _compile(nogil=True, error_model="numpy", cache=True, _nrt=False)(function))


def compile_sums(function: F) -> F:
    """The same for sums that may be added in any order, so that several go at once: where the last bit says nothing."""
    fast = {"reassoc", "contract"}
    return cast("F", _compile(nogil=True, error_model="numpy", cache=True, fastmath=fast, _nrt=False)(function))
