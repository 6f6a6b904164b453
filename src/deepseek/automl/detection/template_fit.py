"""Labelled gray parts with their reference pictures -> a detector that sees both, and its graph.

The part is laid onto its reference, and the net sees three channels: the part, the reference and how far they differ
(nn.detector.difference.stack). It learns from windows of them in their own size, mirrored and turned, beside references
that are made worse by chance, for parts of other products fit theirs less.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.detection.fitted import GRAPH, FittedModel
from deepseek.automl.detection.net import train_net
from deepseek.automl.detection.options import DetectionOptions
from deepseek.automl.detection.references import ReadReference
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.data.labels.pictures import MAX_CACHE_BYTES, PictureStore
from deepseek.engines.detector.config import DetectorConfig
from deepseek.nn.detector.alignment import align
from deepseek.nn.detector.detector import DetectorShape
from deepseek.nn.detector.difference import check_sizes
from deepseek.train.detect.augment import AugmentConfig, PictureSampler
from deepseek.train.detect.templates import stack_by_chance

NUM_CHANNELS = 3  # part, reference, difference
WINDOW_PX = 256  # of a training step
MOSAIC = 0.3
#: No change of light: it would make differences of their own.
AUGMENT = AugmentConfig(quarter_turns=True, scale=(0.65, 1.5), brightness=0.0, contrast=0.0)


class AlignedPairs:
    """Parts on their references, by the names of the parts; up to MAX_CACHE_BYTES are kept in memory."""

    def __init__(self, store: PictureStore, read_reference: ReadReference) -> None:
        self._store, self._read_reference = store, read_reference
        self._pairs: dict[str, NDArray[np.uint8]] = {}
        self._num_bytes = 0

    def read(self, file: str) -> NDArray[np.uint8]:
        """(2, H, W): the part, and its reference bent onto it. Errors as those of the readers."""
        pair = self._pairs.get(file)
        return self._align(file)[0] if pair is None else pair

    def shift(self, file: str) -> tuple[int, int]:
        """By how many pixels the part lay right of and below its reference."""
        return self._align(file)[1]

    def _align(self, file: str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        picture = self._store.read(file)
        part, reference, shift = align(picture, check_sizes(picture, self._read_reference(file)))
        pair = np.concatenate([part, reference])
        if file not in self._pairs and self._num_bytes + pair.nbytes <= MAX_CACHE_BYTES:
            self._pairs[file] = pair
            self._num_bytes += pair.nbytes
        return pair, shift


def fit_template_detector(
    store: PictureStore, labels: LabelSet, config: DetectorConfig, options: DetectionOptions, reference: ReadReference
) -> FittedModel:
    """From random weights unless the options name a package. Answers are averaged over mirrors."""
    pairs, moved = AlignedPairs(store, reference), []
    for place, each in enumerate(labels.pictures):
        boxes = each.boxes - np.array(pairs.shift(each.file) * 2, np.float32)
        moved.append(replace(each, boxes=boxes.astype(np.float32)))
        options.progress(f"{place + 1} of {len(labels.pictures)} parts laid onto their references", 0.0)
    sampler = PictureSampler(
        pairs.read, replace(labels, pictures=tuple(moved)), min(WINDOW_PX, config.size), AUGMENT, scale=config.scale,
        change=stack_by_chance,
    )  # fmt: skip
    shape = DetectorShape(len(config.classes), NUM_CHANNELS)
    trunk = "random" if options.trunk == "auto" else options.trunk
    fitted = train_net(sampler, len(moved), shape, config.size, options, trunk=trunk, tta=True, mosaic=MOSAIC)
    return FittedModel({GRAPH: fitted.graph}, config, fitted.training(), fitted.parity)
