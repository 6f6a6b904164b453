"""Docker for tests: images that are built for real, containers that run, and what can be asked of both."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]
#: As docker-compose.yml has it.
SAFE = ("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")
PROCESSES = """
import json, pathlib
found = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words = (folder / "cmdline").read_bytes().decode().split(chr(0))[:-1]
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        found.append({"pid": int(folder.name), "parent": int(parent), "state": state, "words": words})
    except OSError:
        pass
print(json.dumps(found))
"""


def docker(*args: str | Path, limit_s: float = 60, environ: dict[str, str] | None = None) -> str:
    """What a command of Docker prints. It has to succeed."""
    done = subprocess.run(
        ["docker", *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False,
        env=os.environ | (environ or {}),
    )  # fmt: skip
    assert done.returncode == 0, f"docker {' '.join(map(str, args))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


def need_docker(*args: str) -> None:
    """Skip where there is no Docker; fail there under DEEPSEEK_REQUIRE_DOCKER=1. `args`: the command that must run."""
    try:
        done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=30, check=False)
        wrong = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        wrong = "docker is not installed"
    if wrong:
        say = pytest.fail if os.environ.get("DEEPSEEK_REQUIRE_DOCKER") == "1" else pytest.skip
        say(f"docker {' '.join(args)}: {wrong}")


def build(tag: str, **args: str) -> str:
    """The tag of an image of this source."""
    options = [option for name, value in args.items() for option in ("--build-arg", f"{name}={value}")]
    docker("build", "--network", "host", "--tag", tag, *options, "--file", "docker/Dockerfile", ".", limit_s=1_500)
    return tag


def bytes_above_base(image: str) -> int:
    """Size of the layers that the Dockerfile puts on its base image."""
    rows = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image).splitlines()
    first = next(number for number, row in enumerate(rows) if "COPY /files/ /" in row)  # newest first
    return sum(int(row.split()[0]) for row in rows[: first + 1])


def until(true: Callable[[], bool], limit_s: float = 30) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.1)


@dataclass(frozen=True)
class Container:
    """A container that runs the server."""

    name: str

    @property
    def url(self) -> str:
        """Of the model server."""
        return self.url_at(8000)

    def url_at(self, port: int) -> str:
        """By its own address: before a port that is published stands a proxy, which accepts for a dead server."""
        address = self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        return f"http://{address}:{port}"

    @property
    def health(self) -> str:
        return self.inspect("{{.State.Health.Status}}")

    def inspect(self, template: str) -> str:
        return docker("inspect", "--format", template, self.name)

    def python(self, code: str, *args: str) -> str:
        """What a program prints in there."""
        return docker("exec", self.name, "python", "-c", code, *args)

    def processes(self) -> list[dict[str, Any]]:
        processes_inside: list[dict[str, Any]] = json.loads(self.python(PROCESSES))
        return processes_inside

    def engines(self) -> set[int]:
        return {each["pid"] for each in self.processes() if "deepseek.engines.process" in each["words"]}

    def kill(self, pid: int) -> None:
        self.python("import os, sys; os.kill(int(sys.argv[1]), 9)", str(pid))

    def wait_until_healthy(self) -> None:
        until(lambda: self.health == "healthy" or self.inspect("{{.State.Running}}") != "true", 120)
        assert self.health == "healthy", docker("logs", self.name)


@contextmanager
def running(image: str, *options: str | Path, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container as safe as that of docker-compose.yml, removed at the end."""
    started = Container(docker("run", "--detach", *SAFE, *options, image, *command))
    try:
        yield started
    finally:
        docker("rm", "--force", started.name)


class Load:
    """Clients that ask one request after the other until nobody listens, and keep what came of each."""

    def __init__(self, url: str, body: Any, num_clients: int = 8) -> None:
        self.statuses: list[int] = []
        self.broken: list[str] = []
        self._body = json.dumps(body)
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(num_clients)]
        self._stop = threading.Event()
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(url, content=self._body, headers={"content-type": "application/json"})
                except httpx.ConnectError:
                    return  # nothing was accepted
                except httpx.HTTPError as error:
                    self.broken.append(repr(error))
                    return
                self.statuses.append(answer.status_code)
                if answer.headers.get("connection") == "close":
                    return

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
