"""An alert on the burn rate of an error budget."""


def burn_rates(total, bad, window, budget):
    """The burn rate at each minute: share of bad requests within the last `window` minutes, by the budget's share."""
    return []


def firing(total, bad, budget):
    """Whether the alert is firing, for each minute."""
    return []
