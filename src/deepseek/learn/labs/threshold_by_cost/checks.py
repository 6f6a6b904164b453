"""Checks of the lab "What a mistake costs"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NEAR = 1e-6
ABOVE_ALL = 2.0
LOOKALIKES = ((1, 8), (3, 9), (8, 9), (4, 7))


@dataclass(frozen=True)
class Costs:
    """Rows and what mistakes cost on them."""

    scores: Any  # (N,)
    faulty: Any  # (N,) 0 or 1
    missed: float
    alarm: float
    share: float | None = None  # of faulty rows in practice

    def at(self, threshold: float) -> float:
        """What a threshold costs in all."""
        called, own = self.scores >= threshold, float(self.faulty.mean())
        bad = 1.0 if self.share is None else self.share / own
        good = 1.0 if self.share is None else (1 - self.share) / (1 - own)
        missed, alarms = (~called & (self.faulty == 1)).sum(), self.alarms(threshold)
        return float(bad * self.missed * missed + good * self.alarm * alarms)

    def alarms(self, threshold: float) -> int:
        return int(((self.scores >= threshold) & (self.faulty == 0)).sum())

    def cheapest(self, max_alarms: int | None = None) -> float:
        """The least cost of any threshold within the limit."""
        tried = [float(score) for score in (*np.unique(self.scores), ABOVE_ALL)]
        return min(self.at(t) for t in tried if max_alarms is None or self.alarms(t) <= max_alarms)


def make(data: DataFolder) -> object:
    rng = data.rng
    rows = part_rows(rng, 400, LOOKALIKES[int(rng.integers(len(LOOKALIKES)))])
    missed, alarm = int(rng.integers(300, 900)), int(rng.integers(8, 25))
    data.write_csv("scores.csv", {"score": rows[0], "faulty": rows[1]})
    data.write_json("costs.json", {"missed": missed, "alarm": alarm})
    return {"scores": rows[0].tolist(), "faulty": rows[1].tolist(), "missed": missed, "alarm": alarm}


def part_rows(rng: np.random.Generator, num: int, pair: tuple[int, int]) -> tuple[Any, Any]:
    """Scores and faults: two digits that look alike, seen through noise."""
    from sklearn.datasets import load_digits

    source = load_digits()
    pictures = [source.data[source.target == digit] for digit in pair]
    faulty = (rng.random(num) < 0.12).astype(int)
    seen = np.array([pictures[kind][rng.integers(len(pictures[kind]))] for kind in faulty])
    seen = seen + rng.normal(0, 7.0, seen.shape)
    far = [((seen - each.mean(0)) ** 2).sum(1) for each in pictures]
    return np.round(1 / (1 + np.exp((far[1] - far[0]) / 400 + 0.8)), 3), faulty


def check_own(work: Work) -> None:
    truth = work.truth
    costs = Costs(np.array(truth["scores"]), np.array(truth["faulty"]), truth["missed"], truth["alarm"])
    best = costs.cheapest()
    half = work.number("answers.json", "cost_at_half")
    if abs(half - costs.at(0.5)) > NEAR:
        why = Text("at 0.5, sum up the costs of missed parts and of false alarms", "在 0.5 处把漏报与误报的成本相加")
        raise Mistake("wrong_cost", key="cost_at_half", said=f"{half:g}", why=why)
    threshold, cost = work.number("answers.json", "threshold"), work.number("answers.json", "cost")
    if costs.at(threshold) > best + NEAR:
        swapped = Costs(costs.scores, costs.faulty, costs.alarm, costs.missed)
        why = Text("there is a cheaper one", "还有更便宜的")
        if swapped.at(threshold) <= swapped.cheapest() + NEAR:
            why = Text("it is the cheapest when both costs are exchanged", "把两种成本对调时它才最便宜")
        raise Mistake("wrong_cost", key="threshold", said=f"{threshold:g}", why=why)
    if abs(cost - best) > NEAR:
        raise Mistake(
            "wrong_cost",
            key="cost",
            said=f"{cost:g}",
            why=Text("the threshold is right, and costs something else", "阈值正确，但成本不是这个数"),
        )


def check_chooses(work: Work) -> None:
    rng = work.rng("chooses")
    cases = [Costs(*part_rows(rng, 250, (3, 9)), missed, alarm) for missed, alarm in ((100, 5), (7, 3), (40, 40))]
    for costs, said in zip(cases, chosen(work, *(_call(costs) for costs in cases)), strict=True):
        compare(costs, said, None, Text("every score that occurs is a threshold to try", "出现过的每个分数都值得一试"))


def check_nobody(work: Work) -> None:
    costs = Costs(*part_rows(work.rng("nobody"), 250, (1, 8)), 1, 10_000)
    (said,) = chosen(work, _call(costs))
    num = int((costs.scores >= said).sum())
    if costs.alarms(said):
        raise Mistake("calls", said=f"{said:g}", num=num)


def check_limit(work: Work) -> None:
    rng = work.rng("limit")
    cases = [(Costs(*part_rows(rng, 250, (8, 9)), 500, 1), limit) for limit in (0, 4, 15)]
    calls = [[*_call(costs), limit] for costs, limit in cases]
    for (costs, limit), said in zip(cases, chosen(work, *calls), strict=True):
        if costs.alarms(said) > limit:
            raise Mistake("over_limit", said=f"{said:g}", num=costs.alarms(said), limit=limit)
        compare(costs, said, limit, Text("within the limit", "在限制之内"))


def check_rarer(work: Work) -> None:
    rng = work.rng("rarer")
    cases = [Costs(*part_rows(rng, 250, (4, 7)), 60, 5, share) for share in (0.002, 0.03)]
    for costs, said in zip(cases, chosen(work, *([*_call(each), None, each.share] for each in cases)), strict=True):
        compare(
            costs,
            said,
            None,
            Text(f"where {costs.share:g} of the parts are faulty", f"当 {costs.share:g} 的零件有缺陷时"),
        )


def compare(costs: Costs, said: float, limit: int | None, why: Text) -> None:
    best = costs.cheapest(limit)
    if costs.at(said) > best + NEAR:
        raise Mistake("dear", said=f"{said:g}", cost=f"{costs.at(said):g}", best=f"{best:g}", why=why)


def chosen(work: Work, *calls: list[object]) -> list[float]:
    values = work.call("threshold.py", "choose", *calls)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise Mistake("no_threshold", said=str(value)[:60])
    return [float(value) for value in values]


def _call(costs: Costs) -> list[object]:
    return [costs.scores.tolist(), costs.faulty.tolist(), costs.missed, costs.alarm]
