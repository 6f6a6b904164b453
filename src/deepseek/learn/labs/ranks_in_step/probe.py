"""Runs in the learner's process: forks ranks over gloo, in which the learner's strategies run."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from queue import Empty
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from deepseek.contracts import JsonObject

PATIENCE_S = 120  # of a rank for another; a machine may be busy
WAITING = "Timed out", "timed out", "timeout", "Timeout"


def ranks(world: int, function: Callable[..., Any], *arguments: Any) -> JsonObject:
    """What the function returns in each rank; or the error of the first rank that failed, or that they wait."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        children = [
            context.Process(target=_rank, args=(rank, world, f"{folder}/store", queue, function, arguments))
            for rank in range(world)
        ]
        for child in children:
            child.start()
        results: dict[int, Any] = {}
        try:
            while len(results) < world:
                rank, result, error = queue.get(timeout=PATIENCE_S + 30)
                if error:
                    return (
                        {"waits": True} if any(words in error for words in WAITING) else {"rank": rank, "error": error}
                    )
                results[rank] = result
        except Empty:
            return {"waits": True}
        finally:
            for child in children:
                child.kill()
                child.join()
    return {"results": [results[rank] for rank in range(world)]}


def _rank(
    rank: int, world: int, store: str, queue: Any, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    try:
        distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=PATIENCE_S)
        )
        result = function(*arguments)
        distributed.barrier()
    except BaseException as error:
        _tell(queue, rank, None, f"{type(error).__name__}: {error}"[:200])
        raise
    _tell(queue, rank, result, "")
    os._exit(0)


def _tell(queue: Any, rank: int, result: Any, error: str) -> None:
    """Pass on what has become of a rank, before the process ends."""
    queue.put((rank, result, error))
    queue.close()
    queue.join_thread()


def numbers(model: nn.Module, *, of_gradients: bool) -> list[list[float] | None]:
    parts = [parameter.grad if of_gradients else parameter.detach() for parameter in model.parameters()]
    return [None if part is None else part.flatten().tolist() for part in parts]


def make_model(seed: int, sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with tanh between them, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layer = nn.Linear(before, after, dtype=torch.float64)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def average(learner: Any, seed: int, inputs: Any, targets: Any, shares: Sequence[int]) -> JsonObject:
    """Gradients on all ranks after average_gradients(), and those of one process with all rows."""
    x, y = torch.tensor(inputs), torch.tensor(targets)
    model = make_model(seed, (x.shape[1], 5, 1))
    functional.mse_loss(model(x)[:, 0], y).backward()
    right = numbers(model, of_gradients=True)
    return {"right": right, **ranks(len(shares), _average, learner, seed, x, y, list(shares))}


def _average(learner: Any, seed: int, x: Tensor, y: Tensor, shares: Sequence[int]) -> Any:
    rank = distributed.get_rank()
    model, start = make_model(seed, (x.shape[1], 5, 1)), sum(shares[:rank])
    own = slice(start, start + shares[rank])
    functional.mse_loss(model(x[own])[:, 0], y[own]).backward()
    learner.average_gradients(model, shares[rank])
    return numbers(model, of_gradients=True)


def run_sharded(learner: Any, seed: int, world: int, num_steps: int, lr: float, momentum: float) -> JsonObject:
    """Parameters on all ranks after some steps by the learner's optimizer and by torch's; numbers that are kept."""
    model = make_model(seed, (4, 5, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    for step in range(num_steps):
        _set_gradients(model, seed + step)
        optimizer.step()
    share = sum(-(-parameter.numel() // world) for parameter in model.parameters())
    right = numbers(model, of_gradients=False)
    return {"right": right, "share": share, **ranks(world, _run_sharded, learner, seed, num_steps, lr, momentum)}


def _run_sharded(learner: Any, seed: int, num_steps: int, lr: float, momentum: float) -> Any:
    model = make_model(seed, (4, 5, 3))
    optimizer = learner.ShardedMomentum(model.parameters(), lr, momentum)
    for step in range(num_steps):
        _set_gradients(model, seed + step)
        optimizer.step()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    return {"parameters": numbers(model, of_gradients=False), "kept": _count(vars(optimizer), own, set())}


def _set_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


def _count(value: Any, own: set[int], seen: set[int]) -> int:
    """Numbers in the tensors of an object that are not the parameters."""
    if isinstance(value, Tensor):
        place = value.untyped_storage().data_ptr()
        if place in own or place in seen:
            return 0
        seen.add(place)
        return value.untyped_storage().nbytes() // value.element_size()
    if isinstance(value, dict):
        return sum(_count(each, own, seen) for each in value.values())
    if isinstance(value, list | tuple | set):
        return sum(_count(each, own, seen) for each in value)
    return 0


def pipeline(learner: Any, seed: int, inputs: Any, targets: Any, num_stages: int, num_micro: int) -> JsonObject:
    """Gradients of each stage, and those of the whole net on the whole batch."""
    x, y = torch.tensor(inputs), torch.tensor(targets)
    sizes = (x.shape[1], *(6 + stage for stage in range(num_stages - 1)), 2)
    net = make_model(seed, sizes)
    functional.mse_loss(net(x), y).backward()
    return {
        "right": numbers(net, of_gradients=True),
        **ranks(num_stages, _pipeline, learner, seed, x, y, sizes, num_micro),
    }


def _pipeline(learner: Any, seed: int, x: Tensor, y: Tensor, sizes: Sequence[int], num_micro: int) -> Any:
    rank, world = distributed.get_rank(), distributed.get_world_size()
    layers = list(make_model(seed, sizes))
    stage = nn.Sequential(*layers[2 * rank : 2 * rank + 2])
    first, last = rank == 0, rank == world - 1
    learner.pipeline_backward(
        stage, x if first else None, y if last else None, num_micro, sizes[rank], functional.mse_loss
    )
    return numbers(stage, of_gradients=True)
