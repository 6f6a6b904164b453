"""Asks the server of the loans until it answers."""


def ask(url: str, rows: list[dict[str, object]], give_up_s: float) -> list[str]:
    """The label of each row, in order."""
    return []
