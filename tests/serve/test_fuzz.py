"""schemathesis reads our OpenAPI document and tries to break the server that wrote it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from serving import started
from textfolders import make_text_folder
from tinylm import trained

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_schemathesis_finds_no_server_error_and_no_undocumented_answer(server: Any, tmp_path: Path) -> None:
    fuzz(server, tmp_path)


def test_it_finds_none_in_models_that_write_and_embed(tmp_path: Path) -> None:
    models = trained(tmp_path / "tiny"), make_text_folder(tmp_path / "embedder")
    with started(*models, "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as server:
        fuzz(server, tmp_path, "--include-path-regex", "^/v1/(completions|chat|embeddings)")


def fuzz(server: Any, folder: Path, *more: str) -> None:
    """Read the document, try to break the server, and see that it still answers."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", CHECKS,
        "--max-examples", "12", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--mode", "all", *more,
    ]  # fmt: skip
    environ = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environ, check=False)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
