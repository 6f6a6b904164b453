"""Checks of the lab "What the users have seen"."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

CLIENTS = ("shop", "app", "branch", "partner", "batch")
KEYS = ("num_requests", "failed_share", "p95_ms", "worst_hour", "worst_client")
MIN_REQUESTS = 50  # of an hour that counts


def make(data: DataFolder) -> object:
    lines, answers = simulate_day(data.rng, 2_400)
    data.write_text("requests.jsonl", "\n".join(lines) + "\n")
    return answers


def simulate_day(rng: np.random.Generator, num_requests: int) -> tuple[list[str], JsonObject]:
    """Lines of a log, and what is true of them. One hour and one client are worse than the others; the busiest hour
    and the busiest client, which have most failures, are not."""
    shares = np.array([0.44, 0.26, 0.14, 0.1, 0.06])[rng.permutation(5)]
    bad_hour, bad_client = int(rng.integers(0, 24)), int(np.argsort(shares)[int(rng.integers(0, 3))])
    gateway = set(rng.permutation(5)[:2].tolist())
    weights = 1 + 0.8 * np.sin(np.arange(24) / 24 * 2 * math.pi + rng.uniform(0, 6))
    weights[bad_hour] = 1.0
    day = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(days=int(rng.integers(0, 300)))
    records: list[tuple[datetime, int, int, float]] = []
    for _ in range(num_requests):
        hour, client = int(rng.choice(24, p=weights / weights.sum())), int(rng.choice(5, p=shares))
        fails = rng.random() < 0.03 + 0.30 * (hour == bad_hour) + 0.12 * (client == bad_client)
        status = int(rng.choice([500, 503])) if fails else int(rng.choice([200, 200, 200, 200, 200, 422, 429]))
        latency = (
            2.0 if status != 200 else float(np.round(rng.lognormal(2.5, 0.8) * (1 + 2 * (client == bad_client)), 2))
        )
        moment = day + timedelta(hours=hour, seconds=int(rng.integers(0, 3600)))
        records.append((moment, client, status, latency))
    records.sort()
    lines = [_line(record, is_gateway=record[1] in gateway) for record in records]
    for event in ("start", "reload", "reload"):
        lines.insert(int(rng.integers(0, len(lines))), json.dumps({"time": day.isoformat(), "event": event}))
    num_broken = int(rng.integers(2, 6))
    for place in rng.integers(0, len(lines), num_broken):
        lines.insert(int(place), lines[int(place)][: int(rng.integers(5, 30))])
    return lines, summary_of(records) | {"num_broken": num_broken}


def _line(record: tuple[datetime, int, int, float], *, is_gateway: bool) -> str:
    moment, client, status, latency = record
    zone = timezone(timedelta(hours=8)) if is_gateway else UTC
    time = {"latency_us": round(latency * 1000)} if is_gateway else {"latency_ms": latency}
    return json.dumps(
        {"time": moment.astimezone(zone).isoformat(), "event": "request", "client": CLIENTS[client], "status": status}
        | time
    )


def summary_of(records: list[tuple[datetime, int, int, float]]) -> JsonObject:
    """The figures of the task, computed from what was simulated and not from the lines."""
    good = sorted(latency for _, _, status, latency in records if status == 200)
    hours: dict[int, list[bool]] = {}
    clients: dict[int, list[bool]] = {}
    for moment, client, status, _ in records:
        hours.setdefault(moment.hour, []).append(status >= 500)
        clients.setdefault(client, []).append(status >= 500)
    worst_hour = max((h for h in hours if len(hours[h]) >= MIN_REQUESTS), key=lambda h: sum(hours[h]) / len(hours[h]))
    worst_client = max(clients, key=lambda client: sum(clients[client]) / len(clients[client]))
    times = sorted(record[3] for record in records)
    failed = [status >= 500 for _, _, status, _ in records]
    return {
        "num_requests": len(records), "failed_share": sum(failed) / len(records),
        "p95_ms": good[math.ceil(0.95 * len(good)) - 1], "worst_hour": worst_hour,
        "worst_client": CLIENTS[worst_client], "num_4xx": sum(400 <= r[2] < 500 for r in records),
        "mean_ms": float(np.mean(good)), "p95_of_all": times[math.ceil(0.95 * len(times)) - 1],
        "num_failed": sum(failed),
    }  # fmt: skip


def check_requests(work: Work) -> None:
    compare_requests(work.read_json("answers.json"), work.truth)


def compare_requests(said: JsonObject, truth: JsonObject) -> None:
    num = said.get("num_requests")
    if num != truth["num_requests"]:
        more = isinstance(num, int | float) and num > truth["num_requests"]
        why = (
            Text("lines of the server's own are no requests", "服务自身的行不是请求")
            if more
            else Text("every status is a request", "任何状态码都是请求")
        )
        raise Mistake("wrong_count", key="num_requests", said=num, wanted=truth["num_requests"], why=why)
    share = said.get("failed_share")
    if not is_number(share) or abs(share - truth["failed_share"]) > 5e-4:
        with_4xx = (truth["num_failed"] + truth["num_4xx"]) / truth["num_requests"]
        why = Text("count status 500 and above over all requests", "用状态码 500 及以上的数量除以全部请求数")
        if is_number(share) and abs(share - with_4xx) < 5e-4:
            why = Text(
                "4xx is among the failures: that request was wrong, and the server was right to refuse it",
                "4xx 被算作失败：那是请求有误，服务拒绝得对",
            )
        raise Mistake("wrong_answer", key="failed_share", said=share, why=why)


def check_slow(work: Work) -> None:
    compare_slow(work.read_json("answers.json"), work.truth)


def compare_slow(said: JsonObject, truth: JsonObject) -> None:
    p95 = said.get("p95_ms")
    if is_number(p95) and abs(p95 - truth["p95_ms"]) <= 0.01 * truth["p95_ms"]:
        return
    why = Text(
        "sort the times of status 200 and look how far 95 of 100 reach", "把状态码 200 的耗时排序，看 95 % 到达哪里"
    )
    if is_number(p95) and abs(p95 - truth["mean_ms"]) < 0.1 * truth["mean_ms"]:
        why = Text(
            "that is about the mean, which hides what the slowest wait for", "这大约是平均值，它掩盖了最慢者的等待"
        )
    elif is_number(p95) and p95 > 20 * truth["p95_ms"]:
        why = Text("some times are in microseconds", "有些耗时的单位是微秒")
    elif is_number(p95) and abs(p95 - truth["p95_of_all"]) <= 0.01 * truth["p95_of_all"]:
        why = Text(
            "errors that came at once are among them; only status 200 is a good answer",
            "其中混入了立刻返回的错误；只有状态码 200 是成功回答",
        )
    raise Mistake("wrong_slow", said=p95, why=why)


def check_worst(work: Work) -> None:
    compare_worst(work.read_json("answers.json"), work.truth)


def compare_worst(said: JsonObject, truth: JsonObject) -> None:
    if said.get("worst_hour") != truth["worst_hour"]:
        shifted = said.get("worst_hour") == (truth["worst_hour"] + 8) % 24
        why = (
            Text("that is its time at +08:00, and UTC is asked for", "这是 +08:00 的时间，而要求的是 UTC")
            if shifted
            else Text("take shares of each hour, all in UTC", "按每小时的比例计算，统一用 UTC")
        )
        raise Mistake("wrong_answer", key="worst_hour", said=said.get("worst_hour"), why=why)
    if said.get("worst_client") != truth["worst_client"]:
        why = Text(
            "take the share of each client's own requests, not the number", "按每个客户端自身请求的比例，而不是数量"
        )
        raise Mistake("wrong_answer", key="worst_client", said=said.get("worst_client"), why=why)


def check_report(work: Work) -> None:
    lines, truth = simulate_day(work.rng("report"), 2_000)
    said = summary_by_learner(work, [line for line in lines if line.endswith("}")])
    compare_requests(said, truth)
    compare_slow(said, truth)
    compare_worst(said, truth)


def check_broken_lines(work: Work) -> None:
    lines, truth = simulate_day(work.rng("broken"), 800)
    said = summary_by_learner(work, lines)
    if said.get("num_broken") != truth["num_broken"]:
        why = Text("lines that are no JSON object", "不是 JSON 对象的行")
        raise Mistake("wrong_count", key="num_broken", said=said.get("num_broken"), wanted=truth["num_broken"], why=why)
    compare_requests(said, truth)


def check_nothing(work: Work) -> None:
    said = summary_by_learner(work, [json.dumps({"time": "2026-03-02T00:00:00+00:00", "event": "start"})])
    if said.get("num_requests") != 0:
        raise Mistake(
            "wrong_count",
            key="num_requests",
            said=said.get("num_requests"),
            wanted=0,
            why=Text("there was none", "没有任何请求"),
        )
    for key in KEYS[1:]:
        if said.get(key) is not None:
            raise Mistake("invented", key=key, said=said.get(key))


def summary_by_learner(work: Work, lines: list[str]) -> JsonObject:
    (said,) = work.call("report.py", "summarize", [lines])
    if not isinstance(said, dict):
        raise Mistake("no_object", kind=type(said).__name__, keys=", ".join(KEYS))
    return said


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
