"""Many processes on one machine that outlive each other: a rank that dies is no end of the training.

    launch(target, args, num_processes=4, max_restarts=20)
        torch's elastic agent (the one in torchrun) starts the ranks, each a process with a group to talk in
        a rank dies -> the agent stops the others and starts all again -> target resumes its last checkpoint

The agent, its rendezvous and the collectives are torch's (torch.distributed.elastic). What is added: ranks that die by
an error which a restart cannot mend (a wrong configuration, a loss that is not finite) are not started again; that
error is raised here as it was there. Several machines: torchrun, or Ray Train, see docs/guides/distributed.md.

To be told from outside, ranks leave notes in a folder: what ended a rank of an attempt.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from deepseek import errors
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.files import atomic_file
from deepseek.train.distributed import ranks

_NOTES_VARIABLE = (
    "DEEPSEEK_LAUNCHED"  # the notes, for ranks: a script without `if __name__ == "__main__"` launches again
)
#: Imported once, in the process from which all ranks of all attempts are forked: a restart waits for no import.
_PRELOADED_MODULES = (
    "deepseek.train.distributed.launch",
    "deepseek.train.loop.loop",
    "deepseek.train.checkpoint.checkpoint",
    "torch._dynamo",
)
_AGENT_VARIABLE_PARTS = ("RANK", "WORLD_SIZE", "MASTER_", "TORCHELASTIC_")  # in the names that it sets for each rank
GRACE_S = 30  # to save, as the agent gives
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def launch(target: Callable[..., Any], args: Sequence[Any] = (), *, num_processes: int, max_restarts: int = 3) -> Any:
    """Run `target(*args)` in each of `num_processes` processes of this machine; what the first of them returns.

    target: a function of a module (no lambda), with a process group already there: gloo, and NCCL for tensors on GPUs
        where each process has one. After a death it is called again in all processes, so it calls `resume`, with
        checkpoints in a folder that is the same each time.
    max_restarts: deaths after which all processes are started again. The next one raises CheckError, with the
        traceback of the rank that failed first as its cause.

    A DeepseekError in a rank, such as a wrong configuration, is raised here at once. Ctrl-C and SIGTERM go to all
    ranks, which save and stop, and raise KeyboardInterrupt. A script calls this under `if __name__ == "__main__":`.
    Threads are shared out evenly unless OMP_NUM_THREADS is set.
    """
    _check_launch(target, args, num_processes, max_restarts)
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="deepseek-launch-") as folder, _quiet_agent(), _restore_signal_handlers():
        notes = Path(folder)
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=num_processes, run_id=notes.name, rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1", max_restarts=max_restarts, start_method="forkserver",
        )  # fmt: skip
        multiprocessing.set_forkserver_preload(list(_PRELOADED_MODULES))
        os.environ[_NOTES_VARIABLE] = folder
        try:
            results = elastic_launch(config, _run_rank)(folder, target, tuple(args), dict(os.environ))
        except SignalException as error:
            raise KeyboardInterrupt from error
        except ChildFailedError as error:
            _raise_final(notes)
            _raise_too_many_deaths(notes, num_processes, max_restarts, *error.get_first_failure())
        finally:
            del os.environ[_NOTES_VARIABLE]
        _raise_final(notes)
        return results[0]


def _own_rank() -> int:
    return int(os.environ.get("RANK", "0"))  # there is none yet while the user's script is imported


@dataclass(frozen=True, slots=True)
class RankNote:
    """What ended a rank of an attempt, as it is left in the folder of notes."""

    message: str = ""
    expected: str = ""
    fix: str = ""
    trace: str = ""  # the traceback of an error that a restart may mend
    final: str = ""  # class of the error that no restart mends; "" where one may
    rank: int = field(default_factory=_own_rank)
    time: float = field(default_factory=time.time)  # seconds since the epoch

    @classmethod
    def of_error(cls, error: DeepseekError) -> RankNote:
        """The note of an error that no restart mends."""
        return cls(error.message, error.expected, error.fix, final=type(error).__name__)


def restart_count() -> int:
    """How often all ranks were started again before this attempt."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextmanager
def joined_process_group(backend: str) -> Iterator[None]:
    """The process group of those that were started together, unless this is the only one or has joined already."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, num_ranks = next(rendezvous("env://"))
    # After a restart the agent still has the addresses of those that were killed: each attempt has a part of its own.
    attempt = PrefixStore(f"attempt {restart_count()}", store)
    ranks.delay_exit_for_gloo()
    dist.init_process_group(backend, store=attempt, rank=rank, world_size=num_ranks)
    try:
        yield
    finally:
        gc.collect()  # a group ends its threads only when no model holds it, in a cycle or not
        dist.destroy_process_group()


# ---- in the ranks


def _run_rank(folder: str, target: Callable[..., Any], args: tuple[Any, ...], environ: dict[str, str]) -> Any:
    """What the agent starts in each process."""
    # The process that this one was forked from may be as old as the first launch.
    os.environ.update({k: v for k, v in environ.items() if not any(part in k for part in _AGENT_VARIABLE_PARTS)})
    os.setpgrp()  # a terminal sends Ctrl-C to the whole group, the agent sends it again: the second would kill
    threading.Thread(target=_stop_with_launcher, daemon=True).start()
    notes, rank, num_local = Path(folder), int(os.environ["RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if _first_final_note(notes) is not None:
        return None
    if rank == 0 and restart_count():
        _print_line(
            f"all ranks have started again (restart {restart_count()} of {os.environ['TORCHELASTIC_MAX_RESTARTS']})"
        )
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // num_local))
    has_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= num_local
    with joined_process_group("cpu:gloo,cuda:nccl" if has_gpus else "gloo"):
        result = _run_target(notes, target, args)
    return result if rank == 0 else None


def _stop_with_launcher() -> None:
    """When the process that launched is killed, save and stop, as after Ctrl-C. The system tells only its child, from
    which the ranks are forked."""
    launcher = multiprocessing.parent_process()
    if launcher is None:
        return
    launcher.join()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _run_target(notes: Path, target: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What target returns. What it raises is noted before the others can notice that this rank is gone."""
    try:
        return target(*args)
    except KeyboardInterrupt:
        _write_note(notes, RankNote(final="KeyboardInterrupt"))
        raise SystemExit(130) from None
    except DeepseekError as error:
        _write_note(notes, RankNote.of_error(error))
        raise
    except BaseException as error:
        _write_note(notes, RankNote(message=f"{type(error).__name__}: {error}", trace=traceback.format_exc()))
        raise


def _write_note(notes: Path, note: RankNote) -> None:
    with atomic_file(notes / f"{restart_count()}-{note.rank}.json") as part:
        part.write_text(json.dumps(asdict(note)), encoding="utf-8")


# ---- where they were started


def _check_launch(target: Callable[..., Any], args: Sequence[Any], num_processes: int, max_restarts: int) -> None:
    if _NOTES_VARIABLE in os.environ:
        again = InputError(
            "a rank that launch() started calls launch() itself", expected="one launch for all ranks",
            fix='in the script, put the call of launch() under: if __name__ == "__main__":',
        )  # fmt: skip
        if (notes := Path(os.environ[_NOTES_VARIABLE])).is_dir():
            _write_note(notes, RankNote.of_error(again))
        raise again
    if num_processes < 1:
        raise InputError(f"num_processes is {num_processes}", expected="at least 1", fix="give such a value")
    if max_restarts < 0:
        raise InputError(f"max_restarts is {max_restarts}", expected="at least 0", fix="give such a value")
    try:
        for value in (target, *args):
            if "<" in getattr(value, "__qualname__", ""):
                raise TypeError(f"{value.__qualname__} is a lambda or stands inside a function")
        ForkingPickler.dumps((target, tuple(args)))
    except (AttributeError, TypeError) as error:
        raise InputError(
            f"{getattr(target, '__qualname__', target)!r} and its arguments cannot be sent to another process: {error}",
            expected="a function that stands in a module, and plain arguments",
            fix="move it out of the function or lambda, and open files and loaders inside it",
        ) from error  # fmt: skip


def _first_final_note(notes: Path) -> RankNote | None:
    """The first note of what ended the training for good; None where nothing did."""
    return _earliest(note for note in _read_notes(notes, "[0-9]*-*.json") if note.final)


def _read_notes(notes: Path, pattern: str) -> list[RankNote]:
    return [RankNote(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(notes.glob(pattern))]


def _earliest(notes: Iterable[RankNote]) -> RankNote | None:
    return min(notes, key=lambda note: note.time, default=None)


def _raise_final(notes: Path) -> None:
    final = _first_final_note(notes)
    if final is None:
        return
    if final.final == "KeyboardInterrupt":
        raise KeyboardInterrupt
    kind = getattr(errors, final.final, CheckError)
    raise kind(final.message, expected=final.expected, fix=final.fix)


def _raise_too_many_deaths(notes: Path, num_processes: int, max_restarts: int, rank: int, failure: Any) -> NoReturn:
    """Name the rank that failed first in the last attempt: the others fail because it is gone."""
    last = _read_notes(notes, f"{max_restarts}-*.json")
    first = _earliest(last)
    silent = sorted(set(range(num_processes)) - {note.rank for note in last})
    cause = None
    if failure.exitcode < 0 or first is None:
        what = f"rank {rank}: {failure.message.splitlines()[0]}"
    elif silent and "by peer" in first.message:  # gloo's word for a connection that ended
        what = f"rank {' or '.join(map(str, silent))}, killed without a word; rank {first.rank} lost its connection"
    else:
        what, cause = f"rank {first.rank}: {first.message}", RuntimeError(first.trace)
    times = "once" if max_restarts == 0 else f"{max_restarts + 1} times"
    raise CheckError(
        f"a rank has died {times}; the last time it was {what}", expected=f"at most {max_restarts} deaths",
        fix="mend what kills it (out of memory, a fault in the code), or allow more restarts",
    ) from cause  # fmt: skip


@contextmanager
def _restore_signal_handlers() -> Iterator[None]:
    """The agent leaves its handlers standing."""
    try:
        before = {number: signal.signal(number, signal.getsignal(number)) for number in _SIGNALS}
    except ValueError:  # not in the main thread, where the agent sets none
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _FirstLineFormatter(logging.Formatter):
    """One line: the tracebacks of those that lost a peer would hide who died."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage().splitlines()[0]


@contextmanager
def _quiet_agent() -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.setFormatter(_FirstLineFormatter("%(message)s"))
    agent = logging.getLogger("torch.distributed.elastic")
    was, agent.propagate = agent.propagate, False
    agent.addHandler(handler)
    try:
        yield
    finally:
        agent.removeHandler(handler)
        agent.propagate = was


def _print_line(line: str) -> None:
    sys.stderr.write(line + "\n")
