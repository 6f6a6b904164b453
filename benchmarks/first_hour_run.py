"""One `deepseek ship` as a person types it, in a process of its own, for the parts of first_hour.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ship(words: Sequence[str], out: Path) -> dict[str, Any]:
    """What `deepseek ship WORDS --out OUT --json` prints. CalledProcessError where it fails, its words on stderr."""
    command = [sys.executable, "-m", "deepseek", "ship", *words, "--out", str(out), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
