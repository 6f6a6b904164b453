"""Checks of the lab "Gradients in few bytes"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Array = NDArray[np.float64]
NUM_SENT, NUM_STEPS = 5, 6
MAX_WORSE = 1.03  # error on held rows, of that of gradients that are sent whole


def make(data: DataFolder) -> object:
    """Gradients of six steps on batches of the learner's own."""
    x, y = load_table(data.rng)
    weights, gradients = np.zeros(x.shape[1]), []
    for _ in range(NUM_STEPS):
        rows = data.rng.choice(len(y), 64, replace=False)
        gradients.append(np.round(x[rows].T @ (x[rows] @ weights - y[rows]) / len(rows), 5))
        weights = weights - 0.05 * gradients[-1]
    data.write_json("gradients.json", gradients)
    memory, lost = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for gradient in gradients:
        memory = compress_right(gradient, memory, NUM_SENT)[2]
        lost += compress_right(gradient, np.zeros_like(gradient), NUM_SENT)[2]
    return {"memory": float(np.linalg.norm(memory)), "lost": float(np.linalg.norm(lost)), "size": x.shape[1]}


def load_table(rng: np.random.Generator) -> tuple[Array, Array]:
    """The diabetes table, ten columns and their products in units of their spread, its rows in an order of chance."""
    from sklearn.datasets import load_diabetes

    source = load_diabetes()
    x = source.data / source.data.std(0)
    x = np.column_stack([x, *(x[:, i] * x[:, j] for i in range(10) for j in range(i))])
    order = rng.permutation(len(x))
    y = (source.target - source.target.mean()) / source.target.std()
    return ((x - x.mean(0)) / x.std(0))[order], y[order]


def compress_right(gradient: Array, memory: Array, num: int) -> tuple[NDArray[np.int64], Array, Array]:
    total = gradient + memory
    places = np.argsort(-np.abs(total), kind="stable")[:num]
    rest = total.copy()
    rest[places] = 0.0
    return places, total[places], rest


def check_own(work: Work) -> None:
    truth, size = work.truth, work.truth["size"]
    whole, some = 4 * size * NUM_STEPS, 8 * NUM_SENT * NUM_STEPS
    for key, right in (("bytes_all", whole), ("bytes_sent", some)):
        said = work.number("answers.json", key)
        if said != right:
            why = Text("4 bytes for each number, over six steps", "每数 4 字节，共六步")
            if key == "bytes_sent" and said == some / 2:
                why = Text("the places have to be sent, too", "位置也要发送")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)
    for key in ("memory", "lost"):
        said = work.number("answers.json", key)
        if abs(said - truth[key]) > 0.002 * truth[key] + 5e-4:
            why = Text("is it the length of the whole array, after the sixth step?", "是第六步之后整个数组的长度吗？")
            if key == "memory" and abs(said - truth["lost"]) < 0.01 * truth["lost"]:
                why = Text("that is what is lost without a memory", "那是没有记忆时丢失的量")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_largest(work: Work) -> None:
    rng = work.rng("largest")
    for num in (1, 7):
        gradient, memory = rng.normal(0, 1, 60), rng.normal(0, 2, 60)
        places, _, _ = answer_of(work, gradient, memory, num)
        if len(places) != num or len(set(places)) != num:
            raise Mistake("wrong_count", said=len(places), unique=len(set(places)), wanted=num)
        right = compress_right(gradient, memory, num)[0].tolist()
        for place in right:
            if place not in places:
                why = Text("look at gradient + memory, without the sign", "请看梯度 + 记忆，不计符号")
                if set(places) == set(compress_right(gradient, np.zeros(60), num)[0].tolist()):
                    why = Text("the memory was not added before the choice", "选择之前没有加上记忆")
                raise Mistake("not_largest", place=place, why=why)


def check_nothing_lost(work: Work) -> None:
    rng = work.rng("lost")
    pairs = [(rng.normal(0, 1, 40), rng.normal(0, 1, 40)) for _ in range(20)]
    answers = work.call("sparse.py", "compress", *([gradient, memory, 4] for gradient, memory in pairs))
    for (gradient, memory), said in zip(pairs, answers, strict=True):
        places, values, rest = read_answer(said, 40)
        arrived = np.zeros(40)
        np.add.at(arrived, places, values)
        gap = float(np.abs(gradient + memory - arrived - rest).max())
        if gap > 1e-5:
            why = Text("the new memory is what was not sent", "新的记忆就是未发送的部分")
            if not np.any(rest):
                why = Text("the memory is emptied", "记忆被清空了")
            raise Mistake("lost", gap=f"{gap:.3g}", why=why)


def check_expand(work: Work) -> None:
    rng = work.rng("expand")
    for num in (5, 0):
        places, values = rng.choice(30, num, replace=False), rng.normal(0, 1, num)
        (said,) = work.call("sparse.py", "expand", [places.tolist(), values.tolist(), 30])
        right = np.zeros(30)
        right[places] = values
        array = array_of(said)
        if array.shape != (30,):
            raise Mistake("wrong_expand", num=num, place=0)
        if wrong := np.flatnonzero(~(np.abs(array - right) < 1e-6)).tolist():
            raise Mistake("wrong_expand", num=num, place=wrong[0])


def check_broken(work: Work) -> None:
    for value, what in ((np.nan, "NaN"), (-np.inf, "-inf")):
        gradient = work.rng("broken").normal(0, 1, 20)
        gradient[3] = value
        try:
            work.call("sparse.py", "compress", [gradient, np.zeros(20), 2])
        except Mistake as error:
            if error.code == "solution_raised" and str(error.values["error"]).startswith("ValueError"):
                continue
            raise
        raise Mistake("kept_broken", what=what)


def check_workers(work: Work) -> None:
    shards, held = shards_of(work)
    num, steps, rate = 5, 400, 0.02
    (said,) = work.call("sparse.py", "train", [shards, num, steps, rate])
    weights = array_of(said)
    whole = train_right(shards, 55, steps, rate)
    errors = [error_of(each, held) if each.shape == (55,) else np.inf for each in (weights, whole)]
    if np.isfinite(errors[0]) and np.abs(weights - train_right(shards, num, steps, rate)).max() < 1e-4:
        return  # to the number
    why = Text("is what was not sent added to the next gradient?", "未发送的是否加到了下一次梯度上？")
    if not np.isfinite(errors[0]):
        why = Text("no array of weights came back", "没有返回权重数组")
    elif np.abs(weights - whole).max() < 1e-6:
        why = Text("all numbers were sent", "发送了全部的数")
    elif errors[0] <= MAX_WORSE * errors[1]:
        why = Text("that would do, but it is another training than the task describes: does each worker have a memory "
                   "of its own, and is the mean taken over all?",
                   "这本来够好，但不是任务描述的训练：每个工作者有自己的记忆吗？是对全体求均值吗？")  # fmt: skip
    raise Mistake("not_learned", said=f"{errors[0]:.4f}", whole=f"{errors[1]:.4f}", why=why)


def shards_of(work: Work) -> tuple[list[list[Array]], tuple[Array, Array]]:
    """Rows of three workers, which differ: each has another part of the range of the target. And held rows."""
    x, y = load_table(work.rng("workers"))
    order = np.argsort(y[:342], kind="stable")
    return [[x[rows], y[rows]] for rows in np.array_split(order, 3)], (x[342:], y[342:])


def train_right(shards: list[list[Array]], num: int, steps: int, rate: float) -> Array:
    size = shards[0][0].shape[1]
    weights, memories = np.zeros(size), [np.zeros(size) for _ in shards]
    for _ in range(steps):
        total = np.zeros(size)
        for number, (x, y) in enumerate(shards):
            gradient = x.T @ (x @ weights - y) / len(y)
            places, values, memories[number] = compress_right(gradient, memories[number], num)
            total[places] += values
        weights = weights - rate * total / len(shards)
    return weights


def error_of(weights: Array, held: tuple[Array, Array]) -> float:
    return float(((held[0] @ weights - held[1]) ** 2).mean())


def answer_of(work: Work, gradient: Array, memory: Array, num: int) -> tuple[list[int], Array, Array]:
    (said,) = work.call("sparse.py", "compress", [gradient, memory, num])
    return read_answer(said, len(gradient))


def read_answer(said: Any, size: int) -> tuple[list[int], Array, Array]:
    if not isinstance(said, list) or len(said) != 3:
        raise Mistake("no_triple", said=str(said)[:40])
    places, values, memory = (array_of(each) for each in said)
    whole = bool(np.all((places == np.round(places)) & (places >= 0) & (places < size)))
    if places.ndim != 1 or places.shape != values.shape or memory.shape != (size,) or not whole:
        raise Mistake("no_triple", said=str(said)[:40])
    return [int(place) for place in places], values, memory


def array_of(value: Any) -> Array:
    """Numbers as an array; an empty one for what are none."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return np.zeros((0, 0))
