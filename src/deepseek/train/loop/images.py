"""A folder of images as batches, and how often a net is right about another: what the ImageNet recipe trains
on.

    batches = read_batches("imagenet/train", size=224, batch_size=256, workers=8, seed=0)
    fit(model, batches, loss=..., validation=read_accuracy("imagenet/val", size=224, batch_size=256))

The order follows from seed and epoch, and what is cut out of an image from seed, epoch and its index in the folder. So
neither depends on the number of reading processes, and a run goes on in the middle of an epoch to the bit without what
lies before being read again. Of several ranks each has its share of the images, as many batches as the others.

Batches: uint8 (N, 3, H, W) and labels (N,).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from deepseek.data.media.image import ImageReader
from deepseek.data.media.image_folder import CropConfig, ImageFolder, center_crop, random_crop
from deepseek.errors import InputError
from deepseek.train.distributed import ranks
from deepseek.train.loop.precision import Precision
from deepseek.train.loop.state import unwrap_model

EpochRow = tuple[int, int]  # epoch, index in the folder


@dataclass(frozen=True)
class ImageDataset(Dataset[tuple[Tensor, int]]):
    """What a reading process has: images by epoch and index."""

    folder: ImageFolder
    reader: ImageReader
    cut: CropConfig | None = None  # None: the middle
    share: float = 0.875  # of the shorter side, in the middle
    mirror: bool = False  # half of them, at random
    seed: int = 0

    def __getitem__(self, key: EpochRow) -> tuple[Tensor, int]:
        epoch, row = key
        random = np.random.default_rng((self.seed % 2**63, epoch, row))
        is_mirrored = self.mirror and random.random() < 0.5
        choose = center_crop(self.share) if self.cut is None else random_crop(self.cut, random)
        pixels = torch.from_numpy(self.folder.read(row, self.reader, choose))
        return (pixels.flip(2) if is_mirrored else pixels), int(self.folder.labels[row])


class BatchReader:
    """Batches of images, read here or by processes that stay from one pass to the next."""

    def __init__(self, photos: ImageDataset, workers: int) -> None:
        self.photos, self._plan = photos, list[list[EpochRow]]()
        # Not forked: torch has threads here. Not from a server: its children outlive a rank that is killed.
        apart = {"multiprocessing_context": "spawn", "persistent_workers": True} if workers else {}
        pinned = torch.cuda.is_available()
        self._loader: DataLoader[Any] = DataLoader(
            photos, batch_sampler=self._plan, num_workers=workers, pin_memory=pinned,
            generator=torch.Generator(),  # its own: torch draws seeds for the processes, and mixing draws of the other
            **apart,  # type: ignore[arg-type]
        )  # fmt: skip

    def batches(self, rows: Iterable[list[EpochRow]]) -> Iterator[tuple[Tensor, Tensor]]:
        self._plan[:] = rows
        yield from self._loader


class ImageBatches:
    """See the module. Of each epoch what does not fill a batch on every rank is left out."""

    def __init__(
        self, photos: ImageDataset, batch_size: int, workers: int = 0, share: tuple[int, int] = (0, 1)
    ) -> None:
        """batch_size: of this rank. share: rank, number of ranks."""
        self.photos, self.batch_size, self.share = photos, batch_size, share
        self.epoch = self.at = 0  # of this run, and the batches that were given in the epoch
        self._reading = BatchReader(photos, workers)

    def __len__(self) -> int:
        return len(self.photos.folder) // (self.batch_size * self.share[1])

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rank, num_ranks = self.share
        order = np.random.default_rng((self.photos.seed % 2**63, self.epoch)).permutation(len(self.photos.folder))
        own_rows = order[rank::num_ranks][: len(self) * self.batch_size].reshape(len(self), self.batch_size)
        rows = [[(self.epoch, int(row)) for row in batch] for batch in own_rows[self.at :]]
        for batch in self._reading.batches(rows):
            self.at += 1
            yield batch
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        """The place, for a checkpoint of the loop."""
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


class Accuracy:
    """A validation of the loop: "loss", "top1" and "top5" over the images of a folder, shared out among the ranks."""

    def __init__(self, photos: ImageDataset, batch_size: int, workers: int = 0, precision: str = "fp32") -> None:
        self.photos, self.batch_size, self.precision = photos, batch_size, precision
        self._reading, self._group = BatchReader(photos, workers), ranks.cpu_group()

    def __call__(self, model: nn.Module) -> dict[str, float]:
        net = unwrap_model(model)  # ranks may have other numbers of batches, and what wraps it would exchange
        device = next(net.parameters()).device
        ranks.broadcast_buffers(net.buffers())
        own_rows = range(ranks.rank(), len(self.photos.folder), ranks.num_ranks())
        rows = [
            [(0, row) for row in own_rows[at : at + self.batch_size]] for at in range(0, len(own_rows), self.batch_size)
        ]
        precision = Precision(self.precision, device)
        sums = torch.zeros(3, dtype=torch.float64)
        for images, labels in self._reading.batches(rows):
            with precision.forward():
                logits = net(images.to(device, non_blocking=True)).float().cpu()
            is_hit = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            sums += torch.stack([loss.double(), is_hit[:, 0].sum().double(), is_hit.sum().double()])
        totals = ranks.sum_over_ranks(sums.tolist(), self._group)
        return {
            name: each / len(self.photos.folder) for name, each in zip(("loss", "top1", "top5"), totals, strict=True)
        }


def read_batches(
    folder: str,
    *,
    size: int = 224,
    batch_size: int = 64,
    workers: int = 0,
    seed: int = 0,
    least_share: float = CropConfig().least_share,
    mirror: bool = True,
) -> ImageBatches:
    """This rank's batches for training. InputError for a folder that holds less than one for each rank."""
    reader = ImageReader(size=(size, size))
    photos = ImageDataset(ImageFolder.open(Path(folder)), reader, CropConfig(least_share), mirror=mirror, seed=seed)
    batches = ImageBatches(photos, batch_size, workers, (ranks.rank(), ranks.num_ranks()))
    if len(batches) == 0:
        raise InputError(
            f"{folder} holds {len(photos.folder)} pictures, less than a batch of {batch_size} for each of "
            f"{batches.share[1]} ranks",
            expected="more pictures, or smaller batches", fix="lower batch_size",
        )  # fmt: skip
    return batches


def read_accuracy(
    folder: str, *, size: int = 224, batch_size: int = 64, workers: int = 0, precision: str = "fp32"
) -> Accuracy:
    """The figures of a net on the middle of each image."""
    return Accuracy(
        ImageDataset(ImageFolder.open(Path(folder)), ImageReader(size=(size, size))), batch_size, workers, precision
    )
