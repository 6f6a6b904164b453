"""Ray Train as the launcher, for real: the guide's function in two workers, one of which is killed. Run by
`make test-ray`, which makes the environment `.venv-ray`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.servers.rayed import ROOT, python_with

PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path

import torch
from torch import nn

FOLDER, KILLS = Path(sys.argv[1]), sys.argv[2] == "kill"


class Slow(nn.Linear):
    def forward(self, x):
        time.sleep(0.02)  # so that there is a middle in which to die
        return super().forward(x)


def train():
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from deepseek.train import ArrayStream, TrainConfig, resume

    share = dist.get_rank(), dist.get_world_size()
    with (FOLDER / f"pids{share[0]}").open("a") as file:
        print(os.getpid(), file=file)
    inputs = torch.randn(2_000, 4, generator=torch.Generator().manual_seed(1))
    data = ArrayStream((inputs, inputs[:, :3].argmax(1)), 32, torch.Generator().manual_seed(0), share)
    torch.manual_seed(0)
    model = DistributedDataParallel(Slow(4, 3))
    config = TrainConfig(epochs=8, lr=0.01, checkpoint_every=20)
    resume(model, data, config, loss=nn.CrossEntropyLoss(), checkpoints=str(FOLDER / "run"))
    if share[0] == 0:
        torch.save(model.module.state_dict(), FOLDER / "weights.pt")


def kill():
    while not list(FOLDER.glob("run/*")):  # the first checkpoint
        time.sleep(0.05)
    os.kill(int((FOLDER / "pids1").read_text()), signal.SIGKILL)


if __name__ == "__main__":
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init("local", num_cpus=4, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": sys.argv[3]}})
    if KILLS:
        threading.Thread(target=kill, daemon=True).start()
    run = RunConfig(storage_path=str(FOLDER / "ray"), failure_config=FailureConfig(max_failures=20))
    TorchTrainer(lambda: train(), scaling_config=ScalingConfig(num_workers=2), run_config=run).fit()
"""


@pytest.fixture(scope="module")
def python() -> str:
    return python_with("ray.train.torch")


@pytest.mark.slow
def test_a_worker_that_is_killed_under_ray_train_changes_no_bit(python: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    for kind in ("whole", "kill"):
        (tmp_path / kind).mkdir()
        done = subprocess.run(
            [python, tmp_path / "program.py", tmp_path / kind, kind, ROOT / "src"],
            capture_output=True, text=True, check=False, timeout=600,
            env=os.environ | {
                "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONPATH": str(ROOT / "src"),
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3_000:]
    assert [len((tmp_path / kind / "pids0").read_text().split()) for kind in ("whole", "kill")] == [1, 2]
    compare = (
        "import sys, torch; a, b = (torch.load(f'{each}/weights.pt', weights_only=True) for each in sys.argv[1:]); "
        "sys.exit(not all(torch.equal(a[name], b[name]) for name in a))"
    )
    assert subprocess.run([python, "-c", compare, tmp_path / "whole", tmp_path / "kill"], check=False).returncode == 0
