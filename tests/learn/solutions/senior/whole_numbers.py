"""Solutions of the lab whole_numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "one_scale_for_all": "far_off", "small_sums": "wrong_sums", "zero_by_zero": "zero_row",
    "zero_not_whole": "no_range", "scales_for_free": "wrong_own",
}  # fmt: skip

QUANTIZE = """
import numpy as np


def quantize_rows(weights):
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1.0)
    values = np.clip(np.round(weights / scales[:, None]), -127, 127).astype(np.int8)
    return {"values": values, "scales": scales}


def input_range(samples):
    low, high = min(0.0, float(np.min(samples))), max(0.0, float(np.max(samples)))
    scale = (high - low) / 255 or 1.0
    return {"scale": scale, "zero": int(round(-low / scale))}


def multiply(values, scales, inputs, scale, zero):
    sums = values.astype(np.int32) @ (inputs.astype(np.int32) - zero)
    return sums * scales * scale
"""


def reference(folder: Path) -> None:
    (folder / "quantize.py").write_text(QUANTIZE)
    net, held = dict(np.load(folder / "net.npz")), np.load(folder / "held.npz")
    weights = {name: net[name] for name in ("w1", "w2")}
    one = {name: round_by(each, np.abs(each).max() / 127) for name, each in weights.items()}
    rows = {name: round_by(each, np.abs(each).max(1, keepdims=True) / 127) for name, each in weights.items()}
    size, num_rows = sum(each.size for each in weights.values()), sum(len(each) for each in weights.values())
    answers = {
        "float": accuracy(net, held), "one_scale": accuracy(net | one, held), "row_scales": accuracy(net | rows, held),
        "bytes_float": 4 * size, "bytes_row_scales": size + 4 * num_rows,
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def round_by(weights: np.ndarray, scale: object) -> np.ndarray:
    return np.round(weights / scale) * scale


def accuracy(net: dict[str, np.ndarray], held: np.lib.npyio.NpzFile) -> float:
    hidden = np.maximum(held["x"] @ net["w1"].T + net["b1"], 0)
    return float(((hidden @ net["w2"].T + net["b2"]).argmax(1) == held["y"]).mean())


def one_scale_for_all(folder: Path) -> None:
    replace_text(folder / "quantize.py", "np.abs(weights).max(axis=1)", "np.full(len(weights), np.abs(weights).max())")


def small_sums(folder: Path) -> None:
    """Sums in 16 bits, which 128 inputs may fit into and 1,000 do not."""
    path = folder / "quantize.py"
    path.write_text(path.read_text().replace("np.int32", "np.int16"))


def zero_by_zero(folder: Path) -> None:
    replace_text(folder / "quantize.py", "np.where(largest > 0, largest / 127, 1.0)", "largest / 127")


def zero_not_whole(folder: Path) -> None:
    replace_text(folder / "quantize.py", "int(round(-low / scale))", "-low / scale")


def scales_for_free(folder: Path) -> None:
    edit_json(folder / "answers.json", lambda answers: answers.update(bytes_row_scales=answers["bytes_float"] // 4))
