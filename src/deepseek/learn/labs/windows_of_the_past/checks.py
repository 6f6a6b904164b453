"""Checks of the lab "Windows that look only back"."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

HOUR_S, DAY_S = 3_600, 86_400
KEYS = ("count_1h", "sum_24h", "since_last_s")
NUM_LARGE = 60_000


def make(data: DataFolder) -> object:
    rng = data.rng
    events = payments(rng, 1_500, 40)
    names = ("event", "card", "time", "amount")
    data.write_csv("payments.csv", {name: [event[name] for event in events] for name in names})
    places = sorted(rng.choice(len(events), 25, replace=False).tolist())
    data.write_json("asked.json", [events[place]["event"] for place in places])
    truth = features(events)
    return {events[place]["event"]: truth[place] for place in places}


def payments(rng: np.random.Generator, num: int, num_cards: int) -> list[JsonObject]:
    """Payments in bursts, some at the same second, in no order."""
    cards = rng.integers(0, num_cards, num)
    starts = rng.integers(0, 5 * DAY_S, (num_cards, 12))
    times = starts[cards, rng.integers(0, 12, num)] + rng.exponential(2_500, num).astype(int)
    times[: num // 10] = times[num // 10 : 2 * (num // 10)]
    cards[: num // 10] = cards[num // 10 : 2 * (num // 10)]
    amounts = np.round(rng.lognormal(3, 1, num), 2)
    order = rng.permutation(num)
    return [
        {"event": f"e{number}", "card": f"c{cards[row]}", "time": int(times[row]), "amount": float(amounts[row])}
        for number, row in enumerate(order)
    ]


def features(events: list[JsonObject]) -> list[JsonObject]:
    """The three features of each event, by the times of its card in order and sums up to each."""
    by_card: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        by_card.setdefault(event["card"], []).append((event["time"], event["amount"]))
    sorted_times: dict[str, list[int]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for card, pairs in by_card.items():
        pairs.sort()
        sorted_times[card] = [time for time, _ in pairs]
        sums[card] = np.concatenate([[0.0], np.cumsum([amount for _, amount in pairs])])
    rows: list[JsonObject] = []
    for event in events:
        times, total, now = sorted_times[event["card"]], sums[event["card"]], event["time"]
        end = bisect_left(times, now)
        count = end - bisect_left(times, now - HOUR_S)
        day = float(total[end] - total[bisect_left(times, now - DAY_S)])
        rows.append({"count_1h": count, "sum_24h": day, "since_last_s": now - times[end - 1] if end else None})
    return rows


def check_own(work: Work) -> None:
    said = work.read_json("answers.json")
    events = [
        {"event": row["event"], "card": row["card"], "time": int(row["time"]), "amount": float(row["amount"])}
        for row in work.read_csv("payments.csv")
    ]
    by_name = {event["event"]: event for event in events}
    for name, right in work.truth.items():
        if not isinstance(said.get(name), dict):
            raise Mistake("missing_event", event=name)
        compare(by_name[name], said[name], right)


def check_past(work: Work) -> None:
    events = payments(work.rng("past"), 300, 8)
    unique = list({(event["card"], event["time"]): event for event in events}.values())  # no ties here
    for event, row, right in zip(unique, rows_of(work, unique), features(unique), strict=True):
        compare(event, row, right)


def check_borders(work: Work) -> None:
    times = (0, 3_600, 7_201, 86_400, 86_401, 172_801)
    events = [{"event": f"e{t}", "card": "a", "time": t, "amount": 1.0 + t % 7} for t in times]
    for event, row, right in zip(events, rows_of(work, events), features(events), strict=True):
        compare(event, row, right)


def check_ties(work: Work) -> None:
    times = (10, 10, 500, 500, 500, 900)
    events = [
        {"event": f"e{place}", "card": "a", "time": time, "amount": float(place + 1)}
        for place, time in enumerate(times)
    ]
    for event, row, right in zip(events, rows_of(work, events), features(events), strict=True):
        compare(event, row, right, Text("events of the same second are not its past", "同一秒的事件不算过去"))


def check_order(work: Work) -> None:
    rng = work.rng("order")
    events = payments(rng, 200, 5)
    order = rng.permutation(len(events)).tolist()
    first, second = rows_of(work, events), rows_of(work, [events[place] for place in order])
    for position, place in enumerate(order):
        if any(not is_near(first[place].get(key), second[position].get(key)) for key in KEYS):
            raise Mistake("by_order", event=events[place]["event"])
    for event, row, right in zip(events, first, features(events), strict=True):
        compare(event, row, right)


def check_fast(work: Work) -> None:
    events = payments(work.rng("fast"), NUM_LARGE, 12)
    try:
        rows = rows_of(work, events, seconds=10)
    except Mistake as error:
        if error.code != "solution_endless":
            raise
        raise Mistake("too_slow", num=NUM_LARGE, seconds=error.values["seconds"]) from error
    for event, row, right in list(zip(events, rows, features(events), strict=True))[::600]:
        compare(event, row, right)


def compare(event: JsonObject, row: JsonObject, right: JsonObject, why: Text | None = None) -> None:
    for key in KEYS:
        said = row.get(key)
        if is_near(said, right[key]):
            continue
        if why is None:
            why = Text("look at the events of its card before it", "请看同一张卡在它之前的事件")
            if key == "sum_24h" and is_near(said, right[key] + event["amount"]):
                why = Text("the event itself is in it", "其中包含了事件自身")
            elif key == "count_1h" and said == right[key] + 1:
                why = Text("one too many: the event itself, one of the same second, or one beyond the hour",
                           "多了一个：事件自身、同一秒的事件，或超出一小时的事件")  # fmt: skip
        raise Mistake("wrong_feature", key=key, event=event["event"], said=str(said)[:30], why=why)


def rows_of(work: Work, events: list[JsonObject], seconds: float | None = None) -> list[JsonObject]:
    (rows,) = work.call("windows.py", "windows", [events], seconds=seconds)
    if not isinstance(rows, list) or len(rows) != len(events) or not all(isinstance(row, dict) for row in rows):
        raise Mistake("wrong_number", said=len(rows) if isinstance(rows, list) else str(rows)[:30], wanted=len(events))
    return rows


def is_near(said: object, right: object) -> bool:
    if right is None or said is None:
        return said is right
    if isinstance(said, bool) or not isinstance(said, int | float) or not isinstance(right, int | float):
        return False
    return math.isfinite(said) and abs(said - right) <= 1e-6 * abs(right) + 0.005
