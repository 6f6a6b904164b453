"""Trains a detector until its CPU time is spent, and goes on after a stop.

    trained = train_detector(net, sampler, num_pictures=1230, config=FitConfig(budget_s=10_800))
    trained.net                                   # with the mean of its weights over the last steps

The schedule runs over the budget, not over steps: a quick try and a full training are the same command with another
time. AdamW; the learning rate rises over the first 3 % and falls as a cosine (Loshchilov and Hutter 2017, formula 5);
weights are averaged over time (Polyak and Juditsky 1992), which is worth more than any other trick when labels are
vague; mosaics end after 80 %, so that the last steps see pictures as they are.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from deepseek.errors import ComputeError, InputError
from deepseek.files import atomic_file
from deepseek.nn.detector.detector import Detector
from deepseek.train.checkpoint.state_tree import pack_state, unpack_state
from deepseek.train.detect.augment import PictureSampler
from deepseek.train.detect.bf16 import is_bf16_faster
from deepseek.train.detect.losses import Targets, detection_loss

MEAN_DECAY = 0.998  # of the averaged weights at the end; less at the start, so that random weights are forgotten
WARM_UP_SHARE, MOSAIC_SHARE = 0.03, 0.8  # of the budget
MAX_GRADIENT = 10.0
CHECKPOINT_S = 300.0  # CPU seconds between two checkpoints


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How long and how fast."""

    budget_s: float = 600.0  # CPU time of the training
    max_steps: int = 10**9  # or so many steps, whichever is first: tests
    batch_size: int = 16
    learning_rate: float = 2e-3  # of neck and head, and of a trunk of random weights
    trunk_rate: float = 1.0  # of the trunk, as a share of it
    weight_decay: float = 0.05
    mosaic: float = 0.5
    bf16: bool = False  # see is_detector_faster_in_bf16()
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TrainedDetector:
    """What a training leaves."""

    net: Detector  # with averaged weights, in eval mode
    num_steps: int
    num_epochs: float
    cpu_s: float  # of all runs, where it was stopped and went on
    losses: tuple[float, ...]  # the mean of each hundredth of the budget


ReportProgress = Callable[[str, float], object]


def train_detector(
    net: Detector, sampler: PictureSampler, num_pictures: int, config: FitConfig, *, checkpoint: Path | None = None,
    report: ReportProgress = lambda _message, _share: None,
) -> TrainedDetector:  # fmt: skip
    """Train `net` on the sampler's pictures. With `checkpoint`, a file, it is written now and then, and read where it
    is there. ComputeError when the loss is no number any more."""
    torch.manual_seed(config.seed)
    with _flush_denormals():
        return _train(net, sampler, num_pictures, config, checkpoint, report)


@contextmanager
def _flush_denormals() -> Iterator[None]:
    """Numbers below 1e-38 are nought meanwhile: GELUs make them, and each costs a hundred other numbers. It is a state
    of the thread, and everything else that computes in it counts on them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _train(
    net: Detector, sampler: PictureSampler, num_pictures: int, config: FitConfig, checkpoint: Path | None,
    report: ReportProgress,
) -> TrainedDetector:  # fmt: skip
    run = _Run(net, config)
    if checkpoint is not None and checkpoint.is_file():
        run.load(checkpoint)
    order = _batches(num_pictures, config, run.step)
    spent_before, start = run.cpu_s, time.process_time()
    saved_s = run.cpu_s
    net.train()
    for places, rng in order:
        share = min(1.0, max(run.cpu_s / config.budget_s, run.step / config.max_steps))
        if share >= 1:
            break
        mosaic = config.mosaic if share < MOSAIC_SHARE else 0.0
        pixels, targets = sampler.batch(places, rng, mosaic=mosaic)
        run.train_step(pixels, targets, share)
        run.cpu_s = spent_before + time.process_time() - start
        report(f"step {run.step:,}, loss {run.loss:.3f}", share)
        if checkpoint is not None and run.cpu_s - saved_s > CHECKPOINT_S:
            run.save(checkpoint)
            saved_s = run.cpu_s
    if checkpoint is not None:
        run.save(checkpoint)
    epochs = run.step * config.batch_size / max(1, num_pictures)
    return TrainedDetector(run.mean.eval(), run.step, epochs, run.cpu_s, tuple(run.losses))


def _batches(num_pictures: int, config: FitConfig, first_step: int) -> Iterator[tuple[list[int], np.random.Generator]]:
    """Places of the pictures of each step without end, and a generator of its own: a run that goes on draws what it
    would have drawn."""
    size = min(config.batch_size, num_pictures)
    per_epoch = max(1, num_pictures // size)
    step = first_step
    while True:
        epoch, inner = divmod(step, per_epoch)
        order = np.random.default_rng((config.seed, 1, epoch)).permutation(num_pictures)
        yield order[inner * size : (inner + 1) * size].tolist(), np.random.default_rng((config.seed, 2, step))
        step += 1


class _Run:
    """The state of a training."""

    def __init__(self, net: Detector, config: FitConfig) -> None:
        self.net, self.config = net, config
        self.mean = copy.deepcopy(net).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(_groups(net, config), lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
        self.step, self.cpu_s, self.loss = 0, 0.0, float("nan")
        self.losses: list[float] = []

    def train_step(self, pixels: Tensor, targets: Targets, share: float) -> None:
        rate = _rate_at(share)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * group["scale"] * rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            raw = self.net.raw(pixels)
        loss = detection_loss(raw, targets)
        if not bool(torch.isfinite(loss)):
            raise ComputeError(
                f"the loss became {float(loss)} in step {self.step}", expected="a number",
                fix="train with a smaller learning rate",
            )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self._average()
        value = float(loss.detach())
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        while len(self.losses) < int(100 * share) + 1:
            self.losses.append(round(self.loss, 5))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights, and what the norms have seen, toward those of this step."""
        decay = MEAN_DECAY * (1 - math.exp(-self.step / 200))
        for mean, value in zip(self.mean.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for held, seen in zip(self.mean.buffers(), self.net.buffers(), strict=True):
            held.lerp_(seen, 1 - decay) if held.is_floating_point() else held.copy_(seen)

    def save(self, path: Path) -> None:
        tensors: dict[str, Tensor] = {}
        tree = {
            "net": dict(self.net.state_dict()), "mean": dict(self.mean.state_dict()),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "cpu_s": self.cpu_s, "loss": self.loss,
            "losses": self.losses,
        }  # fmt: skip
        skeleton = json.dumps(pack_state(tree, "run", tensors))
        data = safetensors.torch.save(
            {name: each.contiguous().clone() for name, each in tensors.items()}, {"state": skeleton}
        )
        with atomic_file(path) as part:
            part.write_bytes(data)

    def load(self, path: Path) -> None:
        with safetensors.safe_open(str(path), "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            tree = unpack_state(json.loads(file.metadata()["state"]), tensors)
        try:
            self.net.load_state_dict(tree["net"])
            self.mean.load_state_dict(tree["mean"])
            self.optimizer.load_state_dict(tree["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{path} is the checkpoint of another training: {str(error)[:200]}",
                expected="classes, colors and trunk as they were", fix="name another file, or delete this one",
            )  from error  # fmt: skip
        self.step, self.cpu_s, self.loss = tree["step"], tree["cpu_s"], tree["loss"]
        self.losses = list(tree["losses"])


def _groups(net: Detector, config: FitConfig) -> list[dict[str, object]]:
    """Trained parameters, by decay and by rate: norms and biases do not decay, a trained trunk moves slowly."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, value in net.named_parameters():
        if not value.requires_grad:
            continue
        groups.setdefault((name.startswith("trunk."), value.ndim > 1), []).append(value)
    return [
        {"params": values, "scale": config.trunk_rate if in_trunk else 1.0,
         "weight_decay": config.weight_decay if decays else 0.0}
        for (in_trunk, decays), values in groups.items()
    ]  # fmt: skip


def _rate_at(share: float) -> float:
    """The learning rate at a share of the budget, as a share of the highest.

    >>> _rate_at(0.0) < 0.1, round(_rate_at(0.03), 2), _rate_at(1.0) < 0.02
    (True, 1.0, True)
    """
    if share < WARM_UP_SHARE:
        return 0.01 + 0.99 * share / WARM_UP_SHARE
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (share - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))) / 2


def is_detector_faster_in_bf16(net: Detector, sampler: PictureSampler, config: FitConfig) -> bool:
    """Whether a step of training costs less CPU time in bfloat16 on this machine."""
    pixels, targets = sampler.batch([0] * config.batch_size, np.random.default_rng(0), mosaic=0.0)
    trial = copy.deepcopy(net).train()

    def step(bf16: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            raw = trial.raw(pixels)
        detection_loss(raw, targets).backward()  # type: ignore[no-untyped-call]

    return is_bf16_faster(step)
