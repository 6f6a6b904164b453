"""Programs for Ray run in an environment of its own, which `make test-ray` makes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deepseek.extras import is_installed

ROOT = Path(__file__).resolve().parents[3]


def python_with(modules: str) -> str:
    """A Python that can import these, and Ray; else the test is skipped."""
    interpreter = sys.executable if is_installed("ray") else str(ROOT / ".venv-ray" / "bin" / "python")
    done = subprocess.run([interpreter, "-c", f"import {modules}"], check=False) if Path(interpreter).exists() else None
    if done is None or done.returncode:
        pytest.skip(f"{modules} cannot be imported; `make test-ray` makes an environment with it")
    return interpreter


def command_on_ray(python: str, *arguments: object) -> subprocess.Popen[str]:
    """A verb of this package in that Python, with what a cluster of its own may take here."""
    environment = {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [python, "-m", "deepseek", *map(str, arguments)], env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_one(process: subprocess.Popen[str], task: str) -> None:
    """Kill the first worker of a command that runs a task with `task` in its name. AssertionError where none does."""
    with suppress(psutil.NoSuchProcess):
        command = psutil.Process(process.pid)
        while process.poll() is None:
            for child in command.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    title = " ".join(child.cmdline())
                    if title.startswith("ray::") and task in title:
                        child.kill()
                        return
            time.sleep(0.02)
    raise AssertionError(f"the command ended with {process.returncode} before a worker ran {task}")
