"""Checks of the lab "One model of many owners, within a budget". Owners are simulated: real ones would show rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE = "federated.py"
NUM_OWNERS, NUM_FEATURES, NUM_HELD = 200, 6, 1_500
MAX_LOSS_OF_AUC, ROOM = 0.02, 1.01  # below the true model's; rounding of epsilon
NUM_SEEDS = 400


def make(data: DataFolder) -> object:
    weights = draw_weights(data.rng)
    owners = make_owners(data.rng, weights)
    columns: JsonObject = {"owner": np.repeat(np.arange(NUM_OWNERS), [len(each["labels"]) for each in owners])}
    features = np.concatenate([each["features"] for each in owners])
    columns |= {f"x{place}": features[:, place] for place in range(NUM_FEATURES)}
    data.write_csv("owners.csv", columns | {"label": np.concatenate([each["labels"] for each in owners])})
    study = {"epsilon": round(float(data.rng.uniform(3, 6)), 2), "delta": 0.001}
    data.write_json("study.json", study)
    return {"weights": weights.tolist(), **study}


def draw_weights(rng: np.random.Generator) -> Any:
    """Of the true model: one strong direction of the learner's own, and an intercept."""
    direction = rng.normal(0, 1, NUM_FEATURES)
    return np.append(2.5 * direction / np.linalg.norm(direction), rng.uniform(-0.5, 0.5))


def make_rows(rng: np.random.Generator, weights: Any, num: int) -> tuple[Any, Any]:
    features = np.round(rng.normal(0, 1, (num, NUM_FEATURES)), 3)
    chance = 1 / (1 + np.exp(-features @ weights[:-1] - weights[-1]))
    return features, (rng.random(num) < chance).astype(int)


def make_owners(rng: np.random.Generator, weights: Any) -> list[JsonObject]:
    rows = [make_rows(rng, weights, int(num)) for num in rng.integers(6, 13, NUM_OWNERS)]
    return [{"features": features, "labels": labels} for features, labels in rows]


def epsilon_of(noise: float, rounds: int, delta: float) -> float:
    from deepseek.privacy.accounting.gaussian import epsilon_of as exact

    return exact(noise, rounds, delta)


def auc_of(weights: Any, features: Any, labels: Any) -> float:
    """The share of pairs of a positive and a negative row that the scores put into order."""
    order = np.argsort(features @ np.asarray(weights)[:-1])
    ranks, positive = np.argsort(order) + 1, labels == 1
    num, others = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - num * (num + 1) / 2) / (num * others))


def judge_model(model: Any, weights: Any, budget: float, delta: float, rng: np.random.Generator) -> None:
    try:
        said = np.asarray(model["weights"], float)
        rounds, noise, bound = int(model["rounds"]), float(model["noise"]), float(model["bound"])
        if said.shape != (NUM_FEATURES + 1,) or not np.isfinite(said).all() or not min(rounds, noise, bound) > 0:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise Mistake("no_model", said=str(model)[:60]) from error
    spent = epsilon_of(noise, rounds, delta)
    if not spent <= budget * ROOM:
        raise Mistake("over_budget", rounds=rounds, noise=f"{noise:g}", spent=f"{spent:.3g}", budget=f"{budget:g}")
    features, labels = make_rows(rng, weights, NUM_HELD)
    wanted, auc = auc_of(weights, features, labels) - MAX_LOSS_OF_AUC, auc_of(said, features, labels)
    if not auc >= wanted:
        raise Mistake("weak", num=NUM_HELD, auc=f"{auc:.3f}", wanted=f"{wanted:.3f}")


def check_own(work: Work) -> None:
    truth, model = work.truth, work.read_json("model.json")
    judge_model(model, np.array(truth["weights"]), truth["epsilon"], truth["delta"], work.rng("held"))


def check_clip(work: Work) -> None:
    rng = work.rng("clip")
    updates = [rng.normal(0, scale, 7) for scale in (0.01, 3.0, 100.0)]
    answers = work.call(FILE, "clip", *[[update, 1.5] for update in updates])
    for update, said in zip(updates, (as_array(answer, 7) for answer in answers), strict=True):
        length = float(np.linalg.norm(update))
        wanted = min(length, 1.5)
        if not abs(np.linalg.norm(said) - wanted) <= 1e-9 * wanted + 1e-12:
            raise Mistake("not_clipped", length=f"{length:.3g}", bound=1.5, said=f"{np.linalg.norm(said):.3g}")
        if not np.allclose(said * length, update * wanted):
            raise Mistake("other_direction")


def check_epsilon(work: Work) -> None:
    rng = work.rng("epsilon")
    studies = [(round(float(rng.uniform(0.8, 6)), 2), int(rng.integers(1, 40)), delta) for delta in (1e-3, 1e-5, 1e-6)]
    for study, said in zip(studies, work.call(FILE, "epsilon", *studies), strict=True):
        right, single = epsilon_of(*study), epsilon_of(study[0], 1, study[2])
        if isinstance(said, int | float) and abs(said - right) <= 0.01 * right:
            continue
        why = Text("the formula of the task gives another one", "任务中的公式给出另一个值")
        if isinstance(said, int | float) and math.isfinite(said):
            if abs(said - study[1] * single) <= 0.02 * study[1] * single:
                why = Text("that is the sum over single rounds, which is far too much", "这是各轮相加，严重高估")
            elif study[1] > 1 and abs(said - single) <= 0.02 * single:
                why = Text("that is one round", "这是一轮的值")
        raise Mistake("wrong_epsilon", noise=study[0], rounds=study[1], delta=study[2], said=str(said)[:20], why=why)


def check_noise(work: Work) -> None:
    rng = work.rng("noise")
    noise, bound, num = float(rng.uniform(0.7, 3)), float(rng.uniform(0.5, 4)), 25
    updates = [each / np.linalg.norm(each) * bound * rng.uniform(0.2, 3) for each in rng.normal(0, 1, (num, 7))]
    calls = [[updates, bound, 0.0, 1], *[[updates, bound, noise, seed] for seed in range(NUM_SEEDS)]]
    mean, *noised = [as_array(said, 7) for said in work.call(FILE, "release", *calls)]
    clipped = [each * min(1, bound / np.linalg.norm(each)) for each in updates]
    if not np.allclose(mean, np.mean(clipped, 0)):
        raise Mistake("wrong_mean")
    said, wanted = float((np.array(noised) - mean).std()), noise * bound / num
    if not 0.93 * wanted <= said <= 1.07 * wanted:  # 2,800 numbers: by chance beyond once in a million
        raise Mistake("wrong_noise", num=num, said=f"{said:.4g}", noise=f"{noise:.3g}", bound=f"{bound:.3g}",
                      wanted=f"{wanted:.4g}")  # fmt: skip


def check_one_owner(work: Work) -> None:
    rng = work.rng("one owner")
    updates = list(rng.normal(0, 1, (40, 7)))
    loud = [*updates[:-1], updates[-1] * 1e6]
    without, with_loud = (as_array(said, 7) for said in work.call(
        FILE, "release", [[*updates[:-1], np.zeros(7)], 1.0, 1.0, 5], [loud, 1.0, 1.0, 5]))  # fmt: skip
    moved = float(np.linalg.norm(with_loud - without))
    if not moved <= 1 / 40 + 1e-9:
        raise Mistake("owner_too_strong", num=40, said=f"{moved:.3g}", wanted=f"{1 / 40:.3g}")


def check_train(work: Work) -> None:
    rng = work.rng("train")
    weights, budget = draw_weights(rng), round(float(rng.uniform(3, 6)), 2)
    owners = make_owners(rng, weights)
    first, second = work.call(FILE, "train", *[[owners, budget, 0.001, seed] for seed in (1, 2)])
    for model in (first, second):
        judge_model(model, weights, budget, 0.001, work.rng("held rows"))
    if np.allclose(first["weights"], second["weights"], rtol=1e-3, atol=1e-6):
        raise Mistake("no_noise")


def as_array(said: object, num: int) -> Any:
    try:
        array = np.asarray(said, float).reshape(-1)
    except (TypeError, ValueError):
        array = np.empty(0)
    return array if array.shape == (num,) else np.full(num, np.nan)
