"""Solutions of the lab read_logs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "mean_for_percentile": "wrong_slow", "local_hours": "wrong_answer", "client_errors": "wrong_answer",
    "zero_for_nothing": "invented",
}  # fmt: skip

REPORT = """
import json
import math
from datetime import UTC, datetime


def summarize(lines):
    requests, num_broken = [], 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            num_broken += 1
            continue
        if record.get("event") == "request":
            requests.append(record)
    figures = dict.fromkeys(("failed_share", "p95_ms", "worst_hour", "worst_client"))
    if requests:
        figures = measure(requests)
    return {"num_requests": len(requests), "num_broken": num_broken, **figures}


def measure(requests):
    hours, clients, good = {}, {}, []
    for record in requests:
        failed = record["status"] >= 500
        moment = datetime.fromisoformat(record["time"]).astimezone(UTC)
        hours.setdefault(moment.hour, []).append(failed)
        clients.setdefault(record["client"], []).append(failed)
        if record["status"] == 200:
            good.append(record["latency_ms"] if "latency_ms" in record else record["latency_us"] / 1000)
    good.sort()
    large = {hour: failed for hour, failed in hours.items() if len(failed) >= 50} or hours
    return {
        "failed_share": sum(record["status"] >= 500 for record in requests) / len(requests),
        "p95_ms": good[math.ceil(0.95 * len(good)) - 1],
        "worst_hour": max(large, key=lambda hour: sum(large[hour]) / len(large[hour])),
        "worst_client": max(clients, key=lambda client: sum(clients[client]) / len(clients[client])),
    }
"""


def reference(folder: Path) -> None:
    (folder / "report.py").write_text(REPORT)
    write_answers(folder)


def write_answers(folder: Path) -> None:
    summarize = runpy.run_path(str(folder / "report.py"))["summarize"]
    answers = summarize((folder / "requests.jsonl").read_text().splitlines())
    (folder / "answers.json").write_text(json.dumps(answers))


def mean_for_percentile(folder: Path) -> None:
    replace_text(folder / "report.py", "good[math.ceil(0.95 * len(good)) - 1]", "sum(good) / len(good)")
    write_answers(folder)


def local_hours(folder: Path) -> None:
    replace_text(folder / "report.py", ".astimezone(UTC)", "")
    write_answers(folder)


def client_errors(folder: Path) -> None:
    replace_text(folder / "report.py", '["status"] >= 500', '["status"] >= 400')
    write_answers(folder)


def zero_for_nothing(folder: Path) -> None:
    replace_text(folder / "report.py", '"worst_client"))\n', '"worst_client"), 0)\n')
