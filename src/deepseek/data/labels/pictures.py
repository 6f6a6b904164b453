"""Pictures of a folder: their names, their sizes by the header alone, and their pixels in their own size.

files = list_pictures(Path("line3"))
store = PictureStore(Path("line3"), ImageReader(channels=1))
store.read("good/001.png")                                       # (1, H, W) uint8
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.data.media.image import ImageReader, upright_size, white_level
from deepseek.data.media.source import Source, open_source
from deepseek.errors import MissingError

MAX_CACHE_BYTES = 2**30
NUM_FITTED = 64  # pictures that say whether a folder is gray


def list_pictures(folder: Path) -> list[str]:
    """Names of all pictures below a folder, sorted, with / between them. MissingError where there is none."""
    if not folder.is_dir():
        raise MissingError(f"there is no folder {folder}", expected="a folder of pictures", fix="check the name")
    files = sorted(
        (Path(place) / name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in ImageReader.suffixes and not name.startswith(".")
    )
    if not files:
        raise MissingError(
            f"{folder} holds no picture",
            expected=", ".join(ImageReader.suffixes),
            fix="give the folder of the pictures",
        )
    return files


def open_picture(path: Path) -> Source:
    """The bytes of one file, which errors call by its name."""
    return replace(open_source(path.name, root=path.parent, row=0, column="picture"), name=path.name)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, upright. BrokenError for what is no picture."""
    height, width = upright_size(open_picture(path))
    return width, height


def fit_reader(folder: Path, files: Sequence[str]) -> ImageReader:
    """A reader for pictures like these: gray where each of them is, and what is white in 16 bits."""
    step = max(1, len(files) // NUM_FITTED)
    sources = [open_picture(folder / file) for file in files[::step]]
    fitted = ImageReader.fit(sources)
    return replace(fitted, white=white_level(open_picture(folder / file) for file in files))


class PictureStore:
    """Reads pictures in their own size and keeps the latest in memory, up to MAX_CACHE_BYTES."""

    def __init__(self, folder: Path, reader: ImageReader) -> None:
        self.folder, self.reader = folder, reader
        self._pictures: dict[str, NDArray[np.uint8]] = {}
        self._num_bytes = 0

    def read(self, file: str) -> NDArray[np.uint8]:
        """(C, H, W). BrokenError, which names the file, for what cannot be decoded."""
        picture = self._pictures.get(file)
        if picture is None:
            picture = self.reader.read_natural(open_picture(self.folder / file))
            if self._num_bytes + picture.nbytes <= MAX_CACHE_BYTES:
                self._pictures[file] = picture
                self._num_bytes += picture.nbytes
        return picture
