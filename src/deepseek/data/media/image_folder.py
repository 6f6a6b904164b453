"""A folder of pictures with one folder for each class, as ImageNetConfig comes, and the part of a picture that is read.

    folder = ImageFolder.open(Path("imagenet/train"))        # n01440764/..., n01443537/...
    folder.read(7, ImageReader(size=(224, 224)), drawn(CropConfig(), np.random.default_rng((seed, epoch, 7))))
    folder.read(7, reader, central(0.875))                   # the middle, as it is done for validation

Training reads a rectangle by chance, of another size and shape each time; a mirrored one is left to who calls.
Source: Szegedy et al. 2015 (arXiv 1409.4842), section 6; the numbers, and what is done where no rectangle fits, are
those of torchvision's RandomResizedCrop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.data.media.image import ChooseCrop, ImageReader
from deepseek.data.media.jpeg import CropBox
from deepseek.data.media.source import open_source
from deepseek.errors import InputError, MissingError

_NUM_TRIES = 10


@dataclass(frozen=True, slots=True)
class CropConfig:
    """From which rectangles random_crop() draws."""

    least_share: float = 0.08  # of the picture's area, 0 to 1; the largest is all of it
    widest: float = 4 / 3  # width by height, and height by width, at least 1

    def __post_init__(self) -> None:
        if not 0 < self.least_share <= 1:
            raise InputError(f"cut.least_share is {self.least_share}", expected="above 0, up to 1", fix="write 0.08")
        if self.widest < 1:
            raise InputError(f"cut.widest is {self.widest}", expected="at least 1", fix="write 1.33")


@dataclass(frozen=True)
class ImageFolder:
    """Names of files and their classes; nothing is decoded before it is read."""

    root: Path
    classes: tuple[str, ...]  # names of folders, sorted; the place of a name is its label
    files: tuple[str, ...]  # below root
    labels: NDArray[np.int64]  # (N,)

    @classmethod
    def open(cls, root: Path) -> ImageFolder:
        """MissingError where there is no such folder, InputError where it holds no class or a class no picture."""
        if not root.is_dir():
            raise MissingError(
                f"there is no folder {root}", expected="a folder with one folder for each class", fix="check the name"
            )
        classes = tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))
        files, labels = [], []
        for label, name in enumerate(classes):
            pictures = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in ImageReader.suffixes)
            if not pictures:
                raise InputError(
                    f"{root / name} holds no picture", expected=f"files named {', '.join(ImageReader.suffixes)}",
                    fix="bring them, or remove the folder",
                )  # fmt: skip
            files += [path.relative_to(root).as_posix() for path in pictures]
            labels += [label] * len(pictures)
        if len(classes) < 2:
            raise InputError(
                f"{root} holds {len(classes)} folders", expected="one for each of two classes or more",
                fix="put the pictures of each class into a folder of its own",
            )  # fmt: skip
        return cls(root, classes, tuple(files), np.array(labels, np.int64))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int, reader: ImageReader, choose: ChooseCrop) -> NDArray[np.uint8]:
        """A part of picture `row`, (channels, height, width). BrokenError with the file's name where it is broken."""
        return reader.read_crop(open_source(self.files[row], root=self.root, row=row, column="image"), choose)


def random_crop(shape: CropConfig, random: np.random.Generator) -> ChooseCrop:
    """A random rectangle: uniform in its share of the area, in the logarithm of its ratio and in its position. Where
    none of ten fits, the largest centered one whose ratio is allowed."""

    def choose(height: int, width: int) -> CropBox:
        limit = math.log(shape.widest)
        for _ in range(_NUM_TRIES):
            area = height * width * random.uniform(shape.least_share, 1)
            ratio = math.exp(random.uniform(-limit, limit))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                return int(random.integers(height - high + 1)), int(random.integers(width - wide + 1)), high, wide
        high, wide = min(height, round(width * shape.widest)), min(width, round(height * shape.widest))
        return (height - high) // 2, (width - wide) // 2, max(1, high), max(1, wide)

    return choose


def center_crop(share: float) -> ChooseCrop:
    """The centered square whose side is this share of the shorter side of the picture.

    >>> center_crop(0.875)(256, 400)
    (16, 88, 224, 224)
    """

    def choose(height: int, width: int) -> CropBox:
        side = max(1, round(share * min(height, width)))
        return (height - side) // 2, (width - side) // 2, side, side

    return choose
