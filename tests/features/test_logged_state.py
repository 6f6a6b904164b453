"""When a snapshot is due, and what stands in the log alone at the end."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from deepseek.features.folder import SnapshotWork
from deepseek.features.logged_state import SnapshotSchedule


def work_in(folder: Path) -> SnapshotWork:
    return SnapshotWork(folder, {"numbers": np.arange(3)}, "digest", 7)


def test_one_is_due_after_so_many_rows_and_none_is_begun_while_another_is_written(tmp_path: Path) -> None:
    may_write = threading.Event()
    started: list[int] = []

    class SlowWork(SnapshotWork):
        def write(self) -> Path:
            assert may_write.wait(600)
            return super().write()

    def start() -> SnapshotWork:
        started.append(1)
        return SlowWork(tmp_path, {"numbers": np.arange(3)}, "digest", 7)

    snapshots = SnapshotSchedule(start, every=10)
    snapshots.count(9)
    snapshots.begin_when_due()
    assert not started
    for _ in range(2):
        snapshots.count(10)
        snapshots.begin_when_due()
    assert len(started) == 1
    may_write.set()
    assert snapshots.close()  # ten rows came behind the one that was written
    assert len(list(tmp_path.glob("snapshot-*"))) == 1


def test_a_snapshot_that_could_not_be_written_leaves_everything_in_the_log_alone(tmp_path: Path) -> None:
    snapshots = SnapshotSchedule(lambda: work_in(tmp_path / "no folder"), every=1)
    snapshots.count(1)
    snapshots.begin_when_due()
    assert snapshots.close()
    whole = SnapshotSchedule(lambda: work_in(tmp_path), every=1)
    whole.count(1)
    whole.begin_when_due()
    assert not whole.close()
