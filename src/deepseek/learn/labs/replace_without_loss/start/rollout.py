"""Puts a new version of a model into the place of the old one, while it is being asked."""


def rollout(url, repository, file, rows, limit):
    """ "replaced", "differs" or "damaged"."""
    return "differs"
