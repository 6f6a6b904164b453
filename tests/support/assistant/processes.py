"""A server of an assistant in a process of its own, asked without an event loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2]


@contextmanager
def process(state: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of its own on these conversations: its URL and itself."""
    running = subprocess.Popen(
        [sys.executable, "-m", "support.assistant.servers", str(state)], stdout=subprocess.PIPE, text=True, cwd=TESTS,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )  # fmt: skip
    assert running.stdout is not None
    try:
        yield json.loads(running.stdout.readline())["url"], running
    finally:
        running.kill()
        running.communicate()


def ask(url: str, verb: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/models/help:{verb}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        values: dict[str, Any] = json.load(answer)
    return values
