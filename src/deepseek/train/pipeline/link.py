"""Between the processes: how fast the slowest link is, and a JSON object from rank 0 for all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch
import torch.distributed as dist

from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.train.pipeline.plan import Link

LINK_BYTES = 1 << 20


def measure_link(group: dist.ProcessGroup | None, device: torch.device, *, num_runs: int = 3) -> Link:
    """The slowest link between neighbors: half a round trip of one byte, and of a mebibyte."""
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    times_s = []
    for size in (1, LINK_BYTES):
        message = torch.zeros(size, dtype=torch.uint8, device=device)
        for left in range(world - 1):
            if rank not in (left, left + 1):
                continue
            runs = []
            for _ in range(num_runs + 1):  # the first one connects
                start_s = time.perf_counter()
                if rank == left:
                    dist.send(message, group=group, group_dst=left + 1)
                    dist.recv(message, group=group, group_src=left + 1)
                else:
                    dist.recv(message, group=group, group_src=left)
                    dist.send(message, group=group, group_dst=left)
                if device.type != "cpu":
                    torch.accelerator.synchronize(device)
                runs.append((time.perf_counter() - start_s) / 2)
            times_s.append(min(runs))
    half = len(times_s) // 2
    slowest = torch.tensor([max(times_s[:half], default=0.0), max(times_s[half:], default=0.0)], device=device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX, group=group)
    latency_s, large_s = slowest.tolist()
    return Link(latency_s, max(0.0, large_s - latency_s) / LINK_BYTES)


def broadcast_json(
    make: Callable[[], JsonObject] | None, group: dist.ProcessGroup | None, device: torch.device
) -> JsonObject:
    """The object that rank 0 makes, or the InputError that it meets, on every process; the others give `make` as None.

    It travels as JSON: nothing is ever unpickled.
    """
    text, error = "", None
    if make is not None:
        try:
            text = json.dumps({"made": make()})
        except InputError as caught:
            error = caught
            text = json.dumps({"error": caught.to_dict()})
    size = torch.tensor([len(text.encode())], device=device)
    dist.broadcast(size, group=group, group_src=0)
    data = torch.zeros(int(size), dtype=torch.uint8, device=device)
    if text:
        data.copy_(torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8))
    dist.broadcast(data, group=group, group_src=0)
    if error is not None:
        raise error
    message: JsonObject = json.loads(bytes(data.cpu().tolist()))
    if "error" in message:
        failure = message["error"]
        raise InputError(failure["message"], expected=failure["expected"], fix=failure["fix"])
    return dict(message["made"])
