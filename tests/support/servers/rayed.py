"""Programs for Ray run in an environment of its own, which `make test-ray` makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
