"""Checks of the lab "A client that survives": a server of the grader's that answers as `deepseek serve` does, and has
faults that are planned."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

AGAIN, WRONG, MAX_ROWS, MAX_ATTEMPTS = (0, 429, 503), (400, 404, 422), 100, 6
LOST = 0  # the connection is closed without an answer
REFUSAL = "column size is missing"
WAIT_S = 1.0
EARLY_S = 0.05  # that clocks may differ by


def make(data: DataFolder) -> object:
    statuses = data.rng.choice([200, 0, 429, 503, 400, 404, 413, 422], int(data.rng.integers(150, 220)),
                               p=[0.5, 0.06, 0.12, 0.1, 0.06, 0.06, 0.04, 0.06])  # fmt: skip
    record = []
    for status in statuses.tolist():
        says = status in (429, 503) and data.rng.random() < 0.8
        record.append({"status": status, "retry_after": int(data.rng.integers(1, 30)) if says else None})
    data.write_json("record.json", record)
    again = [each for each in record if each["status"] in AGAIN]
    return {
        "num_again": len(again), "wait_s": sum(each["retry_after"] or 1 for each in again),
        "num_wrong": sum(each["status"] in WRONG for each in record),
        "num_not_200": sum(each["status"] != 200 for each in record),
        "said_s": sum(each["retry_after"] or 0 for each in again),
    }  # fmt: skip


class PlannedServer(ThreadingHTTPServer):
    """Answers each request by the next step of a plan, and with predictions when there is none left."""

    daemon_threads = True

    def __init__(self, plan: tuple[int, ...], *, for_good: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan, self.for_good, self.times_s = list(plan), for_good, list[float]()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_step(self) -> int:
        with self.lock:
            self.times_s.append(time.monotonic())
            if self.for_good:
                return self.plan[0]
            return self.plan.pop(0) if self.plan else 200


class _Handler(BaseHTTPRequestHandler):
    server: PlannedServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        step = self.server.next_step()
        if step == LOST:
            self.close_connection = True
            return
        rows = body.get("instances", [])
        if self.path != "/v1/models/parts:predict":
            self._answer(404, {"error": {"message": f"there is no {self.path}"}})
        elif len(rows) > MAX_ROWS:
            self._answer(413, {"error": {"message": f"at most {MAX_ROWS} rows"}})
        elif step == 200:
            self._answer(200, {"predictions": [{"label": f"part-{row['number']}"} for row in rows]})
        else:
            self._answer(step, {"error": {"code": "bad_input", "message": f"{REFUSAL} ({step})"}})

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status in (429, 503) and not self.server.for_good:
            self.send_header("Retry-After", f"{WAIT_S:g}")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # http.server names it so
        """Nothing: the log is not asked for."""


@contextmanager
def serve_plan(*plan: int, for_good: bool = False) -> Iterator[PlannedServer]:
    server = PlannedServer(plan, for_good=for_good)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check_own(work: Work) -> None:
    truth = work.truth
    for key in ("num_again", "wait_s", "num_wrong"):
        said = work.number("answers.json", key)
        if said == truth[key]:
            continue
        why = Text("see the table of the task", "见任务中的表")
        if key == "num_again" and said == truth["num_not_200"]:
            why = Text("a wrong request is as wrong the next time", "有误的请求再发也同样有误")
        if key == "wait_s" and said == truth["said_s"]:
            why = Text("where the server said nothing, one second counts", "服务未说明时按一秒计")
        raise Mistake("wrong_retries", key=key, said=f"{said:g}", why=why)


def check_answers(work: Work) -> None:
    with serve_plan() as server:
        compare(work, server, 250)


def check_busy(work: Work) -> None:
    with serve_plan(429, 503) as server:
        try:
            compare(work, server, 20)
        except Mistake as error:
            if error.code == "solution_raised":
                raise Mistake("gave_up", error=error.values["error"]) from error
            raise
        for before, after in zip(server.times_s[:2], server.times_s[1:3], strict=True):
            if after - before < WAIT_S - EARLY_S:
                raise Mistake("too_early", waited=f"{after - before:.2f}", wanted=f"{WAIT_S:g}")


def check_wrong(work: Work) -> None:
    with serve_plan(422, 422, 422) as server:
        said = failure(work, server)
        if len(server.times_s) > 1:
            raise Mistake("asked_again", num=len(server.times_s))
        if not said.startswith("ValueError") or REFUSAL not in said:
            raise Mistake("message_lost", wanted=REFUSAL, said=said)


def check_lost(work: Work) -> None:
    with serve_plan(200, LOST, LOST) as server:
        try:
            compare(work, server, 150)
        except Mistake as error:
            if error.code == "solution_raised":
                raise Mistake("gave_up", error=error.values["error"]) from error
            raise


def check_gives_up(work: Work) -> None:
    with serve_plan(503, for_good=True) as server:
        try:
            said = failure(work, server)
        except Mistake as error:
            if error.code != "solution_endless":
                raise
            said = "no end"
        if len(server.times_s) > MAX_ATTEMPTS or said == "no end":
            raise Mistake("never_gives_up", num=len(server.times_s))
        if not said.startswith("ConnectionError"):
            raise Mistake("wrong_end", said=said)


def compare(work: Work, server: PlannedServer, num: int) -> None:
    """Ask for so many rows, and hold each answer to its row."""
    numbers = work.rng(f"rows of {num}").integers(0, 10**9, num).tolist()
    rows = [{"number": number, "size": 1.5} for number in numbers]
    (said,) = work.call("client.py", "predict", [server.url, "parts", rows], seconds=20)
    labels = [each.get("label") if isinstance(each, dict) else None for each in said] if isinstance(said, list) else []
    for place, number in enumerate(numbers):
        if place >= len(labels) or labels[place] != f"part-{number}" or len(labels) != num:
            raise Mistake("wrong_answers", num=len(labels), wanted=num, row=place + 1)


def failure(work: Work, server: PlannedServer) -> str:
    """What predict() raises, as its kind and its words."""
    try:
        (said,) = work.call("client.py", "predict", [server.url, "parts", [{"number": 1, "size": 2.0}]], seconds=6)
    except Mistake as error:
        if error.code != "solution_raised":
            raise
        return str(error.values["error"])
    return f"the answer {str(said)[:40]}"
