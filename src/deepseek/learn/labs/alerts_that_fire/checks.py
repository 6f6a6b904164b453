"""Checks of the lab "Alerts that fire"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

BUDGET, DAY_MIN = 0.001, 1_440
PAIRS = ((60, 5, 14.4), (360, 30, 6.0))
Counts = NDArray[np.int64]


def make(data: DataFolder) -> object:
    """Three days with an outage, a slow burn and hiccups; drawn again where a window lies at its limit."""
    while True:
        total = traffic(data.rng, 3 * DAY_MIN)
        shares = np.full(len(total), 2e-4)
        begin = int(data.rng.integers(500, 1_200))
        shares[begin : begin + int(data.rng.integers(20, 50))] = data.rng.uniform(0.08, 0.3)
        slow = int(data.rng.integers(2_000, 3_200))
        shares[slow : slow + int(data.rng.integers(300, 600))] = data.rng.uniform(0.008, 0.013)
        shares[data.rng.integers(0, len(total), 6)] = 0.1
        bad = data.rng.binomial(total, shares)
        fires = fires_right(total, bad)
        if fires.any() and is_clear(total, bad):
            break
    data.write_csv("requests.csv", {"minute": list(range(len(total))), "total": total, "bad": bad})
    fast = [minute for minute in range(len(total)) if both_over(total, bad, PAIRS[0])[minute]]
    return {"budget_spent": float(bad.sum() / (BUDGET * total.sum())), "first_minute": int(np.argmax(fires)),
            "num_firing": int(fires.sum()), "num_fast": len(fast)}  # fmt: skip


def traffic(rng: np.random.Generator, num: int) -> Counts:
    """Requests by minute: few at night, many at noon."""
    minutes = np.arange(num)
    return rng.poisson(400 + 350 * np.sin(2 * math.pi * (minutes / DAY_MIN - 0.25))).astype(np.int64)


def rates_right(total: Counts, bad: Counts, window: int, budget: float = BUDGET) -> NDArray[np.float64]:
    sums = []
    for counts in (bad, total):
        added = np.concatenate([[0], np.cumsum(counts)])
        ends = np.arange(1, len(counts) + 1)
        sums.append((added[ends] - added[np.maximum(ends - window, 0)]).astype(float))
    return np.asarray(np.divide(sums[0], sums[1], out=np.zeros(len(bad)), where=sums[1] > 0) / budget)


def both_over(total: Counts, bad: Counts, pair: tuple[int, int, float]) -> NDArray[np.bool_]:
    long, short, limit = pair
    return np.asarray((rates_right(total, bad, long) >= limit) & (rates_right(total, bad, short) >= limit))


def fires_right(total: Counts, bad: Counts) -> NDArray[np.bool_]:
    return np.asarray(both_over(total, bad, PAIRS[0]) | both_over(total, bad, PAIRS[1]))


def is_clear(total: Counts, bad: Counts) -> bool:
    """Whether no window lies so near to its limit that rounding could move it."""
    near = [
        np.abs(rates_right(total, bad, window) - limit).min() < 1e-6
        for long, short, limit in PAIRS
        for window in (long, short)
    ]
    return not any(near)


def check_own(work: Work) -> None:
    truth = work.truth
    said = work.number("answers.json", "budget_spent")
    if abs(said - truth["budget_spent"]) > 0.002 * truth["budget_spent"]:
        why = Text("bad requests, by what 0.1 % of all requests would be", "坏请求数除以全部请求的 0.1 %")
        if abs(said / 100 - truth["budget_spent"]) < 0.01 * truth["budget_spent"]:
            why = Text("a share is asked for, not percent", "要求的是比值，不是百分数")
        raise Mistake("wrong_own", key="budget_spent", said=f"{said:g}", why=why)
    for key in ("first_minute", "num_firing"):
        said = work.number("answers.json", key)
        if said != truth[key]:
            why = Text("run firing() over the whole file", "请对整个文件运行 firing()")
            if key == "num_firing" and said == truth["num_fast"]:
                why = Text("that is the fast pair alone", "这只是快窗口对的结果")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_rates(work: Work) -> None:
    rng = work.rng("rates")
    total = np.where(rng.random(400) < 0.5, 3, 900)
    bad = rng.binomial(total, 0.02)
    for window in (5, 60):
        (said,) = work.call("alerts.py", "burn_rates", [total.tolist(), bad.tolist(), window, 0.002])
        rates = numbers_of(said, "burn_rates", len(total))
        right = rates_right(total, bad, window, 0.002)
        for minute in range(len(total)):
            if not abs(rates[minute] - right[minute]) < 1e-6:
                why = Text("sum of bad by sum of all, by the budget", "坏请求之和除以全部之和，再除以预算")
                shares = (bad / total)[max(0, minute - window + 1) : minute + 1]
                if abs(rates[minute] - shares.mean() / 0.002) < 1e-6:
                    why = Text("that is the mean of the minutes' shares: quiet minutes count too much",
                               "那是各分钟占比的均值：清闲的分钟占了过大的权重")  # fmt: skip
                raise Mistake("wrong_rate", minute=minute, window=window, said=f"{rates[minute]:g}",
                              wanted=f"{right[minute]:g}", why=why)  # fmt: skip


def check_outage(work: Work) -> None:
    total, bad, begin, end = outage_of(work, "outage", 0.09, 50)
    said, right = firing_of(work, total, bad), fires_right(total, bad)
    first = [int(np.argmax(fires)) if fires.any() else -1 for fires in (said, right)]
    if first[0] != first[1]:
        raise Mistake("late", begin=begin, said=first[0] if first[0] >= 0 else "-", wanted=first[1])
    hold_all(said[:end], right[:end])


def check_hiccup(work: Work) -> None:
    rng = work.rng("hiccup")
    total = traffic(rng, 600) + 300
    bad = np.zeros(600, np.int64)
    minute = int(rng.integers(400, 500))
    bad[minute] = total[minute] // 5
    rates = rates_right(total, bad, 60)
    said = firing_of(work, total, bad)
    if said.any():
        first = int(np.argmax(said))
        raise Mistake("woken", minute=first, rate=f"{rates[first]:.1f}")


def check_ends(work: Work) -> None:
    total, bad, _, end = outage_of(work, "ends", 0.05, 24)
    said, right = firing_of(work, total, bad), fires_right(total, bad)
    late = np.flatnonzero(said & ~right)
    if len(late) and late[-1] >= end + 5:
        raise Mistake("goes_on", num=int(late[-1]) - end)
    hold_all(said, right)


def check_slow(work: Work) -> None:
    rng = work.rng("slow")
    total = traffic(rng, 1_200) + 500
    shares = np.zeros(1_200)
    shares[500:900] = 0.009
    bad = np.round(total * shares).astype(np.int64)
    said, right = firing_of(work, total, bad), fires_right(total, bad)
    if not said.any():
        raise Mistake("slow_missed", rate="9", hours="6.7")
    hold_all(said, right)


def check_night(work: Work) -> None:
    rng = work.rng("night")
    total, bad = traffic(rng, 900), np.zeros(900, np.int64)
    total[200:700] = 0
    said = firing_of(work, total, bad)
    hold_all(said, fires_right(total, bad))
    (rates,) = work.call("alerts.py", "burn_rates", [total.tolist(), bad.tolist(), 60, BUDGET])
    for minute, rate in enumerate(numbers_of(rates, "burn_rates", len(total))):
        if rate != 0:
            why = Text("there is no bad request at all", "根本没有坏请求")
            raise Mistake("wrong_rate", minute=minute, window=60, said=f"{rate:g}", wanted="0", why=why)


def outage_of(work: Work, name: str, share: float, num: int) -> tuple[Counts, Counts, int, int]:
    """Requests with an outage of some `num` minutes, its first minute and the one after its last."""
    rng = work.rng(name)
    while True:
        total = traffic(rng, 700) + 100
        begin = int(rng.integers(400, 500))
        end = begin + num + int(rng.integers(0, 5))
        shares = np.zeros(700)
        shares[begin:end] = share
        bad = rng.binomial(total, shares)
        if is_clear(total, bad):
            return total, bad, begin, end


def firing_of(work: Work, total: Counts, bad: Counts) -> NDArray[np.bool_]:
    (said,) = work.call("alerts.py", "firing", [total.tolist(), bad.tolist(), BUDGET])
    return np.array(numbers_of(said, "firing", len(total))) > 0


def hold_all(said: NDArray[np.bool_], right: NDArray[np.bool_]) -> None:
    if wrong := np.flatnonzero(said != right).tolist():
        raise Mistake("differs", minute=wrong[0], said=bool(said[wrong[0]]), wanted=bool(right[wrong[0]]))


def numbers_of(said: Any, function: str, num: int) -> list[float]:
    """A list with a finite number for each minute."""
    values = said.tolist() if isinstance(said, np.ndarray) else said
    if not isinstance(values, list) or len(values) != num:
        raise Mistake("wrong_length", function=function, said=str(values)[:30], wanted=num)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise Mistake("wrong_length", function=function, said="NaN", wanted=num)
    return [float(value) for value in values]
