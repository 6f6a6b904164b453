"""Solutions of the lab cluster_under_chaos."""

from __future__ import annotations

import json
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "one_attempt": "request_lost", "never_replaces": "not_replaced", "waits_for_ever": "held_up",
    "leaves_workers": "workers_left", "sum_of_workers": "wrong_answer",
}  # fmt: skip

CLUSTER = """
import http.client
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SILENT_S, MOST_S, ATTEMPTS = 3.0, 20.0, 100


class Worker:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "worker.py"], stdout=subprocess.PIPE)
        line = self.process.stdout.readline().split()
        self.port = int(line[1]) if line else 0

    def lives(self):
        return self.port and self.process.poll() is None

    def ask(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SILENT_S)
        try:
            connection.request("POST", "/predict", body)
            return connection.getresponse().read()
        except TimeoutError:
            self.process.kill()
            raise
        finally:
            connection.close()

    def end(self):
        self.process.kill()
        self.process.wait()


class Pool:
    def __init__(self, num):
        self.workers, self.turn, self.over, self.lock = [None] * num, 0, False, threading.Lock()

    def watch(self):
        while not self.over:
            for place, worker in enumerate(self.workers):
                if worker is None or not worker.lives():
                    fresh = Worker()
                    with self.lock:
                        self.workers[place] = fresh
            time.sleep(0.05)

    def next_worker(self):
        with self.lock:
            living = [worker for worker in self.workers if worker is not None and worker.lives()]
            self.turn += 1
            return living[self.turn % len(living)] if living else None

    def answer(self, body):
        end = time.monotonic() + MOST_S
        for _ in range(ATTEMPTS):
            worker = self.next_worker()
            try:
                if worker is not None:
                    return worker.ask(body)
            except (OSError, http.client.HTTPException):
                continue
            if time.monotonic() > end:
                break
            time.sleep(0.2)
        return None


def run(port, num_workers, stop_file):
    pool = Pool(num_workers)

    class Front(BaseHTTPRequestHandler):
        def do_POST(self):
            data = pool.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(503 if data is None else 200)
            if data is None:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Front)
    server.daemon_threads = True
    watcher = threading.Thread(target=pool.watch, daemon=True)
    watcher.start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        while not Path(stop_file).exists():
            time.sleep(0.05)
    finally:
        pool.over = True
        watcher.join()
        server.shutdown()
        for worker in pool.workers:
            if worker is not None:
                worker.end()
"""


def reference(folder: Path) -> None:
    (folder / "cluster.py").write_text(CLUSTER)
    lines = json.loads((folder / "incident.json").read_text())
    num_down = [
        len({line["worker"] for line in lines if line["down"] <= second < line["up"]}) for second in range(4_300)
    ]
    stretches = "".join("x" if num >= 2 else " " for num in num_down).split()
    answers = {
        "any_down_s": sum(num > 0 for num in num_down), "all_down_s": sum(num == 3 for num in num_down),
        "longest_s": max(map(len, stretches)),
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def one_attempt(folder: Path) -> None:
    replace_text(folder / "cluster.py", "ATTEMPTS = 3.0, 20.0, 100", "ATTEMPTS = 3.0, 20.0, 1")


def never_replaces(folder: Path) -> None:
    replace_text(folder / "cluster.py", "if worker is None or not worker.lives():", "if worker is None:")


def waits_for_ever(folder: Path) -> None:
    replace_text(folder / "cluster.py", "SILENT_S, MOST_S, ATTEMPTS = 3.0,", "SILENT_S, MOST_S, ATTEMPTS = None,")


def leaves_workers(folder: Path) -> None:
    replace_text(folder / "cluster.py", "                worker.end()", "                pass")


def sum_of_workers(folder: Path) -> None:
    lines = json.loads((folder / "incident.json").read_text())
    per_worker = [
        {second for line in lines if line["worker"] == worker for second in range(line["down"], line["up"])}
        for worker in range(3)
    ]
    edit_json(folder / "answers.json", lambda answers: answers.update(any_down_s=sum(map(len, per_worker))))
