"""Gradients that travel as their largest numbers."""


def compress(gradient, memory, num):
    """The places and values of the `num` largest numbers of gradient + memory, and what is left of it."""
    return [[], [], memory]


def expand(places, values, size):
    """The array of `size` numbers that was sent."""
    return [0.0] * size


def train(shards, num, steps, rate):
    """The weights after so many steps of all workers; shards: [x, y] of each."""
    return []
