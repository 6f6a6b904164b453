"""The numbers of a party."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    return Reader({"numbers": np.linspace(-1, 1, 500)})
