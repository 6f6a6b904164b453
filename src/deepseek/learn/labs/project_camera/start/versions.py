"""Versions of a model on a device: there whole, or not at all."""


def install(source: str, folder: str, version: str) -> None:
    """Copy the bundle `source` to folder/version; ValueError for one that does not verify."""


def newest(folder: str) -> str | None:
    """The name of the newest version that verifies; None where there is none."""
    return None
