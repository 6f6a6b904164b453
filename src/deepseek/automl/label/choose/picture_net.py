"""Pictures as numbers by a net that comes as a Python package: means and spreads of its maps at four strides.

    net = open_picture_net()               # of rapidocr, where it and torch are installed; else None
    net.describe(pixels)                   # uint8 (3, SIDE_PX, SIDE_PX) -> (2 x channels of the maps,)

The package's file of weights is read, none of its code is run (nn/detector/onnx_trunk.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.extras import is_installed

if TYPE_CHECKING:
    from deepseek.nn.detector.onnx_trunk import OnnxTrunk

SIDE_PX = 128


class PictureNet:
    """A frozen trunk."""

    def __init__(self, trunk: OnnxTrunk, name: str) -> None:
        self._trunk = trunk.eval().requires_grad_(False)
        self.name = name

    def describe(self, pixels: NDArray[np.uint8]) -> Float64:
        """The mean and the standard deviation of each channel of each map."""
        import torch

        from deepseek.nn.detector.onnx_trunk import MEAN, STD

        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        with torch.no_grad():
            maps = self._trunk((torch.from_numpy(pixels)[None].float() / 255 - mean) / std)
            parts = [part for each in maps for part in (each.mean((2, 3)), each.std((2, 3)))]
            numbers: Float64 = torch.cat(parts, 1)[0].numpy().astype(np.float64)
        return numbers


def picture_net_name() -> str:
    """Which net describes pictures here; "" where none does."""
    if not is_installed("torch"):
        return ""
    from deepseek.nn.detector.onnx_trunk import find_pretrained

    pretrained = find_pretrained("rapidocr")
    return "" if pretrained is None else f"{pretrained[1].package}/{pretrained[1].file}"


def open_picture_net() -> PictureNet | None:
    """None where no package with trained weights is installed."""
    name = picture_net_name()
    if not name:
        return None
    from deepseek.nn.detector.onnx_trunk import OnnxTrunk, find_pretrained

    pretrained = find_pretrained("rapidocr")
    if pretrained is None:
        return None
    path, known = pretrained
    return PictureNet(OnnxTrunk.read(path.read_bytes(), known), name)
