"""schemathesis reads a server's OpenAPI document and tries to break the server that wrote it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def fuzz(server: Any, folder: Path, *more: str, num_examples: int = 12) -> None:
    """Read the document, try to break the server, and see that it still answers."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", CHECKS,
        "--max-examples", str(num_examples), "--seed", "1", "--phases", "examples,coverage,fuzzing", "--mode", "all",
        *more,
    ]  # fmt: skip
    environ = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environ, check=False)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
