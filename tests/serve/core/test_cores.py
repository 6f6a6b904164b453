"""An engine process a core: of the cores that a container may use, not of those that the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepseek.serve.core.config import Settings
from deepseek.serve.core.cores import num_cores

ALL = len(os.sched_getaffinity(0))


@pytest.fixture
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.mark.usefixtures("sixty_four")
@pytest.mark.parametrize(
    ("line", "cores"),
    [("400000 100000", 4), ("150000 100000", 1), ("20000 100000", 1), ("max 100000", 64), ("9900000 100000", 64)],
)
def test_a_share_of_time_is_a_number_of_cores(tmp_path: Path, line: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{line}\n")
    assert num_cores(tmp_path) == cores


@pytest.mark.usefixtures("sixty_four")
@pytest.mark.parametrize(("quota", "cores"), [("400000", 4), ("-1", 64)])
def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert num_cores(tmp_path) == cores


@pytest.mark.parametrize("text", ["", "nonsense", "0 100000", "100000 0", "1 2 3", "\x00", "é"])
def test_what_cannot_be_understood_is_no_limit(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text, "utf-8")
    assert num_cores(tmp_path) == ALL


def test_workers_are_dealt_out_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek.serve.core.config.num_cores", lambda: 4)
    assert Settings.read({"WORKERS": "auto"}).workers == 4
    assert Settings.read({"FRONT_ENDS": "2"}, front_ends=2).workers == 2
    assert Settings.read({"WORKERS": "7"}).workers == 7
