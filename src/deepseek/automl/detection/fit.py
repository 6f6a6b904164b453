"""Pictures and labels -> a bundle, by the way that they allow.

    result = fit_detection(Path("pictures"), DetectionOptions(out=Path("line3")), labels=Path("boxes.csv"))

With a template parts are compared with their reference pictures, else a net is trained on the boxes. patch_fit.py is
the way of good parts alone.

A claim about missed defects is refused before the training when the held parts cannot support it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.detection.fitted import GRAPH, FittedModel
from deepseek.automl.detection.measure import (
    DetectionFigures,
    PictureResult,
    brightness_range,
    inspect_all,
    measure,
    part_scores,
)
from deepseek.automl.detection.options import DetectionOptions
from deepseek.automl.detection.pack import pack
from deepseek.automl.detection.references import ReadReference, reference_reader
from deepseek.automl.detection.split import LabelSplit, split_labels
from deepseek.bundle import Bundle, check_target
from deepseek.contracts import JsonObject
from deepseek.data.labels import LabelSet, read_labels
from deepseek.data.labels.pictures import PictureStore, fit_reader
from deepseek.engines.detector.config import DetectorConfig, Method
from deepseek.engines.detector.inspection import InspectionModel
from deepseek.engines.detector.runtime import open_model
from deepseek.errors import InputError
from deepseek.look import numbers
from deepseek.results import Result
from deepseek.train.detect.figures import best_threshold
from deepseek.train.detect.miss_bound import MissBound, choose_threshold, upper_bound

LEAST_THRESHOLD = 1e-6  # above scores of nought: the next number is one that some processors take for nought
LEAST_DETECTOR_S = 1_800.0  # of a training with references; in less the net of candidates learns more
#: Of two boxes of a class; more, and they are one. Defects of boards lie apart.
BOX_OVERLAP, TEMPLATE_OVERLAP = 0.55, 0.3
PAIR_OVERLAP = 0.33  # of the protocol of boards (Tang et al. 2019, section 4): their boxes are small


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResult(Result):
    """A bundle that finds defects, and how it did on held pictures."""

    bundle: Bundle
    config: DetectorConfig
    figures: DetectionFigures
    bound: MissBound | None
    split: LabelSplit
    results: tuple[PictureResult, ...]  # of the held pictures, in their order
    training: JsonObject
    options: DetectionOptions
    pictures: Path
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> JsonObject:
        """As `deepseek recipe defects --json` prints it."""
        return {
            "bundle": str(self.options.out), "digest": self.bundle.digest, "task": self.bundle.manifest.task,
            "target": self.bundle.manifest.target, "model": self.config.method, "engine": "onnxruntime",
            "metrics": self.figures.metrics(), "baseline": {}, "size_bytes": self.bundle.size_bytes,
            "cpu_s": self.training.get("cpu_s", 0.0), "seed": self.options.seed, "warnings": list(self.warnings),
            "classes": list(self.config.classes), "threshold": self.config.threshold,
            "box_threshold": self.config.box_threshold, "held": self.figures.to_dict(),
            "miss_bound": None if self.bound is None else self.bound.to_dict(),
            "training": {name: value for name, value in self.training.items() if name != "losses"},
        }  # fmt: skip

    def summary(self) -> str:
        """The answer in one sentence."""
        figures = self.figures
        parts = []
        if figures.precision is not None:
            mean = figures.precision.mean
            overlap = figures.precision.min_overlap
            parts.append(f"mAP at overlap {overlap:g} {numbers.figure(mean.value, mean.low, mean.high)}")
        if figures.parts is not None:
            auc = figures.parts.auc
            parts.append(f"AUC of parts {numbers.figure(auc.value, auc.low, auc.high)}")
        if figures.num_defective:
            parts.append(f"{figures.num_missed} of {figures.num_defective} defective parts missed")
        what = ", ".join(parts) or "there is no held picture with a defect, so nothing is known of misses"
        return f"On {figures.num_pictures} held pictures: {what}."


def fit_detection(pictures: Path, options: DetectionOptions, *, labels: Path) -> DetectionResult:
    """Make the bundle. InputError for pictures, labels or options that do not fit; CheckError when the held defective
    parts cannot support the claim that is asked for."""
    check_target(options.out, overwrite=options.overwrite, key=options.key)
    known = read_all(pictures, labels, options)
    store = PictureStore(pictures, fit_reader(pictures, [each.file for each in known.pictures]))
    split = split_labels(known, held_share=options.held_share, seed=options.seed)
    _check_claim(split, options)
    config = _start_config(store, split, options)
    read_reference = None if options.template is None else reference_reader(store, options.template)
    if read_reference is not None:
        fitted = _fit_compared(store, split.train, config, options, read_reference)
    else:
        fitted = _fit_boxes(store, split.train, config, options)
    warnings = [*known.warnings, *split.warnings, *_unused_options(config, options)]
    return finish(pictures, store, split, fitted, options, read_reference, warnings)


def read_all(pictures: Path, labels: Path, options: DetectionOptions) -> LabelSet:
    """Labels of the parts; reference pictures are none."""
    known = read_labels(labels, pictures)
    if options.template is None:
        return known
    piece = options.template[0]
    places = [place for place, each in enumerate(known.pictures) if piece in each.file]
    if not places:
        raise InputError(
            f"no picture has {piece!r} in its name", expected="parts that the template names", fix="correct --template"
        )
    # References stand beside the parts and were counted as silent pictures.
    warnings = tuple(text for text in known.warnings if "are not in the labels" not in text)
    return replace(known.take(places), warnings=warnings)


def finish(
    pictures: Path, store: PictureStore, split: LabelSplit, fitted: FittedModel, options: DetectionOptions,
    read_reference: ReadReference | None, warnings: list[str],
) -> DetectionResult:  # fmt: skip
    """Look at the held pictures, set the thresholds, measure, and write the bundle."""
    model: InspectionModel = open_model(fitted.files.__getitem__, fitted.config)
    results = inspect_all(
        model, store, split.held, reference=read_reference,
        progress=lambda message, share: options.progress(message, 0.9 + 0.1 * share),
    )  # fmt: skip
    overlap = overlap_of(fitted.config)
    config, bound = _set_thresholds(fitted.config, split.held, results, options, overlap)
    has_classes = config.method != "patches"
    figures = measure(
        split.held, results, config.classes, threshold=config.threshold, box_threshold=config.box_threshold,
        has_classes=has_classes, min_overlap=overlap, seed=options.seed,
    )  # fmt: skip
    if bound is None and figures.num_defective:
        upper = upper_bound(figures.num_missed, figures.num_defective, options.confidence)
        warnings.append(
            f"nothing is promised of missed parts: no --max-miss was given; {figures.num_missed} of "
            f"{figures.num_defective} held defective parts were missed, and a promise that these could support is "
            f"{100 * upper:.2g} % or more"
        )
    num_good = figures.num_pictures - figures.num_defective
    if num_good and figures.num_false_alarms == num_good:
        warnings.append(
            f"all {num_good} held good parts are called defective, too: the model tells nothing apart yet; "
            "give it more time (--budget), more pictures, or a weaker promise"
        )
    bundle = pack(fitted, config, figures, bound, split, options)
    return DetectionResult(
        bundle, config, figures, bound, split, tuple(results), fitted.training, options, pictures, tuple(warnings)
    )


def overlap_of(config: DetectorConfig) -> float:
    """From which overlap on a box is right."""
    return 0.5 if config.template is None else PAIR_OVERLAP


def _check_claim(split: LabelSplit, options: DetectionOptions) -> None:
    """CheckError now, and not after hours, when the held parts are too few for the claim."""
    if options.max_miss is not None:
        num = sum(picture.is_defective for picture in split.held.pictures)
        choose_threshold(np.zeros(num), options.max_miss, options.confidence)


def choose_method(store: PictureStore, options: DetectionOptions) -> Method:
    """With a template, a training of less than LEAST_DETECTOR_S is better spent on candidates; colors of parts are seen
    by the net of candidates alone."""
    if options.template is None:
        return "boxes"
    sees_all = store.reader.channels == 1 and options.budget_s >= LEAST_DETECTOR_S
    return "template_detector" if sees_all else "template"


def _unused_options(config: DetectorConfig, options: DetectionOptions) -> list[str]:
    """In words, what was asked for and does nothing."""
    chosen = {"--trunk": options.trunk != "auto", "--size": options.size is not None,
              "--ensemble": options.ensemble > 1, "--checkpoint": options.checkpoint is not None}  # fmt: skip
    names = [name for name, is_chosen in chosen.items() if is_chosen]
    if config.method != "template" or not names:
        return []
    which = "gray parts and a --budget of 30m or more" if config.num_channels == 1 else "gray parts"
    return [f"{', '.join(names)} changed nothing: with --template they are for {which}"]


def _start_config(store: PictureStore, split: LabelSplit, options: DetectionOptions) -> DetectorConfig:
    from deepseek.automl.detection.net import LARGEST_WHOLE_PX, choose_size

    method = choose_method(store, options)
    size, scale = choose_size(split.train, options.size)
    if method == "template_detector":  # in their own size, for defects of boards are small
        size, scale = size if options.size else LARGEST_WHOLE_PX, 1.0
    for each in split.held.pictures:  # one that is cut off is told now, and not after the training
        store.read(each.file)
    return DetectorConfig(
        method=method, classes=split.train.classes,
        num_channels=store.reader.channels, size=size, scale=scale, white=store.reader.white,
        template=options.template, light=brightness_range(store, split.train),
        max_overlap=TEMPLATE_OVERLAP if options.template else BOX_OVERLAP,
    )  # fmt: skip


def _fit_boxes(store: PictureStore, labels: LabelSet, config: DetectorConfig, options: DetectionOptions) -> FittedModel:
    from deepseek.automl.detection.net import fit_boxes

    fitted = fit_boxes(store, labels, config, options, mask_reader(options.masks))
    return FittedModel({GRAPH: fitted.graph}, config, fitted.training(), fitted.parity)


def _fit_compared(
    store: PictureStore, labels: LabelSet, config: DetectorConfig, options: DetectionOptions,
    read_reference: ReadReference,
) -> FittedModel:  # fmt: skip
    if config.method == "template":
        from deepseek.automl.detection.pair_fit import fit_pairs

        return fit_pairs(store, labels, config, options, read_reference)
    from deepseek.automl.detection.template_fit import fit_template_detector

    return fit_template_detector(store, labels, config, options, read_reference)


def mask_reader(folder: Path | None) -> Callable[[str], NDArray[np.uint8] | None] | None:
    """Drawn masks (H, W), 255 where there is a defect, by the name of their picture; None where a picture has none."""
    if folder is None:
        return None
    from deepseek.data.labels.pictures import list_pictures
    from deepseek.data.media.image import ImageReader

    by_stem = {Path(file).stem: file for file in list_pictures(folder)}
    store = PictureStore(folder, ImageReader(channels=1))

    def read(file: str) -> NDArray[np.uint8] | None:
        mask = by_stem.get(Path(file).stem)
        if mask is None:
            return None
        return np.where(store.read(mask)[0] > 0, 255, 0).astype(np.uint8)

    return read


def _set_thresholds(
    config: DetectorConfig, held: LabelSet, results: list[PictureResult], options: DetectionOptions, overlap: float
) -> tuple[DetectorConfig, MissBound | None]:
    """The threshold of parts by the promise, else by the most right answers; that of boxes by the F score."""
    scores = part_scores(results)
    truth = np.array([picture.is_defective for picture in held.pictures])
    bound = None
    if options.max_miss is not None:
        bound = choose_threshold(scores[truth], options.max_miss, options.confidence)
        threshold = bound.threshold
    else:
        threshold = _balance_threshold(scores, truth)
    detections = [each.inspection.boxes for each in results]
    box_threshold = threshold
    if held.num_boxes:
        box_threshold = best_threshold(held, detections, config.classes, min_overlap=overlap)
    elif config.method == "patches":  # as high as the threshold of parts is: no held good part has a box
        hottest = max((float(each.scores.max(initial=0.0)) for each in detections), default=0.0)
        least = threshold if config.heat_threshold is None else config.heat_threshold
        box_threshold = max(least, float(np.nextafter(np.float32(hottest), np.float32(2))))
    filled = replace(
        config, threshold=threshold, box_threshold=box_threshold, max_miss=options.max_miss,
        confidence=options.confidence if options.max_miss is not None else None,
    )  # fmt: skip
    return filled, bound


def _balance_threshold(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """The threshold with the best mean of the shares of defective and of good parts that are told right; the lowest
    score of a defective part where there is no good one, 0.5 where there is no part. Above nought: a part on which
    nothing was seen is not called defective."""
    if not truth.any():
        return max(float(np.nextafter(scores.max(), np.inf)), LEAST_THRESHOLD) if len(scores) else 0.5
    if truth.all():
        return max(float(scores.min()), LEAST_THRESHOLD)
    levels = np.unique(scores)
    rated = [((scores[truth] >= level).mean() + (scores[~truth] < level).mean(), float(level)) for level in levels]
    return max(max(rated)[1], LEAST_THRESHOLD)
