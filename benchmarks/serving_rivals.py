"""Other model servers, each in a process of its own out of .venv-serving (made by benchmarks/rivals/setup.sh).

    with started(RIVALS["litserve"], "null", RIVALS["litserve"].settings[0]) as rival:
        rival.ask(["a text"])

Each tries its settings once, for seconds, and is measured with the one that answered most.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from result import ROOT
from serving_texts import EXACT, Computing

from deepseek.bench import BenchRequest, Load, measure

PYTHON = ROOT / ".venv-serving" / "bin" / "python"
SCRIPTS = ROOT / "benchmarks" / "rivals"
START_S = 120.0


@dataclass(frozen=True)
class Setting:
    """What a server may choose: processes with an engine each, and how many requests are computed together."""

    workers: int
    batch: int

    def __str__(self) -> str:
        return f"{self.workers} workers, batches of {self.batch}"


@dataclass(frozen=True)
class Rival:
    """How a server is started and asked. Of several settings the likeliest stands first."""

    name: str
    command: tuple[str, ...]
    settings: tuple[Setting, ...]
    lists: bool = False  # whether it takes a list of inputs


RIVALS = {
    "fastapi": Rival("FastAPI", ("serving_fastapi.py",), (Setting(2, 1), Setting(1, 1))),
    "litserve": Rival("LitServe", ("serving_litserve.py",), (Setting(2, 32), Setting(2, 8), Setting(1, 32))),
    "bentoml": Rival(
        "BentoML", ("-m", "bentoml", "serve", "serving_bentoml:Rival", "--host", "127.0.0.1", "--port", "PORT"),
        (Setting(2, 32), Setting(2, 100), Setting(1, 32)), lists=True,
    ),
    "ray": Rival("Ray Serve", ("serving_ray.py",), (Setting(2, 32), Setting(2, 8), Setting(1, 32))),
}  # fmt: skip
VERSIONS = ("fastapi", "uvicorn", "litserve", "bentoml", "ray", "openvino")


@dataclass(frozen=True)
class Running:
    """A rival that answers."""

    rival: Rival
    setting: Setting
    pid: int
    url: str

    def ask(self, inputs: Sequence[Any]) -> BenchRequest:
        bodies = tuple(json.dumps({"input": [each] if self.rival.lists else each}).encode() for each in inputs)
        return BenchRequest(self.url, bodies)


def is_there() -> bool:
    return PYTHON.exists()


def versions() -> dict[str, str]:
    """Of the rivals, as installed."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    done = subprocess.run([PYTHON, "-c", code, *VERSIONS], capture_output=True, text=True, check=True)
    return {f"rival {name}": version for name, version in json.loads(done.stdout).items()}


@contextmanager
def started(rival: Rival, model: str, setting: Setting, computing: Computing = EXACT) -> Iterator[Running]:
    """A server with `model` ("null" or a folder), once it answers; all of its processes are ended after it."""
    port = _free_port()
    words = [str(port) if word == "PORT" else word for word in rival.command]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PYTHONPATH": f"{ROOT / 'src'}:{SCRIPTS}", "RIVAL_MODEL": model, "RIVAL_PORT": str(port),
        "RIVAL_WORKERS": str(setting.workers), "RIVAL_BATCH": str(setting.batch), "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0", "BENTOML_DO_NOT_TRACK": "True", "RIVAL_PRECISION": computing.precision,
        "RIVAL_RANGES": str(computing.ranges or ""),
    }  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [PYTHON, *words], cwd=SCRIPTS, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            running = Running(rival, setting, process.pid, f"http://127.0.0.1:{port}/predict")
            _wait(process, running, "a text" if model != "null" else 1.5, log)
            yield running
        finally:
            _end(process)


def best(
    rival: Rival, model: str, inputs: Sequence[Any], load: Load, *, quick: bool, computing: Computing = EXACT
) -> Setting:
    """The setting with which it answers most; the likeliest when it must go quickly."""
    if quick:
        return rival.settings[0]
    rates = {}
    for setting in rival.settings:
        with started(rival, model, setting, computing) as running:
            rates[setting] = measure(running.ask(inputs), load).per_s
    return max(rates, key=lambda each: rates[each])


def _wait(process: subprocess.Popen[bytes], running: Running, example: Any, log: Any) -> None:
    """Until it answers. RuntimeError with what it said when it does not."""
    body = running.ask([example]).bodies[0]
    stop_s = time.monotonic() + START_S
    while time.monotonic() < stop_s and process.poll() is None:
        request = urllib.request.Request(running.url, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    log.seek(0)
    raise RuntimeError(f"{running.rival.name} did not start: {log.read()[-3_000:].decode(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    from deepseek.bench import usage

    processes = list(usage.process_tree(process.pid))
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in processes[1:]:
        if _is_of(pid):
            os.kill(pid, signal.SIGKILL)


def _is_of(pid: int) -> bool:
    """Whether a process that was a rival's still is: its number may belong to another by now."""
    try:
        return b"RIVAL_MODEL=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
