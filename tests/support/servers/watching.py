"""A real Prometheus and a real Alertmanager for tests, with a webhook that keeps what it is sent."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.servers.serving import until

ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is missing: make setup")
needs_alertmanager = pytest.mark.skipif(
    not any(map(shutil.which, ALERTMANAGERS)), reason="alertmanager is missing: make setup brings it"
)


@contextmanager
def exposing(*paths: Path) -> Iterator[str]:
    """`deepseek observe expose` on a free port; its URL."""
    command = [sys.executable, "-m", "deepseek", "observe", "expose", *map(str, paths), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.status == 200)
    return False


@contextmanager
def running(command: Sequence[str], ready_url: str, folder: Path) -> Iterator[None]:
    """A process from its readiness on; its log is in the folder."""
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            until(lambda: process.poll() is not None or answers(ready_url), limit_s=60)
            assert process.poll() is None, Path(log.name).read_text()
            yield
        finally:
            process.kill()
            process.wait()


def scrape_config(url: str) -> dict[str, Any]:
    """Of one target, as Kubernetes would label it; a certificate that signs itself is taken."""
    scheme, _, address = url.partition("://")
    host = address.partition("/")[0]
    return {"targets": [host], "labels": {"__scheme__": scheme, "pod": f"pod-{host}"}}


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], rules: Mapping[str, Any], alertmanager: str = "", feature: str = "", *,
    interval_s: int = 1,
) -> Iterator[str]:  # fmt: skip
    """Prometheus that scrapes and evaluates each `interval_s`, with one of its features. The URL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(yaml.safe_dump(dict(rules)))
    config: dict[str, Any] = {
        "global": {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {
                "job_name": "deepseek", "tls_config": {"insecure_skip_verify": True},
                "static_configs": [scrape_config(url) for url in targets],
            }
        ],
    }  # fmt: skip
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.partition("://")[2]]}]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}", "--log.level=warn", *([f"--enable-feature={feature}"] if feature else []),
    ]  # fmt: skip
    with running(command, f"http://{address}/-/ready", folder):
        yield f"http://{address}"


class Webhook:
    """Keeps the notifications of Alertmanager."""

    def __init__(self) -> None:
        self.notifications: list[dict[str, Any]] = []

    def alerts(self, status: str) -> set[str]:
        """Names of the alerts that were told as firing, or as resolved."""
        alerts = (alert for notification in list(self.notifications) for alert in notification["alerts"])
        return {alert["labels"]["alertname"] for alert in alerts if alert["status"] == status}


@contextmanager
def webhook_server(host: str = "127.0.0.1") -> Iterator[tuple[int, Webhook]]:
    """The port of a webhook on a free port, and what it is told."""
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.notifications.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer((host, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, webhook
    finally:
        server.shutdown()
        server.server_close()


def hook_receivers(url: str) -> list[dict[str, Any]]:
    """Alertmanager's receivers: one, which sends every alert and its end to a webhook."""
    return [{"name": "hook", "webhook_configs": [{"url": url, "send_resolved": True}]}]


@contextmanager
def alertmanager(folder: Path) -> Iterator[tuple[str, Webhook]]:
    """Alertmanager, which tells a webhook at once. Its URL, and what was told."""
    folder.mkdir(parents=True, exist_ok=True)
    with webhook_server() as (port, webhook):
        config = {
            "route": {"receiver": "hook", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
            "receivers": hook_receivers(f"http://127.0.0.1:{port}/"),
        }
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        program = next(filter(None, map(shutil.which, ALERTMANAGERS)))
        command = [
            program, "--config.file=alertmanager.yml", f"--storage.path={folder / 'data'}",
            "--cluster.listen-address=", f"--web.listen-address={address}", "--log.level=warn",
        ]  # fmt: skip
        with running(command, f"http://{address}/-/ready", folder):
            yield f"http://{address}", webhook
