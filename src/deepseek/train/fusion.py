"""Decoded samples and labels -> a trained FusionNet, through `fit`.

    done = fit_fusion(preparer, decoded.arrays, labels, rows=train, held=validation, config=FusionConfig(), seed=0)
    margins(done.net, decoded.arrays, test)                  # (N, K) float32

Batches are cut from arrays that may lie on disk (data/decode.py), in an order that a generator draws, so the loop's own
checkpoints resume in the middle of an epoch to the bit. Validation is the loss of the fused answer.

Shapes: N samples, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from deepseek.nn.augment import MoveShape
from deepseek.nn.fusion import Fused, FusionNet, FusionShape, fusion_loss
from deepseek.nn.multimodal import NetShape, as_tensors, fusion_net
from deepseek.nn.pretrained import PretrainedEncoder, Towers, remembering
from deepseek.train.align import AlignConfig, pairs_of, prealign
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
    prealign_epochs: int = 0  # over rows that have a text and a picture, sound or film, before all else; 0: none
    tower_lr: float = 0.2  # of `lr`, for encoders that were trained elsewhere and go on learning, above 0
    precision: str = "fp32"  # as TrainConfig has it
    fusion: FusionShape = field(default_factory=FusionShape)
    move: MoveShape = field(default_factory=MoveShape)  # of pictures, in training alone

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("batch_size", self.batch_size >= 2, "2 or more"), ("alone", self.alone >= 0, "at least 0"),
            ("tower_lr", self.tower_lr > 0, "above 0"), ("prealign_epochs", self.prealign_epochs >= 0, "at least 0"),
        ):  # fmt: skip
            if not good:
                raise InputError(f"fusion.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")

    def train(self, seed: int) -> TrainConfig:
        """As fit() takes it."""
        return TrainConfig(
            epochs=self.epochs, lr=self.lr, weight_decay=self.weight_decay, seed=seed, patience=self.patience,
            precision=self.precision, schedule="cosine",  # type: ignore[arg-type]
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
    towers: Towers | None = None,
    checkpoints: Path | None = None,
    validated: Callable[[int, float], None] | None = None,
) -> FusionFit:
    """Train on `rows`, validate on `held`. `towers`: encoders that were trained elsewhere, by column.

    labels: (N,) classes from 0 (num_outputs > 1), or values (num_outputs 1), standardised by who calls.
    checkpoints: a folder; training goes on there where it holds some. validated: told the epoch and the loss.
    """
    config = config or FusionConfig()
    if len(rows) < 2:
        raise InputError(f"there are {len(rows)} rows to train on", expected="2 or more", fix="bring more rows")
    torch.manual_seed(seed)
    towers = towers or Towers()
    shape = NetShape(num_outputs, config.fusion, config.move, towers=towers.shapes)
    net = fusion_net(preparer, shape, towers.weights)
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

    given: dict[str, Any] = {"loss": loss, "progress": False, "optimizer": _optimizer(net, config)}
    if held is not None and len(held):
        given["validation"] = validate
    with remembering(net):
        if config.prealign_epochs:
            aligning = AlignConfig(epochs=config.prealign_epochs, batch_size=config.batch_size)
            for pair in pairs_of(preparer):
                prealign(net, arrays, pair, rows=rows, config=aligning, seed=seed)
        if checkpoints is None:
            result = fit(net, stream, config.train(seed), **given)
        else:  # begins anew where the folder holds nothing
            result = resume(net, stream, config.train(seed), checkpoints=checkpoints, **given)
    return FusionFit(net.eval(), shape, result)


def _optimizer(net: FusionNet, config: FusionConfig) -> torch.optim.Optimizer:
    """AdamW; what a trained tower knows is changed at a lower rate."""
    slow = {
        id(p) for part in net.modules() if isinstance(part, PretrainedEncoder) for p in part.tower.parameters()
    }  # fmt: skip
    learning = [p for p in net.parameters() if p.requires_grad]
    groups = [{"params": [p for p in learning if id(p) not in slow], "lr": config.lr}]
    if known := [p for p in learning if id(p) in slow]:
        groups.append({"params": known, "lr": config.lr * config.tower_lr})
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def margins(net: FusionNet, arrays: Arrays, rows: NDArray[Any], *, mirror: Sequence[str] = ()) -> Float32:
    """Fused logits or values (N, K) of the rows. `mirror`: pictures whose mirrored twins are answered too; the mean is
    given."""
    net.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            values, there = batch_of(arrays, rows[start : start + BATCH])
            logits = net(values, there).logits
            if mirror:
                turned = {name: value.flip(-1) if name in mirror else value for name, value in values.items()}
                logits = (logits + net(turned, there).logits) / 2
            found.append(logits.numpy())
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
