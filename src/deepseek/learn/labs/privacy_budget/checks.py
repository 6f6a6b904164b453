"""Checks of the lab "A privacy budget". Bounds are five standard errors wide, and what depends on chance runs twice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

BUDGET, STEP, FILE = 5.0, 0.1, "publish.py"
NUM_DRAWS = 600
TOLERANCE = 0.22  # of the median of the noise: five standard errors of 600 draws
GROUPS = ("A", "B", "C", "D")


def make(data: DataFolder) -> object:
    """Releases in steps of 0.05, so that sums are exact enough; some of the budget is left."""
    while True:
        num = int(data.rng.integers(14, 22))
        names = data.rng.choice([*GROUPS, "all"], num, p=[0.2, 0.2, 0.2, 0.15, 0.25]).tolist()
        costs = (data.rng.integers(1, 9, num) * 0.05).round(2).tolist()
        sums = {
            name: round(sum(c for n, c in zip(names, costs, strict=True) if n == name), 2) for name in (*GROUPS, "all")
        }
        largest = sorted(sums[name] for name in GROUPS)
        spent = round(sums["all"] + largest[-1], 2)
        if 1 < spent < 4 and largest[0] > 0 and largest[-1] > largest[-2]:
            break
    rows = [{"group": name, "epsilon": cost} for name, cost in zip(names, costs, strict=True)]
    data.write_json("releases.json", rows)
    left = round(BUDGET - spent, 2)
    return {"spent": spent, "left": left, "num_more": math.floor(round(left / STEP, 6)), "total": round(sum(costs), 2)}


def check_own(work: Work) -> None:
    truth = work.truth
    for key in ("spent", "left", "num_more"):
        said = work.number("answers.json", key)
        if abs(said - truth[key]) > 1e-6:
            why = Text("see what adds up and what does not", "请看哪些相加、哪些不加")
            if key == "spent" and abs(said - truth["total"]) < 1e-6:
                why = Text("groups that share nobody do not add up", "互不重叠的组不相加")
            elif key == "num_more" and said == truth[key] - 1:
                why = Text("one is lost to the rounding of floats", "浮点误差丢失了一个")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_count(work: Work) -> None:
    num = int(work.rng("count").integers(20, 60))
    for epsilon in (0.25, 4.0):
        calls = [[list(range(num)), epsilon]] * NUM_DRAWS
        noise = [value - num for value in numbers_of(work, "noisy_count", calls)]
        hold_laplace("noisy_count", noise, 1 / epsilon, epsilon)


def check_fresh(work: Work) -> None:
    calls = [[list(range(10)), 0.5], [list(range(10)), 0.5]]
    first, second = (numbers_of(work, "noisy_count", calls) for _ in range(2))
    if first == second or first[0] == first[1]:
        raise Mistake("same_noise", said=f"{first[0] - 10:.6f}")


def check_mean(work: Work) -> None:
    rng = work.rng("mean")
    values = rng.uniform(20, 60, 50).round(2).tolist()
    outlier = [*values[:-1], 1e9]
    (said,) = numbers_of(work, "noisy_mean", [[outlier, 0.0, 100.0, 1e6]])
    if abs(said - (sum(values[:-1]) + 100) / 50) > 0.01:
        raise Mistake("not_clipped", value="1e9", num=50, said=f"{said:g}", high=100)
    epsilon = 0.5
    calls = [[values, 0.0, 100.0, epsilon]] * NUM_DRAWS
    noise = [value - sum(values) / 50 for value in numbers_of(work, "noisy_mean", calls)]
    hold_laplace("noisy_mean", noise, 100 / 50 / epsilon, epsilon)


def hold_laplace(function: str, noise: list[float], scale: float, epsilon: float) -> None:
    """Half of the noise has to lie within scale times log 2, and some of it far outside."""
    middle, wanted = float(np.median(np.abs(noise))), scale * math.log(2)
    if abs(middle / wanted - 1) > TOLERANCE:
        why = Text("is the scale what one row can change, by epsilon?", "尺度是否为一行能造成的改变除以 epsilon？")
        if middle < 1e-9:
            why = Text("there is no noise", "没有噪声")
        elif abs(middle / (math.log(2) * epsilon) - 1) < TOLERANCE:
            why = Text("the scale is epsilon, where it is to be by epsilon", "尺度用了 epsilon，而应当除以 epsilon")
        raise Mistake("wrong_noise", function=function, num=len(noise), epsilon=epsilon, said=f"{middle:.3g}",
                      wanted=f"{wanted:.3g}", why=why)  # fmt: skip
    beyond, expected = int((np.abs(noise) > 3 * scale).sum()), len(noise) * math.exp(-3)
    if beyond < expected - 3.5 * math.sqrt(expected):
        raise Mistake("not_laplace", function=function, said=beyond, num=len(noise), wanted=round(expected))


def check_budget(work: Work) -> None:
    first = [query("a", 0.4), query("b", 0.3), query("c", 0.5), query("d", 0.3)]
    hold_answers(answers_of(work, first, "ledger-1.json"), first, 0.0, (True, True, False, True))
    second = [query("e", 0.1), query("f", 0.0001)]
    hold_answers(answers_of(work, second, "ledger-1.json"), second, 1.0, (False, False))
    other = [query("a", 0.9)]
    hold_answers(answers_of(work, other, "ledger-2.json"), other, 0.0, (True,))


def check_again(work: Work) -> None:
    first = answers_of(work, [query("a", 0.5), query("a", 0.5), query("b", 0.3)], "ledger-3.json")
    second = answers_of(work, [query("a", 0.5), query("c", 0.2), query("d", 0.1)], "ledger-3.json")
    for answer in (first[1], second[0]):
        if answer != first[0]:
            raise Mistake("other_answer", name="a", first=first[0], second=answer)
    if first[2] is None or second[1] is None:
        raise Mistake("charged_again")
    if second[2] is not None:
        raise Mistake("overspent", name="d", spent=1.0, budget=1.0, epsilon=0.1)


def query(name: str, epsilon: float) -> JsonObject:
    return {"name": name, "epsilon": epsilon, "rows": list(range(100))}


def hold_answers(answers: list[Any], queries: list[JsonObject], spent: float, pays: tuple[bool, ...]) -> None:
    for each, answer, is_paid in zip(queries, answers, pays, strict=True):
        if answer is None and is_paid:
            raise Mistake("refused", name=each["name"], epsilon=each["epsilon"], left=f"{1 - spent:.4g}")
        if answer is not None and not is_paid:
            raise Mistake("overspent", name=each["name"], spent=f"{spent:.4g}", budget=1.0, epsilon=each["epsilon"])
        spent += each["epsilon"] if is_paid else 0.0


def answers_of(work: Work, queries: list[JsonObject], ledger: str) -> list[Any]:
    """What publish() says, in a process of its own, within a budget of 1."""
    (said,) = work.call(FILE, "publish", [queries, ledger, 1.0])
    good = isinstance(said, list) and len(said) == len(queries)
    if not good or not all(each is None or is_number(each) for each in said):
        raise Mistake("no_answers", said=str(said)[:40], num=len(queries))
    return list(said)


def numbers_of(work: Work, function: str, calls: list[list[Any]]) -> list[float]:
    answers = work.call(FILE, function, *calls)
    for said in answers:
        if not is_number(said):
            raise Mistake("no_number", function=function, said=str(said)[:30])
    return [float(said) for said in answers]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
