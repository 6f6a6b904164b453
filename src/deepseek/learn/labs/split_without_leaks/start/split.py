"""A split by groups."""


def split(groups: list[str], seed: int) -> dict[str, list[int]]:
    """Row numbers for "train" (60 %), "validation" and "test" (20 % each); groups has one text for each row."""
    return {"train": [], "validation": [], "test": []}
