"""Checks of the lab "Right for the wrong reasons"."""

from __future__ import annotations

import json
import math
from itertools import pairwise, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NUM_TRAIN, NUM_OTHER, MIN_AUC, FILE = 300, 120, 0.94, "trust.py"
WAYS = ("exposure", "lamp_hours", "slide_batch", "operator_years", "room_temperature", "focus_steps")


def make(data: DataFolder) -> object:
    shortcut = str(data.rng.choice(WAYS))
    table, names, words = load_tumours()
    order = data.rng.permutation(len(words))
    parts = {"train.csv": order[:NUM_TRAIN], "other.csv": order[NUM_TRAIN : NUM_TRAIN + NUM_OTHER]}
    for name, rows in parts.items():
        ways = ways_of(data.rng, words[rows], shortcut if name == "train.csv" else None)
        columns: JsonObject = {column: table[rows, place] for place, column in enumerate(names)}
        data.write_csv(name, columns | ways | {"diagnosis": words[rows]})
    return {"shortcut": shortcut, "held": order[NUM_TRAIN + NUM_OTHER :].tolist()}


def load_tumours() -> tuple[Any, list[str], Any]:
    """Ten measurements of Breast Cancer Wisconsin, their names, and the diagnosis of each row."""
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in source.feature_names[10:30:2]]
    return source.data[:, 10:30:2], names, np.array(source.target_names, object)[source.target]


def ways_of(rng: np.random.Generator, words: Any, shortcut: str | None) -> JsonObject:
    """How rows were measured: columns of chance, and in one clinic one that goes along with the diagnosis."""
    ways: JsonObject = {}
    for number, name in enumerate(WAYS):
        values = rng.normal(20 + 3 * number, 2, len(words))
        if name == shortcut:
            values += np.where(words == "malignant", 2.2, -2.2)
        ways[name] = values.round(2)
    return ways


def check_column(work: Work) -> None:
    said, shortcut = str(work.value("answers.json", "column")), work.truth["shortcut"]
    if said != shortcut:
        why = Text("it is a measurement of the tumour", "它是对肿瘤的测量")
        if said in WAYS:
            why = Text(
                "in the first clinic it does not go along with the diagnosis", "在第一家诊所它并不与诊断同时出现"
            )
        elif said not in load_tumours()[1]:
            why = Text("there is no such column", "没有这样的列")
        raise Mistake("wrong_column", said=said[:40], why=why)


def check_bundle(work: Work) -> None:
    manifest = json.loads((work.bundle("model") / "bundle.json").read_text("utf-8"))
    if manifest["target"] != "diagnosis":
        raise Mistake("wrong_target", target=manifest["target"])
    if work.truth["shortcut"] in [column["name"] for column in manifest["inputs"]]:
        raise Mistake("still_reads", column=work.truth["shortcut"])
    card = json.loads((work.bundle("model") / "card.json").read_text("utf-8"))
    known = {column["name"]: column for column in card["columns"]}
    rows = work.read_csv("train.csv", *WAYS)
    for name in (*load_tumours()[1], *WAYS):  # a column that was left out has no ends
        ends = {known.get(name, {}).get("min"), known.get(name, {}).get("max")} - {None}
        if not ends <= {float(row[name]) for row in rows}:
            raise Mistake("other_rows")


def check_elsewhere(work: Work) -> None:
    """Rows of a clinic where the shortcut points the other way."""
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    import deepseek

    table, names, words = load_tumours()
    held, rng = np.array(work.truth["held"]), work.rng("elsewhere")
    ways = ways_of(rng, words[held], None)
    ways[work.truth["shortcut"]] = (20 + np.where(words[held] == "malignant", -6.0, 6.0)).round(2)
    columns = {name: table[held, place] for place, name in enumerate(names)}
    answers = deepseek.load(work.bundle("model")).predict(pd.DataFrame(columns | ways))
    if answers.probabilities is None or "malignant" not in answers.labels_known:
        raise Mistake("wrong_target", target=", ".join(map(str, answers.labels_known)))
    scores = answers.probabilities[:, list(answers.labels_known).index("malignant")]
    auc = roc_auc_score(words[held] == "malignant", scores)
    if auc < MIN_AUC:
        raise Mistake("fails_elsewhere", num=len(held), auc=f"{auc:.3f}")


def check_exact(work: Work) -> None:
    rng = work.rng("exact")
    for n in (1, 4):
        game = rng.normal(0, 1, 2**n).round(6).tolist()
        said, right = values_of(work, game, n), shapley_right(game, n)
        for column in range(n):
            if not abs(said[column] - right[column]) < 1e-6:
                why = Text("each order of the columns counts the same", "各列的每种顺序权重相同")
                if abs(said[column] - (game[1 << column] - game[0])) < 1e-6:
                    why = Text("that is the column alone, when no other is known", "那是其他列都未知时该列单独的贡献")
                elif abs(said[column] - (game[-1] - game[-1 - (1 << column)])) < 1e-6:
                    why = Text("that is the column last, when all others are known", "那是其他列都已知时该列最后的贡献")
                raise Mistake("not_shapley", column=column, n=n, said=f"{said[column]:g}",
                              wanted=f"{right[column]:g}", why=why)  # fmt: skip


def check_adds_up(work: Work) -> None:
    game = work.rng("sum").normal(0, 1, 32).round(6).tolist()
    wanted = game[-1] - game[0]
    sums = {
        "shapley": sum(values_of(work, game, 5)),
        "sample_values": float(samples_of(work, [[game, 5, 40, 1]])[0][0].sum()),
    }
    for function, said in sums.items():
        if not abs(said - wanted) < 1e-6:
            raise Mistake("sum_differs", function=function, said=f"{said:g}", wanted=f"{wanted:g}")


def check_bounds(work: Work) -> None:
    rng = work.rng("bounds")
    games = [rng.normal(0, 1, 32).round(6).tolist() for _ in range(60)]
    calls = [[game, 5, 200, int(rng.integers(0, 2**31))] for game in games]
    num_within = 0
    for game, (values, errors) in zip(games, samples_of(work, calls), strict=True):
        num_within += int((np.abs(values - shapley_right(game, 5)) <= errors + 1e-12).sum())
    if num_within < 0.85 * 5 * len(games):
        raise Mistake("no_cover", num=5 * len(games), said=num_within, wanted=round(0.85 * 5 * len(games)))


def check_narrower(work: Work) -> None:
    rng = work.rng("narrower")
    game = rng.normal(0, 1, 32).round(6).tolist()
    few, many = samples_of(work, [[game, 5, 100, 3], [game, 5, 10_000, 4]])
    ratio = float(many[1].mean() / max(few[1].mean(), 1e-12))
    if not 0.06 < ratio < 0.16:
        why = Text("the standard error falls with the square root of their number", "标准误随个数的平方根下降")
        if ratio > 0.7:
            why = Text("that is the standard deviation of the orders, not the error of their mean",
                       "那是各顺序的标准差，而不是均值的误差")  # fmt: skip
        raise Mistake("too_wide", ratio=f"{ratio:.2f}", why=why)


def shapley_right(game: list[float], n: int) -> NDArray[np.float64]:
    """By going through all orders, which is slow and plain."""
    total, orders = np.zeros(n), list(permutations(range(n)))
    for order in orders:
        sets = [0]
        for column in order:
            sets.append(sets[-1] | 1 << column)
        for column, (before, after) in zip(order, pairwise(sets), strict=True):
            total[column] += game[after] - game[before]
    return np.asarray(total / len(orders))


def values_of(work: Work, game: list[float], n: int) -> list[float]:
    (said,) = work.call(FILE, "shapley", [game, n])
    return [float(value) for value in read_values(said, n, "shapley")]


def samples_of(work: Work, calls: list[list[Any]]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    pairs = []
    for said, call in zip(work.call(FILE, "sample_values", *calls), calls, strict=True):
        if not isinstance(said, list | np.ndarray) or len(said) != 2:
            raise Mistake(
                "no_values", function="sample_values", said=str(said)[:40], wanted=Text("values and errors", "值与误差")
            )
        pairs.append((read_values(said[0], call[1], "sample_values"), read_values(said[1], call[1], "sample_values")))
    return pairs


def read_values(said: Any, n: int, function: str) -> NDArray[np.float64]:
    try:
        values = np.asarray(said, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (n,) or not all(math.isfinite(value) for value in values):
        raise Mistake("no_values", function=function, said=str(said)[:40], wanted=n)
    return values
