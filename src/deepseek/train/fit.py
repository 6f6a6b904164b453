"""The training loop: a stream of batches in, a trained module out.

    for epoch: for batch: loss -> backward -> clip -> step -> schedule

`fit` changes `model` in place and leaves it in eval mode. The same seed, data and configuration give the same weights
on the same machine and number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepseek.errors import CheckError, InputError

TensorBatch = tuple[Tensor, Tensor, Tensor]  # inputs (B, ...), target (B,) or (B, K), weight (B,)
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # model output, target, weight -> a scalar


@dataclass(frozen=True)
class TrainConfig:
    """What a run of `fit` may vary."""

    epochs: int = 40  # passes over the data, at least 1
    lr: float = 2e-3  # peak learning rate, above 0
    weight_decay: float = 1e-2  # decoupled, at least 0
    warmup: float = 0.1  # share of the steps with a rising rate, 0 to 1
    clip_norm: float = 1.0  # largest gradient norm, above 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("lr", self.lr > 0, "above 0"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("warmup", 0 <= self.warmup <= 1, "between 0 and 1"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
        ):
            if not good:
                raise InputError(f"train.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")

    def rate(self, step: int, num_steps: int) -> float:
        """Share of the peak rate at a step: linear warm-up, then a cosine to zero.

        >>> [round(TrainConfig(warmup=0.5).rate(step, 4), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        rising = max(1, round(self.warmup * num_steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, num_steps - rising)))


@dataclass
class FitResult:
    """What happened: the mean training loss of each epoch."""

    losses: list[float] = field(default_factory=list)
    num_steps: int = 0


@dataclass(frozen=True)
class ArrayStream:
    """Shuffled batches of tensors that lie in memory; each pass is another permutation, all set by the seed."""

    inputs: Tensor
    target: Tensor
    weight: Tensor
    batch_size: int
    generator: torch.Generator

    def __len__(self) -> int:
        return math.ceil(len(self.inputs) / self.batch_size)

    def __iter__(self) -> Iterator[TensorBatch]:
        order = torch.randperm(len(self.inputs), generator=self.generator)
        for chunk in torch.split(order, self.batch_size):
            yield self.inputs[chunk], self.target[chunk], self.weight[chunk]


def fit(
    model: nn.Module,
    data: Iterable[TensorBatch],
    config: TrainConfig,
    *,
    loss: Loss,
    make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
) -> FitResult:
    """Train `model` on `data`, a sized iterable of batches that can be read once an epoch.

    `make_optimizer` gets the parameters; AdamW by default. Raises CheckError when a loss is not finite, naming the
    epoch and the batch.
    """
    torch.manual_seed(config.seed)  # of what is random inside the module, such as dropout
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = (
        make_optimizer(parameters)
        if make_optimizer
        else torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    num_batches = len(data)  # type: ignore[arg-type]
    if not num_batches:
        raise InputError(
            "there are no batches to train on", expected="at least one", fix="give a loader that yields rows"
        )
    num_steps = config.epochs * num_batches
    result = FitResult()
    model.train()
    for epoch in range(config.epochs):
        total = torch.zeros(())
        for index, (inputs, target, weight) in enumerate(data):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * config.rate(result.num_steps, num_steps)
            value = loss(model(inputs), target, weight)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            if not torch.isfinite(norm):
                raise CheckError(
                    f"the gradient of batch {index} in epoch {epoch} is not finite",
                    expected="finite numbers in the batch and a rate at which training is stable",
                    fix=f"look at that batch, or lower train.lr (now {config.lr})",
                )
            optimizer.step()
            total += value.detach()
            result.num_steps += 1
        result.losses.append(float(total) / num_batches)
    model.eval()
    return result
