"""Says when a model has become unsure."""


def is_unsure(usual: list[float], today: list[float]) -> bool:
    """Whether the mean of today's probabilities lies below the usual one by more than chance."""
    return False
