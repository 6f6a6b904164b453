"""Finds what failing requests have in common."""

from typing import Any


def find_cause(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The conditions that explain what fails more often than before and since when; None where nothing is broken."""
    return None
