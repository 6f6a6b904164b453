"""Images and containers that many tests ask. Everything is built and run for real."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.nets.textfolders import make_text_folder
from support.servers.containers import Container, build, docker, need_docker, running

COMPOSE = ("compose", "--project-name", "deepseek-test", "-f", "docker-compose.yml", "-f", "tests/docker/override.yml")


@pytest.fixture(scope="session")
def daemon() -> None:
    need_docker("version")


@pytest.fixture(scope="session")
def image(daemon: None) -> str:
    """With text models."""
    return build("deepseek/model-server:test")


@pytest.fixture(scope="session")
def tables_image(daemon: None) -> str:
    """Without OpenVINO."""
    return build("deepseek/model-server:test-tables", EXTRAS="serve,grpc")


@pytest.fixture(scope="session")
def models(daemon: None, tmp_path_factory: pytest.TempPathFactory, cancer_bundle: Path) -> Path:
    """A folder of models that any user may read."""
    from support.nets.tinylm import trained  # brings torch

    folder = tmp_path_factory.mktemp("models")
    make_text_folder(folder / "bert-base")
    trained(folder / "writer")
    shutil.copytree(cancer_bundle, folder / "cancer")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def stack(image: str, models: Path) -> Iterator[Container]:
    """docker-compose.yml, up and healthy."""
    need_docker("compose", "version")
    environ = {"DEEPSEEK_TEST_IMAGE": image, "DEEPSEEK_TEST_MODELS": str(models)}
    try:
        docker(*COMPOSE, "up", "--detach", "--wait", "--wait-timeout", "90", limit_s=150, environ=environ)
        yield Container(docker(*COMPOSE, "ps", "--quiet", "model-server", environ=environ))
    finally:
        docker(*COMPOSE, "down", "--timeout", "5", environ=environ)


@pytest.fixture
def tables(tables_image: str, models: Path) -> Iterator[Container]:
    """The smaller image with a bundle and two front ends, healthy."""
    environ = ("MODEL_PATH=/models/cancer", "FRONT_ENDS=2", "WORKERS=2", "GRPC_PORT=8001")
    options = [option for variable in environ for option in ("--env", variable)]
    with running(
        tables_image, "--cpus", str(min(2, os.cpu_count() or 1)), "-v", f"{models}:/models:ro", *options
    ) as running_tables:
        running_tables.wait_until_healthy()
        yield running_tables
