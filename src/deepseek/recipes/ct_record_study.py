"""The rows of a study of CT slices and patient records, the choices of the recipe, and the preparer of its columns."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.pretrained_encoders import load_image_encoder, load_text_encoder
from deepseek.data import Table, read_table
from deepseek.data.media.image import ImageReader
from deepseek.data.media.source import Reader
from deepseek.data.media.text import TextReader
from deepseek.data.samples.preparer import SamplePreparer, fit_samples
from deepseek.errors import InputError
from deepseek.nn.augment import MoveShape

IMAGE_COLUMN, TEXT_COLUMN, TARGET_COLUMN, PATIENT_COLUMN, SEX_COLUMN = "image", "captions", "covid", "patient", "gender"
SIZE_COLUMNS = ("orig_w", "orig_h")
RECORD_COLUMNS = (TEXT_COLUMN, "age", SEX_COLUMN)  # present for positive cases only


@dataclass(frozen=True)
class Choices:
    """Hyperparameters of the recipe, chosen on the validation rows of covid-ct."""

    side: int = 192  # pixels: all slices get one size, because the original one would tell the class
    diagnosis_side: int = 256  # pixels for a diagnosis by an image net: no slice of covid-ct is larger
    learns: bool = False  # train the image net for the diagnosis; else a support vector machine on its features
    epochs: int = 20  # of a diagnosis by a trained net
    members: int = 1  # trained nets whose margins are averaged
    lr: float = 2e-3
    tower_lr: float = 0.25  # times lr, for pretrained weights
    small_side: int = 96  # pixels, without a pretrained image net
    move: MoveShape = field(
        default_factory=lambda: MoveShape(shift=0.1, scale=0.2, rotate_degrees=12.0, mirror=True, light=0.2)
    )
    align_epochs: int = 40
    fusion_epochs: int = 30
    batch_size: int = 16
    seed: int = 0
    num_shown: int = 4  # example records in the report


@dataclass(frozen=True)
class PretrainedPaths:
    """The user's pretrained encoders: NAME:FILE of an image net, the folder of a text model. Without them small
    encoders are trained."""

    image: str = ""
    text: Path | None = None


@dataclass(frozen=True)
class Study:
    """The rows of a study and the folder of their images."""

    table: Table
    root: Path
    target: NDArray[np.int64]  # (N,) 1 for positive

    @classmethod
    def open(cls, folder: Path, scratch: Path) -> Study:
        """Open a study's folder; unpacks images.zip into `scratch` where there is one."""
        table = read_table(folder / "index.csv")
        missing = [
            name
            for name in (IMAGE_COLUMN, TARGET_COLUMN, PATIENT_COLUMN, TEXT_COLUMN, "split", *SIZE_COLUMNS)
            if name not in table.columns
        ]
        if missing:
            raise InputError(
                f"index.csv has no column {missing[0]!r}", expected="the columns of covid-ct", fix="see its README"
            )
        packed = folder / "images.zip"
        if packed.exists():
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(scratch)
        root = next((path.parent for path in sorted(scratch.rglob("*.png"))), folder) if packed.exists() else folder
        return cls(table, root, np.asarray(table.column(TARGET_COLUMN), np.float64).astype(np.int64))

    def rows(self, part: str, *, having: Sequence[str] = ()) -> NDArray[np.int64]:
        """Row numbers of "train", "val" or "test" with a value in each of the columns `having`."""
        chosen = np.asarray(self.table.column("split")) == part
        for name in having:
            chosen &= ~self.table.missing_mask(name)
        return np.flatnonzero(chosen)

    def unseen(self, part: str) -> NDArray[np.int64]:
        """Row numbers of a part whose report is in no training row: a report may belong to slices of several patients,
        and would be retrieved by the other slices of its figure."""
        texts = self.table.column(TEXT_COLUMN)
        known = set(texts[self.rows("train", having=[TEXT_COLUMN])].tolist())
        return np.array([row for row in self.rows(part, having=[TEXT_COLUMN]) if texts[row] not in known], np.int64)


def fit_preparer(
    study: Study, columns: Sequence[str], encoders: PretrainedPaths, choices: Choices, *, trained: bool = False
) -> tuple[SamplePreparer, Any]:
    """A preparer of these columns, fitted on training rows, and the user's pretrained encoders for them."""
    from deepseek.nn.pretrained import PretrainedEncoders

    training = study.table.take(study.rows("train"))
    side = choices.side if encoders.image else choices.small_side
    readers: dict[str, Reader | TextReader] = {IMAGE_COLUMN: ImageReader(size=(side, side), channels=1)}
    shapes, weights = {}, {}
    if encoders.image:
        shapes[IMAGE_COLUMN], weights[IMAGE_COLUMN] = load_image_encoder(encoders.image, trained=trained)
    if encoders.text and TEXT_COLUMN in columns:
        texts = [str(text) for text in training.column(TEXT_COLUMN).tolist() if text is not None]
        shapes[TEXT_COLUMN], weights[TEXT_COLUMN], readers[TEXT_COLUMN] = load_text_encoder(encoders.text, texts)
    kinds = {IMAGE_COLUMN: "image", TEXT_COLUMN: "text"}
    preparer = fit_samples(
        training, {name: kinds[name] for name in columns}, target=TARGET_COLUMN, root=study.root, readers=readers
    )
    return preparer, PretrainedEncoders(shapes, weights)
