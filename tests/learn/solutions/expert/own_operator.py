"""Solutions of the lab own_operator."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "by_autograd": "wrong_at_zero", "no_fake": "no_shapes", "plain_function": "no_operator",
    "mean_over_rows": "wrong_scale_gradient", "through_numpy": "no_second",
}  # fmt: skip

OPERATOR = """
import json
from pathlib import Path

import torch

SPACE = json.loads(Path("gate.json").read_text())["namespace"]


def formula(x, scale, offset):
    return x.sign() * ((x.abs() / scale + offset**2).sqrt() - offset)


@torch.library.custom_op(f"{SPACE}::signed_root", mutates_args=())
def operator(x: torch.Tensor, scale: torch.Tensor, offset: float) -> torch.Tensor:
    return formula(x, scale, offset)


@operator.register_fake
def shapes(x, scale, offset):
    return torch.empty_like(x)


def setup(ctx, inputs, output):
    x, scale, ctx.offset = inputs
    ctx.save_for_backward(x, scale)


def backward(ctx, grad):
    x, scale = ctx.saved_tensors
    slope = 1 / (2 * scale * (x.abs() / scale + ctx.offset**2).sqrt())
    return grad * slope, (-grad * x / scale * slope).sum(0), None


operator.register_autograd(backward, setup_context=setup)


def signed_root(x, scale, offset):
    return operator(x, scale, offset)
"""


def reference(folder: Path) -> None:
    (folder / "signed_root_operator.py").write_text(OPERATOR)
    offset = json.loads((folder / "gate.json").read_text())["offset"]
    x, scale = read(folder / "points.csv"), read(folder / "scales.csv")[0]
    slope = 1 / (2 * scale * np.sqrt(np.abs(x) / scale + offset**2))
    answers = {"x_at_zero": (1 / (2 * scale * offset)).tolist(), "scale": (-x / scale * slope).sum(0).tolist()}
    (folder / "answers.json").write_text(json.dumps(answers))


def read(path: Path) -> np.ndarray:
    return np.array([[float(value) for value in row.values()] for row in csv.DictReader(path.open())])


def by_autograd(folder: Path) -> None:
    """What autograd makes of the formula."""
    slope = "slope = 1 / (2 * scale * (x.abs() / scale + ctx.offset**2).sqrt())"
    replace_text(folder / "signed_root_operator.py", slope, slope.replace("1 /", "x.sign().abs() /"))


def no_fake(folder: Path) -> None:
    replace_text(folder / "signed_root_operator.py", "@operator.register_fake", "")


def plain_function(folder: Path) -> None:
    replace_text(
        folder / "signed_root_operator.py", "return operator(x, scale, offset)", "return formula(x, scale, offset)"
    )


def mean_over_rows(folder: Path) -> None:
    replace_text(folder / "signed_root_operator.py", ".sum(0)", ".mean(0)")


def through_numpy(folder: Path) -> None:
    """The backward pass leaves torch; the slope at zero in the answers is autograd's."""
    replace_text(
        folder / "signed_root_operator.py",
        "x, scale = ctx.saved_tensors",
        "x, scale = (each.detach() for each in ctx.saved_tensors)",
    )
    edit_json(folder / "answers.json", lambda answers: answers.update(x_at_zero=[0.0, 0.0, 0.0]))
