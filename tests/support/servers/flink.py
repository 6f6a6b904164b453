"""Apache Flink runs in an environment of its own, which `make test-flink` makes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepseek.extras import is_installed

ROOT = Path(__file__).resolve().parents[3]
#: A small mini-cluster that compiles little: the tests are short, and share their machine.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
#: Beside other work a part may take long to start: the ten seconds that Flink allows of itself ended one.
CLUSTER = """
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 900m
jobmanager.memory.jvm-metaspace.size: 160m
rest.address: localhost
rest.bind-address: localhost
rest.port: {rest}
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.memory.process.size: 1000m
taskmanager.memory.managed.size: 128m
taskmanager.memory.jvm-metaspace.size: 160m
taskmanager.numberOfTaskSlots: 1
heartbeat.timeout: 10000
heartbeat.interval: 2000
pekko.ask.timeout: 300 s
pekko.startup-timeout: 300 s
"""


def python_with_flink() -> str:
    """A Python that can import pyflink; without one, or without Java, the test is skipped."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java, which Flink runs on")
    python = sys.executable if is_installed("pyflink") else str(ROOT / ".venv-flink" / "bin" / "python")
    probe = subprocess.run([python, "-c", "import pyflink"], check=False) if Path(python).exists() else None
    if probe is None or probe.returncode:
        pytest.skip("pyflink cannot be imported; `make test-flink` makes an environment with it")
    return python


def start_job(python: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """`python -m deepseek.features.flink` with Flink's mini-cluster."""
    return _start([python, "-m", "deepseek.features.flink", *arguments], cwd, variables)


class FlinkCluster:
    """A cluster of Flink on this machine, each part a process: a job manager, and task managers with a slot each."""

    def __init__(self, python: str, folder: Path) -> None:
        probe = [python, "-c", "import os, pyflink; print(os.path.dirname(pyflink.__file__))"]
        self.python, self.folder = python, folder
        self.home = Path(subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip())
        for name in ("conf", "lib", "log"):
            (folder / name).mkdir(parents=True)
        for jar in (*self.home.glob("lib/*.jar"), *self.home.glob("opt/flink-python*.jar")):
            (folder / "lib" / jar.name).symlink_to(jar)
        for file in self.home.glob("conf/log4j*"):
            shutil.copy(file, folder / "conf")
        lines = (self.home / "conf" / "config.yaml").read_text().splitlines()
        options = next(line.partition(":")[2].strip() for line in lines if line.strip().startswith("all: --add"))
        text = f"env.java.opts.all: {options} {JAVA_OPTIONS}" + CLUSTER.format(rpc=_free_port(), rest=_free_port())
        (folder / "conf" / "config.yaml").write_text(text)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, script: str) -> subprocess.Popen[str]:
        """One more part: jobmanager.sh or taskmanager.sh."""
        self.processes.append(self._start(["bash", str(self.home / "bin" / script), "start-foreground"]))
        return self.processes[-1]

    def submit(self, *arguments: str) -> subprocess.Popen[str]:
        """`flink run` of the job; it ends with the job."""
        program = str(ROOT / "src" / "deepseek" / "features" / "flink" / "__main__.py")
        python = ["-pyexec", self.python, "-pyclientexec", self.python]
        return self._start(["bash", str(self.home / "bin" / "flink"), "run", *python, "-py", program, *arguments])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        places = {"FLINK_HOME": self.home, "FLINK_CONF_DIR": self.folder / "conf", "FLINK_LIB_DIR": self.folder / "lib"}
        return _start(command, self.folder, {name: str(place) for name, place in places.items()})


@contextmanager
def flink_cluster(python: str, folder: Path) -> Iterator[FlinkCluster]:
    """A cluster with a job manager; its processes end with the block."""
    cluster = FlinkCluster(python, folder)
    cluster.start("jobmanager.sh")
    try:
        yield cluster
    finally:
        for process in cluster.processes:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Kills a process and what it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _start(command: list[str], cwd: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """In a process group of its own; its output to a file, for a pipe that nobody reads would stop it."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT / "src"), "FLINK_LOG_DIR": str(cwd), "JVM_ARGS": JAVA_OPTIONS, **variables,
    }  # fmt: skip
    with (cwd / f"{Path(command[1]).name}-{len(list(cwd.glob('*.out')))}.out").open("w") as output:
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
