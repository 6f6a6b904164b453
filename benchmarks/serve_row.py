"""One row through the HTTP predict path: server CPU per request against the FastAPI app that a user would write.

    python benchmarks/serve_row.py [--quick] [--only CLAIM]

The same trained XGBoost model (15 columns, 100 trees, depth 6) behind both servers, asked in turn (A, B, A, B, ...) by
a client in a process of its own. Ours runs as shipped: validation, metrics, live statistics and the access log on; the
rival runs without a log. CPU is what the server used (/proc), wall what the client saw. Bar: 3 times less CPU.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from result import claim, finish, options
from tree_bundle import make

HERE = Path(__file__).parent
BAR = 3.0
#: Claim -> connections that the client keeps open.
CLAIMS = {"row_cpu_one_connection": 1, "row_cpu_32_connections": 32}
ENV = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclass
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def start_ours(bundle: Path, folder: Path) -> Running:
    """`deepseek serve`, its access log in a file."""
    log = (folder / "access.log").open("wb")
    command = [sys.executable, "-m", "deepseek", "serve", str(bundle), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=ENV)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    return Running(process, f"{ready['url']}/v1/models/{ready['models'][0]}:predict")


def start_rival(booster_file: Path) -> Running:
    command = [sys.executable, str(HERE / "rivals" / "fastapi_row.py"), str(booster_file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENV)
    assert process.stdout is not None
    return Running(process, f"http://127.0.0.1:{int(process.stdout.readline())}/predict")


def measure(server: Running, body_file: Path, *, num_requests: int, num_connections: int) -> dict[str, float]:
    """One run of the client."""
    command = [
        sys.executable, str(HERE / "http_load.py"), server.url, str(body_file), "--pid", str(server.process.pid),
        "--requests", str(num_requests), "--connections", str(num_connections),
    ]  # fmt: skip
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return figures


def compare(names: Sequence[str], *, num_requests: int, num_rounds: int) -> list[dict[str, Any]]:
    """Alternate the two servers for every claim; medians over the rounds."""
    claims = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle = make(folder)
        ours, rival = start_ours(bundle.bundle, folder), start_rival(bundle.booster_file)
        bodies = {"ours": {"instances": [bundle.record]}, "rival": bundle.record}
        for who, body in bodies.items():
            (folder / f"{who}.json").write_text(json.dumps(body))
        try:
            for name in names:
                runs: dict[str, list[dict[str, float]]] = {"ours": [], "rival": []}
                for _ in range(num_rounds):
                    for who, server in (("ours", ours), ("rival", rival)):
                        runs[who].append(
                            measure(
                                server, folder / f"{who}.json", num_requests=num_requests,
                                num_connections=CLAIMS[name],
                            )
                        )  # fmt: skip
                claims.append(summary(name, runs))
        finally:
            ours.stop()
            rival.stop()
    return claims


def summary(name: str, runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """One claim as results/*.json states it. Milliseconds of server CPU per request."""
    cpu_ms = {who: 1e3 * median(run["cpu_s"] for run in many) for who, many in runs.items()}
    wall_ms = {who: 1e3 * median(run["wall_s"] for run in many) for who, many in runs.items()}
    spread = ", ".join(f"{1e3 * run['cpu_s']:.3f}" for run in runs["ours"])
    return claim(
        name, ours=cpu_ms["ours"], rival=cpu_ms["rival"], rival_name="FastAPI + pydantic + DMatrix",
        ratio=cpu_ms["rival"] / cpu_ms["ours"], unit="ms of server CPU per request", op=">=", bar=BAR,
        num_seeds=len(runs["ours"]),
        note=f"wall {wall_ms['ours']:.3f} ms against {wall_ms['rival']:.3f} ms; our rounds {spread}",
    )  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer requests and rounds, the same bars.").parse_args()
    num_requests, num_rounds = (2_000, 3) if args.quick else (6_000, 5)
    claims = compare([args.only] if args.only else list(CLAIMS), num_requests=num_requests, num_rounds=num_rounds)
    left_out = [name for name in CLAIMS if args.only not in (None, name)]
    return finish("serve_row", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
