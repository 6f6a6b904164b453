"""ImageNet, or any folder of pictures with one folder for each class, from the first epoch to a net with its figures.

    torchrun --nproc-per-node 8 -m deepseek recipe imagenet imagenet --out runs/in1k
    deepseek recipe imagenet flowers --out runs/flowers --set classes=17 --set net=torchvision/resnet18

It is `deepseek train` with these choices: ResNet-50, random resized crops and mirrors, mixup, bfloat16, Nesterov's SGD
with a cosine after a warm-up, averaged weights, top-1 on the middle of the validation pictures. A run that is started
again goes on from its last checkpoint. The rate is for 1,024 pictures a step, of all ranks together, and follows it.

Sources: He et al. 2019 (arXiv 1812.01187), table 6, for warm-up, cosine and mixup; Goyal et al. 2017 (arXiv
1706.02677), section 2.1, for the rate. The figure of 100 epochs on ImageNetConfig was not run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepseek.config import build_dataclass, merge_settings
from deepseek.contracts import JsonObject
from deepseek.extras import need
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.job import DataSection, Job, MixSection, ModelSection, OptimizerSection

#: Over the defaults of TrainConfig.
TRAIN_DEFAULTS = {
    "epochs": 100, "warmup": 0.05, "schedule": "cosine", "precision": "bf16", "ema_decay": 0.9998, "clip_norm": 5.0,
    "checkpoint_every": 1_000, "metric": "top1", "goal": "max",
}  # fmt: skip
#: For --example: a net that learns two colors in seconds, on a CPU.
EXAMPLE_CHOICES = {
    "classes": 2, "net": "tiny", "width": 4, "size": 32, "batch_size": 4, "workers": 0, "lr": 8.0, "device": "cpu",
}  # fmt: skip
EXAMPLE_TRAINING = {"epochs": 4, "ema_decay": 0.5}


@dataclass(frozen=True)
class ImageNetConfig:
    """What may be chosen."""

    data: str  # a folder that holds train/CLASS/*.JPEG and val/CLASS/*.JPEG
    out: str  # where weights and checkpoints go
    net: str = "resnet50"  # or resnet101, tiny, torchvision/NAME
    width: int = 64  # of the nets that are written here
    classes: int = 1_000
    size: int = 224  # pixels of a side
    batch_size: int = 128  # pictures of a step and rank, at least 1
    workers: int = 8  # processes that read, of each rank; 0: none
    lr: float = 0.4  # for 1,024 pictures a step
    momentum: float = 0.9
    weight_decay: float = 1e-4
    mixup: float = 0.2  # alpha; 0: none
    cutmix: float = 0.0
    smoothing: float = 0.1  # of the labels, 0 to 1
    device: str = "auto"
    train: TrainConfig = field(default_factory=lambda: build_dataclass(TrainConfig, TRAIN_DEFAULTS))


def build_job(config: ImageNetConfig, num_ranks: int) -> Job:
    """The same as `deepseek train` would read it."""
    loader_args = {"size": config.size, "batch_size": config.batch_size, "workers": config.workers}
    root = Path(config.data).resolve()
    rate = config.lr * config.batch_size * num_ranks / 1_024
    return Job(
        model=ModelSection(
            "deepseek.nn.resnet50:photo_net", {"name": config.net, "num_classes": config.classes, "width": config.width}
        ),
        data=DataSection(
            "deepseek.train.loop.images:read_batches", "deepseek.train.loop.images:read_accuracy",
            args={**loader_args, "folder": str(root / "train"), "seed": config.train.seed},
            validation_args={**loader_args, "folder": str(root / "val"), "precision": config.train.precision},
        ),
        optimizer=OptimizerSection(
            "torch.optim:SGD",
            {"lr": rate, "momentum": config.momentum, "weight_decay": config.weight_decay, "nesterov": True},
        ),
        train=config.train, loss="torch.nn:CrossEntropyLoss", loss_args={"label_smoothing": config.smoothing},
        mix=MixSection(config.classes, config.mixup, config.cutmix), device=config.device,
    )  # fmt: skip


def read_choices(folder: Path, out: Path, settings: Sequence[str], *, is_example: bool = False) -> ImageNetConfig:
    """The choices for the pictures in `folder`, with KEY=VALUE settings put over them. InputError for a key that is not
    there. Those of the example suit a few pictures and a CPU."""
    base: JsonObject = {"train": TRAIN_DEFAULTS}
    if is_example:
        base = {**EXAMPLE_CHOICES, "train": {**TRAIN_DEFAULTS, **EXAMPLE_TRAINING}}
    return build_dataclass(ImageNetConfig, merge_settings({**base, "data": str(folder), "out": str(out)}, settings))


def write_example(folder: Path) -> Path:
    """Draw 56 small pictures, red ones of one class and green ones of the other, into train/ and val/; the folder."""
    image = need("PIL.Image", extra="media")
    for part, num_pictures in (("train", 22), ("val", 6)):
        for label, name in enumerate(("red", "green")):
            (folder / part / name).mkdir(parents=True)
            for number in range(num_pictures):
                pixels = np.random.default_rng((label, number, len(part))).integers(0, 80, (40, 52, 3))
                pixels[..., label] += 120
                image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{number}.jpg")
    return folder
