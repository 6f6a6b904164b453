"""Checks of the lab "Figures that hold"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

KEYS = ("accuracy", "recall", "precision", "auc")
NEAR = 2e-3
NUM_TESTS, MIN_HELD = 400, 0.91  # of intervals; by chance 95 % fall below .91 once in several thousand gradings


def make(data: DataFolder) -> object:
    """A weak logistic model of two measures, on tumours of which few are malignant."""
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    rng = data.rng
    malignant, benign = (rng.permutation(np.flatnonzero(source.target == label)) for label in (0, 1))
    num = int(rng.integers(22, 36))
    rows = rng.permutation(np.concatenate([malignant[:num], benign[: 10 * num]]))
    values = (source.data[rows][:, [1, 4]] - source.data[:, [1, 4]].mean(0)) / source.data[:, [1, 4]].std(0)
    scores = np.round(1 / (1 + np.exp(1.6 - 1.3 * values.sum(1) - rng.normal(0, 0.4, len(rows)))), 2)
    truth = (source.target[rows] == 0).astype(int)
    data.write_csv("scores.csv", {"score": scores, "diagnosis": truth})
    return figures_of(scores, truth) | {"accuracy_of_no": float(1 - truth.mean())}


def figures_of(scores: Any, truth: Any) -> dict[str, float | None]:
    scores, truth = np.asarray(scores, float), np.asarray(truth, int)
    called = scores >= 0.5
    caught, positives = int((called & (truth == 1)).sum()), int(truth.sum())
    above = scores[truth == 1][:, None] - scores[truth == 0][None, :]
    return {
        "accuracy": float((called == truth).mean()), "recall": caught / positives if positives else None,
        "precision": caught / int(called.sum()) if called.any() else None,
        "auc": float(((above > 0) + 0.5 * (above == 0)).mean()) if above.size else None,
    }  # fmt: skip


def check_own(work: Work) -> None:
    for key in (*KEYS, "accuracy_of_no"):
        said = work.number("answers.json", key)
        if abs(said - work.truth[key]) > NEAR:
            raise Mistake("wrong_figure", key=key, said=f"{said:g}", why=reason(key, said, work.truth))


def reason(key: str, said: float, truth: dict[str, float | None]) -> Text:
    other = {"recall": "precision", "precision": "recall"}.get(key)
    if other and truth[other] is not None and abs(said - float(truth[other] or 0)) <= NEAR:
        return Text(f"that is the {other}", f"这是 {other}")
    return Text(
        "count the four kinds of rows, and look at the task for what is divided by what",
        "先数清四类行，再看任务说明中谁除以谁",
    )


def check_confusion(work: Work) -> None:
    rng = work.rng("confusion")
    calls = [[rng.random(60).tolist(), (rng.random(60) < share).astype(int).tolist()] for share in (0.1, 0.5, 0.8)]
    calls.append([[0.5, 0.5, 0.49, 0.2], [1, 0, 1, 0]])
    for call, said in zip(calls, answers(work, calls), strict=True):
        truth = figures_of(*call)
        for key in KEYS[:3]:
            value = said.get(key)
            if truth[key] is not None and not is_near(value, truth[key]):
                why = (
                    reason(key, float(value or 0.0), truth)
                    if is_number(value)
                    else Text("a number is asked for", "应为数字")
                )
                raise Mistake("wrong_figure", key=key, said=str(value)[:40], why=why)


def check_auc(work: Work) -> None:
    rng = work.rng("auc")
    calls = [
        [np.round(rng.random(80), places).tolist(), (rng.random(80) < 0.4).astype(int).tolist()] for places in (6, 1)
    ]
    for call, said in zip(calls, answers(work, calls), strict=True):
        wanted, value = figures_of(*call)["auc"], said.get("auc")
        if not is_near(value, wanted):
            if call is calls[1]:
                raise Mistake("ties", wanted=f"{wanted:.3f}", said=str(value)[:40])
            raise Mistake(
                "wrong_figure",
                key="auc",
                said=str(value)[:40],
                why=Text("compare all pairs of both classes", "比较两类的所有配对"),
            )


def check_undefined(work: Work) -> None:
    cases = (
        ("recall", [0.2, 0.7], [0, 0], Text("no row is malignant", "没有恶性行")),
        ("precision", [0.2, 0.1], [0, 1], Text("no row is called", "没有判正的行")),
        ("auc", [0.2, 0.7], [1, 1], Text("there is one class only", "只有一类")),
    )
    said = answers(work, [[scores, truth] for _, scores, truth, _ in cases])
    for (key, _, _, why), answer in zip(cases, said, strict=True):
        if answer.get(key, 0) is not None:
            raise Mistake("not_none", key=key, said=str(answer.get(key))[:40], why=why)


def check_interval(work: Work) -> None:
    rng = work.rng("interval")
    for share, total in ((0.97, 40), (0.5, 30), (0.02, 100)):
        caught = rng.binomial(total, share, NUM_TESTS).tolist()
        bounds = intervals(work, [[count, total] for count in caught])
        held = sum(low <= share <= high for low, high in bounds)
        if held < MIN_HELD * NUM_TESTS:
            raise Mistake("misses", num=NUM_TESTS, share=share, held=held)


def check_narrow(work: Work) -> None:
    calls = [[45, 50], [180, 200], [500, 1000], [10, 10]]
    for (caught, total), (low, high) in zip(calls, intervals(work, calls), strict=True):
        half = 1.96 / (total + 1.96**2) * math.sqrt(caught * (total - caught) / total + 1.96**2 / 4)
        if high - low > 1.35 * 2 * half:
            raise Mistake("too_wide", caught=caught, total=total, width=f"{high - low:.3f}", wanted=f"{2 * half:.3f}")


def answers(work: Work, calls: list[list[Any]]) -> list[JsonObject]:
    said = work.call("figures.py", "figures", *calls)
    for each in said:
        if not isinstance(each, dict):
            raise Mistake("solution_value", function="figures", kind=type(each).__name__)
    return said


def intervals(work: Work, calls: list[list[int]]) -> list[tuple[float, float]]:
    said = work.call("figures.py", "interval", *calls)
    for each in said:
        good = isinstance(each, list) and len(each) == 2 and all(map(is_number, each))
        if not good or not -1e-9 <= each[0] <= each[1] <= 1 + 1e-9:
            raise Mistake("no_interval", said=str(each)[:60])
    return [(float(low), float(high)) for low, high in said]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_near(said: Any, wanted: float | None) -> bool:
    return wanted is not None and is_number(said) and abs(said - wanted) <= NEAR
