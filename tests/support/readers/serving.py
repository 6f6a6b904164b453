"""A server of the models that the guide asks: rows of loans, tensors of prices, and a model that writes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from onnx import TensorProto

from deepseek.cli import main
from support.nets.onnxgraphs import node, save
from support.nets.tinylm import trained
from support.readers.reader import Reader
from support.servers.serving import started


def prepare(stack: ExitStack) -> Reader:
    rng = np.random.default_rng(0)
    age, income = rng.integers(20, 70, 300) + 0.5, rng.integers(1_000, 5_000, 300)
    table = pd.DataFrame({"age": age, "income": income, "purpose": rng.choice(["car", "study"], 300)})
    table["default"] = np.where(income + rng.normal(0, 300, 300) < 2_500, "yes", "no")
    table.to_csv("loans.csv", index=False)
    assert main(["ship", "loans.csv", "--target", "default", "--out", "loans", "--trials", "1"]) == 0
    save(
        Path("prices.onnx"), [node("MatMul", "features w", "value")], [("features", TensorProto.FLOAT, ["N", 2])],
        [("value", TensorProto.FLOAT, ["N", 1])], {"w": np.array([[2], [9]], np.float32)},
    )  # fmt: skip
    trained(Path("tiny"))
    server = stack.enter_context(started("loans", "prices.onnx", "tiny"))
    return Reader(words={"8000": server.url.rpartition(":")[2]})
