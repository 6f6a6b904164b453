"""Which names a model can be served under."""

from __future__ import annotations

from deepseek.bundle.manifest import check_name as check_bundle_name
from deepseek.errors import InputError


def check_name(name: str) -> None:
    """Raise InputError unless a route can hold the name. Every name that a bundle may have can stand in one."""
    try:
        check_bundle_name(name)
    except InputError as error:
        raise InputError(
            f"a model cannot be served as {name[:100]!r}",
            expected=error.expected,
            fix="name it otherwise: deepseek serve NAME=BUNDLE",
        ) from error
