"""A fire drill with real processes: a fault, the alert, Alertmanager, a webhook; the fault is mended, and it is told.

Rules wait seconds instead of minutes here; the times that they really wait are held by promtool (rules/test_rules.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.observe.rules.rule_file import rule_file
from deepseek.observe.rules.thresholds import read_thresholds
from support.servers.certificates import make_certificate
from support.servers.fixtures import build
from support.servers.load import engines_of
from support.servers.serving import Server, started, until
from support.servers.watching import Webhook, alertmanager, exposing, needs_alertmanager, needs_prometheus, prometheus

pytestmark = [pytest.mark.slow, needs_prometheus, needs_alertmanager]
LIMIT_S = 90


def quickly(document: dict[str, Any]) -> dict[str, Any]:
    """The same rules with windows of five seconds and a wait of one."""
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[\d+m\]", "[5s]", rule["expr"])
            if "for" in rule:
                rule["for"] = "1s"
    return document


def ask(url: str, rows: int = 1, headers: dict[str, str] | None = None) -> None:
    """One request; that it is answered with an error, or not at all, may be the fault."""
    body = {"instances": [{"age": 30.0, "income": 9.0}] * rows}
    with suppress(httpx.HTTPError):
        httpx.post(f"{url}/v1/models/loans:predict", json=body, headers=headers, verify=False, timeout=30)


@contextmanager
def asking(url: str, rows: int = 1, headers: dict[str, str] | None = None) -> Iterator[None]:
    """Load in the background: some requests a second."""
    stopping = threading.Event()

    def load() -> None:
        while not stopping.wait(0.1):
            ask(url, rows, headers)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@contextmanager
def slow_engine(server: Server) -> Iterator[None]:
    """Its engine process stands still for most of the time."""
    stopping = threading.Event()

    def hold() -> None:
        while not stopping.is_set():
            for number, wait_s in ((signal.SIGSTOP, 0.5), (signal.SIGCONT, 0.1)):
                for pid in engines_of(server):
                    os.kill(pid, number)
                stopping.wait(wait_s)
        for pid in engines_of(server):
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of one MiB; skips where none may be mounted."""
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no disk can be mounted here: a fire drill needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


class Drill:
    """What the webhook must be told, alert by alert."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    @contextmanager
    def expect(self, *names: str) -> Iterator[None]:
        """A fault that begins before and ends within: the alerts fire, and end behind it."""
        try:
            until(lambda: set(names) <= self._webhook.alerts("firing"), LIMIT_S)
            yield
            until(lambda: set(names) <= self._webhook.alerts("resolved"), LIMIT_S)
        except AssertionError:
            told = {status: sorted(self._webhook.alerts(status)) for status in ("firing", "resolved")}
            pytest.fail(f"{names}: {told}")


def write_drift(path: Path, psi: float) -> None:
    path.write_text(json.dumps({"columns": [{"column": "age", "psi": psi}]}))


def test_each_fault_reaches_the_webhook_and_so_does_its_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {"age": rng.uniform(18, 80, 300), "income": rng.lognormal(8, 1, 300)}
    columns["late"] = np.where(columns["age"] < 40, "yes", "no").astype(object)
    bundle = build(tmp_path / "loans", columns, target="late", labels=("no", "yes"))
    rules = quickly(rule_file(read_thresholds(["latency_p99=0.1", "model_age_days=3650"]), "https://wiki/runbooks"))
    certificate, key, drift = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "drift.json"
    expired = make_certificate(-3, -1)
    certificate.write_bytes(expired[0])
    key.write_bytes(expired[1])
    write_drift(drift, 0.01)
    tls = ("--tls-cert", certificate, "--tls-key", key)
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk"))
        url, webhook = stack.enter_context(alertmanager(tmp_path / "alertmanager"))
        server = stack.enter_context(started(bundle, "--workers", "1", "--audit-log", disk / "audit.log"))
        secure = stack.enter_context(started(bundle, "--workers", "1", *tls))
        exposer = stack.enter_context(exposing(drift))
        targets = [server.url, secure.url, exposer]
        stack.enter_context(prometheus(tmp_path / "prometheus", targets, rules, url))
        drill = Drill(webhook)
        with drill.expect("DeepseekCertificateExpired", "DeepseekCertificate"):
            for path, content in zip((certificate, key), make_certificate(0, 90), strict=True):
                path.write_bytes(content)
            secure.process.send_signal(signal.SIGHUP)
        write_drift(drift, 0.9)
        with drill.expect("DeepseekColumnDrift"):
            write_drift(drift, 0.01)
        with asking(server.url), slow_engine(server):
            until(lambda: "DeepseekLatency" in webhook.alerts("firing"), LIMIT_S)
        with drill.expect("DeepseekLatency"):
            pass
        with asking(server.url, 2_000, {"x-timeout-ms": "1"}):
            until(lambda: {"DeepseekErrors", "DeepseekDeadlines"} <= webhook.alerts("firing"), LIMIT_S)
        with drill.expect("DeepseekErrors", "DeepseekDeadlines"):
            pass
        (pid,) = engines_of(server)
        os.kill(pid, signal.SIGKILL)
        with drill.expect("DeepseekWorkerDied"):
            pass
        (disk / "filler").write_bytes(bytes(disk_free(disk)))
        with asking(server.url), drill.expect("DeepseekDiskFull", "DeepseekLogLost"):
            (disk / "filler").unlink()
        server.process.kill()
        server.process.wait()
        with drill.expect("DeepseekDown"):
            port = server.url.rpartition(":")[2]
            stack.enter_context(started(bundle, "--workers", "1", "--port", port))
    told = [alert for notification in webhook.notifications for alert in notification["alerts"]]
    assert all(alert["annotations"]["runbook_url"].startswith("https://wiki/runbooks/Deepseek") for alert in told)
    assert all(alert["labels"]["service"] == "deepseek" for alert in told)


def disk_free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
