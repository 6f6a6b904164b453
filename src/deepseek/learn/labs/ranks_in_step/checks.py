"""Checks of the lab "Ranks in step"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, PROBE = "strategies.py", Path(__file__).with_name("probe.py")
NEAR = 1e-9
NUM_FEATURES = 4


def make(data: DataFolder) -> object:
    num = int(data.rng.integers(90, 130))
    x = np.round(data.rng.normal(0, 1, (num, NUM_FEATURES)), 3)
    y = np.round(x @ data.rng.normal(0, 2, NUM_FEATURES) + data.rng.normal(1, 0.5, num), 3)
    run = {"lr": round(float(data.rng.uniform(0.02, 0.08)), 3), "momentum": round(float(data.rng.uniform(0.6, 0.9)), 2),
           "steps": int(data.rng.integers(12, 30))}  # fmt: skip
    data.write_csv("rows.csv", {f"x{place}": x[:, place] for place in range(NUM_FEATURES)} | {"y": y})
    data.write_json("run.json", run)
    right, plain = train(x, y, **run), train(x, y, **run | {"momentum": 0.0})
    return {"right": right.tolist(), "plain": plain.tolist(), "steps": run["steps"]}


def train(x: Any, y: Any, lr: float, momentum: float, steps: int) -> Any:
    """Weights and bias (5,) after so many steps from zeros."""
    columns = np.column_stack([x, np.ones(len(x))])
    weights = velocity = np.zeros(columns.shape[1])
    for _ in range(steps):
        velocity = momentum * velocity + 2 * columns.T @ (columns @ weights - y) / len(y)
        weights = weights - lr * velocity
    return weights


def check_own(work: Work) -> None:
    said = work.value("answers.json", "weights")
    numbers = [*(said if isinstance(said, list) else []), work.number("answers.json", "bias")]
    truth = work.truth
    why = Text("see what torch.optim.SGD does with momentum", "看看 torch.optim.SGD 如何使用动量")
    if len(numbers) != NUM_FEATURES + 1 or not all(isinstance(each, int | float) for each in numbers):
        raise Mistake("wrong_answer", key="weights", said=str(said)[:40], steps=truth["steps"], why=why)
    if np.allclose(numbers, truth["plain"], atol=1e-3):
        why = Text("that is without momentum", "这是没有动量的结果")
    for place, (number, right) in enumerate(zip(numbers, truth["right"], strict=True)):
        if abs(number - right) > 1e-4:
            key = "bias" if place == NUM_FEATURES else f"weights[{place}]"
            raise Mistake("wrong_answer", key=key, said=f"{number:.5g}", steps=truth["steps"], why=why)


def check_average(work: Work) -> None:
    rng = work.rng("average")
    shares = [int(rng.integers(3, 9)), int(rng.integers(20, 40)), 1]
    x, y = rng.normal(0, 1, (sum(shares), 3)), rng.normal(0, 1, sum(shares))
    answer = ask(work, "average", int(rng.integers(10**6)), x, y, shares)
    for gradients in results_of(answer, "average_gradients()"):
        if not all_near(gradients, answer["right"]):
            why = Text("the ranks do not have the same number of rows", "各 rank 的行数并不相同")
            if all_near(gradients, answer["right"], sum(shares)):
                why = Text("that is the gradient of the sum over rows, not of the mean", "这是对行求和而非求平均的梯度")
            raise Mistake("wrong_average", rows=", ".join(map(str, shares)), why=why)


def ask_sharded(work: Work) -> tuple[Any, int, int]:
    rng = work.rng("sharded")
    world, num_steps = 3, 4
    arguments = (
        int(rng.integers(10**6)),
        world,
        num_steps,
        float(rng.uniform(0.01, 0.1)),
        float(rng.uniform(0.5, 0.9)),
    )
    return ask(work, "run_sharded", *arguments), world, num_steps


def check_sharded(work: Work) -> None:
    answer, world, num_steps = ask_sharded(work)
    for rank, result in enumerate(results_of(answer, "ShardedMomentum")):
        if not all_near(result["parameters"], answer["right"]):
            raise Mistake("wrong_parameters", steps=num_steps, world=world, rank=rank)


def check_share(work: Work) -> None:
    answer, world, num_steps = ask_sharded(work)
    for rank, result in enumerate(results_of(answer, "ShardedMomentum")):
        if not all_near(result["parameters"], answer["right"]):
            raise Mistake("wrong_parameters", steps=num_steps, world=world, rank=rank)
        if result["kept"] > answer["share"]:
            raise Mistake("whole_state", rank=rank, said=result["kept"], share=answer["share"])


def check_pipeline(work: Work) -> None:
    rng = work.rng("pipeline")
    for num_stages, num_micro in ((2, 4), (3, 3)):
        x, y = rng.normal(0, 1, (12, 5)), rng.normal(0, 1, (12, 2))
        answer = ask(work, "pipeline", int(rng.integers(10**6)), x, y, num_stages, num_micro)
        right = answer["right"]
        for rank, gradients in enumerate(results_of(answer, "pipeline_backward()")):
            own = right[2 * rank : 2 * rank + 2]
            if not all_near(gradients, own):
                why = Text(
                    "look at what comes back to the stage, and from which micro-batch",
                    "看看传回本阶段的是什么、来自哪个微批",
                )
                if all_near(gradients, own, num_micro):
                    why = Text("they are num_micro times as large", "它们大了 num_micro 倍")
                if any(part is None for part in gradients):
                    why = Text("there are none", "没有梯度")
                raise Mistake("wrong_pipeline", stages=num_stages, micro=num_micro, rank=rank, why=why)


def ask(work: Work, function: str, *arguments: object) -> Any:
    (answer,) = work.probe(PROBE, FILE, function, arguments)
    return answer


def results_of(answer: Any, function: str) -> list[Any]:
    """What each rank has returned."""
    if answer.get("waits"):
        raise Mistake("ranks_wait", function=function)
    if "error" in answer:
        raise Mistake("rank_failed", function=function, rank=answer["rank"], error=answer["error"])
    return list(answer["results"])


def all_near(said: list[Any], right: list[Any], factor: float = 1.0) -> bool:
    return len(said) == len(right) and all(
        one is not None and np.shape(one) == np.shape(other)
        and np.allclose(one, np.multiply(other, factor), rtol=NEAR, atol=NEAR)
        for one, other in zip(said, right, strict=True)
    )  # fmt: skip
