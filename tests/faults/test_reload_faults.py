"""Models that are replaced, damaged and unloaded while a server answers: nothing is lost, and nothing stays behind."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.rows.versions import damaged, other_version
from support.servers.load import PREDICT, Load, engines_of, until
from support.servers.serving import Server, started

LOAD = "/v2/repository/models/cancer/load"
UNLOAD = "/v2/repository/models/cancer/unload"
NUM_CYCLES = 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def repository(cancer_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(cancer_bundle, tmp_path / "models" / "cancer" / "1")
    return tmp_path / "models"


@pytest.fixture
def server(repository: Path, tmp_path: Path) -> Iterator[Server]:
    held = tmp_path / "held"
    held.mkdir()
    with started("--repository", repository, "--workers", "2", environ={"TMPDIR": str(held)}) as running:
        yield running
        assert running.stop() == 0
        assert list(held.glob("deepseek-*")) == []


def versions(server: Server) -> list[str]:
    """Versions that are ready."""
    listed = httpx.post(f"{server.url}/v2/repository/index", json={"ready": True}).json()
    return [entry["version"] for entry in listed]


def example(server: Server) -> Any:
    return httpx.get(f"{server.url}/v1/models/cancer/example").json()


@pytest.mark.slow
def test_reloads_under_load_lose_no_request(server: Server, repository: Path, cancer_bundle: Path) -> None:
    load = Load(server.url, 8, example(server))
    for version in ("2", "3", "4"):
        load.wait_for_answers()
        other_version(cancer_bundle, repository / "cancer" / version, version)
        assert httpx.post(f"{server.url}{LOAD}", timeout=30).json()["versions"] == [version]
        assert versions(server) == [version]
    load.wait_for_answers()
    load.end()
    assert load.broken == []
    assert set(load.statuses) == {200}


def test_unloading_under_load_answers_what_was_accepted(server: Server) -> None:
    load = Load(server.url, 8, example(server))
    load.wait_for_answers()
    assert httpx.post(f"{server.url}{UNLOAD}", timeout=30).status_code == 200
    until(lambda: 404 in load.statuses)
    load.end()
    assert load.broken == []
    assert set(load.statuses) == {200, 404}


def test_a_damaged_version_is_refused_and_the_old_one_goes_on(
    server: Server, repository: Path, cancer_bundle: Path
) -> None:
    body = example(server)
    damaged(cancer_bundle, repository / "cancer" / "2")
    refused = httpx.post(f"{server.url}{LOAD}", timeout=30)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "integrity")
    assert "model.onnx" in refused.json()["error"]["message"]
    assert httpx.post(f"{server.url}{PREDICT}", json=body).headers["x-model-version"] == "1"
    listed = httpx.post(f"{server.url}/v2/repository/index").json()
    assert [(entry["version"], entry["state"]) for entry in listed] == [("1", "READY"), ("2", "UNAVAILABLE")]
    assert "model.onnx" in listed[1]["reason"]


def test_engines_that_die_open_what_was_loaded_even_when_its_folder_is_gone(
    server: Server, repository: Path, cancer_bundle: Path
) -> None:
    body = example(server)
    other_version(cancer_bundle, repository / "cancer" / "2", "2")
    assert httpx.post(f"{server.url}{LOAD}", timeout=30).status_code == 200
    shutil.rmtree(repository / "cancer")
    before = engines_of(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(engines_of(server)) - set(before)) == 2)
    for _ in range(4):
        answer = httpx.post(f"{server.url}{PREDICT}", json=body, timeout=30)
        assert (answer.status_code, answer.headers["x-model-version"]) == (200, "2")


@pytest.mark.slow
def test_cycles_of_loading_and_unloading_leave_no_memory_behind(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=30) as client:

        def cycle() -> None:
            assert client.post(UNLOAD).status_code == 200
            assert client.post(PREDICT, content=b"{}").status_code == 404
            assert client.post(LOAD).status_code == 200

        for _ in range(3):  # until every thread that there will be is there
            cycle()
        processes = [server.process.pid, *engines_of(server)]
        before = [resident_bytes(pid) for pid in processes]
        for _ in range(NUM_CYCLES):
            cycle()
        assert [server.process.pid, *engines_of(server)] == processes
        for pid, then in zip(processes, before, strict=True):
            assert resident_bytes(pid) < 1.03 * then


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
