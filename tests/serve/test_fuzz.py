"""schemathesis reads our OpenAPI document and tries to break the server that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.nets.textfolders import make_text_folder
from support.nets.tinylm import trained
from support.servers.fuzzed import fuzz
from support.servers.serving import started


@pytest.mark.slow
def test_schemathesis_finds_no_server_error_and_no_undocumented_answer(server: Any, tmp_path: Path) -> None:
    fuzz(server, tmp_path)


@pytest.mark.slow
def test_it_finds_none_in_models_that_write_and_embed(tmp_path: Path) -> None:
    models = trained(tmp_path / "tiny"), make_text_folder(tmp_path / "embedder")
    with started(*models, "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as server:
        fuzz(server, tmp_path, "--include-path-regex", "^/v1/(completions|chat|embeddings)")
