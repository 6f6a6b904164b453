"""Apache Flink runs in an environment of its own, which `make test-flink` makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepseek.extras import is_installed

ROOT = Path(__file__).resolve().parents[3]
#: A small mini-cluster that compiles little: the tests are short, and share their machine.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx700m"


def python_with_flink() -> str:
    """A Python that can import pyflink; without one, or without Java, the test is skipped."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java, which Flink runs on")
    python = sys.executable if is_installed("pyflink") else str(ROOT / ".venv-flink" / "bin" / "python")
    asked = subprocess.run([python, "-c", "import pyflink"], check=False) if Path(python).exists() else None
    if asked is None or asked.returncode:
        pytest.skip("pyflink cannot be imported; `make test-flink` makes an environment with it")
    return python


def start_job(python: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """`python -m deepseek.features.flink` in a process group of its own."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT / "src"), "JAVA_TOOL_OPTIONS": JAVA_OPTIONS, "FLINK_LOG_DIR": str(cwd),
        **variables,
    }  # fmt: skip
    return subprocess.Popen(
        [python, "-m", "deepseek.features.flink", *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
