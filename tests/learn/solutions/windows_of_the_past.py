"""Solutions of the lab windows_of_the_past."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "itself_counted": "wrong_feature", "file_order": "wrong_feature", "each_with_each": "too_slow",
    "open_border": "wrong_feature",
}  # fmt: skip

WINDOWS = """
from collections import defaultdict, deque

HOUR, DAY = 3600, 86400


def windows(events):
    places = defaultdict(list)
    for place, event in enumerate(events):
        places[event["card"]].append(place)
    rows = [None] * len(events)
    for own in places.values():
        own.sort(key=lambda place: events[place]["time"])
        hour, day, total, last, waiting = deque(), deque(), 0.0, None, []
        for place in own:
            now = events[place]["time"]
            if waiting and events[waiting[0]]["time"] < now:
                for before in waiting:
                    hour.append(events[before]["time"])
                    day.append((events[before]["time"], events[before]["amount"]))
                    total += events[before]["amount"]
                last, waiting = events[waiting[0]]["time"], []
            while hour and hour[0] < now - HOUR:
                hour.popleft()
            while day and day[0][0] < now - DAY:
                total -= day.popleft()[1]
            since = None if last is None else now - last
            rows[place] = {"count_1h": len(hour), "sum_24h": total if day else 0.0, "since_last_s": since}
            waiting.append(place)
    return rows
"""
EACH = """
def windows(events):
    rows = []
    for event in events:
        before = [o for o in events if o["card"] == event["card"] and o["time"] < event["time"]]
        rows.append({
            "count_1h": sum(o["time"] >= event["time"] - 3600 for o in before),
            "sum_24h": sum(o["amount"] for o in before if o["time"] >= event["time"] - 86400),
            "since_last_s": event["time"] - max(o["time"] for o in before) if before else None,
        })
    return rows
"""


def reference(folder: Path) -> None:
    (folder / "windows.py").write_text(WINDOWS)
    write_answers(folder)


def write_answers(folder: Path) -> None:
    events = [
        {"event": row["event"], "card": row["card"], "time": int(row["time"]), "amount": float(row["amount"])}
        for row in csv.DictReader((folder / "payments.csv").open())
    ]
    rows = runpy.run_path(str(folder / "windows.py"))["windows"](events)
    by_name = {event["event"]: row for event, row in zip(events, rows, strict=True)}
    asked = json.loads((folder / "asked.json").read_text())
    (folder / "answers.json").write_text(json.dumps({name: by_name[name] for name in asked}))


def itself_counted(folder: Path) -> None:
    """As a rolling window of a table library does by default."""
    (folder / "windows.py").write_text(EACH.replace('o["time"] < event["time"]', 'o["time"] <= event["time"]'))
    write_answers(folder)


def file_order(folder: Path) -> None:
    """Takes the order of the file for that of time."""
    replace_text(folder / "windows.py", 'own.sort(key=lambda place: events[place]["time"])', "own.sort()")


def each_with_each(folder: Path) -> None:
    (folder / "windows.py").write_text(EACH)


def open_border(folder: Path) -> None:
    replace_text(folder / "windows.py", "hour[0] < now - HOUR", "hour[0] <= now - HOUR")
