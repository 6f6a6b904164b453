"""The engine behind every rival server: one that returns at once, or the text engine that our server runs, on one
thread, in the precision and with the ranges that ours has. Runs in .venv-serving, the framework's source on its path.

    run = open_engine("null")       or the path of a folder
    run(["a text", "another"])      -> one output for each
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Engine = Callable[[list[Any]], list[Any]]


def open_engine(kind: str) -> Engine:
    if kind == "null":
        return lambda inputs: [0.0] * len(inputs)
    from deepseek.engines.text import TextEngine, TextModel

    ranges = os.environ.get("RIVAL_RANGES")
    options = {"precision": os.environ["RIVAL_PRECISION"]} | ({"ranges": Path(ranges).read_bytes()} if ranges else {})
    model, engine = TextModel.open(kind), TextEngine.from_options(kind, options)

    def run(inputs: list[Any]) -> list[Any]:
        return list(engine.run(model.join(list(model.prepare(inputs))))["embedding"].tolist())

    run(["to warm it up"])
    return run


def setting(name: str) -> int:
    """A number that the benchmark chose for the rival."""
    return int(os.environ[f"RIVAL_{name}"])


MODEL = os.environ.get("RIVAL_MODEL", "null")
