"""Data parallel training: torch's DistributedDataParallel with a communication hook of ours.

    model = wrap(model, Compression(kind="auto"))      # in each process that torchrun has started
    loss(model(x), y).backward(); optimizer.step()     # gradients are means over the ranks

A bucket that is sent as it is goes straight to the all-reduce, as in plain DDP. Any other goes to one thread, which
lives for one backward pass, takes the buckets in DDP's order, equal on all ranks, and has a process group of its own:
so no two ranks pair different messages, and the backward pass goes on meanwhile. How each bucket is sent: see
gradient_compression.py.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import StateDict  # of any state_dict(): nested, tensors and plain values by name

from deepseek.errors import InputError
from deepseek.train.distributed import ranks
from deepseek.train.distributed.gradient_compression import (
    Compression,
    ErrorFeedbackMemory,
    Kind,
    NamedGradients,
    all_reduce_mean,
    flush_errors,
    reduce_gradients,
)

__all__ = ["Compression", "DataParallel", "wrap"]

JobQueue = queue.SimpleQueue[Callable[[], None] | None]

FIRST_MEASURED_STEP = 2  # DDP moves its gradients into new buckets after the first step; caches warm up in the second
AUTO_KINDS: tuple[Kind, ...] = ("none", "int8", "powersgd")  # of auto, the less lossy first


class DataParallel(DistributedDataParallel):
    """DistributedDataParallel whose gradients travel compressed. `compressor` holds what a checkpoint must keep."""

    compressor: Compressor


def wrap(model: nn.Module, compression: Compression | None = None, **arguments: Any) -> DataParallel:
    """`model`, its parameters made equal to rank 0's, with gradients averaged over the ranks in each backward pass.

    `arguments` go to DistributedDataParallel (`find_unused_parameters`, `bucket_cap_mb`, `process_group`, ...);
    `gradient_as_bucket_view` is True unless given, which saves a copy of all gradients. Raises InputError where the
    process group is not there, or the model has nothing to train or gradients that cannot be compressed.
    """
    config = compression or Compression()
    check_trainable(model, config)
    wrapped = DataParallel(model, **{"gradient_as_bucket_view": True, **arguments})
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    group = wrapped.process_group
    own = group if config.kind == "none" else new_group_of_same_ranks(group)
    wrapped.compressor = Compressor(config, own)
    wrapped.register_comm_hook(BucketSender(wrapped.compressor, group, names), compression_hook)
    return wrapped


def new_group_of_same_ranks(group: dist.ProcessGroup) -> dist.ProcessGroup:
    """Another group of the ranks of `group`, all of which call this.

    With local synchronization torch (2.13 to 2.15) names a group by its ranks and by how many groups there are, so one
    that is made after another was destroyed finds the addresses of the old one in the store: its ranks wait for each
    other without end. So only a part of all ranks, which cannot count together, synchronizes locally.
    """
    members = dist.get_process_group_ranks(group)
    new: dist.ProcessGroup = dist.new_group(members, use_local_synchronization=len(members) < dist.get_world_size())
    return new


def check_group() -> None:
    """Raise InputError where there is no process group."""
    if not (dist.is_available() and dist.is_initialized()):
        raise InputError(
            "there is no process group", expected="one that all ranks have joined",
            fix="start the program with torchrun and call torch.distributed.init_process_group('gloo') first",
        )  # fmt: skip


def check_trainable(model: nn.Module, config: Compression) -> None:
    """Raise InputError where `model` cannot be trained in parallel or its gradients cannot be compressed."""
    check_group()
    ranks.delay_exit_for_gloo()
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        raise InputError(
            "the model has no parameter to train", expected="one at least with requires_grad",
            fix="unfreeze a layer, or run the model in one process",
        )  # fmt: skip
    incompressible = [name for name, parameter in trained if parameter.is_complex()]
    incompressible += [
        f"{name}.weight" for name, module in model.named_modules() if getattr(module, "sparse", False) is True
    ]
    if incompressible and config.kind != "none":
        raise InputError(
            f"the gradient of {incompressible[0]} is sparse or complex and cannot be compressed",
            expected="dense real gradients",
            fix='use Compression(kind="none"), or build the layer with sparse=False',
        )  # fmt: skip


class Compressor:
    """Decides how each set of gradients is sent, sends it, and holds what must survive a restart."""

    def __init__(self, config: Compression, group: dist.ProcessGroup) -> None:
        self.config = config
        self.group = group
        self.memory = ErrorFeedbackMemory()
        self.step = 0  # synchronized backward passes so far
        self.choices: dict[str, Kind] = {}  # of auto, by the names in the bucket
        self.times_s: dict[str, dict[Kind, float]] = {}  # of the last measurement: the slowest rank's

    def is_measured(self) -> bool:
        """Whether this step measures; equal on all ranks."""
        if self.config.kind != "auto" or self.group.size() == 1:
            return False
        return self.step == FIRST_MEASURED_STEP or (self.step > 0 and self.step % self.config.remeasure_steps == 0)

    def kind_of(self, key: str) -> Kind:
        """How the gradients named by `key` are sent in this step; equal on all ranks."""
        if self.step < self.config.warm_start_steps or self.group.size() == 1:
            return "none"
        return self.choices.get(key, "none") if self.config.kind == "auto" else self.config.kind

    def reduce(self, grads: NamedGradients, kind: Kind, *, measure: bool = False) -> None:
        """Replace the gradients by their means over the ranks. Low precision is averaged in float32."""
        wide = {name: grad.to(torch.promote_types(grad.dtype, torch.float32)) for name, grad in grads.items()}
        if measure:
            self.measure(wide)
        reduce_gradients(wide, self.memory, kind, self.config.rank, self.group)
        for name, grad in grads.items():
            if wide[name] is not grad:
                grad.copy_(wide[name])

    def measure(self, grads: NamedGradients) -> None:
        """Send copies in each way, keep the times of the slowest rank, and choose. Nothing of the training changes."""
        own_s = [self._time(grads, kind) for kind in AUTO_KINDS]
        slowest = torch.tensor(own_s, device=next(iter(grads.values())).device)
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX, group=self.group)
        key = bucket_key(grads)
        self.times_s[key] = dict(zip(AUTO_KINDS, slowest.tolist(), strict=True))
        self.choices[key] = choose_kind(self.times_s[key], self.config.min_gain)

    def _time(self, grads: NamedGradients, kind: Kind) -> float:
        """The best of three runs; the first of a lossy way also makes its memory."""
        scratch, best_s = ErrorFeedbackMemory(), float("inf")
        for _ in range(3):
            copies = {name: grad.clone() for name, grad in grads.items()}
            if kind == "none":  # one buffer, as DDP has it
                copies = {"": torch.cat([grad.view(-1) for grad in copies.values()])}
            dist.barrier(group=self.group)
            start_s = time.perf_counter()
            if kind == "none":
                all_reduce_mean(copies[""], self.group)
            else:
                reduce_gradients(copies, scratch, kind, self.config.rank, self.group)
            if next(iter(copies.values())).is_cuda:
                torch.cuda.current_stream().synchronize()
            best_s = min(best_s, time.perf_counter() - start_s)
        return best_s

    def state_dict(self) -> StateDict:
        """Step, choices, and tensors: error memories under this rank's name, since each rank has its own."""
        rank = self.group.rank()
        return {
            "step": self.step,
            "choices": dict(self.choices),
            "relayed": dict(self.memory.relayed),
            **{f"rank{rank}.error.{name}": error for name, error in self.memory.errors.items()},
            **{f"factor.{name}": factor for name, factor in self.memory.factors.items()},
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Take up what state_dict gave. The memory of a rank that was not there before starts empty."""
        missing = {"step", "choices"} - set(state)
        if missing:
            raise InputError(
                f"the compression state lacks {', '.join(sorted(missing))}", expected="what state_dict() gave",
                fix="load the checkpoint that this model was saved in, or go on without this state",
            )  # fmt: skip
        self.step, self.choices = int(state["step"]), dict(state["choices"])
        own = f"rank{self.group.rank()}.error."
        self.memory = ErrorFeedbackMemory(
            {key.removeprefix(own): tensor.clone() for key, tensor in state.items() if key.startswith(own)},
            {key.removeprefix("factor."): tensor.clone() for key, tensor in state.items() if key.startswith("factor.")},
            dict(state.get("relayed", {})),
        )


def bucket_key(grads: NamedGradients) -> str:
    """What names a bucket: its parameters."""
    return ",".join(grads)


def choose_kind(times_s: Mapping[Kind, float], min_gain: float) -> Kind:
    """The first way, unless a lossier one is `min_gain` times faster than the one chosen so far.

    >>> choose_kind({"none": 1.0, "int8": 0.3, "powersgd": 0.2}, 2.0), choose_kind({"none": 1.0, "powersgd": 0.8}, 2.0)
    ('int8', 'none')
    """
    chosen = next(iter(times_s))
    for kind, seconds in times_s.items():
        if seconds * min_gain <= times_s[chosen]:
            chosen = kind
    return chosen


class BucketSender:
    """The state of the hook: sends buckets as they are at once, and all others through one thread, in order."""

    def __init__(self, compressor: Compressor, group: dist.ProcessGroup, names: Mapping[Tensor, str]) -> None:
        self.compressor = compressor
        self.group = group
        self.names = names
        self.waiting: JobQueue | None = None  # of the thread, in a backward pass that has one
        self.stream: torch.cuda.Stream | None = None

    def send(self, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        """What DDP waits for: the bucket's buffer, averaged."""
        compressor, buffer = self.compressor, bucket.buffer()
        grads = dict(zip([self.names[p] for p in bucket.parameters()], bucket.gradients(), strict=True))
        kind, measure = compressor.kind_of(bucket_key(grads)), compressor.is_measured()
        compressor.step += bucket.is_last()
        if kind == "none" and not measure:
            if compressor.memory.errors:
                flush_errors(grads, compressor.memory)
            averaged = all_reduce_async(buffer, self.group)
        else:
            averaged = self._queue(lambda: compressor.reduce(grads, kind, measure=measure), buffer)
        if bucket.is_last():
            self._end_pass()
        return averaged

    def _queue(self, work: Callable[[], None], buffer: Tensor) -> torch.futures.Future[Tensor]:
        if self.waiting is None:
            self.waiting = start_worker()
        done: torch.futures.Future[Tensor] = torch.futures.Future(devices=[buffer.device] if buffer.is_cuda else [])
        ready = torch.cuda.current_stream().record_event() if buffer.is_cuda else None
        errors: list[RuntimeError] = []

        def job() -> None:
            with torch.no_grad(), torch.cuda.stream(self._stream_after(ready)):
                try:
                    work()
                except RuntimeError as error:  # torch's: a peer has died, memory is short
                    errors.append(error)
                done.set_result(buffer)

        def value(future: torch.futures.Future[Tensor]) -> Tensor:
            if errors:  # raised here and not set in `done`, whose errors DDP does not see
                raise errors[0]
            return future.value()

        self.waiting.put(job)
        return done.then(value)

    def _end_pass(self) -> None:
        """Let the thread end, and with it what it holds: groups that are in use cannot be taken down."""
        if self.waiting is not None:
            self.waiting.put(None)
            self.waiting = None

    def _stream_after(self, ready: torch.cuda.Event | None) -> torch.cuda.Stream | None:
        """On a GPU a stream beside that of the backward pass, which waits for the bucket."""
        if ready is None:
            return None
        self.stream = self.stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.stream.wait_event(ready)
        return self.stream


_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def start_worker() -> JobQueue:
    """One that does the jobs put here, in order, until it gets None. It lives for one backward pass.

    A daemon: when a peer hangs, the process can end while its thread waits for it.
    """
    jobs: JobQueue = queue.SimpleQueue()

    def run() -> None:
        while (job := jobs.get()) is not None:
            job()
            del job  # with its gradients, before the next is waited for

    thread = threading.Thread(target=run, name="compress", daemon=True)
    _threads.add(thread)
    thread.start()
    return jobs


@atexit.register
def wait_for_threads() -> None:
    """A thread that comes back from torch to an interpreter that is gone aborts the process."""
    for thread in list(_threads):
        thread.join(timeout=1.0)


def all_reduce_async(buffer: Tensor, group: dist.ProcessGroup) -> torch.futures.Future[Tensor]:
    """What plain DDP does: start the all-reduce and do not wait."""
    work = dist.all_reduce(buffer.div_(group.size()), group=group, async_op=True)
    future: torch.futures.Future[list[Tensor]] = work.get_future()
    return future.then(lambda done: done.value()[0])


# No annotations where torch looks for them: it compares them with types, and here they are strings.
def compression_hook(state: BucketSender, bucket):  # type: ignore[no-untyped-def]
    """The communication hook: DDP calls it in each backward pass, once for each bucket, in their order."""
    return state.send(bucket)
