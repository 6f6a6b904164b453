"""Checks of the lab "Why it said so"."""

from __future__ import annotations

import math

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NUM, TOLERANCE = 60, 1e-3
COLUMNS = 8


def make(data: DataFolder) -> object:
    rng = data.rng
    explanations = explain_tumours(rng, NUM)
    broken = sorted(rng.choice(np.arange(1, NUM), int(rng.integers(4, 9)), replace=False).tolist())
    for place in broken:  # the largest value is made small: what decided is hidden
        values = explanations[place]["values"]
        name = max(values, key=lambda column: abs(values[column]))
        values[name] = round(values[name] * 0.1, 4)
    data.write_json("explanations.json", explanations)
    whole = [each for place, each in enumerate(explanations) if place not in broken]
    sizes = {name: float(np.mean([abs(e["values"][name]) for e in whole])) for name in whole[0]["values"]}
    signed = {name: float(np.mean([e["values"][name] for e in whole])) for name in whole[0]["values"]}
    without = [e["id"] for e in explanations if abs(off_by(e) + e["residual"]) > TOLERANCE]
    return {
        "broken": [explanations[place]["id"] for place in broken], "without_residual": without,
        "top_column": max(sizes, key=lambda name: sizes[name]),
        "top_signed": max(signed, key=lambda name: signed[name]),
        "chance": logistic(explanations[0]["output"]), "output": explanations[0]["output"],
    }  # fmt: skip


def explain_tumours(rng: np.random.Generator, num: int) -> list[JsonObject]:
    """Explanations of a logistic regression with weights near those of the real table, each a sum."""
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    columns = rng.choice(30, COLUMNS, replace=False)
    rows = rng.choice(len(source.target), num, replace=False)
    scaled = (source.data[:, columns] - source.data[:, columns].mean(0)) / source.data[:, columns].std(0)
    weights = 1.6 * scaled.T @ (0.63 - source.target) / len(scaled) + rng.normal(0, 0.5, COLUMNS)
    names = [str(source.feature_names[column]).replace(" ", "_") for column in columns]
    base = round(float(rng.uniform(-1, 0)), 4)
    explanations = []
    for number, row in enumerate(rows):
        values = {name: round(float(w * x), 4) for name, w, x in zip(names, weights, scaled[row], strict=True)}
        residual = round(float(rng.normal(0, 0.02)), 4)
        output = round(base + sum(values.values()) + residual + float(rng.uniform(-3e-4, 3e-4)), 4)
        explanation: JsonObject = {"id": f"t{number}", "base_value": base, "values": values}
        explanations.append(explanation | {"residual": residual, "output": output})
    return explanations


def off_by(explanation: JsonObject) -> float:
    """How far an explanation is from adding up."""
    total = explanation["base_value"] + sum(explanation["values"].values()) + explanation["residual"]
    return float(explanation["output"] - total)


def logistic(output: float) -> float:
    if output >= 0:
        return 1 / (1 + math.exp(-output))
    return math.exp(output) / (1 + math.exp(output))


def check_broken(work: Work) -> None:
    said = work.value("answers.json", "broken")
    if not isinstance(said, list):
        raise Mistake("wrong_broken", what=Text("broken is no list of ids", "broken 不是 id 列表"))
    names, right = set(map(str, said)), set(work.truth["broken"])
    if names == right:
        return
    num_wrong, num_missing = len(names - right), len(right - names)
    what = Text(
        f"{num_wrong} of those you name add up, and {num_missing} that do not are not named",
        f"你列出的有 {num_wrong} 条其实成立，另有 {num_missing} 条不成立的未列出",
    )
    if names == set(work.truth["without_residual"]):
        what = Text("the residual is a part of the sum, too", "residual 也是和的一部分")
    raise Mistake("wrong_broken", what=what)


def check_column(work: Work) -> None:
    said = str(work.value("answers.json", "top_column"))
    if said != work.truth["top_column"]:
        why = Text("take the mean size over those that add up", "对成立的解释取平均大小")
        if said == work.truth["top_signed"]:
            why = Text("what raises and what lowers cancel out in a mean: take sizes", "正负会相互抵消：请取绝对值")
        raise Mistake("wrong_answer", key="top_column", said=said[:40], why=why)
    chance = work.number("answers.json", "chance_of_first")
    if abs(chance - work.truth["chance"]) > 2e-3:
        why = Text("the output is log-odds, and a chance is asked for", "output 是对数几率，要求的是概率")
        raise Mistake("wrong_answer", key="chance_of_first", said=f"{chance:g}", why=why)


def check_adds_up(work: Work) -> None:
    explanations = explain_tumours(work.rng("adds up"), 12)
    for place, explanation in enumerate(explanations):
        explanation["residual"] = 0.3
        explanation["output"] = round(off_by(explanation | {"output": 0.0}) * -1 + (0.02, -0.02, 0.0)[place % 3], 6)
    cases = [(each, tolerance) for each in explanations for tolerance in (0.01, 0.05)]
    for (each, tolerance), said in zip(cases, work.call("reasons.py", "adds_up", *map(list, cases)), strict=True):
        off = off_by(each)
        if bool(said) != (abs(off) <= tolerance):
            why = Text("compare the size of the difference", "请比较差的绝对值")
            if bool(said) == (abs(off + 0.3) <= tolerance):
                why = Text("the residual is a part of the sum", "residual 是和的一部分")
            raise Mistake("wrong_verdict", said=said, off=f"{off:.3f}", tolerance=tolerance, why=why)


def check_chance(work: Work) -> None:
    outputs = [0.0, 2.0, -2.0, 30.0, -30.0, 1000.0, -1000.0, float(work.rng("chance").normal(0, 3))]
    for output, said in zip(outputs, work.call("reasons.py", "chance", *([o] for o in outputs)), strict=True):
        wanted = logistic(output)
        if isinstance(said, bool) or not isinstance(said, int | float) or abs(said - wanted) > 1e-6 * wanted + 1e-12:
            raise Mistake("wrong_chance", output=f"{output:g}", said=str(said)[:40], wanted=f"{wanted:.6g}")


def check_order(work: Work) -> None:
    explanations = explain_tumours(work.rng("order"), 10)
    explanations.append(explanations[0] | {"values": {"b": -1.0, "c": 0.2, "a": 1.0}})
    for each, said in zip(explanations, work.call("reasons.py", "top", *([e, 3] for e in explanations)), strict=True):
        wanted = sorted(each["values"], key=lambda name: (-abs(each["values"][name]), name))[:3]
        if said == wanted:
            continue
        if each is explanations[-1]:
            raise Mistake("wrong_ties", said=str(said)[:60], wanted=", ".join(wanted))
        first = next((name for name, right in zip(said or [], wanted, strict=False) if name != right), str(said)[:40])
        right = wanted[list(said).index(first)] if isinstance(said, list) and first in said else wanted[0]
        raise Mistake("wrong_order", said=str(first)[:40], wanted=right)


def check_sentence(work: Work) -> None:
    explanations = explain_tumours(work.rng("sentence"), 10)
    for each, said in zip(explanations, work.call("reasons.py", "sentence", *([e] for e in explanations)), strict=True):
        column = max(each["values"], key=lambda name: abs(each["values"][name]))
        value = each["values"][column]
        right, other = ("raises", "lowers") if value > 0 else ("lowers", "raises")
        if column not in str(said) or right not in str(said) or other in str(said):
            moves = Text(right, "提高" if value > 0 else "降低")
            raise Mistake("wrong_sentence", said=str(said)[:80], column=column, value=f"{value:+.2f}", moves=moves)
