"""`deepseek serve --cluster ray` for real, on a cluster of this machine. Run by `make test-ray`.

Only the server needs Ray: where it is not installed beside the tests, the environment `.venv-ray` has it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deepseek.bundle import write_bundle
from deepseek.cli import main
from deepseek.engines import Runtime
from deepseek.extras import is_installed
from support.servers.serving import Server, started

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
PREDICT = "/v1/models/loans:predict"
SECRET = {"authorization": "Bearer secret"}
ROWS = {
    "columns": ["age", "income", "purpose"],
    "rows": [[18 + i / 7, 50.0 * i, ("car", "house", "study", None)[i % 4]] for i in range(300)],
}


@pytest.fixture(scope="module")
def python() -> Path:
    """A Python with Ray and this package."""
    if is_installed("ray"):
        return Path(sys.executable)
    interpreter = ROOT / ".venv-ray" / "bin" / "python"
    if not interpreter.exists():
        pytest.skip("Ray is not installed; `make test-ray` makes an environment with it")
    return interpreter


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(hashlib.sha256(b"secret").hexdigest())
    return path


@pytest.fixture(scope="module")
def cluster(python: Path, loans: Path, prices: Path, keys: Path) -> Iterator[Server]:
    """Two replicas. At the end it must have stopped cleanly."""
    options = ("--cluster", "ray", "--replicas", "2", "--workers", "1", "--api-keys", keys)
    with started(loans, prices, *options, python=python) as running:
        yield running


@pytest.fixture
def client(cluster: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cluster.url, headers=SECRET, timeout=30) as opened:
        yield opened


def below(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def named(server: Server, word: str) -> list[psutil.Process]:
    deployments = []
    for process in below(server):
        with contextlib.suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                deployments.append(process)
    return deployments


def until(holds: Callable[[], Any], limit_s: float = 60) -> Any:
    stop_s = time.monotonic() + limit_s
    while not (value := holds()):
        assert time.monotonic() < stop_s, "it did not come to hold"
        time.sleep(0.1)
    return value


def test_answers_are_those_of_a_server_on_one_machine_bit_by_bit(
    client: httpx.Client, loans: Path, prices: Path
) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["loans", "prices"]
    record = client.get("/v1/models/loans/example").json()
    bodies = [record, ROWS, {"instances": [{"age": 1}]}, {"columns": [], "rows": "x"}]
    with started(loans, prices) as alone, httpx.Client(base_url=alone.url, timeout=30) as other:
        for body in bodies:
            actual, expected = (one.post(PREDICT, json=body) for one in (client, other))
            assert (actual.status_code, actual.content) == (expected.status_code, expected.content)
            assert actual.headers.get("x-model-version") == expected.headers.get("x-model-version")
        for path in ("/v1/models/loans", "/v2/models/loans", "/v2/health/ready", "/nowhere", "/v1/models/lones"):
            actual, expected = (one.get(path) for one in (client, other))
            assert (actual.status_code, actual.content) == (expected.status_code, expected.content)
        explained = [one.post("/v1/models/loans:explain", json=record).content for one in (client, other)]
        assert explained[0] == explained[1]


def test_a_trace_and_an_id_come_back_once(client: httpx.Client) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    answer = client.get("/v1/models", headers={"x-request-id": "order-17", "traceparent": trace})
    assert answer.headers.get_list("x-request-id") == ["order-17"]
    assert answer.headers.get_list("traceparent") == [trace]
    assert answer.headers["x-frame-options"] == "DENY"


def test_without_a_key_only_health_answers(cluster: Server) -> None:
    with httpx.Client(base_url=cluster.url, timeout=30) as client:
        assert client.post(PREDICT, json=ROWS).status_code == 401
        assert client.get("/v1/models", headers={"authorization": "Bearer other"}).status_code == 401
        assert client.get("/v2/health/live").status_code == 200


def test_metrics_of_one_replica_do_not_pass_for_those_of_all(client: httpx.Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 404
    assert "Ray Serve" in answer.json()["error"]["expected"]


def test_requests_come_in_at_the_loopback_address_alone(cluster: Server) -> None:
    port = int(cluster.url.rpartition(":")[2])
    listening = [connection.laddr for connection in psutil.net_connections("tcp") if connection.status == "LISTEN"]
    at = [place.ip for place in listening if place.port == port]
    assert at == ["127.0.0.1"]


def test_a_killed_engine_loses_no_request(cluster: Server, client: httpx.Client) -> None:
    engines = named(cluster, "deepseek.engines.process")
    assert len(engines) == 2
    for engine in engines:
        engine.kill()
    assert [client.post(PREDICT, json=ROWS).status_code for _ in range(10)] == [200] * 10
    until(lambda: len(named(cluster, "deepseek.engines.process")) == 2)


def test_the_service_goes_on_while_a_killed_replica_is_replaced(cluster: Server, client: httpx.Client) -> None:
    before = client.post(PREDICT, json=ROWS).content
    replicas = named(cluster, "ray::ServeReplica")
    assert len(replicas) == 2
    engines = replicas[0].children()
    assert engines
    os.kill(replicas[0].pid, signal.SIGKILL)
    statuses = [client.post(PREDICT, json=ROWS).status_code for _ in range(50)]
    # A request that the dead replica had begun, or was given before its death was known, is Ray Serve's to lose.
    assert statuses.count(200) >= 45
    assert statuses[-20:] == [200] * 20

    def replaced() -> bool:
        pids = {replica.pid for replica in named(cluster, "ray::ServeReplica")}
        return len(pids) == 2 and replicas[0].pid not in pids

    until(replaced)
    assert not psutil.wait_procs(engines, timeout=10)[1]
    assert client.post(PREDICT, json=ROWS).content == before


def test_it_stops_with_what_it_has_accepted_answered_and_leaves_no_process(cluster: Server) -> None:
    processes = below(cluster)
    assert len(processes) > 5
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=cluster.url, headers=SECRET, timeout=30) as client:
            while not stop.is_set():
                try:
                    statuses.append(client.post(PREDICT, json=ROWS).status_code)
                except httpx.TransportError:  # the proxy has gone
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: len(statuses) > 5)
    assert cluster.stop(timeout_s=60) == 0
    stop.set()
    asking.join(30)
    assert set(statuses) <= {200, 404, 503}  # 404: the application is no more, the proxy still is
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert not alive


def test_replicas_that_cannot_start_say_why(python: Path, loans: Path, tmp_path: Path) -> None:
    with Runtime.open(loans, lazy=True) as runtime:
        manifest = runtime.manifest
    files = {name: (loans / name).read_bytes() for name in manifest.files} | {"model.onnx": b"garbage"}
    broken = write_bundle(tmp_path / "broken", dataclasses.replace(manifest, name="broken", files={}), files).path
    command = [python, "-m", "deepseek", "serve", broken, "--cluster", "ray", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 3, done.stderr
    assert "model.onnx cannot be loaded" in done.stderr
    assert not done.stdout


def test_ray_takes_the_configuration_that_is_written(python: Path, loans: Path, tmp_path: Path) -> None:
    out = tmp_path / "config.yaml"
    assert main(["serve", str(loans), "--cluster", "ray", "--config-out", str(out), "--port", "8000"]) == 0
    code = (
        "import sys, yaml, json\n"
        "from ray.serve.schema import ServeDeploySchema\n"
        "found = ServeDeploySchema.model_validate(yaml.safe_load(open(sys.argv[1])))\n"
        "application, = found.applications\n"
        "from deepseek.cli.support.cluster import build\n"
        "build(application.args)\n"
        "print(json.dumps(application.deployments[0].autoscaling_config['target_ongoing_requests']))\n"
    )
    done = subprocess.run([python, "-c", code, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == 32
