"""Training in several ranks that ends as it would in one."""


def share(num_rows, rank, num_ranks):
    """[begin, end] of the rows of a rank."""
    return [0, num_rows]


def train(rank, num_ranks, store, x, y, steps, rate):
    """The weights after so many steps along the gradient over the rows of all ranks."""
    return []
