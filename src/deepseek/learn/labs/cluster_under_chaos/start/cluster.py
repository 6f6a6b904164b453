"""Keeps workers up, and answers by them."""


def run(port: int, num_workers: int, stop_file: str) -> None:
    """Answer at the port until the file is there."""
