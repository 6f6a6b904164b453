"""A fire drill in containers: the Compose profile `watch`, seven faults, and what a webhook hears of each."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deepseek.observe.rules.rule_file import rule_file
from deepseek.observe.rules.thresholds import read_thresholds
from support.servers.certificates import make_certificate
from support.servers.containers import ROOT, Container, build, docker, need_docker, until
from support.servers.drill import (
    LIMIT_S,
    RUNBOOKS,
    DrillResponse,
    ask,
    asking,
    build_loans,
    changed_file,
    lossy_logs,
    respond,
    shorten_rules,
    together,
)
from support.servers.watching import Webhook, hook_receivers, webhook_server

pytestmark = pytest.mark.slow

COMPOSE = ("compose", "--project-name", "deepseek-drill", "-f", "docker-compose.yml", "-f", "tests/docker/watch.yml")
SERVICES = ("model-server", "secure-server", "drift", "prometheus", "alertmanager")
HOLD = """
import os, signal, sys, threading, time
stopping = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
while not stopping.is_set():
    for number, wait_s in ((signal.SIGSTOP, 0.5), (signal.SIGCONT, 0.1)):
        os.kill(int(sys.argv[1]), number)
        stopping.wait(wait_s)
os.kill(int(sys.argv[1]), signal.SIGCONT)
"""
FILL = """
import os
free = os.statvfs("/logs")
with open("/logs/filler", "wb") as filler:
    filler.write(bytes(free.f_bavail * free.f_frsize))
"""


def image_of(name: str) -> str:
    """The image of docker-compose.yml where it is here, else whichever of that name is: `prom/prometheus`."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    pinned = next(each["image"] for each in services.values() if each["image"].startswith(f"{name}:"))
    images = docker("images", "--format", "{{.Repository}}:{{.Tag}}", name).split()
    if not images:
        pytest.skip(f"there is no image {pinned}: docker pull {pinned}")
    return pinned if pinned in images else images[0]


@dataclass(frozen=True)
class Drill:
    """The containers of a drill, the folder that they read, and the webhook."""

    folder: Path
    webhook: Webhook
    server: Container
    prometheus: Container

    def num_up(self) -> int:
        """How many targets Prometheus reaches."""
        answer = httpx.get(f"{self.prometheus.url_at(9090)}/api/v1/query", params={"query": "up == 1"}, timeout=10)
        return len(answer.json()["data"]["result"])

    def write_certificate(self, is_expired: bool) -> None:
        for name, content in zip(
            ("cert.pem", "key.pem"), make_certificate(*((-3, -1) if is_expired else (0, 90))), strict=True
        ):
            write(self.folder / "watched" / name, content)

    def write_drift(self, has_drifted: bool) -> None:
        columns = [{"column": "age", "psi": 0.9 if has_drifted else 0.01}]
        write(self.folder / "watched" / "drift.json", json.dumps({"columns": columns}).encode())


def write(path: Path, content: bytes) -> None:
    """In place, so that a folder that is mounted sees it, and readable by the container's user."""
    path.write_bytes(content)
    path.chmod(0o644)


def write_settings(folder: Path, hook_url: str) -> None:
    """The settings of deploy/watch with waits of a second, the drill's targets and its webhook."""
    watch = ROOT / "deploy" / "watch"
    rules = rule_file(read_thresholds(["latency_p99=0.1", "model_age_days=3650", "disk_free=0.001"]), RUNBOOKS)
    prometheus: dict[str, Any] = yaml.safe_load((watch / "prometheus.yml").read_text())
    prometheus["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = prometheus["scrape_configs"]
    secure = {"targets": ["secure-server:8000"], "labels": {"__scheme__": "https"}}
    job["static_configs"] += [secure, {"targets": ["drift:9109"]}]
    job["tls_config"] = {"insecure_skip_verify": True}
    alertmanager: dict[str, Any] = yaml.safe_load((watch / "alertmanager.yml").read_text())
    alertmanager["route"] |= {"receiver": "hook", "group_wait": "0s", "group_interval": "1s", "routes": []}
    alertmanager["receivers"] = hook_receivers(hook_url)
    documents = {"prometheus.yml": prometheus, "rules.yml": shorten_rules(rules), "alertmanager.yml": alertmanager}
    for name, document in documents.items():
        write(folder / name, yaml.safe_dump(document).encode())


@pytest.fixture(scope="module")
def drill(daemon: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    need_docker("compose", "version")
    folder = tmp_path_factory.mktemp("drill")
    for path in (folder, *(folder / name for name in ("built", "models", "watched"))):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    shutil.copytree(build_loans(folder / "built" / "loans"), folder / "models" / "loans")
    for path in (folder / "models").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    environ = {
        "DEEPSEEK_TEST_IMAGE": build("deepseek/model-server:test-watched", EXTRAS="serve,observe"),
        "DEEPSEEK_TEST_PROMETHEUS": image_of("prom/prometheus"),
        "DEEPSEEK_TEST_ALERTMANAGER": image_of("prom/alertmanager"),
        "DEEPSEEK_DRILL": str(folder),
    }
    with webhook_server("0.0.0.0") as (port, webhook):  # containers reach it by the bridge's address
        write_settings(folder, f"http://webhook:{port}/")
        files = Drill(folder, webhook, Container(""), Container(""))
        files.write_certificate(False)
        files.write_drift(False)
        try:
            docker(
                *COMPOSE, "up", "--detach", "--wait", "--wait-timeout", "90", *SERVICES, limit_s=150, environ=environ
            )
            server, prometheus = (
                Container(docker(*COMPOSE, "ps", "--quiet", name, environ=environ)) for name in SERVICES[::3]
            )
            yield Drill(folder, webhook, server, prometheus)
        finally:
            docker(*COMPOSE, "down", "--volumes", "--timeout", "5", environ=environ)


@contextmanager
def slow_engine(server: Container) -> Iterator[None]:
    """Its engine process stands still for most of the time."""
    (pid,) = server.engines()
    command = ["docker", "exec", "--interactive", server.name, "python", "-c", HOLD, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.communicate()  # closes its input, by which it ends
    assert process.returncode == 0


@contextmanager
def killed_engine(server: Container) -> Iterator[None]:
    """Its engine process is killed; another takes its place by itself."""
    (pid,) = server.engines()
    server.kill(pid)
    yield


@contextmanager
def full_disk(server: Container) -> Iterator[None]:
    """The disk of its logs is full: they lose lines, its clients nothing."""
    with asking(server.url):
        server.python(FILL)
        try:
            until(lambda: {"AuditLog", "PredictionLog"} <= lossy_logs(server.url), LIMIT_S)
            assert ask(server.url) == 200
            yield
        finally:
            server.python("import os; os.unlink('/logs/filler')")
        ask(server.url)  # by which its logs know that they can write again


@contextmanager
def killed_server(server: Container) -> Iterator[None]:
    """A container that was killed by a person, whom Docker does not contradict; started again at the end."""
    docker("kill", server.name)
    yield
    docker("start", server.name)


def faults_of(drill: Drill) -> list[tuple[tuple[str, ...], AbstractContextManager[None]]]:
    """The alerts that each fault is to bring."""
    server = drill.server
    return [
        (("DeepseekCertificateExpired", "DeepseekCertificate"), changed_file(drill.write_certificate)),
        (("DeepseekColumnDrift",), changed_file(drill.write_drift)),
        (("DeepseekLatency",), together(asking(server.url), slow_engine(server))),
        (("DeepseekErrors", "DeepseekDeadlines"), asking(server.url, 2_000, {"x-timeout-ms": "1"})),
        (("DeepseekWorkerDied",), killed_engine(server)),
        (("DeepseekDiskFull", "DeepseekLogLost"), full_disk(server)),
        (("DeepseekDown",), killed_server(server)),
    ]


def test_each_fault_in_a_container_reaches_the_webhook_and_so_does_its_end(
    drill: Drill, record_testsuite_property: Callable[[str, object], None]
) -> None:
    until(lambda: drill.num_up() == 3, LIMIT_S)
    assert ask(drill.server.url) == 200
    responses: list[DrillResponse] = []
    for names, fault in faults_of(drill):
        responses += respond(drill.webhook, names, fault)
    assert len(responses) == 10
    for each in responses:
        record_testsuite_property(
            each.name, f"fired {each.fired_s:.1f} s, over {each.ended_s:.1f} s, stated {each.stated_s:.0f} s"
        )
    alerts = [alert for notification in drill.webhook.notifications for alert in notification["alerts"]]
    assert all(alert["annotations"]["runbook_url"].startswith(f"{RUNBOOKS}/Deepseek") for alert in alerts)
    assert all(alert["labels"]["service"] == "deepseek" for alert in alerts)
