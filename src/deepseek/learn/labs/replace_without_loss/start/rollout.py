"""Puts a new version of a model into the place of the old one, while it is being asked."""


def rollout(url: str, repository: str, file: str, rows: list[list[float]], limit: float) -> str:
    """ "replaced", "differs" or "damaged"."""
    return "differs"
