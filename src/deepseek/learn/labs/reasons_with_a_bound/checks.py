"""Checks of the lab "Reasons with a bound"."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, PROBE = "reasons.py", Path(__file__).with_name("probe.py")
NUM_COLUMNS, NUM_BACKGROUND = 10, 6
NEAR = 1e-6
MODEL = '''"""The model of the plant: its operator is a signed root."""

import numpy as np

WEIGHTS = np.array({weights})
PAIRS = np.array({pairs})


def predict(rows):
    """An answer for each row of an array (N, {num})."""
    sums = np.asarray(rows, float) @ WEIGHTS.T
    return (np.sign(sums) * np.sqrt(np.abs(sums))).sum(1) + np.einsum("ni,ij,nj->n", rows, PAIRS, rows)
'''


def make(data: DataFolder) -> object:
    weights, pairs, row, background = draw(data.rng, NUM_COLUMNS, NUM_BACKGROUND)
    data.write_text("model.py", MODEL.format(weights=weights.tolist(), pairs=pairs.tolist(), num=NUM_COLUMNS))
    data.write_csv("background.csv", {f"c{place}": background[:, place] for place in range(NUM_COLUMNS)})
    data.write_csv("row.csv", {f"c{place}": row[place : place + 1] for place in range(NUM_COLUMNS)})
    base, values = shapley(weights, pairs, row, background)
    _, single = shapley(weights, pairs, row, background.mean(0)[None])
    return {"base": base, "values": values.tolist(), "single": single.tolist()}


def draw(
    rng: np.random.Generator, num: int, num_background: int, unread: int | None = None
) -> tuple[Any, Any, Any, Any]:
    """Coefficients of a model, a row and a background. `unread`: a column that the model does not read."""
    weights = np.round(rng.normal(0, 1, (3, num)), 3)
    pairs = np.round(np.triu(rng.normal(0, 0.4, (num, num)) * (rng.random((num, num)) < 0.3), 1), 3)
    if unread is not None:
        weights[:, unread], pairs[unread], pairs[:, unread] = 0, 0, 0
    return weights, pairs, np.round(rng.normal(1, 1, num), 3), np.round(rng.normal(0, 1, (num_background, num)), 3)


def predict(weights: Any, pairs: Any, rows: Any) -> Any:
    sums = rows @ weights.T
    return (np.sign(sums) * np.sqrt(np.abs(sums))).sum(1) + np.einsum("ni,ij,nj->n", rows, pairs, rows)


def worths(weights: Any, pairs: Any, row: Any, background: Any) -> Any:
    """v of each set of columns (2**P,); bit i of its number is column i."""
    num = len(row)
    inside = (np.arange(2**num)[:, None] >> np.arange(num)) & 1 == 1
    rows = np.where(inside[:, None, :], row, background[None])
    return predict(weights, pairs, rows.reshape(-1, num)).reshape(2**num, -1).mean(1)


def shapley(weights: Any, pairs: Any, row: Any, background: Any) -> tuple[float, Any]:
    """Base value and exact values (P,), by all sets."""
    num, worth = len(row), worths(weights, pairs, row, background)
    sets = np.arange(2**num)
    sizes = ((sets[:, None] >> np.arange(num)) & 1).sum(1)
    share = np.array([math.factorial(size) * math.factorial(num - size - 1) / math.factorial(num) if size < num else 0
                      for size in range(num + 1)])  # fmt: skip
    values = []
    for column in range(num):
        without = sets[(sets >> column) & 1 == 0]
        values.append(float((share[sizes[without]] * (worth[without | 1 << column] - worth[without])).sum()))
    return float(worth[0]), np.array(values)


def check_own(work: Work) -> None:
    truth = work.truth
    said = work.value("answer.json", "values")
    if (
        not isinstance(said, list)
        or len(said) != NUM_COLUMNS
        or not all(isinstance(each, int | float) for each in said)
    ):
        raise Mistake(
            "wrong_value", key="values", said=str(said)[:40], why=Text("ten numbers are asked for", "应为十个数")
        )
    why = Text("compute v(S) of all sets first", "先算出所有集合的 v(S)")
    if np.allclose(said, truth["single"], atol=1e-4):
        why = Text(
            "that is against the mean background row; the mean of the answers is asked for",
            "这是以背景均值行为基准；应取各背景行回答的均值",
        )
    for place, (number, right) in enumerate(zip(said, truth["values"], strict=True)):
        if abs(number - right) > 1e-4:
            raise Mistake("wrong_value", key=f"c{place}", said=f"{number:.5g}", why=why)
    base = work.number("answer.json", "base")
    if abs(base - truth["base"]) > 1e-4:
        raise Mistake(
            "wrong_value",
            key="base",
            said=f"{base:g}",
            why=Text("it is the mean answer over the background", "它是背景行的平均回答"),
        )


def check_adds_up(work: Work) -> None:
    for num, num_rows in ((12, 4_000), (5, 2_000)):
        case = draw(work.rng(f"sum of {num}"), num, 4)
        answer = float(predict(case[0], case[1], case[2][None])[0])
        for said in ask(work, case, num_rows, [1, 2]):
            total = said["base"] + said["values"].sum()
            if abs(total - answer) > NEAR * (1 + abs(answer)):
                raise Mistake("does_not_add_up", said=f"{total:.6g}", answer=f"{answer:.6g}")


def check_exact(work: Work) -> None:
    case = draw(work.rng("exact"), 7, 5)
    _, values = shapley(*case)
    (said,) = ask(work, case, 2**7 * 5, [1])
    for column, (value, error, right) in enumerate(zip(said["values"], said["errors"], values, strict=True)):
        if abs(value - right) > NEAR or abs(error) > NEAR:
            raise Mistake("not_exact", column=column, said=f"{value:.5g}", error=f"{error:.3g}")


def check_budget(work: Work) -> None:
    case = draw(work.rng("budget"), 11, 4)
    for num_rows in (700, 1_201, 5_000):
        (answer,) = work.probe(PROBE, FILE, "run", [*case, num_rows, [3]])
        if answer[0]["num_rows"] > num_rows:
            raise Mistake("over_budget", said=answer[0]["num_rows"], allowed=num_rows)


def sample_values(work: Work, name: str) -> tuple[Any, Any, Any, float]:
    """Values and errors (20, P) of a model for 20 seeds, their truth, and the error of plain sampling."""
    rng = work.rng(name)
    case = draw(rng, 12, 4)
    num_rows = 2_000
    answers = ask(work, case, num_rows, list(range(1, 21)))
    _, truth = shapley(*case)
    worth, num = worths(*case), 12
    num_orders = (num_rows - 2 * 4) // (4 * (num - 1))
    gains = []
    for _ in range(400):
        order = rng.permutation(num)
        path = worth[np.concatenate([[0], np.cumsum(1 << order)])]
        gain = np.empty(num)
        gain[order] = np.diff(path)
        gains.append(gain)
    plain = float(np.sqrt((np.var(gains, 0, ddof=1) / num_orders).mean()))
    return np.array([each["values"] for each in answers]), np.array([each["errors"] for each in answers]), truth, plain


def check_near(work: Work) -> None:
    values, _, truth, plain = sample_values(work, "near")
    said = float(np.sqrt(((values - truth) ** 2).mean()))
    if said > 1.25 * plain:  # of 240 values, by chance above once in a thousand
        raise Mistake("too_far", said=f"{said:.3g}", plain=f"{plain:.3g}")


def check_honest(work: Work) -> None:
    values, errors, truth, _ = sample_values(work, "honest")
    share = float((np.abs(values - truth) <= 2 * errors).mean())
    if share < 0.9:
        raise Mistake("errors_too_small", share=f"{share:.2f}")
    real = float(np.sqrt(((values - truth) ** 2).mean()))
    size = float(np.sqrt((errors**2).mean()))
    if size > 2 * real:
        raise Mistake("errors_too_large", said=f"{size / real:.1f}")


def check_unread(work: Work) -> None:
    case = draw(work.rng("unread"), 12, 4, unread=5)
    for said in ask(work, case, 3_000, [1, 2]):
        if abs(said["values"][5]) > NEAR:
            raise Mistake("unread_column", column=5, said=f"{said['values'][5]:.4g}")


def ask(work: Work, case: tuple[Any, ...], num_rows: int, seeds: list[int]) -> list[Any]:
    """What explain() returns for each seed, held to its form."""
    (answers,) = work.probe(PROBE, FILE, "run", [*case, num_rows, seeds])
    explanations, num = [], len(case[2])
    for answer in answers:
        said = answer["said"]
        try:
            parts = {name: np.asarray(said[name], float).reshape(num) for name in ("values", "errors")}
            base = float(said["base"])
            if not all(np.isfinite(part).all() for part in (*parts.values(), base)):
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            raise Mistake("no_explanation", said=str(said)[:60]) from error
        explanations.append({"base": base, **parts})
    return explanations
