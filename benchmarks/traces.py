"""What exemplars, traces and names of other projects cost a request.

    python benchmarks/traces.py [--quick] [--only CLAIM]

exemplars: CPU of counting a request's event, with and without. told: CPU of a server a request with --metrics-compat of
all projects and --otlp that samples one request in a hundred, by the same server without either, in turns, its whole
process tree and the time behind each round counted; the receiver is a process of its own. traced: the same with every
request sampled, which is shown and not judged. --quick: fewer rounds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tree_bundle
from result import claim, finish, options

from deepseek.contracts import Event
from deepseek.observe import metrics_models
from deepseek.observe.metrics_histograms import HistogramBuckets
from observe import MAX_COST, NUM_CONNECTIONS, in_turns, interval, serve

CLAIMS = ("exemplars", "told", "traced")
NUM_EVENTS, NUM_PASSES = 512, 100
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RECEIVER = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): ...
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def receiver() -> Iterator[str]:
    """What takes spans and throws them away; its URL."""
    process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def events() -> list[Event]:
    """Requests of one model, one in ten of them traced."""
    durations_s = np.random.default_rng(0).lognormal(-6, 1, NUM_EVENTS)
    result = []
    for number, duration_s in enumerate(durations_s.tolist()):
        fields = {"route": "/v1/models/M:predict", "method": "POST", "request_id": f"request-{number}"}
        if number % 10 == 0:
            fields["traceparent"] = TRACEPARENT
        marks = tuple(10.0 + duration_s * part / 5 for part in range(5))
        result.append(Event("request", "loans", "1", 200, 1, duration_s, 1e-4, fields, marks))
    return result


def counting_us() -> float:
    """CPU of counting one request."""
    counts, requests = metrics_models.ModelCounts(), events()
    before_s = time.process_time()
    for _ in range(NUM_PASSES):
        counts.add_requests(requests)
    return 1e6 * (time.process_time() - before_s) / NUM_PASSES / NUM_EVENTS


def exemplar_cost(num_rounds: int) -> dict[str, Any]:
    """With exemplars and without, in turns."""
    keep, costs_us = HistogramBuckets.keep_exemplars, {True: [], False: []}
    counting_us()
    for _ in range(num_rounds):
        for kept in (True, False):
            HistogramBuckets.keep_exemplars = keep if kept else lambda *_: None  # type: ignore[method-assign]
            costs_us[kept].append(counting_us())
    HistogramBuckets.keep_exemplars = keep  # type: ignore[method-assign]
    added_us = median(one - other for one, other in zip(costs_us[True], costs_us[False], strict=True))
    note = f"{median(costs_us[True]):.2f} us a request with, {median(costs_us[False]):.2f} us without"
    return claim("exemplars", ours=added_us, unit="us of CPU a request", num_seeds=num_rounds, note=note)


def server_cost(folder: Path, num_rounds: int) -> Iterator[dict[str, Any]]:
    """A request of 30 numbers to 100 trees, three servers in turns."""
    bundle = str(tree_bundle.make(folder, num_columns=30).bundle)
    ours = ["-m", "deepseek", "serve", bundle]
    with ExitStack() as stack:
        url = stack.enter_context(receiver())
        names = ["--metrics-compat", "vllm,triton,kserve"]
        commands = {
            "plain": ours, "told": [*ours, *names, "--otlp", f"{url},sample=0.01"],
            "traced": [*ours, "--otlp", f"{url},sample=1"],
        }  # fmt: skip
        servers = {name: stack.enter_context(serve(words)) for name, words in commands.items()}
        requests = {name: server.example_request(1) for name, server in servers.items()}
        costs_s = in_turns(servers, requests, num_rounds)
    for name in ("told", "traced"):
        ratios = [one / plain for one, plain in zip(costs_s[name], costs_s["plain"], strict=True)]
        low, high = interval(ratios)
        ours_us, plain_us = (1e6 * median(costs_s[each]) for each in (name, "plain"))
        note = (
            f"{NUM_CONNECTIONS} connections: {ours_us:.1f} us against {plain_us:.1f} us, ratio [{low:.3f}, {high:.3f}]"
        )
        judged = {"op": "<=", "bar": MAX_COST} if name == "told" else {}
        yield claim(
            name, ours=ours_us / 1e3, rival=plain_us / 1e3, rival_name="itself without them", ratio=median(ratios),
            unit="ms of server CPU a request", num_seeds=num_rounds, note=note, **judged,
        )  # fmt: skip


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="fewer rounds")
    args = parser.parse_args()
    wanted = {args.only} if args.only else set(CLAIMS)
    num_rounds = 5 if args.quick else 15
    claims = []
    if "exemplars" in wanted:
        claims.append(exemplar_cost(num_rounds))
    if wanted & {"told", "traced"}:
        with tempfile.TemporaryDirectory() as folder:
            claims += [each for each in server_cost(Path(folder), num_rounds) if each["claim"] in wanted]
    return finish("traces", claims, not_run=[name for name in CLAIMS if name not in {each["claim"] for each in claims}])


if __name__ == "__main__":
    sys.exit(main())
