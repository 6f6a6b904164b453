"""Data parallel with compression, in real processes: equal ranks, nothing lost, the quality of plain DDP."""

from __future__ import annotations

import gc
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.distributed.data_parallel import DataParallel, choose_kind, wrap
from deepseek.train.distributed.gradient_compression import (
    Compression,
    ErrorFeedbackMemory,
    Kind,
    all_reduce_mean,
    reduce_gradients,
    relayed_mean,
    small_message_mean,
)
from support.servers.ranks import num_threads, run_ranks

ROOT = Path(__file__).resolve().parents[3]
LOSSY: tuple[Kind, ...] = ("fp16", "bf16", "int8", "powersgd", "acpsgd")


def digest(tensors: Any) -> str:
    return hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest()


def small_net() -> nn.Module:
    """Smooth, so that two runs that differ by rounding stay near each other."""
    torch.manual_seed(0)
    layers = (nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, target = load_digits(return_X_y=True)
    inputs, labels = torch.tensor(rows / 16, dtype=torch.float32).view(-1, 8, 8), torch.tensor(target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    inputs, labels = inputs[order], labels[order]
    return inputs[:1400], labels[:1400], inputs[1400:], labels[1400:]


def train(model: DataParallel, steps: range, rate: float = 0.1) -> None:
    """SGD with momentum of zero, so that a run can be cut in two; each rank has its own rows."""
    inputs, labels, _, _ = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for step in steps:
        rows = torch.randint(len(labels), (32,), generator=torch.Generator().manual_seed(97 * step + dist.get_rank()))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()


def learned(kind: Kind) -> dict[str, Any]:
    model = wrap(small_net(), Compression(kind=kind, rank=4, warm_start_steps=20), bucket_cap_mb=0.02)
    train(model, range(300))
    _, _, inputs, labels = digits()
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(model.module(inputs), labels))
    return {"digest": digest(model.parameters()), "loss": loss, "steps": model.compressor.step}


def learned_by_all() -> dict[str, dict[str, Any]]:
    return {kind: learned(kind) for kind in ("none", *LOSSY)}


@pytest.mark.slow
def test_compressed_training_keeps_the_loss_with_many_buckets_and_equal_ranks(tmp_path: Path) -> None:
    first, second = run_ranks(2, learned_by_all, folder=tmp_path)
    assert first == second
    plain = first.pop("none")
    assert plain["loss"] < 0.3
    for kind, report in first.items():
        assert report["digest"] != plain["digest"], f"{kind} was not used"
        assert report["steps"] == 300
        assert report["loss"] <= plain["loss"] * 1.01, kind


def gradients(step: int, rank: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 * step + rank)
    shapes = {"kernel": (16, 4, 3, 3), "matrix": (40, 30), "vector": (7,), "thin": (50, 1), "none": (0, 4)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def balance(kind: Kind, steps: int) -> float:
    """The largest of |given out + mean memory - true sum|, over all elements of all gradients."""
    world, memory = dist.get_world_size(), ErrorFeedbackMemory()
    handed_out = {name: torch.zeros_like(grad) for name, grad in gradients(0, 0).items()}
    true = {name: torch.zeros_like(grad) for name, grad in handed_out.items()}
    group = dist.group.WORLD
    assert group is not None
    for step in range(steps):
        grads = gradients(step, dist.get_rank())
        reduce_gradients(grads, memory, kind, 2, group)
        for name in handed_out:
            handed_out[name] += grads[name]
            true[name] += sum((gradients(step, rank)[name] for rank in range(world)), torch.zeros(())) / world
    for name, error in memory.errors.items():
        dist.all_reduce(error)
        handed_out[name] += error.view(handed_out[name].shape) / world
    return max(float((handed_out[name] - true[name]).abs().max()) for name in handed_out if handed_out[name].numel())


def all_balances() -> dict[str, float]:
    return {kind: balance(kind, 30) for kind in ("none", *LOSSY)}


@pytest.mark.slow
def test_what_was_given_out_and_what_is_remembered_is_the_sum_of_the_true_means(tmp_path: Path) -> None:
    for ranks in run_ranks(3, all_balances, folder=tmp_path):
        assert max(ranks.values()) < 1e-4, ranks


def exact_and_broken() -> dict[str, Any]:
    """A mean of rank 2 by PowerSGD of rank 2; then a gradient that is not finite on one rank."""
    group = dist.group.WORLD
    assert group is not None
    parts = [torch.outer(torch.arange(1.0, 21) ** power, torch.arange(30.0) + power) for power in (0, 1)]
    memory, grads = ErrorFeedbackMemory(), {"matrix": parts[dist.get_rank()].clone()}
    reduce_gradients(grads, memory, "powersgd", 2, group)
    report: dict[str, Any] = {"difference": float((grads["matrix"] - (parts[0] + parts[1]) / 2).abs().max())}
    for kind in LOSSY:
        memory = ErrorFeedbackMemory()
        reduce_gradients(gradients(0, dist.get_rank()), memory, kind, 2, group)
        before = digest(memory.errors.values()), digest(memory.factors.values())
        bad = gradients(1, dist.get_rank())
        bad["kernel"][3, 2, 1, 0] = torch.inf if dist.get_rank() else 1.0
        reduce_gradients(bad, memory, kind, 2, group)
        report[f"{kind} shows it"] = not bool(torch.isfinite(bad["kernel"]).all())
        report[f"{kind} keeps its memory"] = before == (
            digest(memory.errors.values()), digest(memory.factors.values())
        )  # fmt: skip
    return report


@pytest.mark.slow
def test_a_mean_of_low_rank_is_exact_and_a_number_that_is_not_finite_spoils_no_memory(tmp_path: Path) -> None:
    for report in run_ranks(2, exact_and_broken, folder=tmp_path):
        assert report.pop("difference") < 1e-2  # of values up to 290
        assert all(report.values()), report


def turned() -> list[float]:
    """How far ACP-SGD's mean of a matrix that does not change is from it, step by step, and what it keeps."""
    matrix, memory, group = (
        torch.randn(64, 48, generator=torch.Generator().manual_seed(0)),
        ErrorFeedbackMemory(),
        dist.group.WORLD,
    )
    assert group is not None
    far, handed_out = [], torch.zeros_like(matrix)
    for step in range(1, 41):
        grads = {"matrix": matrix * (1 + dist.get_rank())}
        reduce_gradients(grads, memory, "acpsgd", 8, group)
        handed_out += grads["matrix"]
        far.append(float((handed_out / step - 1.5 * matrix).norm() / (1.5 * matrix).norm()))
    return [far[0], far[-1], *sorted(factor.shape[1] for factor in memory.factors.values())]


@pytest.mark.slow
def test_acpsgd_turns_its_sides_and_comes_near_with_time(tmp_path: Path) -> None:
    for first, last, *sides in run_ranks(2, turned, folder=tmp_path):
        assert first > 0.5  # rank 8 of 48
        assert last < first / 4
        assert sides == [48]  # after an even number of steps: one factor, of the first side again


def averaged() -> list[Any]:
    """Means of a small message by each way and by the one chosen, and which was."""
    group, rank = dist.group.WORLD, dist.get_rank()
    assert group is not None
    own = torch.randn(100, generator=torch.Generator().manual_seed(rank))
    report, memory = [], ErrorFeedbackMemory()
    for way in (all_reduce_mean, relayed_mean):
        copied = own.clone()
        way(copied, group)
        report.append(copied)
    for choice in (True, False):
        memory.relayed[str(own.numel().bit_length())] = choice
        copied = own.clone()
        small_message_mean(copied, memory, group)
        report.append(copied)
    small_message_mean(torch.ones(9), memory, group)
    return [[each.tolist() for each in report], memory.relayed]


@pytest.mark.slow
def test_a_small_message_has_the_same_mean_through_one_rank_as_round_the_ring(tmp_path: Path) -> None:
    ranks = run_ranks(3, averaged, folder=tmp_path)
    assert ranks[0] == ranks[1] == ranks[2]  # bits and choices
    (ring, relay, chosen_relay, chosen_ring), choices = ranks[0]
    assert ring == pytest.approx(relay, abs=1e-6)
    assert (chosen_relay, chosen_ring) == (relay, ring)
    assert set(choices) == {"7", "4"}


def resumed(kind: Kind) -> list[str]:
    """Digests of a run of 24 steps, and of one that was cut after 13 and went on in new objects."""
    config = Compression(kind=kind, rank=2, warm_start_steps=4)
    whole = wrap(small_net(), config, bucket_cap_mb=0.02)
    train(whole, range(24))
    first = wrap(small_net(), config, bucket_cap_mb=0.02)
    train(first, range(13))
    states = first.module.state_dict(), first.compressor.state_dict()
    second = wrap(small_net(), config, bucket_cap_mb=0.05)
    second.module.load_state_dict(states[0])
    second.compressor.load_state_dict(states[1])
    train(second, range(13, 24))
    forgetful = wrap(small_net(), config, bucket_cap_mb=0.02)
    forgetful.module.load_state_dict(states[0])
    train(forgetful, range(13, 24))
    return [digest(model.parameters()) for model in (whole, second, forgetful)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["powersgd", "acpsgd"])
def test_a_run_goes_on_bit_equal_from_its_saved_state(kind: Kind, tmp_path: Path) -> None:
    for whole, second, forgetful in run_ranks(2, resumed, kind, folder=tmp_path):
        assert whole == second
        assert whole != forgetful


def chosen() -> list[Any]:
    model = wrap(nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 300)), Compression(warm_start_steps=0))
    for _ in range(6):
        model(torch.ones(4, 1000)).square().mean().backward()
    return [model.compressor.choices, model.compressor.times_s]


@pytest.mark.slow
def test_auto_sends_each_bucket_the_way_that_was_measured_to_be_fast_enough_on_all_ranks(tmp_path: Path) -> None:
    """Which way that is depends on what else the machine does; that ranks agree, and on the times of all, does not."""
    first, second = run_ranks(2, chosen, folder=tmp_path)
    assert first == second
    choices, times_s = first
    assert choices
    assert choices == {bucket: choose_kind(times, Compression().min_gain) for bucket, times in times_s.items()}


def in_half_precision() -> list[Any]:
    """bfloat16 parameters, one of them unused in odd steps, under int8."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"a": nn.Linear(64, 64), "b": nn.Linear(64, 64)}).bfloat16()
    model.forward = lambda inputs, both: model["b"](inputs) if both else model["a"](inputs)  # type: ignore[method-assign]
    wrapped = wrap(model, Compression(kind="int8", warm_start_steps=0), find_unused_parameters=True)
    for step in range(4):
        wrapped(torch.ones(2, 64, dtype=torch.bfloat16) + dist.get_rank(), step % 2 == 0).sum().backward()
    return [
        digest(p.grad.float() for p in model.parameters() if p.grad is not None),
        len(wrapped.compressor.memory.errors),
    ]


@pytest.mark.slow
def test_low_precision_and_unused_parameters_go_through(tmp_path: Path) -> None:
    first, second = run_ranks(2, in_half_precision, folder=tmp_path)
    assert first == second
    assert first[1] == 2


def threads_left() -> list[int]:
    """Threads of the operating system: before a wrapped model, with one, and after its groups are gone."""
    counts = []
    for kind in ("int8", "auto"):
        counts.append(num_threads(counts[0] if counts else 0))
        before = {id(thread) for thread in threading.enumerate()}
        model = wrap(nn.Linear(64, 64), Compression(kind=kind, warm_start_steps=0))
        for _ in range(5):
            model(torch.ones(2, 64)).sum().backward()
        own = model.compressor.group
        deadline_s = time.monotonic() + 30
        while any(id(thread) not in before for thread in threading.enumerate()) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        counts.append(num_threads(counts[1] if len(counts) > 1 else 0))
        dist.destroy_process_group(own)
        del model, own
        gc.collect()
        counts.append(num_threads(counts[0]))
    return counts


@pytest.mark.slow
def test_a_models_threads_end_with_it(tmp_path: Path) -> None:
    """A thread that outlives its group comes back to an interpreter that is gone, which aborts the process."""
    for counts in run_ranks(2, threads_left, folder=tmp_path):
        # how many threads a group has at a moment is gloo's affair: that some come and none stays is ours
        for before, during, after in (counts[:3], counts[3:]):
            assert during > before == after
        assert counts[3] == counts[0]


def wrapped_again() -> float:
    """The sum that a group of its own gives, made and destroyed over and over, at times that differ by rank."""
    total = 0.0
    for step in range(40):
        time.sleep(0.004 * ((step + dist.get_rank()) % 3))
        group = wrap(nn.Linear(2, 2), Compression(kind="int8")).compressor.group
        ones = torch.ones(1)
        dist.all_reduce(ones, group=group)
        total += float(ones)
        dist.destroy_process_group(group)
    return total


@pytest.mark.slow
def test_models_are_wrapped_one_after_the_other_without_meeting_an_old_group(tmp_path: Path) -> None:
    assert run_ranks(2, wrapped_again, folder=tmp_path) == [80.0, 80.0]


def leave_in_the_middle() -> str:
    """Rank 1 dies in a backward pass; rank 0 is told so by an error, in time."""
    model = wrap(nn.Linear(300, 300), Compression(kind="powersgd", rank=2, warm_start_steps=0))
    model(torch.ones(2, 300)).sum().backward()
    if dist.get_rank():
        os._exit(0)
    try:
        model(torch.ones(2, 300)).sum().backward()
    except RuntimeError as error:
        return str(error)
    return ""


def test_a_rank_that_dies_is_an_error_on_the_others(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"Connection closed by peer|reset"):
        run_ranks(2, left_alone, folder=tmp_path)


def left_alone() -> None:
    text = leave_in_the_middle()
    raise AssertionError(text)


def refused() -> list[str]:
    report = []
    for model in (nn.ReLU(), nn.Embedding(5, 2, sparse=True)):
        with pytest.raises(InputError) as caught:
            wrap(model, Compression())
        report.append(str(caught.value))
    return report


def test_what_cannot_be_trained_in_parallel_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="start the program with torchrun"):
        wrap(nn.Linear(2, 2))
    nothing, sparse = run_ranks(1, refused, folder=tmp_path)[0]
    assert "no parameter to train" in nothing
    assert "weight is sparse" in sparse
    with pytest.raises(InputError, match=r"compression.rank is 0. Expected: at least 1"):
        Compression(rank=0)


@pytest.mark.slow
def test_the_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    text = (ROOT / "docs/guides/distributed.md").read_text("utf-8")
    (block,) = (one for one in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if " wrap(" in one)
    (tmp_path / "train.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "steps: 20 sent as: {" in done.stdout
