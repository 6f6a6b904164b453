"""Checks of the lab "A net in whole numbers"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Array = NDArray[Any]
NUM_UNITS, NUM_TRAIN, NUM_HELD = 128, 1_200, 300
TOLERANCE = 0.0101  # of an accuracy: three rows of 300, which another rounding of halves may turn
KEEP = 0.98
FILE = "quantize.py"


def make(data: DataFolder) -> object:
    net, x, y = make_net(data.rng)
    np.savez(data.path("net.npz"), w1=net["w1"], b1=net["b1"], w2=net["w2"], b2=net["b2"])
    np.savez(data.path("held.npz"), x=x, y=y)
    one = {name: round_by(net[name], np.abs(net[name]).max() / 127) for name in ("w1", "w2")}
    rows = {name: round_by(net[name], np.abs(net[name]).max(1, keepdims=True) / 127) for name in ("w1", "w2")}
    return {"float": accuracy(net, x, y), "one_scale": accuracy(net | one, x, y),
            "row_scales": accuracy(net | rows, x, y)}  # fmt: skip


def make_net(rng: np.random.Generator, spread: float = 3.5) -> tuple[dict[str, Array], Array, Array]:
    """A net whose first layer is drawn and whose second is solved for, on digits with pixels in another order; and held
    rows. Its units have very different ranges, as those of trained nets: what one is made larger by, the next layer is
    made smaller by, so that the answers stay."""
    from sklearn.datasets import load_digits

    source = load_digits()
    x, y = (source.data / 16)[:, rng.permutation(64)].astype(np.float32), source.target
    order = rng.permutation(len(y))
    train, held = order[:NUM_TRAIN], order[NUM_TRAIN : NUM_TRAIN + NUM_HELD]
    w1, b1 = rng.normal(0, 0.35, (NUM_UNITS, 64)), rng.normal(0, 0.3, NUM_UNITS)
    hidden = np.column_stack([np.maximum(x[train] @ w1.T + b1, 0), np.ones(NUM_TRAIN)])
    solved = np.linalg.solve(hidden.T @ hidden + 0.5 * np.eye(NUM_UNITS + 1), hidden.T @ (np.eye(10)[y[train]] - 0.1))
    sizes = np.exp(rng.permutation(np.linspace(-spread, spread, NUM_UNITS)))
    net = {"w1": w1 * sizes[:, None], "b1": b1 * sizes, "w2": solved[:-1].T / sizes, "b2": solved[-1]}
    return {name: value.astype(np.float32) for name, value in net.items()}, x[held], y[held]


def round_by(weights: Array, scales: Any) -> Array:
    return np.asarray(np.round(weights / scales) * scales)


def accuracy(net: dict[str, Array], x: Array, y: Array) -> float:
    hidden = np.maximum(x @ net["w1"].T + net["b1"], 0)
    return float(((hidden @ net["w2"].T + net["b2"]).argmax(1) == y).mean())


def check_own(work: Work) -> None:
    truth, size, rows = work.truth, NUM_UNITS * 74, NUM_UNITS + 10
    for key in ("float", "one_scale", "row_scales"):
        said = work.number("answers.json", key)
        if abs(said - truth[key]) > TOLERANCE:
            why = Text("an accuracy on held.npz, as a share", "held.npz 上的准确率，以比值表示")
            if 0 <= abs(said / 100 - truth[key]) < TOLERANCE:
                why = Text("a share is asked for, not percent", "要求的是比值，不是百分数")
            elif key == "row_scales" and abs(said - truth["one_scale"]) <= TOLERANCE:
                why = Text("that is with one scale for the whole matrix", "那是整个矩阵只用一个尺度的结果")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)
    for key, right in (("bytes_float", 4 * size), ("bytes_row_scales", size + 4 * rows)):
        said = work.number("answers.json", key)
        if said != right:
            why = Text("count the numbers of w1 and w2", "请数 w1 与 w2 中的数")
            if said == size:
                why = Text("the scales have to be kept, too", "尺度也要保存")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_rows(work: Work) -> None:
    rng = work.rng("rows")
    weights = rng.normal(0, 1, (20, 50)) * np.exp(rng.uniform(-4, 4, (20, 1)))
    values, scales = rows_of(work, weights)
    steps = np.abs(weights).max(1) / 127
    errors = np.abs(values * scales[:, None] - weights).max(1)
    for row in range(len(weights)):
        if errors[row] > 0.5001 * steps[row]:
            why = Text("is its scale that of its own largest number?", "尺度是否取自该行自己的最大值？")
            if np.ptp(scales) < 1e-9 * scales.max():
                why = Text("all rows have one scale", "所有行共用一个尺度")
            raise Mistake("far_off", row=row, said=f"{errors[row]:.3g}", wanted=f"{steps[row] / 2:.3g}", why=why)


def check_zeros(work: Work) -> None:
    weights = work.rng("zeros").normal(0, 1, (4, 6))
    weights[2] = 0
    values, scales = rows_of(work, weights)
    if values[2].any() or not math.isfinite(scales[2]) or scales[2] <= 0:
        raise Mistake("zero_row", said=values[2].tolist(), scale=f"{scales[2]:g}")


def check_inputs(work: Work) -> None:
    rng = work.rng("inputs")
    for low, high in ((-0.7, 2.1), (0.4, 5.0), (-9.0, -1.0)):
        samples = np.concatenate([rng.uniform(low, high, 80), [low, high]])
        scale, zero = range_of(work, samples)
        wholes = np.round(samples / scale) + zero
        for sample, whole in zip(samples.tolist(), wholes.tolist(), strict=True):
            if not -1 <= whole <= 256:  # an end may fall beyond by the rounding of the zero
                raise Mistake("cut_off", scale=f"{scale:.4g}", zero=zero, sample=f"{sample:.3g}", said=f"{whole:g}")
        wanted = (max(0.0, high) - min(0.0, low)) / 255
        if scale > 1.05 * wanted:
            raise Mistake("coarse", low=low, high=high, scale=f"{scale:.4g}", wanted=f"{wanted:.4g}")


def check_sums(work: Work) -> None:
    rng = work.rng("sums")
    values = rng.integers(60, 128, (3, 1_000)).astype(np.int8)
    scales, scale, zero = rng.uniform(0.01, 0.1, 3), 0.02, int(rng.integers(20, 60))
    inputs = rng.integers(150, 256, 1_000).astype(np.uint8)
    right = (values.astype(np.int64) @ (inputs.astype(np.int64) - zero)) * scales * scale
    (said,) = work.call(FILE, "multiply", [values, scales, inputs, scale, zero])
    sums = array_of(said)
    if sums.shape != (3,):
        raise Mistake("wrong_sums", row=0, num=1_000, said=str(said)[:30], wanted=f"{right[0]:g}",
                      why=Text("one number a row", "每行一个数"))  # fmt: skip
    for row in range(3):
        if not abs(sums[row] - right[row]) <= 1e-4 * abs(right[row]):
            why = Text(
                "do the sums fit into the kind of whole number that they are kept in?", "和是否放得进所用的整数类型？"
            )
            without = values[row].astype(np.int64) @ inputs.astype(np.int64) * scales[row] * scale
            if abs(sums[row] - without) <= 1e-4 * abs(without):
                why = Text("the zero was not subtracted", "没有减去 zero")
            raise Mistake("wrong_sums", row=row, num=1_000, said=f"{sums[row]:g}", wanted=f"{right[row]:g}", why=why)


def check_whole(work: Work) -> None:
    net, x, y = make_net(work.rng("whole"), spread=0.5)
    x, y = x[:150], y[:150]
    layers = [rows_of(work, net[name]) for name in ("w1", "w2")]
    first = run_layer(work, layers[0], x) + net["b1"]
    said = run_layer(work, layers[1], np.maximum(first, 0)) + net["b2"]
    num, right = int((said.argmax(1) == y).sum()), round(accuracy(net, x, y) * len(y))
    if num < KEEP * right - 1:
        raise Mistake("too_lossy", said=num, num=len(y), wanted=right)


def run_layer(work: Work, layer: tuple[Array, Array], x: Array) -> Array:
    """A layer of whole numbers on rows, each by the learner's multiply()."""
    scale, zero = range_of(work, x.ravel()[:2_000])
    wholes = np.clip(np.round(x / scale) + zero, 0, 255).astype(np.uint8)
    calls = [[layer[0].astype(np.int8), layer[1], row, scale, zero] for row in wholes]
    answers = [array_of(said) for said in work.call(FILE, "multiply", *calls)]
    if any(each.shape != (len(layer[1]),) or not np.isfinite(each).all() for each in answers):
        raise Mistake("too_lossy", said=0, num=len(x), wanted=len(x))
    return np.array(answers)


def rows_of(work: Work, weights: Array) -> tuple[Array, Array]:
    (said,) = work.call(FILE, "quantize_rows", [weights])
    if not isinstance(said, dict) or not {"values", "scales"} <= said.keys():
        raise Mistake("no_rows", said=str(said)[:40])
    values, scales = said["values"], array_of(said["scales"]).ravel()
    if not isinstance(values, np.ndarray) or values.dtype != np.int8:
        raise Mistake("no_rows", said=getattr(values, "dtype", type(values).__name__))
    if values.shape != weights.shape or scales.shape != (len(weights),):
        raise Mistake("no_rows", said=f"{values.shape}, {scales.shape}")
    return values.astype(np.int64), scales


def range_of(work: Work, samples: Array) -> tuple[float, int]:
    (said,) = work.call(FILE, "input_range", [samples])
    scale, zero = (said.get("scale"), said.get("zero")) if isinstance(said, dict) else (None, None)
    if not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
        raise Mistake("no_range", said=str(said)[:60])
    if not isinstance(zero, int | float) or zero not in range(256):
        raise Mistake("no_range", said=str(said)[:60])
    return float(scale), int(zero)


def array_of(value: Any) -> Array:
    """Numbers as an array; an empty one for what are none."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return np.zeros((0, 0))
