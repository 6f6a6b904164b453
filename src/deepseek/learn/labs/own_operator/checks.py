"""Checks of the lab "An operator of your own"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, PROBE = "signed_root_operator.py", Path(__file__).with_name("probe.py")
NEAR = 1e-6
FEATURES = 3


def make(data: DataFolder) -> object:
    """Readings of three sensors that are silent now and then."""
    offset = round(float(data.rng.uniform(0.2, 0.9)), 3)
    namespace = f"lab_{data.rng.integers(10**6, 10**7)}"
    points, scale = make_points(data.rng, 40)
    data.write_json("gate.json", {"namespace": namespace, "offset": offset})
    data.write_csv("points.csv", {f"x{place}": points[:, place] for place in range(FEATURES)})
    data.write_csv("scales.csv", {f"x{place}": scale[place : place + 1] for place in range(FEATURES)})
    return {"offset": offset, "namespace": namespace, "x_at_zero": (1 / (2 * scale * offset)).tolist(),
            "scale": scale_slope(points, scale, offset).sum(0).tolist()}  # fmt: skip


def make_points(rng: np.random.Generator, num: int) -> tuple[Any, Any]:
    points = np.round(rng.choice([-1, 1], (num, FEATURES)) * 10 ** rng.uniform(-1.5, 1.5, (num, FEATURES)), 4)
    points[rng.random((num, FEATURES)) < 0.2] = 0.0
    points[0] = 0.0
    return points, np.round(rng.uniform(0.3, 4.0, FEATURES), 3)


def values(x: Any, scale: Any, offset: float) -> Any:
    return np.sign(x) * (np.sqrt(np.abs(x) / scale + offset**2) - offset)


def slope(x: Any, scale: Any, offset: float) -> Any:
    return 1 / (2 * scale * np.sqrt(np.abs(x) / scale + offset**2))


def scale_slope(x: Any, scale: Any, offset: float) -> Any:
    return -x / scale * slope(x, scale, offset)


def check_own(work: Work) -> None:
    for key in ("x_at_zero", "scale"):
        said = work.value("answers.json", key)
        if (
            not isinstance(said, list)
            or len(said) != FEATURES
            or not all(isinstance(each, int | float) for each in said)
        ):
            raise Mistake("wrong_answer", key=key, feature="x0", said=str(said)[:40],
                          why=Text("three numbers are asked for", "应为三个数"))  # fmt: skip
        for place, (number, right) in enumerate(zip(said, work.truth[key], strict=True)):
            if abs(number - right) <= 1e-3 * abs(right):
                continue
            why = Text("work it out on paper first", "请先在纸上推导")
            if key == "x_at_zero" and number == 0:
                why = Text(
                    "autograd says so, for it takes the slope of |x| at 0 to be 0",
                    "这是 autograd 的说法：它把 |x| 在 0 处的斜率当作 0",
                )
            raise Mistake("wrong_answer", key=key, feature=f"x{place}", said=f"{number:g}", why=why)


def check_values(work: Work) -> None:
    x, scale, offset = fresh(work, "values")
    (answer,) = ask(work, "evaluate", x, scale, offset)
    for name, before in (("x", x), ("scale", scale)):
        if not np.array_equal(np.asarray(answer[name]), before):
            raise Mistake("changes_argument", name=name)
    said, right = as_array(answer["y"], x.shape), values(x, scale, offset)
    if wrong := first_far(said, right):
        row, column = wrong
        raise Mistake("wrong_values", x=f"{x[row, column]:g}", scale=f"{scale[column]:g}", offset=f"{offset:g}",
                      said=f"{said[row, column]:g}")  # fmt: skip


def check_registered(work: Work) -> None:
    x, scale, offset = fresh(work, "registered")
    name = work.truth["namespace"]
    (answer,) = ask(work, "operators", name, x, scale, offset)
    if not answer["exists"]:
        raise Mistake(
            "no_operator", name=f"{name}::signed_root", why=Text("there is none of that name", "没有该名称的算子")
        )
    if not answer["called"]:
        why = Text("it is registered, and never called", "已注册，但从未调用")
        raise Mistake("no_operator", name=f"{name}::signed_root", why=why)


def check_shapes(work: Work) -> None:
    x, scale, offset = fresh(work, "shapes")
    (answer,) = ask(work, "operators", work.truth["namespace"], x, scale, offset)
    if answer["problem"] or not answer["exists"]:
        raise Mistake("no_shapes", problem=answer["problem"] or Text("there is no operator", "没有算子"))


def check_gradient(work: Work) -> None:
    x, scale, offset = fresh(work, "gradient")
    weight = work.rng("weights").uniform(0.5, 2, x.shape)
    answer = gradients(work, x, scale, offset, weight)
    said, right = as_array(answer["x"], x.shape), slope(x, scale, offset) * weight
    if wrong := first_far(said, right):
        row, column = wrong
        if x[row, column] == 0:
            raise Mistake("wrong_at_zero", said=f"{said[row, column]:g}")
        raise Mistake(
            "wrong_gradient", x=f"{x[row, column]:g}", scale=f"{scale[column]:g}", said=f"{said[row, column]:g}"
        )


def check_scale_gradient(work: Work) -> None:
    x, scale, offset = fresh(work, "scale")
    weight = work.rng("weights").uniform(0.5, 2, x.shape)
    said = gradients(work, x, scale, offset, weight)["scale"]
    parts = scale_slope(x, scale, offset) * weight
    if said is None:
        why = Text("there is none", "没有梯度")
    elif np.shape(said) != scale.shape:
        why = Text("its shape is another", "形状不对")
    elif not np.allclose(said, parts.sum(0), rtol=NEAR, atol=NEAR):
        why = Text("the numbers are others", "数值不对")
        if np.allclose(said, parts.mean(0), rtol=NEAR, atol=NEAR):
            why = Text("that is the mean", "这是均值")
    else:
        return
    raise Mistake("wrong_scale_gradient", said=str(said)[:60], why=why)


def check_second(work: Work) -> None:
    x, scale, offset = fresh(work, "second")
    x = x[(x != 0).all(1)]  # the second derivative jumps at 0
    (answer,) = ask(work, "second_derivatives", x, scale, offset)
    if "problem" in answer:
        raise Mistake("no_second", problem=answer["problem"])
    said = as_array(answer["x"], x.shape)
    right = -np.sign(x) / (4 * scale**2 * (np.abs(x) / scale + offset**2) ** 1.5)
    if wrong := first_far(said, right):
        raise Mistake("wrong_second", x=f"{x[wrong]:g}", said=f"{said[wrong]:g}")


def check_types(work: Work) -> None:
    x, scale, offset = fresh(work, "types")
    (answer,) = ask(work, "types", x, scale, offset)
    if answer["dtype"] != "torch.float32":
        raise Mistake("wrong_type", input="torch.float32", said=answer["dtype"])
    if not np.allclose(as_array(answer["y"], x.shape), values(x, scale, offset), rtol=1e-4, atol=1e-5):
        raise Mistake(
            "wrong_type", input=Text("a transposed tensor", "转置后的张量"), said=Text("other values", "不同的值")
        )


def fresh(work: Work, name: str) -> tuple[Any, Any, float]:
    rng = work.rng(name)
    return (*make_points(rng, 12), float(rng.uniform(0.2, 0.9)))


def ask(work: Work, function: str, *arguments: object) -> list[Any]:
    return work.probe(PROBE, FILE, function, arguments)


def gradients(work: Work, *arguments: object) -> Any:
    (answer,) = ask(work, "gradients", *arguments)
    if "problem" in answer:
        raise Mistake("no_gradient", problem=answer["problem"])
    return answer


def as_array(said: object, shape: tuple[int, ...]) -> Any:
    """The answer as numbers of that shape; NaN where it is not."""
    array = np.asarray(said, float) if isinstance(said, np.ndarray) else np.full(shape, np.nan)
    return array if array.shape == shape else np.full(shape, np.nan)


def first_far(said: Any, right: Any) -> tuple[int, int] | None:
    far = np.argwhere(~(np.abs(said - right) <= NEAR * (1 + np.abs(right))))
    return None if not len(far) else (int(far[0, 0]), int(far[0, 1]))
