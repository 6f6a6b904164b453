"""An alert on the burn rate of an error budget."""


def burn_rates(total: list[int], bad: list[int], window: int, budget: float) -> list[float]:
    """The burn rate at each minute: share of bad requests within the last `window` minutes, by the budget's share."""
    return []


def firing(total: list[int], bad: list[int], budget: float) -> list[bool]:
    """Whether the alert is firing, for each minute."""
    return []
