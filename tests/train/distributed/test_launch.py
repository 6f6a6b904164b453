"""Ranks that are killed: all go on from the last checkpoint to the very same weights. Errors that no restart can mend
come out as they were, and nobody is started again for them."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.errors import CheckError, InputError
from deepseek.train.distributed.launch import launch
from support.servers import launched


def run(folder: Path, kills: dict[int, tuple[int, int]], num_processes: int = 2, max_restarts: int = 1) -> Any:
    folder.mkdir()
    return launch(launched.train, (folder, kills), num_processes=num_processes, max_restarts=max_restarts)


@pytest.mark.slow
def test_a_rank_killed_in_the_middle_of_an_epoch_costs_nothing_but_time(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    whole = run(tmp_path / "whole", {})
    killed = run(tmp_path / "killed", {0: (1, 14)})
    assert killed == whole
    names = sorted(path.name for path in (tmp_path / "killed").glob("started-*"))
    assert names == ["started-0-0", "started-0-1", "started-1-0", "started-1-1"]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_any_rank_may_die_many_times(tmp_path: Path) -> None:
    """Four ranks, 24 steps, eight deaths: each time some steps further than the checkpoint before."""
    draw = random.Random(0)
    kills = {attempt: (draw.randrange(4), draw.randrange(3, 6)) for attempt in range(4)}
    assert run(tmp_path / "killed", kills, 4, 4) == run(tmp_path / "whole", {}, 4, 0)


@pytest.mark.slow
def test_an_error_that_no_restart_mends_comes_out_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        launch(launched.refuse, (tmp_path,), num_processes=2, max_restarts=5)
    assert caught.value.to_dict() == {
        "code": "bad_input", "message": "the rows are gone", "expected": "rows", "fix": "bring them back",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["called-0-0", "called-0-1"]


@pytest.mark.slow
def test_a_fault_names_the_rank_that_had_it_and_not_those_that_lost_a_peer() -> None:
    with pytest.raises(CheckError, match="died once; the last time it was rank 1: KeyError: 'a fault in") as caught:
        launch(launched.break_down, num_processes=2, max_restarts=0)
    assert "in break_down" in str(caught.value.__cause__)


@pytest.mark.slow
def test_more_deaths_than_allowed_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"died once; the last time it was rank 1(: Signal 9 \(SIGKILL\)|, killed)"):
        run(tmp_path / "killed", {0: (1, 2)}, max_restarts=0)


@pytest.mark.slow
def test_sigterm_to_the_one_that_launched_saves_and_stops(tmp_path: Path) -> None:
    def end() -> None:
        while not list(tmp_path.glob("checkpoints/step-00000004")):
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    ender = threading.Thread(target=end)
    ender.start()
    with pytest.raises(KeyboardInterrupt):
        launch(launched.train, (tmp_path, {}, 0.1), num_processes=2, max_restarts=5)
    ender.join()
    steps = [path.name for path in sorted((tmp_path / "checkpoints").glob("step-*"))]
    assert steps[-1] == "step-00000010", "all ranks look each ten steps, save there and stop"
    assert not list(tmp_path.glob("started-1-*"))


@pytest.mark.slow
def test_ranks_save_and_end_when_the_one_that_launched_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\nfrom support.servers import launched\n"
        "from deepseek.train.distributed.launch import launch\n"
        "launch(launched.train, (pathlib.Path(sys.argv[1]), {}, 0.2), num_processes=2)"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    launcher = subprocess.Popen([sys.executable, "-c", code, tmp_path], env=environ)
    wait_for(lambda: bool(list(tmp_path.glob("checkpoints/step-00000004"))))
    launcher.kill()
    launcher.wait()
    pids = [int((tmp_path / f"started-0-{rank}").read_text()) for rank in range(2)]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))[-1] == "step-00000010"


def wait_for(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.mark.slow
def test_a_script_that_launches_when_it_is_imported_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from deepseek.train.distributed.launch import launch\nlaunch(print, num_processes=2, max_restarts=1)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert 'put the call of launch() under: if __name__ == "__main__"' in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs/guides/distributed.md").read_text("utf-8")
    (block,) = (one for one in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if "resume(" in one)
    (tmp_path / "elastic.py").write_text(block)
    said = []
    for _ in range(2):  # the second has nothing left to do
        command = [sys.executable, "elastic.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    assert len(said[0]) == 10
    assert said[0] == said[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "arguments", "words"),
    [
        (lambda: None, {"num_processes": 2}, "cannot be sent to another process"),
        (launched.break_down, {"num_processes": 2, "args": (threading.Lock(),)}, "open files and loaders inside"),
        (launched.break_down, {"num_processes": 0}, "num_processes is 0"),
        (launched.break_down, {"num_processes": 2, "max_restarts": -1}, "max_restarts is -1"),
        (launched.launch_again, {"num_processes": 1}, "if __name__"),
    ],
)
def test_what_cannot_be_launched_is_refused(target: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        launch(target, **arguments)
