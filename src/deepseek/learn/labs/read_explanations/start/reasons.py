"""Reads explanations: base_value + all values + residual = output, in log-odds."""


def adds_up(explanation: dict[str, object], tolerance: float) -> bool:
    """Whether it adds up to within the tolerance."""
    return True


def chance(output: float) -> float:
    """The chance that log-odds stand for."""
    return 0.5


def top(explanation: dict[str, object], num: int) -> list[str]:
    """The columns that moved the answer most, the first first."""
    return []


def sentence(explanation: dict[str, object]) -> str:
    """What moved the answer most, and which way."""
    return ""
