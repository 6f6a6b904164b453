"""An engine process a core: of the cores that a container may use, not of those that the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepseek.cores import num_cores
from deepseek.serve.core.config import Settings

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


def test_a_process_bound_to_one_core_fits_with_one_thread() -> None:
    """Two OpenMP threads would wait for each other by turning in circles."""
    words = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "import numpy as np; from deepseek.train.candidates import FitData;"
        "x = np.zeros((40_000, 40), np.float32);"
        "data = FitData(x, x[:, 0], x[:, 0], 'regression', 0, ('numeric',) * 40, (0,) * 40, (0,) * 40);"
        "print(data.num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


def test_where_processes_are_not_bound_to_cores_all_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert num_cores(tmp_path) == 12
