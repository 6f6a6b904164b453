"""Nothing at first; in the end the lab of the guide makes data, and its checks meet a right and a wrong answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deepseek.learn.grading.kit import DataFolder, Mistake
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    return Reader(finish=grade)


def grade(names: Mapping[str, Any]) -> None:
    data = DataFolder(Path(), seed=1)
    truth = names["make"](data)
    assert len((Path() / "scale.csv").read_text().splitlines()) == 201
    work = SimpleNamespace(
        truth=truth, number=lambda file, key: truth[key], rng=lambda name: np.random.default_rng(2),
        call=lambda file, function, arguments: (float(np.mean(arguments[0])),),
    )  # fmt: skip
    names["check_mean"](work)
    names["check_function"](work)
    work.number = lambda file, key: truth[key] + 1
    with pytest.raises(Mistake, match="wrong_mean"):
        names["check_mean"](work)
