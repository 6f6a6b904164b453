"""Shapley values, exact and by chance with an error."""


def shapley(game: list[float], n: int) -> list[float]:
    """The value of each of n columns; game[m] is the answer when the columns of the bits of m are known."""
    return [0.0] * n


def sample_values(game: list[float], n: int, num: int, seed: int) -> list[list[float]]:
    """[values, errors] of `num` orders at random."""
    return [[0.0] * n, [0.0] * n]
