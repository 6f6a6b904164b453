"""Decoded samples and labels -> a trained MultimodalNet, through `fit`.

    done = fit_multimodal(preparer, decoded.arrays, labels, rows=train, held=validation, config=MultimodalConfig(),
    seed=0)
    margins(done.net, decoded.arrays, test)                  # (N, K) float32

Batches are cut from arrays that may lie on disk (data/samples/decode.py), in an order that a generator draws, so the
loop's own
checkpoints resume in the middle of an epoch to the bit. Validation is the loss of the joint answer. What is too large
to be decoded whole is streamed (ShardSamples, data/stream/stream.py), and given to fit() itself.

Under torchrun or train.launch it is the same call in each rank: a step has the rows that it has in one process, each
rank takes its share of them, and the losses are those of one process (train/multimodal/distributed.py).

Shapes: N samples, K outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepseek.contracts import Float32
from deepseek.data.samples.preparer import SamplePreparer
from deepseek.data.stream.stream import ShardStream
from deepseek.data.stream.stream_ray import RayStream
from deepseek.errors import InputError
from deepseek.extras import renamed_attributes
from deepseek.nn.augment import MoveShape
from deepseek.nn.fusion import (
    MultimodalNet,
    MultimodalOutput,
    MultimodalShape,
    mean_over_present,
    mixed_label_loss,
    multimodal_loss,
)
from deepseek.nn.multimodal import NetShape, as_tensors, multimodal_net
from deepseek.nn.pretrained import PretrainedEncoders, ProjectedEncoder, cache_outputs
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.train.checkpoint.state_tree import StateDict
from deepseek.train.distributed import ranks
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import FitResult, fit, resume
from deepseek.train.loop.stream import find_device, to_device
from deepseek.train.multimodal.align import AlignConfig, prealign, text_media_pairs
from deepseek.train.multimodal.distributed import distribute_net, full_state_dict
from deepseek.train.multimodal.unimodal_logits import fit_logit_slopes

Arrays = Mapping[str, NDArray[Any]]
BATCH_ROWS = 256  # rows that are answered at a time


@dataclass(frozen=True, slots=True)
class MultimodalConfig:
    """How a multimodal net is trained."""

    epochs: int = 30  # at least 1
    optimizer: Literal["adamw", "adaptive"] = "adamw"  # adaptive: where the answer turns on several at once
    lr: float = 2e-3  # peak rate of AdamW, above 0; AdaptiveOptimizer finds its own
    weight_decay: float = 0.02  # of AdamW
    batch_size: int = 64  # rows of a step, of all ranks together; at least 2: norms need company
    alone: float = 0.3  # weight of the loss of each modality by itself, at least 0
    weigh: bool = (
        True  # fit on the held-out rows a slope for the logits of each modality (train/multimodal/unimodal_logits.py)
    )
    patience: int = 0  # validations without a better loss before the end; 0: all epochs, last weights
    prealign_epochs: int = 0  # over rows that have a text and an image, audio or video, before all else; 0: none
    tower_lr: float = 0.2  # of `lr`, for encoders that were trained elsewhere and go on learning, above 0
    precision: str = "fp32"  # as TrainConfig has it
    shards: int = 1  # ranks that hold one copy of the net (FSDP2), a divisor of all; 1: data parallel
    device: str = "cpu"  # or cuda, or auto: the rank's GPU where there is one
    fusion: MultimodalShape = field(default_factory=MultimodalShape)
    move: MoveShape = field(default_factory=MoveShape)  # of images, in training alone

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("batch_size", self.batch_size >= 2, "2 or more"), ("alone", self.alone >= 0, "at least 0"),
            ("shards", self.shards >= 1, "1 or more"),
            ("optimizer", self.optimizer in ("adamw", "adaptive"), "adamw or adaptive"),
            ("tower_lr", self.tower_lr > 0, "above 0"), ("prealign_epochs", self.prealign_epochs >= 0, "at least 0"),
        ):  # fmt: skip
            if not good:
                raise InputError(f"fusion.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")

    def train(self, seed: int) -> TrainConfig:
        """The configuration of fit() for this training."""
        return TrainConfig(
            epochs=self.epochs, lr=self.lr, weight_decay=self.weight_decay, seed=seed, patience=self.patience,
            precision=self.precision, schedule="cosine" if self.optimizer == "adamw" else "constant",  # type: ignore[arg-type]
        )  # fmt: skip


@dataclass(frozen=True)
class MultimodalFit:
    """A trained net and how its training went."""

    net: MultimodalNet  # in eval mode, on the CPU; whole on every rank
    shape: NetShape
    fit: FitResult


@dataclass
class SampleStream:
    """Batches ((values, there), labels) of the rows `rows`. With a generator each pass is another permutation; a last
    batch of one row is left out, for norms need company. Without one the rows keep their order, all of them.

    Of several ranks, whose generators have one seed, each gives its share of each batch: as many rows as the others, so
    up to one row less than there are ranks is left out of the last batch."""

    arrays: Arrays
    labels: NDArray[Any]  # (N,) int64, or float32 for a value
    rows: NDArray[np.int64]
    batch_size: int  # of all ranks together
    generator: torch.Generator | None = None
    share: tuple[int, int] = (0, 1)  # rank, number of ranks

    def __len__(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest >= max(2, self.share[1]) if self.generator is not None else rest > 0)

    def __iter__(self) -> Iterator[tuple[tuple[dict[str, Tensor], dict[str, Tensor]], Tensor]]:
        order, (rank, num_ranks) = self.rows, self.share
        if self.generator is not None:
            order = order[torch.randperm(len(order), generator=self.generator).numpy()]
        for index in range(len(self)):
            rows = order[index * self.batch_size : (index + 1) * self.batch_size]
            rows = rows[rank : len(rows) - len(rows) % num_ranks : num_ranks]
            yield make_batch(self.arrays, rows), torch.from_numpy(self.labels[rows])


@dataclass(frozen=True)
class ShardSamples:
    """A stream that is never loaded as a whole, as batches ((values, there), labels) for fit() and resume(). Its place
    is kept in their checkpoints: a run that was killed goes on in the middle of an epoch, reading none of it again."""

    stream: ShardStream | RayStream  # with a target

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[tuple[tuple[dict[str, Tensor], dict[str, Tensor]], Tensor]]:
        for batch in self.stream:
            if batch.labels is None:
                raise InputError("the stream has no target", expected="one to learn", fix="give it target=")
            yield as_tensors(batch.arrays), torch.from_numpy(batch.labels)

    def set_epoch(self, epoch: int) -> None:
        """Begin the pass of that number: it sets the order."""
        self.stream.set_epoch(epoch)

    def state_dict(self) -> StateDict:
        """The place in the stream, for a checkpoint of the loop."""
        return self.stream.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Go on from a place that state_dict() gave."""
        self.stream.load_state_dict(state)


def make_batch(arrays: Arrays, rows: NDArray[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The rows as tensors: values by name, and which are there. Read in the order in which they lie on disk."""
    order = np.argsort(rows, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return as_tensors({name: np.asarray(array[rows[order]])[back] for name, array in arrays.items()})


def fit_multimodal(
    preparer: SamplePreparer,
    arrays: Arrays,
    labels: NDArray[Any],
    *,
    num_outputs: int,
    rows: NDArray[np.int64],
    held: NDArray[np.int64] | None = None,
    config: MultimodalConfig | None = None,
    seed: int = 0,
    towers: PretrainedEncoders | None = None,
    checkpoints: Path | None = None,
    validated: Callable[[int, float], None] | None = None,
    trained: Callable[[MultimodalNet], None] | None = None,
) -> MultimodalFit:
    """Train on `rows`, validate on `held`. `towers`: encoders that were trained elsewhere, by column.

    labels: (N,) classes from 0 (num_outputs > 1), or values (num_outputs 1), standardized by who calls.
    checkpoints: a folder; training goes on there where it holds some. validated: called with the epoch and the loss.
    trained: called with the net at the end, while its frozen encoders know what they have read.
    """
    config = config or MultimodalConfig()
    torch.manual_seed(seed)
    towers = towers or PretrainedEncoders()
    shape = NetShape(num_outputs, config.fusion, config.move, towers=towers.shapes)
    net = multimodal_net(preparer, shape, towers.weights)
    if config.prealign_epochs and ranks.num_ranks() > 1:
        raise InputError(
            f"fusion.prealign_epochs is {config.prealign_epochs} with {ranks.num_ranks()} ranks", expected="0",
            fix="align in one process",
        )  # fmt: skip
    with cache_outputs(net):
        if config.prealign_epochs:
            aligning = AlignConfig(epochs=config.prealign_epochs, batch_size=config.batch_size)
            for pair in text_media_pairs(preparer):
                prealign(net, arrays, pair, rows=rows, config=aligning, seed=seed)
        net, result = train_net(
            net, arrays, labels, rows=rows, held=held, config=config, seed=seed, checkpoints=checkpoints,
            validated=validated,
        )  # fmt: skip
        if trained:
            trained(net)
    return MultimodalFit(net, shape, result)


def train_net(
    net: MultimodalNet,
    arrays: Arrays,
    labels: NDArray[Any],
    *,
    rows: NDArray[np.int64],
    held: NDArray[np.int64] | None = None,
    config: MultimodalConfig | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    validated: Callable[[int, float], None] | None = None,
) -> tuple[MultimodalNet, FitResult]:
    """The trained net and what happened; the arguments are those of fit_multimodal. The net that comes back is another
    one where there are several ranks: what is given is then changed."""
    config = config or MultimodalConfig()
    share = ranks.rank(), ranks.num_ranks()
    _check_rows(len(rows), config, share[1])
    is_class = net.bias.shape[0] > 1
    labels = labels.astype(np.int64 if is_class else np.float32)
    batch_size = min(config.batch_size, len(rows))
    stream = SampleStream(arrays, labels, rows, batch_size, torch.Generator().manual_seed(seed), share)

    def loss(output: MultimodalOutput, truth: Tensor) -> Tensor:
        return (
            multimodal_loss(output, truth, alone=config.alone) if is_class else _value_loss(output, truth, config.alone)
        )

    plain, group = copy.deepcopy(net) if share[1] > 1 else net, ranks.cpu_group()
    validation = None
    if held is not None and len(held):
        validation = HeldOutLoss(arrays, labels, held, group, share, config.epochs, validated)
    # resume() begins anew where the folder holds nothing
    train: Callable[..., FitResult] = fit if checkpoints is None else partial(resume, checkpoints=checkpoints)
    with distribute_net(net.to(find_device(config.device)), config.shards) as model:
        result = train(
            model,
            stream,
            config.train(seed),
            loss=loss,
            optimizer=_optimizer(net, config),
            validation=validation,
            progress=False,
        )
        if plain is not net:
            plain.load_state_dict(full_state_dict(net))
    ranks.destroy_group(group)
    plain = plain.cpu().eval()
    if config.weigh and held is not None and len(held):
        fit_logit_slopes(
            plain, SampleStream(arrays, labels, held, BATCH_ROWS)
        )  # each rank by itself, and all find the same
    return plain, result


def _check_rows(num_rows: int, config: MultimodalConfig, num_ranks: int) -> None:
    if num_rows < max(2, num_ranks):
        raise InputError(
            f"there are {num_rows} rows to train on", expected=f"{max(2, num_ranks)} or more", fix="bring more rows"
        )
    if config.batch_size % num_ranks:
        raise InputError(
            f"fusion.batch_size is {config.batch_size}, which {num_ranks} ranks cannot share out evenly",
            expected=f"a multiple of {num_ranks}",
            fix=f"give {max(2, num_ranks, config.batch_size - config.batch_size % num_ranks)}",
        )  # fmt: skip


@dataclass
class HeldOutLoss:
    """The loss of the joint answer over the held-out rows of all ranks, as a validation of fit().

    Each rank calls the net as often as the others, with a row that does not count where its own have ended: the parts
    of a sharded net are gathered in each call."""

    arrays: Arrays
    labels: NDArray[Any]
    rows: NDArray[np.int64]
    group: Any
    share: tuple[int, int]
    num_epochs: int
    validated: Callable[[int, float], None] | None  # called on the first rank
    num_calls: int = 0

    def __call__(self, module: nn.Module) -> float:
        rank, num_ranks = self.share
        own, total = self.rows[rank::num_ranks], 0.0
        device = next(module.parameters()).device
        for start in range(0, -(-len(self.rows) // num_ranks), BATCH_ROWS):
            rows = own[start : start + BATCH_ROWS]
            batch_rows = rows if len(rows) else self.rows[:1]
            (values, present), truth = to_device(
                (make_batch(self.arrays, batch_rows), torch.from_numpy(self.labels[batch_rows])), device
            )
            total += float(_fused_loss(module(values, present), truth)) * len(rows)
        loss = ranks.sum_over_ranks((total,), self.group)[0] / len(self.rows)
        self.num_calls += 1
        if self.validated and rank == 0:
            self.validated(min(self.num_calls, self.num_epochs), loss)
        return loss


def _optimizer(net: MultimodalNet, config: MultimodalConfig) -> torch.optim.Optimizer:
    """The optimizer that the config names. AdamW changes pretrained encoders at a lower rate than the rest."""
    if config.optimizer == "adaptive":
        return AdaptiveOptimizer([p for p in net.parameters() if p.requires_grad])
    slow = {
        id(p) for part in net.modules() if isinstance(part, ProjectedEncoder) for p in part.tower.parameters()
    }  # fmt: skip
    learning = [p for p in net.parameters() if p.requires_grad]
    groups = [{"params": [p for p in learning if id(p) not in slow], "lr": config.lr}]
    if known := [p for p in learning if id(p) in slow]:
        groups.append({"params": known, "lr": config.lr * config.tower_lr})
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def predict_margins(net: MultimodalNet, arrays: Arrays, rows: NDArray[Any], *, mirror: Sequence[str] = ()) -> Float32:
    """Joint logits or values (N, K) of the rows. `mirror`: columns of images whose mirrored
    twins are read too; the result is the mean of both."""
    net.eval()
    batches = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH_ROWS):
            values, present = make_batch(arrays, rows[start : start + BATCH_ROWS])
            logits = net(values, present).logits
            if mirror:
                flipped = {name: value.flip(-1) if name in mirror else value for name, value in values.items()}
                logits = (logits + net(flipped, present).logits) / 2
            batches.append(logits.numpy())
    return np.concatenate(batches).astype(np.float32)


def _fused_loss(output: MultimodalOutput, truth: Tensor) -> Tensor:
    if truth.is_floating_point():
        return functional.mse_loss(output.logits[:, 0], truth)
    return functional.cross_entropy(output.logits, truth)


def _value_loss(output: MultimodalOutput, truth: Tensor, alone: float) -> Tensor:
    """Squared error of the joint value, plus `alone` times that of the value of each modality by itself."""

    def loss(truth: Tensor) -> Tensor:
        unimodal_errors = (output.unimodal_logits[..., 0] - truth[:, None]) ** 2
        return _fused_loss(output, truth) + alone * mean_over_present(unimodal_errors, output.present)

    return mixed_label_loss(output, truth, loss)


__getattr__ = renamed_attributes(__name__, {"FusionConfig": "MultimodalConfig", "fit_fusion": "fit_multimodal"})
