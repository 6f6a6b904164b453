"""Solutions of the lab same_in_a_stream."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "closed_window": "wrong_feature", "no_watermark": "wrong_order", "keeps_all": "grows", "counts_twice": "wrong_rows",
    "waits_for_the_end": "holds_back",
}  # fmt: skip

FEATURES = """
import heapq


class Cards:
    def __init__(self, window):
        self.window, self.past = window, {}

    def features(self, payment):
        time = payment["time"]
        past = self.past.setdefault(payment["card"], [])
        past.append([time, round(payment["amount"] * 100), payment["shop"]])
        past[:] = [each for each in past if each[0] > time - self.window]
        return {
            "id": payment["id"], "count": len(past), "sum_cents": sum(each[1] for each in past),
            "num_shops": len({each[2] for each in past}),
            "gap": time - past[-2][0] if len(past) > 1 else None,
        }

    def forget(self, before):
        for card in [card for card, past in self.past.items() if past[-1][0] <= before]:
            del self.past[card]


def offline(payments, window):
    cards = Cards(window)
    return [cards.features(each) for each in sorted(payments, key=lambda p: (p["time"], p["id"]))]


class Stream:
    def __init__(self, window, lateness):
        self.window, self.lateness = window, lateness
        self.latest, self.waiting, self.ids, self.cards = None, [], set(), Cards(window)

    def add(self, payment):
        watermark = None if self.latest is None else self.latest - self.lateness
        if payment["id"] in self.ids or (watermark is not None and payment["time"] < watermark):
            return []
        self.ids.add(payment["id"])
        heapq.heappush(self.waiting, (payment["time"], payment["id"], payment))
        self.latest = max(payment["time"], payment["time"] if self.latest is None else self.latest)
        rows = self.give_out(self.latest - self.lateness)
        self.cards.forget(self.latest - self.lateness - self.window)
        return rows

    def give_out(self, before):
        rows = []
        while self.waiting and (before is None or self.waiting[0][0] < before):
            payment = heapq.heappop(self.waiting)[2]
            self.ids.discard(payment["id"])
            rows.append(self.cards.features(payment))
        return rows

    def finish(self):
        return self.give_out(None)

    def state(self):
        return {
            "window": self.window, "lateness": self.lateness, "latest": self.latest,
            "waiting": [each[2] for each in self.waiting], "past": list(self.cards.past.items()),
        }

    @classmethod
    def restore(cls, state):
        stream = cls(state["window"], state["lateness"])
        stream.latest = state["latest"]
        stream.waiting = sorted((each["time"], each["id"], each) for each in state["waiting"])
        stream.ids = {each["id"] for each in state["waiting"]}
        stream.cards.past = dict(map(tuple, state["past"]))
        return stream
"""


def reference(folder: Path) -> None:
    (folder / "card_features.py").write_text(FEATURES)
    kinds = {"id": int, "card": int, "time": int, "amount": float, "shop": int}
    with (folder / "payments.csv").open() as file:
        payments = [{key: kinds[key](value) for key, value in row.items()} for row in csv.DictReader(file)]
    window = json.loads((folder / "definition.json").read_text())["window"]
    rows = runpy.run_path(str(folder / "card_features.py"))["offline"](payments, window)
    by_id = {row.pop("id"): row for row in rows}
    wanted = json.loads((folder / "wanted.json").read_text())
    (folder / "answers.json").write_text(json.dumps({str(each): by_id[each] for each in wanted}))


def closed_window(folder: Path) -> None:
    replace_text(folder / "card_features.py", "each[0] > time - self.window", "each[0] >= time - self.window")


def no_watermark(folder: Path) -> None:
    """Gives each payment out as it comes."""
    replace_text(
        folder / "card_features.py", "self.waiting[0][0] < before", "self.waiting[0][0] <= before + self.lateness"
    )


def keeps_all(folder: Path) -> None:
    replace_text(folder / "card_features.py", "self.cards.forget(self.latest - self.lateness - self.window)", "pass")


def counts_twice(folder: Path) -> None:
    replace_text(folder / "card_features.py", 'payment["id"] in self.ids or ', "")


def waits_for_the_end(folder: Path) -> None:
    replace_text(folder / "card_features.py", "rows = self.give_out(self.latest - self.lateness)", "rows = []")
