"""What an export of a run may be told: the shape of a row, the classes, names, and how pixels were scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.errors import InputError

Pixels = Literal["unit", "byte"]


@dataclass(frozen=True, slots=True)
class RunBundleOptions:
    """How the module of a run becomes a bundle."""

    shape: tuple[int, ...]  # of one row as the module takes it: (F,) for a table, (C, H, W) for pictures
    out: str | Path
    labels: tuple[str, ...] = ()  # the classes in the order of the module's outputs; none for a value
    columns: tuple[str, ...] = ()  # F names, or the one of the picture; by default those of the data, x0 ..., or image
    target: str | None = None  # what is predicted; by default the run's data.target
    name: str | None = None  # of the bundle; by default that of its folder
    pixels: Pixels | None = None  # "unit": 0 to 1 as float; "byte": 0 to 255; by default as in the run's data
    mean: tuple[float, ...] = ()  # of each channel, subtracted from unit pixels
    std: tuple[float, ...] = ()  # of each channel, by which they are divided then
    overwrite: bool = False
    key: Path | None = None  # private key to sign with
    command: str | None = None  # as the shell called it, for the evidence
    progress: Callable[[str, float], None] | None = None

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise InputError(
                f"the shape of a row is {'x'.join(map(str, self.shape)) or 'empty'}",
                expected="F numbers of a table, as 30, or a picture of channels x height x width, as 3x32x32",
                fix="give the shape without the rows; for other inputs export the module to ONNX yourself",
            )  # fmt: skip
        if len(set(self.labels)) != len(self.labels) or "" in self.labels or len(self.labels) == 1:
            raise InputError(
                f"the labels are {', '.join(map(repr, self.labels))}", expected="two or more, each once, or none",
                fix="name each class once, in the order of the module's outputs",
            )  # fmt: skip
        self._check_columns()
        self._check_pixels()

    @property
    def is_picture(self) -> bool:
        return len(self.shape) == 3

    def _check_columns(self) -> None:
        num_columns = 1 if self.is_picture else self.shape[0]
        if self.columns and (len(self.columns) != num_columns or len(set(self.columns)) != num_columns):
            raise InputError(
                f"there are {len(self.columns)} names of columns, {len(set(self.columns))} of them different",
                expected=f"{num_columns}, each once, or none", fix="name each number of a row, in their order",
            )  # fmt: skip

    def _check_pixels(self) -> None:
        if not self.is_picture:
            if self.pixels or self.mean or self.std:
                raise InputError(
                    "pixels, mean or std is given for a table", expected="a picture, such as 3x32x32",
                    fix="leave them out: a table's numbers reach the module as they are",
                )  # fmt: skip
            return
        channels = self.shape[0]
        if channels not in (1, 3):
            raise InputError(
                f"a picture has {channels} channels", expected="1 (gray) or 3 (red, green, blue)",
                fix="write channels x height x width, such as 3x32x32",
            )  # fmt: skip
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and (len(values) != channels or (name == "std" and min(values) <= 0)):
                raise InputError(
                    f"{name} is {', '.join(map(str, values))}",
                    expected=f"{channels} numbers, one a channel{', above 0' if name == 'std' else ''}",
                    fix="give those of the training",
                )  # fmt: skip
        if self.pixels == "byte" and (self.mean or self.std):
            raise InputError(
                "mean or std is given, and pixels are bytes", expected="pixels from 0 to 1", fix="leave one of them out"
            )


def parse_shape(text: str) -> tuple[int, ...]:
    """The shape of one row.

    >>> parse_shape("30"), parse_shape("3x32x32")
    ((30,), (3, 32, 32))
    """
    try:
        return tuple(int(part) for part in text.lower().replace(",", "x").split("x"))
    except ValueError as error:
        raise InputError(
            f"{text!r} is no shape", expected="whole numbers, as 30 or 3x32x32", fix="write it so, without the rows"
        ) from error
