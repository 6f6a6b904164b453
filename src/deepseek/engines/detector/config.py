"""detector.json: everything about a detector that its graph does not hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_value
from deepseek.contracts import JsonObject
from deepseek.engines.detector.views import MULTIPLE, PAD, View, make_views
from deepseek.errors import InputError

CONFIG, GRAPH, NORM = "detector.json", "model.onnx", "whole_picture.json"
TASK: Final = "detection"
#: boxes: a net that was trained on boxes; patches: what is unlike good parts, or like marked defects; template: what
#: differs from a reference picture of the same part, each difference named; template_detector: a net that was trained
#: on boxes and sees the part, the reference and the difference.
Method = Literal["boxes", "patches", "template", "template_detector"]


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Fixed when the bundle is made."""

    method: Method
    classes: tuple[str, ...]
    num_channels: int  # of a picture: 1 gray, 3 color
    size: int  # pixels of the longer side as the net sees it, or of a tile
    scale: float | None = None  # of every picture where large ones are seen in tiles; None: each is fitted to size
    tile_overlap: float = 0.25  # share of a tile that it shares with the next
    white: int = 65_535  # of gray files of 16 bits
    least_score: float = 0.02  # boxes below are not looked at
    max_overlap: float = 0.55  # of two boxes of a class; more, and they are one
    threshold: float = 0.5  # parts from this score on are called defective
    box_threshold: float = 0.3  # boxes from this score on are drawn
    max_miss: float | None = None  # what the threshold promises of missed defective parts
    confidence: float | None = None
    template: tuple[str, str] | None = None  # in names: what stands for the part, and for its reference picture
    heat_units: tuple[float, ...] = ()  # of good parts: distances that are called 1, by cells from the border on
    heat_threshold: float | None = None  # of what the map alone says of a part, where the whole picture counts, too
    #: Of good parts: mean and standard deviation of the logarithms of what the map says and of how unlike the whole
    #: picture is (NORM); None: the map alone counts.
    score_units: tuple[float, float, float, float] | None = None
    light: tuple[float, float] = (0.0, 255.0)  # mean brightness of the training pictures, its 0.5 and 99.5 percentiles

    def __post_init__(self) -> None:
        if self.size % MULTIPLE or self.size < MULTIPLE:
            raise InputError(f"size is {self.size}", expected=f"a multiple of {MULTIPLE}", fix="round it")

    def views(self, picture: NDArray[np.uint8]) -> list[View]:
        """A picture (C, H, W) as the net is to see it."""
        pad = None if self.method == "patches" else PAD  # a border of gray would be unlike every good part
        return make_views(picture, size=self.size, scale=self.scale, overlap=self.tile_overlap, pad=pad)

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> DetectorConfig:
        """InputError names the field that does not fit."""
        fields: dict[str, Any] = json.loads(data)
        config: DetectorConfig = parse_value(cls, fields, CONFIG)
        return config

    def to_dict(self) -> JsonObject:
        fields: JsonObject = json.loads(self.to_bytes())
        return fields
