"""A fire drill with real processes: a fault, its alert, Alertmanager, a webhook; then the fault is mended.

    for response in fire_drill(folder): ...     # which alert, after how many seconds it was told of and ended

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
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from deepseek.observe.check import query_prometheus
from deepseek.observe.rules.rule_file import ALERTS, rule_file
from deepseek.observe.rules.thresholds import read_thresholds
from support.servers.certificates import make_certificate
from support.servers.fixtures import build
from support.servers.load import engines_of
from support.servers.serving import Server, started, until
from support.servers.watching import Webhook, alertmanager, exposing, prometheus

LIMIT_S = 90
WINDOW_S, WAIT_S = 5, 1  # of the rules here, instead of minutes
RUNBOOKS = "https://wiki/runbooks"


@dataclass(frozen=True, slots=True)
class DrillResponse:
    """One alert of a drill: seconds from the moment at which the fault was there to the message of it, from the repair
    to the message of its end, and within which its rule says that it fires, with the windows of the drill."""

    name: str
    fired_s: float
    ended_s: float
    stated_s: float


def shorten_rules(document: dict[str, Any]) -> dict[str, Any]:
    """The same rules with windows of WINDOW_S and a wait of WAIT_S."""
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[\d+m\]", f"[{WINDOW_S}s]", rule["expr"])
            if "for" in rule:
                rule["for"] = f"{WAIT_S}s"
    return document


def stated_time_s(name: str) -> float:
    """Within how many seconds an alert fires here: its window, its wait, a scrape and two evaluations, a second
    each."""
    alert = next(each for each in ALERTS if each.name == name)
    return (WINDOW_S if alert.window_s else 0) + (WAIT_S if alert.for_s else 0) + 3


@contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """`work(stopping)` in a thread; the event is set at the end, when the thread has to return."""
    stopping = threading.Event()
    thread = threading.Thread(target=work, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def ask(url: str, rows: int = 1, headers: dict[str, str] | None = None) -> int:
    """The status of one request; 0 where it was not answered: that may be the fault."""
    body = {"instances": [{"age": 30.0, "income": 9.0}] * rows}
    with suppress(httpx.HTTPError):
        return httpx.post(
            f"{url}/v1/models/loans:predict", json=body, headers=headers, verify=False, timeout=30
        ).status_code
    return 0


def asking(url: str, rows: int = 1, headers: dict[str, str] | None = None) -> AbstractContextManager[None]:
    """Load in the background: some requests a second."""

    def load(stopping: threading.Event) -> None:
        while not stopping.wait(0.1):
            ask(url, rows, headers)

    return in_background(load)


def slow_engine(server: Server) -> AbstractContextManager[None]:
    """Its engine process stands still for most of the time."""

    def hold(stopping: threading.Event) -> None:
        while not stopping.is_set():
            for number, wait_s in ((signal.SIGSTOP, 0.5), (signal.SIGCONT, 0.1)):
                for pid in engines_of(server):
                    os.kill(pid, number)
                stopping.wait(wait_s)
        for pid in engines_of(server):
            os.kill(pid, signal.SIGCONT)

    return in_background(hold)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of one MiB. PermissionError where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        raise PermissionError("no disk can be mounted here: a fire drill needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full_disk(server: Server, disk: Path) -> Iterator[None]:
    """A disk without a free byte below a server that answers: its logs lose lines, its clients nothing."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    with asking(server.url):
        filler.write_bytes(bytes(free.f_bavail * free.f_frsize))
        try:
            until(lambda: {"AuditLog", "PredictionLog"} <= lossy_logs(server.url), LIMIT_S)
            assert ask(server.url) == 200
            yield
        finally:
            filler.unlink()
        ask(server.url)  # by which its logs know that they can write again


def lossy_logs(url: str) -> set[str]:
    """The logs of a server that have lost lines, as its metrics tell."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    return set(re.findall(r'deepseek_lost_log_lines\{log="(\w+)"\} (?!0\.0)', text))


@contextmanager
def changed_file(write: Callable[[bool], None]) -> Iterator[None]:
    """`write(True)` at the beginning, `write(False)` at the end."""
    write(True)
    yield
    write(False)


@contextmanager
def together(*faults: AbstractContextManager[None]) -> Iterator[None]:
    """Several faults at once."""
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(fault)
        yield


@contextmanager
def killed_engine(server: Server) -> Iterator[None]:
    """Its engine process is killed; another takes its place by itself."""
    (pid,) = engines_of(server)
    os.kill(pid, signal.SIGKILL)
    yield


@contextmanager
def killed_server(server: Server, bundle: Path, after: ExitStack) -> Iterator[None]:
    """A server that is gone; another takes its port, and lives until `after` ends."""
    server.process.kill()
    server.process.wait()
    yield
    after.enter_context(started(bundle, "--workers", "1", "--port", server.url.rpartition(":")[2]))


def respond(webhook: Webhook, names: Sequence[str], fault: AbstractContextManager[None]) -> list[DrillResponse]:
    """What the webhook is told of a fault and of its end. AssertionError, which says what it was told, where an alert
    is missing."""
    fired_s: dict[str, float] = {}
    ended_s: dict[str, float] = {}

    def wait_for(status: str, seen_s: dict[str, float], began_s: float) -> None:
        def all_told() -> bool:
            for name in set(names) & webhook.alerts(status) - seen_s.keys():
                seen_s[name] = time.monotonic() - began_s
            return len(seen_s) == len(names)

        try:
            until(all_told, LIMIT_S)
        except AssertionError:
            names_by_status = {status: sorted(webhook.alerts(status)) for status in ("firing", "resolved")}
            raise AssertionError(f"{names}: {names_by_status}") from None

    with fault:
        wait_for("firing", fired_s, time.monotonic())
    wait_for("resolved", ended_s, time.monotonic())
    return [DrillResponse(name, fired_s[name], ended_s[name], stated_time_s(name)) for name in names]


def build_loans(out: Path) -> Path:
    """A small bundle: who is below 40 pays late."""
    rng = np.random.default_rng(0)
    columns = {"age": rng.uniform(18, 80, 300), "income": rng.lognormal(8, 1, 300)}
    columns["late"] = np.where(columns["age"] < 40, "yes", "no").astype(object)
    return build(out, columns, target="late", labels=("no", "yes"), with_support=True)


def fire_drill(folder: Path, webhooks: list[Webhook] | None = None) -> Iterator[DrillResponse]:
    """Every fault of the drill, one after the other. `webhooks` gets the webhook, to look at what it was told.
    PermissionError where no disk can be mounted."""
    bundle = build_loans(folder / "loans")
    # The machine's own disk, which holds the models, may be nearly full: of the drill's disk nothing is left.
    settings = ["latency_p99=0.1", "model_age_days=3650", "disk_free=0.001"]
    rules = shorten_rules(rule_file(read_thresholds(settings), RUNBOOKS))
    certificate, key, drift = folder / "cert.pem", folder / "key.pem", folder / "drift.json"

    def write_certificate(is_expired: bool) -> None:
        for path, content in zip(
            (certificate, key), make_certificate(*((-3, -1) if is_expired else (0, 90))), strict=True
        ):
            path.write_bytes(content)

    def write_drift(has_drifted: bool) -> None:
        drift.write_text(json.dumps({"columns": [{"column": "age", "psi": 0.9 if has_drifted else 0.01}]}))

    write_certificate(False)
    write_drift(False)
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk"))
        url, webhook = stack.enter_context(alertmanager(folder / "alertmanager"))
        if webhooks is not None:
            webhooks.append(webhook)
        logs = ("--audit-log", disk / "audit.log", "--prediction-log", f"{disk / 'predictions'},flush_s=0.5")
        server = stack.enter_context(started(bundle, "--workers", "1", *logs))
        secure = stack.enter_context(started(bundle, "--workers", "1", "--tls-cert", certificate, "--tls-key", key))
        exposer = stack.enter_context(exposing(drift))
        targets = [server.url, secure.url, exposer]
        base = stack.enter_context(prometheus(folder / "prometheus", targets, rules, url))
        until(lambda: len(query_prometheus(base, "up == 1")) == len(targets), LIMIT_S)
        faults: list[tuple[tuple[str, ...], AbstractContextManager[None]]] = [
            (("DeepseekCertificateExpired", "DeepseekCertificate"), changed_file(write_certificate)),
            (("DeepseekColumnDrift",), changed_file(write_drift)),
            (("DeepseekLatency",), together(asking(server.url), slow_engine(server))),
            (("DeepseekErrors", "DeepseekDeadlines"), asking(server.url, 2_000, {"x-timeout-ms": "1"})),
            (("DeepseekWorkerDied",), killed_engine(server)),
            (("DeepseekDiskFull", "DeepseekLogLost"), full_disk(server, disk)),
            (("DeepseekDown",), killed_server(server, bundle, stack)),
        ]
        for names, fault in faults:
            yield from respond(webhook, names, fault)
