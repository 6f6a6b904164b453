"""Checks of the lab "The mean over ranks": ranks are processes that run at the same time and talk by gloo."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Array = NDArray[np.float64]
COUNTS, WORTH, FILE = (1, 2, 4, 8, 16, 32), 0.7, "parallel.py"
STEPS, RATE, SECONDS = 12, 0.1, 30
#: What ranks have returned in this grading, by their numbers of rows: starting them is what a check costs.
_RUNS: dict[tuple[int, tuple[int, ...]], list[Array]] = {}


def make(data: DataFolder) -> object:
    """Seconds of a step; drawn again where an efficiency lies near to the limit."""
    while True:
        serial, work, talk = data.rng.uniform(0.02, 0.12), data.rng.uniform(2, 6), data.rng.uniform(0.005, 0.04)
        seconds = [round(float(serial + work / num + talk * np.log2(num)), 3) for num in COUNTS]
        efficiencies = [seconds[0] / each / num for each, num in zip(seconds, COUNTS, strict=True)]
        largest = max(num for num, each in zip(COUNTS, efficiencies, strict=True) if each >= WORTH)
        if min(abs(each - WORTH) for each in efficiencies) > 0.01 and largest < COUNTS[-1]:
            break
    order = data.rng.permutation(len(COUNTS))
    data.write_csv("runs.csv", {"ranks": np.array(COUNTS)[order], "seconds": np.array(seconds)[order]})
    return {"speedup": seconds[0] / seconds[-1], "efficiency": efficiencies[-1], "largest": largest}


def check_own(work: Work) -> None:
    for key, right in work.truth.items():
        said = work.number("answers.json", key)
        if abs(said - right) > 0.002 * right:
            why = Text("see how the task defines it", "请看任务中的定义")
            if abs(said * right - 1) < 0.01:
                why = Text("that is the other way around", "比值取反了")
            elif key == "efficiency" and abs(said - work.truth["speedup"]) < 0.01 * said:
                why = Text("that is the speedup", "那是加速比")
            elif key == "largest":
                why = Text("the efficiency of so many ranks is not the last one at 0.7 or above",
                           "该数量的效率不是最后一个不低于 0.7 的")  # fmt: skip
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_share(work: Work) -> None:
    cases = ((100, 4), (int(work.rng("share").integers(20, 60)) * 7 + 3, 7), (3, 5))
    calls = [[num_rows, rank, num_ranks] for num_rows, num_ranks in cases for rank in range(num_ranks)]
    answers = work.call(FILE, "share", *calls)
    for num_rows, num_ranks in cases:
        said, answers = answers[:num_ranks], answers[num_ranks:]
        pieces = [each for each in said if isinstance(each, list) and len(each) == 2]
        whole = all(isinstance(end, int) for each in pieces for end in each)
        problem = None
        if len(pieces) < num_ranks or not whole:
            problem = Text("begin and end of each rank are asked for", "应给出每个 rank 的起点与终点")
        elif sorted(row for begin, end in pieces for row in range(begin, end)) != list(range(num_rows)):
            problem = Text("a row is missing, or is there twice", "有的行缺失，或出现两次")
        elif max(end - begin for begin, end in pieces) > min(end - begin for begin, end in pieces) + 1:
            problem = Text("one rank has at least two rows more than another", "有的 rank 比另一个至少多两行")
        if problem is not None:
            raise Mistake("wrong_share", num_rows=num_rows, num_ranks=num_ranks, said=str(said)[:60], why=problem)


def check_alike(work: Work) -> None:
    first, second = weights_of(work, (60, 60))
    if different := np.flatnonzero(first != second).tolist():
        place = different[0]
        raise Mistake("ranks_differ", first=f"{first[place]:.9g}", second=f"{second[place]:.9g}", place=place)


def check_as_one(work: Work) -> None:
    hold_as_one(work, (60, 60))


def check_uneven(work: Work) -> None:
    hold_as_one(work, (20, 100))


def check_nobody(work: Work) -> None:
    hold_as_one(work, (80, 0))


def hold_as_one(work: Work, counts: tuple[int, int]) -> None:
    weights, parts = weights_of(work, counts)[0], parts_of(work, counts)
    right = train_right(parts, mean_of_ranks=False)
    gap = float(np.abs(weights - right).max())
    if gap <= 1e-6:
        return
    why = Text("look at what is summed and what it is divided by", "请看对什么求和、又除以什么")
    if min(counts) and np.abs(weights - train_right(parts, mean_of_ranks=True)).max() <= 1e-6:
        why = Text("that is the mean of the ranks' means", "那是各 rank 均值的均值")
    raise Mistake("not_as_one", rows=" + ".join(map(str, counts)), said=f"{weights[0]:.6g}", wanted=f"{right[0]:.6g}",
                  why=why)  # fmt: skip


def parts_of(work: Work, counts: tuple[int, int]) -> list[tuple[Array, Array]]:
    """Rows of the diabetes table for each rank, sorted so that ranks differ."""
    from sklearn.datasets import load_diabetes

    source = load_diabetes()
    rows = work.rng("rows").permutation(len(source.target))[: sum(counts)]
    rows = rows[np.argsort(source.target[rows], kind="stable")]
    x, y = source.data[rows] / source.data.std(0), source.target[rows] / 100
    ends = np.cumsum((0, *counts))
    return [(x[begin:end], y[begin:end]) for begin, end in pairwise(ends.tolist())]


def train_right(parts: list[tuple[Array, Array]], *, mean_of_ranks: bool) -> Array:
    """What one process would end with; or what the mean of the ranks' means leads to."""
    total = sum(len(y) for _, y in parts)
    weights = np.zeros(parts[0][0].shape[1])
    for _ in range(STEPS):
        gradients = [(x.T @ (x @ weights - y), len(y)) for x, y in parts]
        if mean_of_ranks:
            step = sum(gradient / num for gradient, num in gradients) / len(parts)
        else:
            step = sum(gradient for gradient, _ in gradients) / total
        weights = weights - RATE * step
    return weights


def weights_of(work: Work, counts: tuple[int, int]) -> list[Array]:
    """What each rank returns; Mistake where one fails, or returns no weights."""
    key = (work.fresh_seed, counts)
    if key not in _RUNS:
        parts = parts_of(work, counts)
        store = f"store-{'-'.join(map(str, counts))}"
        ranks = [[number, len(parts), store, x, y, STEPS, RATE] for number, (x, y) in enumerate(parts)]
        try:
            answers = work.call_ranks(FILE, "train", *ranks, seconds=SECONDS)
        except Mistake as error:
            if error.code == "solution_raised" and min(counts) == 0:
                raise Mistake("left_alone", rows=" + ".join(map(str, counts)), error=error.values["error"]) from error
            raise
        _RUNS[key] = [read_weights(said, parts[0][0].shape[1]) for said in answers]
    return _RUNS[key]


def read_weights(said: Any, num: int) -> Array:
    try:
        weights = np.asarray(said, np.float64)
    except (TypeError, ValueError):
        weights = np.zeros(0)
    if weights.shape != (num,) or not np.isfinite(weights).all():
        raise Mistake("no_weights", said=str(said)[:40], num=num)
    return weights
