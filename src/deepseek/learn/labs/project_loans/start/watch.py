"""Says which columns are not what they were in training."""


def changed_columns(card: dict[str, object], rows: list[dict[str, object]]) -> list[str]:
    """Names of the number columns whose mean has moved by more than a quarter of their standard deviation."""
    return []
