"""A residual net on CIFAR-10 as JPEG, for what makes it smaller: data, training, accuracy, and a cache of the weights.

    photos = read_photos()                       # train 45,000, validation 5,000, test 10,000
    net, result = trained(Recipe())              # from the cache, or trained: some 27 minutes of one core

Choices are made on the validation part (the last 5,000 rows of the training files); test rows are scored once. Weights
lie in a cache outside of the repository, in a folder named by the digest of the recipe, with the checkpoints of a
training that was interrupted: it goes on from there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import MissingError
from deepseek.nn.resnet import ResNet, ResNetShape
from deepseek.train import TrainConfig, resume

NUM_VALIDATION = 5_000
MEAN, DEVIATION = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)  # of the training rows' red, green and blue
PAD = 4  # pixels that a photo is moved at most, either way


@dataclass(frozen=True)
class Recipe:
    """What the trained weights depend on."""

    width: int = 64
    epochs: int = 20
    batch_size: int = 128
    lr: float = 4e-3  # of AdamW
    weight_decay: float = 0.05
    smoothing: float = 0.1  # of the labels
    schedule: str = "cosine"
    warmup: float = 0.15
    ema_decay: float = 0.0
    precision: str = "bf16"
    seed: int = 0

    @property
    def digest(self) -> str:
        return digest_of(asdict(self))


def digest_of(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Where trained weights lie: $XDG_CACHE_HOME or ~/.cache, then deepseek/benchmarks."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepseek" / "benchmarks"


def data_folder() -> Path:
    """Where the photos lie. MissingError where they do not."""
    root = os.environ.get("DEEPSEEK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(root) / "cifar10-jpeg"
    if not folder.exists():
        raise MissingError(
            f"{folder} is not there", expected="the public data sets", fix="set DEEPSEEK_DATA to their folder"
        )
    return folder


@dataclass(frozen=True)
class Photos:
    """Standardised rows (N, 3, 32, 32) and kinds (N,), but of the training rows: padded bytes (N, 40, 40, 3)."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@cache
def read_photos() -> Photos:
    pixels, kinds = _decode([f"train-{index}" for index in range(5)])
    padded = np.pad(pixels[:-NUM_VALIDATION], ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect")
    held = (standardised(torch.from_numpy(pixels[-NUM_VALIDATION:])), kinds[-NUM_VALIDATION:])
    test_pixels, test_kinds = _decode(["test"])
    return Photos(
        (torch.from_numpy(padded), kinds[:-NUM_VALIDATION]), held,
        (standardised(torch.from_numpy(test_pixels)), test_kinds),
    )  # fmt: skip


def _decode(names: list[str]) -> tuple[np.ndarray, Tensor]:
    pixels, kinds = [], []
    for name in names:
        rows = pq.read_table(data_folder() / f"{name}.parquet")
        pixels += [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in rows["jpeg"].to_pylist()]
        kinds.append(torch.tensor(rows["label"].to_pylist()))
    return np.stack(pixels), torch.cat(kinds)


def standardised(pixels: Tensor) -> Tensor:
    """Bytes (N, H, W, 3) -> numbers (N, 3, H, W), about -2 to 2, that lie in memory as the bytes do."""
    scaled = (pixels.float() - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    return scaled.permute(0, 3, 1, 2)


class Moved:
    """Batches of the training photos, each moved by up to PAD pixels and mirrored by chance."""

    def __init__(self, photos: tuple[Tensor, Tensor], batch_size: int, seed: int) -> None:
        self.pixels, self.kinds = photos
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.kinds) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        num_rows, along = len(self.kinds), torch.arange(32)
        order = torch.randperm(num_rows, generator=self.generator)
        corners = torch.randint(0, 2 * PAD + 1, (num_rows, 2, 1), generator=self.generator)
        mirrored = torch.rand(num_rows, 1, generator=self.generator) < 0.5
        for rows in order[: len(self) * self.batch_size].split(self.batch_size):
            down = corners[rows, 0] + along  # (B, 32)
            right = corners[rows, 1] + torch.where(mirrored[rows], along.flip(0), along)
            yield standardised(self.pixels[rows[:, None, None], down[:, :, None], right[:, None]]), self.kinds[rows]


def accuracy(predict: Callable[[Tensor], Tensor], photos: tuple[Tensor, Tensor]) -> float:
    """Share of rows whose largest logit is the right one."""
    return float((logits_of(predict, photos[0]).argmax(1) == photos[1]).float().mean())


def logits_of(predict: Callable[[Tensor], Tensor], rows: Tensor, batch_size: int = 500) -> Tensor:
    with torch.no_grad():
        return torch.cat([predict(part) for part in rows.split(batch_size)])


def smoothed_loss(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, kinds: functional.cross_entropy(logits, kinds, label_smoothing=recipe.smoothing)


def network(recipe: Recipe) -> nn.Module:
    torch.manual_seed(recipe.seed)
    return ResNet(ResNetShape(width=recipe.width)).to(memory_format=torch.channels_last)


def trained(recipe: Recipe) -> tuple[nn.Module, dict[str, Any]]:
    """The net in eval mode, and what is known of its training: "cpu_s", "validation", "from"."""
    folder, net = cache_folder() / f"photos-{recipe.digest}", network(recipe)
    facts = folder / "facts.json"
    if facts.exists():
        net.load_state_dict(load_file(folder / "weights.safetensors"))
        return net.eval(), {**json.loads(facts.read_text()), "from": "the cache"}
    photos, began_s = read_photos(), time.process_time()

    def validate(module: nn.Module) -> dict[str, float]:
        logits, kinds = logits_of(module, photos.validation[0]), photos.validation[1]
        share = float((logits.argmax(1) == kinds).float().mean())
        print(f"  {time.process_time() - began_s:.0f} s of CPU: {share:.4f} of the validation rows", flush=True)
        return {"accuracy": share, "loss": float(smoothed_loss(recipe)(logits, kinds))}

    config = TrainConfig(
        epochs=recipe.epochs, lr=recipe.lr, weight_decay=recipe.weight_decay, warmup=recipe.warmup,
        precision=recipe.precision, schedule=recipe.schedule,  # type: ignore[arg-type]
        ema_decay=recipe.ema_decay,
        clip_norm=float("inf"), seed=recipe.seed, metric="accuracy", goal="max",
        validate_every=max(1, recipe.epochs // 3), checkpoint_every=50,
    )  # fmt: skip
    result = resume(
        net, Moved(photos.train, recipe.batch_size, recipe.seed), config, checkpoints=folder / "checkpoints",
        loss=smoothed_loss(recipe), validation=validate, progress=False,
    )  # fmt: skip
    run_facts = {
        "cpu_s": time.process_time() - began_s,  # of this process: less than all where it was interrupted
        "validation": result.validations[-1]["accuracy"],
        "validations": [each["accuracy"] for each in result.validations],
    }
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, folder / "weights.safetensors")
    facts.write_text(json.dumps(run_facts))
    return net.eval(), {**run_facts, "from": "training in this run"}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(trained(Recipe())[1])
