"""Checks of the lab "A search of your own": learning curves are simulated, for a hundred real trainings take hours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, PROBE = "search.py", Path(__file__).with_name("probe.py")
BUDGET, MAX_EPOCHS, NUM_PROBLEMS, MOST = 300, 30, 30, 0.6
NUM_TRIALS, NUM_VALIDATION, NUM_HELD = 40, 150, 600
NEAR = 6e-4


def make(data: DataFolder) -> object:
    """Trials whose true errors lie close to each other, so that the best on validation rows was lucky."""
    errors = data.rng.uniform(0.1, 0.2, NUM_TRIALS)
    wrong = data.rng.binomial(NUM_VALIDATION, errors)
    chosen = int(np.argmin(wrong))
    wrong[chosen] -= 1  # nobody else is as good
    held = (data.rng.random((NUM_HELD, NUM_TRIALS)) < errors).astype(int)
    best = int(np.argmin(held.sum(0)))
    if best == chosen:
        held[:8, chosen] = 1
        best = int(np.argmin(held.sum(0)))
    data.write_csv("trials.csv", {"trial": np.arange(NUM_TRIALS), "wrong": wrong})
    data.write_csv("held.csv", {f"trial_{place}": held[:, place] for place in range(NUM_TRIALS)})
    share = float(held[:, chosen].mean())
    low, high = wilson(share, NUM_HELD)
    plain_low = share - 1.96 * (share * (1 - share) / NUM_HELD) ** 0.5
    return {"chosen": chosen, "validation_error": wrong[chosen] / NUM_VALIDATION, "held_error": share, "low": low,
            "high": high, "best_held": best, "plain_low": plain_low}  # fmt: skip


def wilson(share: float, num: int, z: float = 1.96) -> tuple[float, float]:
    center, scale = share + z * z / (2 * num), 1 + z * z / num
    half = z * (share * (1 - share) / num + z * z / (4 * num * num)) ** 0.5
    return (center - half) / scale, (center + half) / scale


def check_own(work: Work) -> None:
    truth = work.truth
    for key in ("chosen", "validation_error", "held_error", "low", "high"):
        said = work.number("choice.json", key)
        if abs(said - truth[key]) <= NEAR:
            continue
        why = Text("see the task", "见任务说明")
        if key == "chosen" and said == truth["best_held"]:
            why = Text(
                "that one was chosen on the held rows, whose figure says nothing then",
                "它是按留出行选出的，其指标因此不再有意义",
            )
        elif key == "held_error" and abs(said - truth["validation_error"]) <= NEAR:
            why = Text("that is its validation error, which it was chosen for", "这是它的验证误差，它正是因此被选中")
        elif key == "low" and abs(said - truth["plain_low"]) <= NEAR:
            why = Text("that is the plain interval p - z sqrt(p(1-p)/n)", "这是朴素区间 p - z sqrt(p(1-p)/n)")
        raise Mistake("wrong_choice", key=key, said=f"{said:g}", why=why)


def make_problem(rng: np.random.Generator, *, other: bool = False, diverges: bool = False) -> JsonObject:
    """A space with its best configuration and how much each dimension matters."""
    space: JsonObject = {
        "rate": {"low": 1e-4, "high": 1.0, "scale": "log"}, "width": {"low": 8, "high": 512, "scale": "log"},
        "dropout": {"low": 0.0, "high": 0.6, "scale": "linear"},
        "layer": {"choices": ["relu", "tanh", "gelu"]},
    }  # fmt: skip
    if other:
        space = {
            "shrinkage": {"low": 0.01, "high": 0.9, "scale": "log"}, "leaves": {"low": 4, "high": 300, "scale": "log"},
            "share": {"low": 0.2, "high": 1.0, "scale": "linear"}, "depth": {"low": 1, "high": 12, "scale": "linear"},
            "loss": {"choices": ["l1", "l2"]},
        }  # fmt: skip
    best: JsonObject = {}
    for name, axis in space.items():
        choices = axis.get("choices")
        best[name] = choices[int(rng.integers(len(choices)))] if choices else float(rng.uniform(0.1, 0.7))
    weights = {
        name: float(rng.uniform(0.1, 0.2) if "choices" in axis else rng.uniform(0.5, 2)) for name, axis in space.items()
    }
    return {"space": space, "best": best, "weights": weights, "max_epochs": MAX_EPOCHS, "diverges": diverges}


def race(work: Work, name: str, **kind: bool) -> None:
    rng = work.rng(name)
    problems = [make_problem(rng, **kind) for _ in range(NUM_PROBLEMS)]
    (answer,) = work.probe(PROBE, FILE, "race", [problems, BUDGET])
    regrets = [regret_of(each) for each in answer["own"]]
    said, by_chance = float(np.mean(regrets)), float(np.mean(answer["random"]))
    if max(each["spent"] for each in answer["own"]) > BUDGET:
        raise Mistake("over_budget", spent=max(each["spent"] for each in answer["own"]), budget=BUDGET)
    if said > MOST * by_chance:
        raise Mistake("no_better", num=NUM_PROBLEMS, said=f"{said:.3f}", random=f"{by_chance:.3f}")


def regret_of(answer: JsonObject) -> float:
    if answer["regret"] is None:
        raise Mistake("no_configuration", said=str(answer["configuration"])[:60])
    return float(answer["regret"])


def check_budget(work: Work) -> None:
    rng = work.rng("budget")
    for budget in (BUDGET, 47):
        (answer,) = work.probe(PROBE, FILE, "run", [make_problem(rng, diverges=True), budget, 3])
        if answer["spent"] > budget:
            raise Mistake("over_budget", spent=answer["spent"], budget=budget)
        if answer["num_bad"]:
            raise Mistake("wrong_epochs", num=answer["num_bad"], most=MAX_EPOCHS)
        regret_of(answer)


def check_better(work: Work) -> None:
    race(work, "better")


def check_other_space(work: Work) -> None:
    race(work, "other space", other=True)


def check_diverging(work: Work) -> None:
    race(work, "diverging", diverges=True)


def check_repeats(work: Work) -> None:
    call = [make_problem(work.rng("repeats")), BUDGET, 5]
    (first,), (second,) = (work.probe(PROBE, FILE, "run", call) for _ in range(2))
    if first["configuration"] != second["configuration"]:
        raise Mistake("not_repeated")
