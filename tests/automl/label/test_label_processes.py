"""Several processes label one project at once, and some are killed: what was acknowledged is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from automl.label.conftest import MakeProject
from deepseek.automl.label.project.project import Project

#: Labels every item once and says so behind each that was kept.
WORKER = """
import sys
from pathlib import Path
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import NewChange
name, folder = sys.argv[1:]
with Project.open(Path(folder)) as project:
    print("ready", flush=True)
    sys.stdin.readline()
    while items := project.store.next_items(name, 3):
        for item in items:
            project.store.record(NewChange(f"{name}-{item.number}", name, item.number, "label", "fire", seen=0))
            print(item.number, flush=True)
"""


def start(name: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, name, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_people_at_once_lose_nothing(make_project: MakeProject, tmp_path: Path) -> None:
    make_project(num_rows=61, overlap=0.5).close()
    workers = {name: start(name, tmp_path / "project") for name in ("ann", "bo")}
    for worker in workers.values():
        begin(worker)
    kept = {(int(line), name) for name, worker in workers.items() for line in worker.communicate()[0].split()}
    assert all(worker.returncode == 0 for worker in workers.values())
    with Project.open(tmp_path / "project") as project:
        assert {(label.item, label.person) for label in project.store.labels()} == kept
        assert len({item for item, _ in kept}) == 60
        # all that two are to answer were answered by both, and what the leases kept apart by one
        assert len(kept) == project.verify() == 90


@pytest.mark.parametrize("num_kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_what_was_acknowledged_outlives_sigkill(make_project: MakeProject, tmp_path: Path, num_kills: int) -> None:
    make_project(num_rows=num_kills * 60 + 20).close()
    acknowledged: set[int] = set()
    for number in range(num_kills):
        process = start(f"ann{number}", tmp_path / "project")
        begin(process)
        assert process.stdout is not None
        for _ in range(1 + 7 * number % 20):
            acknowledged.add(int(process.stdout.readline()))
        os.kill(process.pid, signal.SIGKILL)
        # By the same reader: communicate() would pass over the lines that this one has read ahead.
        acknowledged |= {int(line) for line in process.stdout if line[-1] == "\n"}
        process.communicate()
    with Project.open(tmp_path / "project") as project:
        labels = {label.item for label in project.store.labels()}
        assert acknowledged <= labels
        assert len(labels - acknowledged) <= num_kills  # kept, and killed before it could be said
        assert project.verify() == len(labels)
