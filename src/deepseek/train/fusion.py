"""Decoded samples and labels -> a trained FusionNet, through `fit`.

    done = fit_fusion(preparer, decoded.arrays, labels, rows=train, held=validation, config=FusionConfig(), seed=0)
    margins(done.net, decoded.arrays, test)                  # (N, K) float32

Batches are cut from arrays that may lie on disk (data/decode.py), in an order that a generator draws, so the loop's own
checkpoints resume in the middle of an epoch to the bit. Validation is the loss of the fused answer.

Shapes: N samples, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepseek.contracts import Float32
from deepseek.data.fuse import SamplePreparer
from deepseek.errors import InputError
from deepseek.nn.fusion import Fused, FusionNet, FusionShape, fusion_loss
from deepseek.nn.multimodal import NetShape, as_tensors, fusion_net
from deepseek.train.config import TrainConfig
from deepseek.train.loop import FitResult, fit, resume

Arrays = Mapping[str, NDArray[Any]]
BATCH = 256  # rows that are answered at a time


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How a fused net is trained."""

    epochs: int = 30  # at least 1
    lr: float = 2e-3  # peak rate of AdamW, above 0
    weight_decay: float = 0.02
    batch_size: int = 64  # at least 2: norms need company
    alone: float = 0.3  # weight of the loss of each modality by itself, at least 0
    patience: int = 0  # validations without a better loss before the end; 0: all epochs, last weights
    precision: str = "fp32"  # as TrainConfig has it
    fusion: FusionShape = field(default_factory=FusionShape)

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("batch_size", self.batch_size >= 2, "2 or more"), ("alone", self.alone >= 0, "at least 0"),
        ):  # fmt: skip
            if not good:
                raise InputError(f"fusion.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")

    def train(self, seed: int) -> TrainConfig:
        """As fit() takes it."""
        return TrainConfig(
            epochs=self.epochs, lr=self.lr, weight_decay=self.weight_decay, seed=seed, patience=self.patience,
            precision=self.precision,  # type: ignore[arg-type]
        )  # fmt: skip


@dataclass(frozen=True)
class FusionFit:
    """What came of it."""

    net: FusionNet  # in eval mode
    shape: NetShape
    fit: FitResult


@dataclass
class SampleStream:
    """Batches ((values, there), labels) of the rows `rows`. With a generator each pass is another permutation; a last
    batch of one row is left out, for norms need company. Without one the rows keep their order, all of them."""

    arrays: Arrays
    labels: NDArray[Any]  # (N,) int64, or float32 for a value
    rows: NDArray[np.int64]
    batch_size: int
    generator: torch.Generator | None = None

    def __len__(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 1 if self.generator is not None else rest > 0)

    def __iter__(self) -> Iterator[tuple[tuple[dict[str, Tensor], dict[str, Tensor]], Tensor]]:
        order = self.rows
        if self.generator is not None:
            order = order[torch.randperm(len(order), generator=self.generator).numpy()]
        for at in range(len(self)):
            rows = order[at * self.batch_size : (at + 1) * self.batch_size]
            yield batch_of(self.arrays, rows), torch.from_numpy(self.labels[rows])


def batch_of(arrays: Arrays, rows: NDArray[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The rows as tensors: values by name, and which are there. Read in the order in which they lie on disk."""
    order = np.argsort(rows, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return as_tensors({name: np.asarray(array[rows[order]])[back] for name, array in arrays.items()})


def fit_fusion(
    preparer: SamplePreparer,
    arrays: Arrays,
    labels: NDArray[Any],
    *,
    num_outputs: int,
    rows: NDArray[np.int64],
    held: NDArray[np.int64] | None = None,
    config: FusionConfig | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    validated: Callable[[int, float], None] | None = None,
) -> FusionFit:
    """Train on `rows`, validate on `held`.

    labels: (N,) classes from 0 (num_outputs > 1), or values (num_outputs 1), standardised by who calls.
    checkpoints: a folder; training goes on there where it holds some. validated: told the epoch and the loss.
    """
    config = config or FusionConfig()
    if len(rows) < 2:
        raise InputError(f"there are {len(rows)} rows to train on", expected="2 or more", fix="bring more rows")
    torch.manual_seed(seed)
    shape = NetShape(num_outputs, config.fusion)
    net = fusion_net(preparer, shape)
    labels = labels.astype(np.int64 if num_outputs > 1 else np.float32)
    stream = SampleStream(arrays, labels, rows, min(config.batch_size, len(rows)), torch.Generator().manual_seed(seed))
    epochs = iter(range(1, config.epochs + 1))

    def validate(module: nn.Module) -> float:
        assert held is not None  # noqa: S101  (else it is not called)
        total = 0.0
        for (values, there), truth in SampleStream(arrays, labels, held, BATCH):
            total += float(_answer_loss(module(values, there), truth)) * len(truth)
        loss = total / len(held)
        if validated:
            validated(next(epochs, config.epochs), loss)
        return loss

    def loss(found: Fused, truth: Tensor) -> Tensor:
        return fusion_loss(found, truth, alone=config.alone) if num_outputs > 1 else _value_loss(found, truth, config)

    given: dict[str, Any] = {"loss": loss, "progress": False}
    if held is not None and len(held):
        given["validation"] = validate
    if checkpoints is None:
        result = fit(net, stream, config.train(seed), **given)
    else:  # begins anew where the folder holds nothing
        result = resume(net, stream, config.train(seed), checkpoints=checkpoints, **given)
    return FusionFit(net.eval(), shape, result)


def margins(net: FusionNet, arrays: Arrays, rows: NDArray[Any]) -> Float32:
    """Fused logits or values (N, K) of the rows."""
    net.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            values, there = batch_of(arrays, rows[start : start + BATCH])
            found.append(net(values, there).logits.numpy())
    return np.concatenate(found).astype(np.float32)


def _answer_loss(found: Fused, truth: Tensor) -> Tensor:
    if truth.is_floating_point():
        return functional.mse_loss(found.logits[:, 0], truth)
    return functional.cross_entropy(found.logits, truth)


def _value_loss(found: Fused, truth: Tensor, config: FusionConfig) -> Tensor:
    """Squared error of the fused value, and of what each modality says alone (its voice, from 0)."""
    each = (found.voices[..., 0] - truth[:, None]) ** 2 * found.there
    alone = each.sum() / found.there.sum().clamp(min=1)
    return _answer_loss(found, truth) + config.alone * alone
