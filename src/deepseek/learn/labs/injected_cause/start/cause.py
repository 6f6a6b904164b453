"""Finds what failing requests have in common."""


def find_cause(rows: list[dict[str, object]]) -> dict[str, object] | None:
    """The conditions that explain what fails more often than before and since when; None where nothing is broken."""
    return None
