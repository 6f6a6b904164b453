"""One server for the tests of the console's answers, in both languages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.rows.sampled import sampled_bundle
from support.servers.serving import Server, started


@pytest.fixture(scope="session")
def console_server(loans: Path, cancer_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A table with a category, one of numbers, a picture; and a repository with a version that is damaged."""
    base = tmp_path_factory.mktemp("console")
    photos = sampled_bundle(base / "photos", ("photo",))
    versions = base / "models" / "credit"
    shutil.copytree(loans, versions / "1")
    with started(loans, cancer_bundle, photos, "--repository", base / "models", "--workers", "1") as running:
        shutil.copytree(loans, versions / "2")
        (versions / "2" / "model.onnx").write_bytes(b"!")
        httpx.post(f"{running.url}/v2/repository/models/credit/load", timeout=60)
        yield running
