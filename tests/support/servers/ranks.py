"""Real ranks for tests: a function runs in several processes that share a gloo group; what each returns comes back.

The processes are forked from one that has imported torch and has done nothing else: a rank that begins from nothing
takes 3 seconds of a core to get there, and these tests start about sixty.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import multiprocessing
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

_PRELOADED = ["torch", "torch._dynamo", "torch.distributed.fsdp", "sklearn.datasets", "pytest"]
#: gloo now and then refuses a connection while ranks meet, at the start and for each group that is made later.
_MEETINGS = 3
_REFUSED = "Gloo connectFullMesh failed"
#: A rank that stands still says where and ends, and with it the test: gloo alone would wait for half an hour.
_LONGEST_RUN_S = 240


class RanksDidNotMeetError(Exception):
    """The group could not be formed: nothing of the function under test has run."""


def _start(
    rank: int, function: Callable[..., Any], size: int, port: int, folder: str, arguments: tuple[Any, ...]
) -> None:
    faulthandler.dump_traceback_later(_LONGEST_RUN_S, exit=True)
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
        dist.barrier()
    except RuntimeError as error:
        raise RanksDidNotMeetError(str(error)) from error
    result = function(*arguments)
    Path(folder, f"{rank}.json").write_text(json.dumps(result))
    dist.barrier()
    gc.collect()  # a group ends its threads only when no model holds it
    dist.destroy_process_group()
    faulthandler.cancel_dump_traceback_later()


def num_threads(expected: int = 0) -> int:
    """Threads of this process by the system's count, which lags a little behind those that have ended."""
    deadline_s = time.monotonic() + 60
    while (count := len(list(Path("/proc/self/task").iterdir()))) > expected > 0 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return count


def start(function: Callable[..., Any], arguments: tuple[Any, ...], size: int) -> None:
    """`function(rank, *arguments)` in `size` processes, until all have ended; the first error is raised here."""
    multiprocessing.set_forkserver_preload(_PRELOADED)
    mp.start_processes(function, arguments, size, start_method="forkserver")


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any, folder: Path) -> list[Any]:
    """What `function(*arguments)` returns on each of `size` ranks, as JSON carries it."""
    for meeting in range(1, _MEETINGS + 1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        try:
            start(_start, (function, size, port, str(folder), arguments), size)
            break
        except mp.ProcessRaisedException as error:
            did_not_meet = RanksDidNotMeetError.__name__ in str(error) or _REFUSED in str(error)
            if not did_not_meet or meeting == _MEETINGS:
                raise
    return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(size)]
