"""Checks of the lab "The same in a stream"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, PROBE = "card_features.py", Path(__file__).with_name("probe.py")
KEYS = ("count", "sum_cents", "num_shops", "gap")
NUM_WANTED, MAX_STATE = 5, 20_000


def make(data: DataFolder) -> object:
    """Payments of a few cards, some of one second, some exactly a window apart."""
    window, lateness = int(data.rng.integers(200, 900)), int(data.rng.integers(40, 120))
    payments = make_payments(data.rng, 400, window)
    data.write_json("definition.json", {"window": window, "lateness": lateness})
    data.write_csv("payments.csv", {key: [each[key] for each in payments] for key in payments[0]})
    rows = features_of(payments, window)
    wanted = sorted(rows, key=lambda row: -int(row["count"]))[: 12 * NUM_WANTED : 12]
    data.write_json("wanted.json", [row["id"] for row in wanted])
    return {"wanted": wanted, "closed": {row["id"]: row for row in features_of(payments, window + 1)}}


def make_payments(
    rng: np.random.Generator, num: int, window: int, *, num_cards: int = 8, span: int = 20
) -> list[JsonObject]:
    times = np.sort(rng.integers(0, span * window, num))
    for place in rng.choice(np.arange(4, num), num // 8, replace=False):  # one second, and a whole window apart
        times[place] = times[place - 1] if rng.random() < 0.5 else times[place - 3] + window
    ids, cards = rng.permutation(num) + 1, rng.integers(1, num_cards + 1, num)
    amounts, shops = rng.integers(1, 9_999, num) / 100, rng.integers(1, 9, num)
    columns = (ids.tolist(), cards.tolist(), times.tolist(), amounts.tolist(), shops.tolist())
    rows = [dict(zip(("id", "card", "time", "amount", "shop"), row, strict=True)) for row in zip(*columns, strict=True)]
    return sorted(rows, key=lambda row: (row["time"], row["id"]))


def features_of(payments: Sequence[JsonObject], window: int) -> list[JsonObject]:
    """By the definition, payment by payment."""
    rows, by_card = [], dict[int, list[JsonObject]]()
    for each in sorted(payments, key=lambda payment: (payment["time"], payment["id"])):
        past = by_card.setdefault(each["card"], [])
        past.append(each)
        inside = [other for other in past if other["time"] > each["time"] - window]
        rows.append({
            "id": each["id"], "count": len(inside), "sum_cents": sum(round(other["amount"] * 100) for other in inside),
            "num_shops": len({other["shop"] for other in inside}),
            "gap": each["time"] - inside[-2]["time"] if len(inside) > 1 else None,
        })  # fmt: skip
    return rows


def check_own(work: Work) -> None:
    said = work.read_json("answers.json")
    for row in work.truth["wanted"]:
        name = str(row["id"])
        if not isinstance(said.get(name), dict):
            raise Mistake("no_key", name="answers.json", key=name)
        compare_row({"id": row["id"], **said[name]}, row, work.truth["closed"].get(name))


def check_offline(work: Work) -> None:
    payments, window, _ = fresh(work, "offline")
    order = work.rng("order").permutation(len(payments))
    (rows,) = work.call(FILE, "offline", [[payments[place] for place in order], window])
    compare(rows, payments, window)


def check_stream(work: Work) -> None:
    payments, window, lateness = fresh(work, "stream")
    answer = run(work, payments, window, lateness)
    compare(answer["rows"], payments, window)
    if not answer["num_early"]:
        raise Mistake("holds_back")


def check_late(work: Work) -> None:
    payments, window, lateness = fresh(work, "late")
    late = arrivals(work.rng("arrivals"), payments, lateness)
    compare(run(work, late, window, lateness)["rows"], payments, window)


def check_left_out(work: Work) -> None:
    """Some payments come twice, and some long after their time."""
    payments, window, lateness = fresh(work, "left_out")
    rng = work.rng("left out")
    late = arrivals(rng, payments, lateness)
    straggler = rng.choice(np.arange(20, 200), 9, replace=False).tolist()
    too_late = [late[place] for place in straggler]
    rest = [each for place, each in enumerate(late) if place not in straggler]
    sent = []
    for place, each in enumerate(rest):
        sent += [each, each] if place % 7 == 0 else [each]
        if place % 30 == 0 and place > 350 and too_late:
            sent.append(too_late.pop())
    answer = run(work, sent + too_late, window, lateness)
    compare(answer["rows"], rest, window)


def check_restart(work: Work) -> None:
    payments, window, lateness = fresh(work, "restart")
    late = arrivals(work.rng("arrivals"), payments, lateness)
    compare(run(work, late, window, lateness, [50, 51, 200, 390])["rows"], payments, window)


def check_memory(work: Work) -> None:
    """Many payments, each card for a short while only."""
    rng, window = work.rng("memory"), 50
    payments = make_payments(rng, 6_000, window, num_cards=3_000, span=400)
    answer = run(work, payments, window, 20)
    compare(answer["rows"], payments, window)
    if answer["largest"] > MAX_STATE:
        raise Mistake("grows", num=len(payments), size=answer["largest"], limit=MAX_STATE)


def fresh(work: Work, name: str) -> tuple[list[JsonObject], int, int]:
    rng = work.rng(name)
    window, lateness = int(rng.integers(200, 900)), int(rng.integers(40, 120))
    return make_payments(rng, 450, window), window, lateness


def arrivals(rng: np.random.Generator, payments: list[JsonObject], lateness: int) -> list[JsonObject]:
    """The payments as they arrive: each up to `lateness` seconds after its time."""
    delays = rng.integers(0, lateness + 1, len(payments))
    order = np.argsort([each["time"] + delay for each, delay in zip(payments, delays, strict=True)], kind="stable")
    return [payments[place] for place in order]


def run(work: Work, payments: list[JsonObject], window: int, lateness: int, restarts: Sequence[int] = ()) -> Any:
    (answer,) = work.probe(PROBE, FILE, "run", [payments, window, lateness, list(restarts)])
    return answer


def compare(rows: object, payments: list[JsonObject], window: int) -> None:
    """Rows as they came out with those of the definition."""
    wanted, closed = features_of(payments, window), features_of(payments, window + 1)
    said = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if len(said) != len(wanted):
        ids = [row.get("id") for row in said]
        why = Text("some are missing", "有缺失")
        if len(set(map(str, ids))) < len(ids):
            why = Text("some payments come out twice", "有付款输出了两次")
        elif len(said) > len(wanted):
            why = Text("some came too late, and are not to count", "有些来得太迟，不应计入")
        raise Mistake("wrong_rows", num=len(said), wanted=len(wanted), why=why)
    for place, (row, right, other) in enumerate(zip(said, wanted, closed, strict=True)):
        if row.get("id") != right["id"]:
            raise Mistake("wrong_order", row=place + 1, said=str(row.get("id"))[:20])
        compare_row(row, right, other)


def compare_row(row: JsonObject, right: JsonObject, closed: JsonObject | None) -> None:
    for key in KEYS:
        value = row.get(key)
        if value == right[key] and isinstance(value, bool) is False and (value is None) == (right[key] is None):
            continue
        why = Text("see the table of the task", "见任务中的表")
        if closed is not None and value == closed[key]:
            why = Text("the payment exactly a window before does not count", "恰好早一个窗口的付款不计入")
        elif key == "sum_cents" and isinstance(value, float):
            why = Text("it is not a whole number of cents", "它不是整数分")
        raise Mistake("wrong_feature", key=key, id=right["id"], said=str(value)[:30], why=why)
