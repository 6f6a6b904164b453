"""ImageNet, or any folder of pictures with one folder for each class, from the first epoch to a net with its figures.

    torchrun --nproc-per-node 8 -m deepseek.recipes.imagenet --set data=imagenet --set out=runs/in1k
    python -m deepseek.recipes.imagenet --set data=flowers --set classes=17 --set net=torchvision/resnet18

It is `deepseek train` with these choices: ResNet-50, random resized crops and mirrors, mixup, bfloat16, Nesterov's SGD
with a cosine after a warm-up, averaged weights, top-1 on the middle of the validation pictures. A run that is started
again goes on from its last checkpoint. The rate is for 1,024 pictures a step, of all ranks together, and follows it.

Sources: He et al. 2019 (arXiv 1812.01187), table 6, for warm-up, cosine and mixup; Goyal et al. 2017 (arXiv
1706.02677), section 2.1, for the rate. The figure of 100 epochs on ImageNetConfig was not run here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from deepseek.config import build_dataclass, merge_settings
from deepseek.errors import DeepseekError
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.job import DataSection, Job, MixSection, ModelSection, OptimizerSection, run_job

#: Over the defaults of TrainConfig.
TRAIN_DEFAULTS = {
    "epochs": 100, "warmup": 0.05, "schedule": "cosine", "precision": "bf16", "ema_decay": 0.9998, "clip_norm": 5.0,
    "checkpoint_every": 1_000, "metric": "top1", "goal": "max",
}  # fmt: skip


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


def build_job(chosen: ImageNetConfig, num_ranks: int) -> Job:
    """The same as `deepseek train` would read it."""
    both = {"size": chosen.size, "batch_size": chosen.batch_size, "workers": chosen.workers}
    root = Path(chosen.data).resolve()
    rate = chosen.lr * chosen.batch_size * num_ranks / 1_024
    return Job(
        model=ModelSection(
            "deepseek.nn.resnet50:photo_net", {"name": chosen.net, "num_classes": chosen.classes, "width": chosen.width}
        ),
        data=DataSection(
            "deepseek.train.loop.images:read_batches", "deepseek.train.loop.images:read_accuracy",
            args={**both, "folder": str(root / "train"), "seed": chosen.train.seed},
            validation_args={**both, "folder": str(root / "val"), "precision": chosen.train.precision},
        ),
        optimizer=OptimizerSection(
            "torch.optim:SGD",
            {"lr": rate, "momentum": chosen.momentum, "weight_decay": chosen.weight_decay, "nesterov": True},
        ),
        train=chosen.train, loss="torch.nn:CrossEntropyLoss", loss_args={"label_smoothing": chosen.smoothing},
        mix=MixSection(chosen.classes, chosen.mixup, chosen.cutmix), device=chosen.device,
    )  # fmt: skip


def main() -> int:
    """Run it as the arguments say; the figures as JSON, from the first rank."""
    parser = argparse.ArgumentParser(prog="python -m deepseek.recipes.imagenet", description=__doc__.splitlines()[0])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    try:
        chosen = build_dataclass(ImageNetConfig, merge_settings({"train": TRAIN_DEFAULTS}, given.settings))
        report = run_job(
            build_job(chosen, int(os.environ.get("WORLD_SIZE", "1"))), Path.cwd(), Path(chosen.out), go_on=True
        )
    except DeepseekError as error:
        parser.exit(error.exit_code, f"{error}\n")
    except KeyboardInterrupt:  # a checkpoint was written
        return 130
    if report is not None:
        sys.stdout.write(json.dumps(report.to_dict()) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
