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
    found = sys.executable if is_installed("ray") else str(ROOT / ".venv-ray" / "bin" / "python")
    asked = subprocess.run([found, "-c", f"import {modules}"], check=False) if Path(found).exists() else None
    if asked is None or asked.returncode:
        pytest.skip(f"{modules} cannot be imported; `make test-ray` makes an environment with it")
    return found
