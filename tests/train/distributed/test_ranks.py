"""The loop in two processes: the same weights as one process gets, checkpoints that are written together, and a run of
two that goes on in one."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from deepseek.errors import CheckError, InputError
from deepseek.train import ArrayStream, TrainConfig, fit, resume
from support.servers.ranks import num_threads, run_ranks

CONFIG = TrainConfig(epochs=3, lr=0.01, accumulate=2, checkpoint_every=1, ema_decay=0.5, seed=3)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


def rows(batch_size: int, *share: int) -> ArrayStream:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    return ArrayStream((x, x.abs()[:, :2]), batch_size, torch.Generator().manual_seed(0), share or (0, 1))


def whole_and_broken(kind: str, folder: Path) -> bool:
    """A run that is left alone, and one that breaks in its fourth step and goes on: the weights of both in `folder`."""

    def model() -> nn.Module:
        return DistributedDataParallel(net()) if kind == "ddp" else fully_shard(net())

    def data() -> ArrayStream:
        return rows(8, dist.get_rank(), 2)

    def save(trained: nn.Module, name: str) -> None:
        trained = trained.module if kind == "ddp" else trained
        state = get_model_state_dict(trained, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if dist.get_rank() == 0:
            save_file(state, folder / name)

    count = 0

    def breaking(output: Tensor, target: Tensor) -> Tensor:
        nonlocal count
        count += 1
        if count == 8:  # in the fourth step: an epoch has two
            raise KeyError("here")
        return nn.functional.mse_loss(output, target)

    whole = model()
    result = fit(whole, data(), CONFIG, loss=nn.functional.mse_loss)
    save(whole, "whole")
    with pytest.raises(Exception, match="here"):
        fit(model(), data(), CONFIG, loss=breaking, checkpoints=folder / "run")
    again = model()
    same = resume(again, data(), CONFIG, loss=nn.functional.mse_loss, checkpoints=folder / "run") == result
    save(again, "again")
    return same


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_go_on_with_the_same_bits_and_agree_with_one(kind: str, tmp_path: Path) -> None:
    assert run_ranks(2, whole_and_broken, kind, tmp_path, folder=tmp_path) == [True, True]
    whole, again = load_file(tmp_path / "whole"), load_file(tmp_path / "again")
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)

    # one process: the same rows in each step, in batches twice as large
    one = net()
    fit(one, rows(16), CONFIG, loss=nn.functional.mse_loss)
    for name, tensor in whole.items():
        torch.testing.assert_close(one.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)

    # what two wrote, one reads: the run is over, so it only takes the weights
    other = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    with pytest.warns(UserWarning, match="written by 2 processes and is read by 1"):
        resume(other, rows(16), CONFIG, loss=nn.functional.mse_loss, checkpoints=tmp_path / "run")
    for name, tensor in whole.items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def batches(count: int) -> list[Any]:
    return [(torch.ones(4, 4), torch.zeros(4, 2))] * count


def refused(folder: Path) -> dict[str, Any]:
    """Each rank stays after its error, so that one which waits for another would wait on."""
    with pytest.raises(InputError) as shares:
        fit(DistributedDataParallel(nn.Linear(4, 2)), batches(3 + dist.get_rank()), loss=nn.functional.mse_loss)
    start_s = time.monotonic()
    with pytest.raises(CheckError) as broken:
        fit(
            fully_shard(nn.Linear(4, 2)), batches(3), TrainConfig(epochs=1),
            loss=lambda output, target: (output - target).mean() * (float("nan") if dist.get_rank() else 1.0),
        )  # fmt: skip
    raised_s = time.monotonic() - start_s
    (folder / f"raised-{dist.get_rank()}").touch()
    while len(list(folder.glob("raised-*"))) < 2 and time.monotonic() < start_s + 60:
        time.sleep(0.05)
    return {"shares": str(shares.value), "broken": str(broken.value), "raised_s": raised_s}


def test_ranks_of_unequal_shares_and_a_loss_that_one_rank_alone_finds_broken_are_said_on_all(tmp_path: Path) -> None:
    outcome = run_ranks(2, refused, tmp_path, folder=tmp_path)
    assert all("the ranks have 3, 4 batches" in each["shares"] for each in outcome)
    assert "the gradient of batch 0 in epoch 0 is not finite" in outcome[0]["broken"]
    assert "the loss of batch 0 in epoch 0 is not finite" in outcome[1]["broken"]
    assert max(each["raised_s"] for each in outcome) < 30


def threads_after_runs(folder: Path) -> list[int]:
    outcome = []
    for index in range(4):
        model = DistributedDataParallel(nn.Linear(4, 2))
        fit(model, batches(2), TrainConfig(epochs=1), loss=nn.functional.mse_loss, checkpoints=folder / str(index))
        del model
        gc.collect()
        outcome.append(num_threads(outcome[0] if outcome else 0))
    return outcome


@pytest.mark.slow
def test_a_run_leaves_no_threads_behind(tmp_path: Path) -> None:
    for outcome in run_ranks(2, threads_after_runs, tmp_path / "runs", folder=tmp_path):
        assert outcome[1:] == outcome[:1] * 3
