"""Figures of a model, and how far they may be off by chance."""


def figures(scores: list[float], truth: list[int]) -> dict[str, float | None]:
    """accuracy, recall, precision and auc; called are scores of at least 0.5. None where one is not defined."""
    return {}


def interval(caught: int, total: int) -> tuple[float, float]:
    """Where the true share lies in 95 of 100 such tests."""
    return 0.0, 1.0
