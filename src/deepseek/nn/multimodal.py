"""Builds the multimodal net for a fitted SamplePreparer, and the flat graph of that net for export.

    net = multimodal_net(preparer, NetShape(num_outputs=2))
    output = net(*as_tensors(samples.arrays))                # MultimodalOutput
    CalibratedNet(net, slope=1.3)                            # arrays -> calibrated probabilities: the exported graph

Which encoder a column gets follows from its reader alone, so a bundle that holds readers, shape and weights holds all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.data.samples.preparer import PRESENT_SUFFIX, SOUND_SUFFIX, TABLE_ARRAY, MediaColumn, SamplePreparer
from deepseek.errors import InputError
from deepseek.nn.augment import MoveShape
from deepseek.nn.encoders import (
    AudioEncoder,
    ImageEncoder,
    SeriesEncoder,
    TableEncoder,
    TextEncoder,
    VideoEncoder,
    VolumeEncoder,
)
from deepseek.nn.fusion import MultimodalNet, MultimodalOutput, MultimodalShape
from deepseek.nn.pretrained import PretrainedEncoderShape, StateDict, build_encoder, load_encoder_weights
from deepseek.nn.spectrogram import SpecAugmentShape


@dataclass(frozen=True, slots=True)
class NetShape:
    """Architecture of a bundle's net, apart from its readers."""

    num_outputs: int  # classes, or 1 for a value
    fusion: MultimodalShape = field(default_factory=MultimodalShape)
    move: MoveShape = field(default_factory=MoveShape)  # augmentation of images
    stripes: SpecAugmentShape = field(default_factory=SpecAugmentShape)  # augmentation of audio
    towers: Mapping[str, PretrainedEncoderShape] = field(
        default_factory=dict
    )  # columns whose encoder was trained elsewhere


def multimodal_net(
    preparer: SamplePreparer, shape: NetShape, weights: Mapping[str, StateDict] | None = None
) -> MultimodalNet:
    """An untrained net for the preparer's samples; `weights` by column are those of its pretrained encoders."""
    encoders: dict[str, nn.Module] = {}
    for column in preparer.media:
        encoders[column.name] = _encoder(column, shape)
        if (audio_name := column.name + SOUND_SUFFIX) in column.arrays:
            num_samples, rate_hz = column.arrays[audio_name][0][1], column.reader.sound_rate
            encoders[audio_name] = AudioEncoder(rate_hz, num_samples, 1, shape.fusion.width, stripes=shape.stripes)
    if preparer.table is not None:
        encoders[TABLE_ARRAY] = TableEncoder(len(preparer.table.feature_names), shape.fusion.width)
    for name, column_weights in (weights or {}).items():
        load_encoder_weights(encoders[name], column_weights)
    return MultimodalNet(encoders, shape.num_outputs, shape.fusion)


def _encoder(column: MediaColumn, shape: NetShape) -> nn.Module:
    reader, width = column.reader, shape.fusion.width
    if (tower := shape.towers.get(column.name)) is not None:
        _check_encoder(column, tower)
        if tower.text is not None:
            return build_encoder(tower, width, num_tokens=reader.num_tokens)
        return build_encoder(tower, width, size=reader.size, move=shape.move)
    if column.kind == "image":
        return ImageEncoder(reader.size, reader.channels, width, move=shape.move)
    if column.kind == "audio":
        return AudioEncoder(reader.rate_hz, reader.shape[1], reader.channels, width, stripes=shape.stripes)
    if column.kind == "video":
        frames, channels, *size = reader.shape
        return VideoEncoder(frames, tuple(size), channels, width, move=shape.move)
    if column.kind == "volume":
        _, depth, *size = reader.shape
        return VolumeEncoder(depth, tuple(size), width, move=shape.move, measured=reader.dtype == "float32")
    if column.kind == "series":
        return SeriesEncoder(reader.shape[1], reader.shape[0], width)
    return TextEncoder(reader.vocab_size, reader.num_tokens, width)


def _check_encoder(column: MediaColumn, tower: PretrainedEncoderShape) -> None:
    needed = "text" if tower.text is not None else "image"
    if column.kind != needed:
        raise InputError(
            f"{column.name!r} is of the kind {column.kind}, and its encoder is for {needed}",
            expected=f"a column of the kind {needed}", fix=f"tell the kind, or give {column.name!r} another encoder",
        )  # fmt: skip


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Arguments of MultimodalNet, without a copy: values by name, and by name the mask (N,) of present values."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    values = {name: tensor for name, tensor in tensors.items() if not name.endswith(PRESENT_SUFFIX)}
    return values, {
        name.removesuffix(PRESENT_SUFFIX): tensor for name, tensor in tensors.items() if name.endswith(PRESENT_SUFFIX)
    }


def array_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the arrays that CalibratedNet takes for these modalities: the values, then the masks."""
    return (*names, *(name + PRESENT_SUFFIX for name in names))


class AnswersModalities(Protocol):
    """A module that answers for values by modality, (values, present) -> MultimodalOutput."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def bias(self) -> Tensor:
        """The logits (K,), or the value, of a row without any modality."""

    def __call__(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> MultimodalOutput: ...


class CalibratedNet(nn.Module):
    """The net with its calibration, as a bundle serves it: arrays in the order of array_names() -> margin, output,
    unimodal logits, gates, attention.

    margin (N, K) before calibration: log-odds of the second of two classes, logits of more, or the value in units of
    the target; output (N, C) calibrated probabilities, or the value (N, 1); unimodal logits (N, M, K), gates (N, M) and
    attention (N, Q, L) as in MultimodalOutput.
    """

    slope: Tensor
    shift: Tensor

    def __init__(self, net: AnswersModalities, *, slope: float = 1.0, bias: Sequence[float] = (0.0,)) -> None:
        """slope, bias: of the calibration (train/tabular/calibrate.py); for a regression the target's deviation and
        mean."""
        super().__init__()
        self.net = net
        self.num_outputs = net.bias.shape[0]
        self.register_buffer("slope", torch.tensor(slope, dtype=torch.float32))
        self.register_buffer("shift", torch.tensor(list(bias), dtype=torch.float32))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        half, names = len(arrays) // 2, self.net.names
        result = self.net(dict(zip(names, arrays[:half], strict=True)), dict(zip(names, arrays[half:], strict=True)))
        margin, output = self.answer(result.logits)
        return margin, output, result.unimodal_logits, result.gates, result.attention

    def answer(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of the net -> margin and output, as in the class docstring."""
        if self.num_outputs == 1:
            value = logits * self.slope + self.shift
            return value, value
        if self.num_outputs > 2:
            return logits, torch.softmax(logits * self.slope + self.shift, 1)
        margin = logits[:, 1:] - logits[:, :1]
        positive = torch.sigmoid(margin * self.slope + self.shift)
        return margin, torch.cat([1 - positive, positive], 1)
