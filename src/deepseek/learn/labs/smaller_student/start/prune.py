"""Units that matter least are taken out of a net."""

import numpy as np


def prune(net: dict[str, np.ndarray], x: np.ndarray, num: int) -> dict[str, np.ndarray]:
    """The net without `num` of its hidden units."""
    return net
