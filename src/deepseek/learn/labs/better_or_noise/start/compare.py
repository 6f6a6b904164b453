"""Whether one model is better than another by more than noise."""


def compare(first: list[int], second: list[int], groups: list[str]) -> dict[str, object]:
    """difference, low, high and verdict of two models that were asked the same rows; groups: the patient of each."""
    return {}
