"""Checks of the lab "Better, or noise"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Z = 1.96
NUM_PAIRS = 20
VERDICTS = ("first", "second", "none")


def make(data: DataFolder) -> object:
    """Two models on 300 rows; the verdict is clear, so that rounding does not turn it."""
    rng = data.rng
    while True:
        only_first, only_second = (int(number) for number in rng.integers(4, 34, 2))
        first, second = answers_with(rng, 300, only_first, only_second)
        difference, low, high = interval(first, second, None)
        if min(abs(low), abs(high)) > 0.004 and only_first != only_second:
            break
    data.write_csv("answers.csv", {"patient": [f"p{row}" for row in range(300)], "first": first, "second": second})
    return {"difference": difference, "only_first": only_first, "only_second": only_second,
            "verdict": verdict_of(low, high)}  # fmt: skip


def answers_with(rng: np.random.Generator, num: int, only_first: int, only_second: int) -> tuple[Any, Any]:
    """Right answers of two models that find the same rows hard, in an order of chance."""
    num_both = int(0.8 * num) - max(only_first, only_second)
    first = np.repeat([1, 0, 1, 0], [only_first, only_second, num_both, num - only_first - only_second - num_both])
    second = np.repeat([0, 1, 1, 0], [only_first, only_second, num_both, num - only_first - only_second - num_both])
    order = rng.permutation(num)
    return first[order], second[order]


def interval(first: Any, second: Any, groups: Any) -> tuple[float, float, float]:
    """The difference and its interval; rows of one group vary together."""
    steps = np.asarray(second, float) - np.asarray(first, float)
    names = np.arange(len(steps)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums, counts = np.bincount(names, steps), np.bincount(names)
    num = len(sums)
    error = math.sqrt(num / (num - 1) * float(((sums - steps.mean() * counts) ** 2).sum())) / len(steps)
    return float(steps.mean()), float(steps.mean()) - Z * error, float(steps.mean()) + Z * error


def verdict_of(low: float, high: float) -> str:
    return "second" if low > 0 else "first" if high < 0 else "none"


def check_own(work: Work) -> None:
    truth = work.truth
    swapped = {"only_first": truth["only_second"], "only_second": truth["only_first"]}
    for key in ("only_first", "only_second"):
        said = work.number("answers.json", key)
        if said != truth[key]:
            why = Text("count rows on which that model alone is right", "统计仅该模型正确的行")
            if said == swapped[key]:
                why = Text("that is the other model's", "这是另一个模型的")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)
    said = work.number("answers.json", "difference")
    if abs(said - truth["difference"]) > 6e-4:
        why = Text("take the accuracy of the second less that of the first", "用第二个的准确率减去第一个")
        raise Mistake("wrong_own", key="difference", said=f"{said:g}", why=why)
    verdict = str(work.value("answers.json", "verdict"))
    if verdict != truth["verdict"]:
        why = Text("0 lies inside of the interval, or it does not: compute the interval", "请计算区间，看 0 是否在其中")
        raise Mistake("wrong_own", key="verdict", said=verdict[:20], why=why)


def check_quiet(work: Work) -> None:
    rng = work.rng("quiet")
    calls = []
    for _ in range(NUM_PAIRS):
        only_first = int(rng.binomial(40, 0.5))
        calls.append(call_of(rng, 300, only_first, 40 - only_first))
    num = sum(said["verdict"] != "none" for said in answers_of(work, calls))
    if num > 3:
        raise Mistake("false_winner", num=num, total=NUM_PAIRS)


def check_pairs(work: Work) -> None:
    rng = work.rng("pairs")
    cases = ((2, 14, "second"), (15, 2, "first"))
    calls = [call_of(rng, 400, only_first, only_second) for only_first, only_second, _ in cases]
    for (only_first, only_second, wanted), said in zip(cases, answers_of(work, calls), strict=True):
        if said["verdict"] != wanted:
            better, worse = max(only_first, only_second), min(only_first, only_second)
            low, high = f"{said['low']:.3f}", f"{said['high']:.3f}"
            raise Mistake("missed", better=better, worse=worse, said=said["verdict"], low=low, high=high)


def check_groups(work: Work) -> None:
    """Each patient has ten rows that are alike."""
    rng, num_groups = work.rng("groups"), 40
    calls = []
    for _ in range(NUM_PAIRS):
        only_first = int(rng.binomial(10, 0.5))
        first, second = answers_with(rng, num_groups, only_first, 10 - only_first)
        groups = [f"p{number}" for number in range(num_groups) for _ in range(10)]
        calls.append([np.repeat(first, 10).tolist(), np.repeat(second, 10).tolist(), groups])
    num = sum(said["verdict"] != "none" for said in answers_of(work, calls))
    if num > 3:
        raise Mistake("copies_counted", groups=num_groups, num=num, total=NUM_PAIRS)


def check_swapped(work: Work) -> None:
    first, second, groups = call_of(work.rng("swapped"), 200, 3, 21)
    said, other = answers_of(work, [[first, second, groups], [second, first, groups]])
    wanted = {"difference": -said["difference"], "low": -said["high"], "high": -said["low"]}
    for key, value in wanted.items():
        if abs(other[key] - value) > 1e-6:
            raise Mistake("not_opposite", key=key, said=f"{other[key]:g}", wanted=f"{value:g}")
    if (said["verdict"], other["verdict"]) != ("second", "first"):
        raise Mistake("not_opposite", key="verdict", said=other["verdict"], wanted="first")


def check_equal(work: Work) -> None:
    first, _, groups = call_of(work.rng("equal"), 100, 0, 0)
    (said,) = answers_of(work, [[first, first, groups]])
    for key in ("difference", "low", "high"):
        if abs(said[key]) > 1e-9:
            raise Mistake("wrong_equal", key=key, said=f"{said[key]:g}")
    if said["verdict"] != "none":
        raise Mistake("wrong_equal", key="verdict", said=said["verdict"])


def call_of(rng: np.random.Generator, num: int, only_first: int, only_second: int) -> list[Any]:
    first, second = answers_with(rng, num, only_first, only_second)
    return [first.tolist(), second.tolist(), [f"p{row}" for row in range(num)]]


def answers_of(work: Work, calls: list[list[Any]]) -> list[JsonObject]:
    answers = work.call("compare.py", "compare", *calls)
    for said in answers:
        good = isinstance(said, dict) and said.get("verdict") in VERDICTS
        if not good or not all(is_number(said.get(key)) for key in ("difference", "low", "high")):
            raise Mistake("no_result", said=str(said)[:60])
    return answers


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
