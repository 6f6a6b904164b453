"""A folder of pictures through a bundle: COCO results, and one row for each part. And the figures of a bundle on
labels.

results = predict_folder(Path("line3"), Path("new"))
write_results(results, Path("found.json"))            # and found.parts.csv beside it
evaluate_detector(Path("line3"), Path("boxes.csv"), Path("pictures")).summary()
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepseek.automl.detection.fit import overlap_of, read_all
from deepseek.automl.detection.measure import DetectionFigures, PictureResult, inspect_all, measure
from deepseek.automl.detection.options import DetectionOptions, ReportProgress
from deepseek.automl.detection.references import reference_reader
from deepseek.contracts import JsonObject
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.data.labels.pictures import PictureStore, list_pictures
from deepseek.engines.detector.config import DetectorConfig
from deepseek.engines.detector.runtime import DetectorRuntime
from deepseek.errors import InputError, MissingError
from deepseek.files import atomic_file
from deepseek.look import numbers
from deepseek.results import Result


@dataclass(frozen=True, slots=True, eq=False)
class FolderPredictions:
    """What was seen on the pictures of a folder."""

    config: DetectorConfig
    digest: str
    results: tuple[PictureResult, ...]
    skipped: tuple[tuple[str, str], ...]  # name and reason of pictures that could not be read
    warnings: tuple[str, ...]

    def to_coco(self) -> list[JsonObject]:
        """COCO's list of results, of all boxes from the least score on. image_id counts the pictures that were read,
        from 1; category_id the classes of the bundle, from 1."""
        rows: list[JsonObject] = []
        for image_id, each in enumerate(self.results, start=1):
            predictions = each.inspection.boxes
            for box, score, number in zip(
                predictions.boxes.tolist(), predictions.scores.tolist(), predictions.classes.tolist(), strict=True
            ):
                left, top, right, bottom = box
                rows.append(
                    {"image_id": image_id, "file_name": each.file, "category_id": number + 1,
                     "category": self.config.classes[number], "bbox": [left, top, right - left, bottom - top],
                     "score": score}
                )  # fmt: skip
        return rows

    def parts(self) -> list[JsonObject]:
        """A row for each picture: file_name, score, defective, category (of the highest score), num_boxes."""
        return [
            {
                "file_name": each.file, "score": each.inspection.score,
                "defective": each.inspection.score >= self.config.threshold,
                "category": self.config.classes[int(np.argmax(each.inspection.class_scores))],
                "num_boxes": len(each.inspection.boxes.above(self.config.box_threshold)),
            }
            for each in self.results
        ]  # fmt: skip


def predict_folder(
    bundle: Path, data: Path, *, key: Path | None = None, skip_broken: bool = False,
    progress: ReportProgress = lambda _message, _share: None,
) -> FolderPredictions:  # fmt: skip
    """Every picture below the folder `data`, or the one that it names. InputError for a picture that cannot be read, or
    whose reference is broken, not there or of another size, unless it may be skipped."""
    with DetectorRuntime.open(bundle, key=key) as runtime:
        config = runtime.config
        folder, files = (data.parent, [data.name]) if data.is_file() else (data, list_pictures(data))
        if config.template is not None:
            files = [file for file in files if config.template[0] in file]
        if not files:
            raise MissingError(
                f"{data} holds no part",
                expected=f"names with {config.template[0]!r}" if config.template else "pictures",
                fix="give the folder of the parts",
            )  # fmt: skip
        store = PictureStore(folder, runtime.image_reader)
        reference = None if config.template is None else reference_reader(store, config.template)
        results, skipped = [], []
        for place, file in enumerate(files):
            try:
                picture = store.read(file)
                seen = runtime.inspect(picture, None if reference is None else reference(file))
            except InputError as error:
                if not skip_broken:
                    raise
                skipped.append((file, str(error)))
                continue
            results.append(PictureResult(file, seen, float(picture.mean())))
            progress(f"{place + 1} of {len(files)} pictures", (place + 1) / len(files))
        return FolderPredictions(
            config, runtime.bundle.digest, tuple(results), tuple(skipped), tuple(light_warnings(config, results))
        )


def _class_warnings(config: DetectorConfig, labels: LabelSet) -> list[str]:
    """In words, which labelled classes the model does not know: it can never name them."""
    if config.method == "patches":
        return []
    unknown = sorted({name for each in labels.pictures for name in each.classes} - set(config.classes))
    words = f"the labels name {', '.join(map(repr, unknown))}, and the model knows only {', '.join(config.classes)}: "
    return [words + "no answer counts as right there"] if unknown else []


def light_warnings(config: DetectorConfig, results: list[PictureResult]) -> list[str]:
    """In words, how many pictures are darker or brighter than those of training."""
    low, high = config.light
    slack = 0.1 * max(high - low, 10.0)
    light = np.array([each.brightness for each in results])
    warnings = []
    for what, num in (("darker", int((light < low - slack).sum())), ("brighter", int((light > high + slack).sum()))):
        if num:
            warnings.append(
                f"{num} of {len(light)} pictures are {what} than those of training (mean brightness {low:.0f} to "
                f"{high:.0f} of 255): the light has changed, and no figure or promise holds for them"
            )
    return warnings


def write_results(predictions: FolderPredictions, out: Path) -> Path:
    """COCO results to `out`, and parts to a CSV beside it, whose path is returned."""
    with atomic_file(out) as part:
        part.write_text(json.dumps(predictions.to_coco(), ensure_ascii=False), encoding="utf-8")
    parts = out.with_suffix(".parts.csv")
    with atomic_file(parts) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file_name", "score", "defective", "category", "num_boxes"])
        writer.writeheader()
        writer.writerows(predictions.parts())
    return parts


@dataclass(frozen=True, slots=True, eq=False)
class DetectorEvaluation(Result):
    """Figures of a bundle on labelled pictures."""

    bundle: str
    digest: str
    config: DetectorConfig
    figures: DetectionFigures
    labels: LabelSet
    warnings: tuple[str, ...]

    def to_dict(self) -> JsonObject:
        """As `deepseek evaluate --json` prints it."""
        return {
            "bundle": self.bundle, "digest": self.digest, "num_rows": self.figures.num_pictures,
            **self.figures.to_dict(),
            "warnings": list(self.warnings),
        }  # fmt: skip

    def summary(self) -> str:
        lines = []
        for name, figure in self.figures.metrics().items():
            lines.append(f"{name} {numbers.figure(figure['value'], figure['low'], figure['high'])}")
        figures = self.figures
        lines.append(f"{figures.num_missed} of {figures.num_defective} defective parts missed")
        good = figures.num_pictures - figures.num_defective
        lines.append(f"{figures.num_false_alarms} of {good} good parts called defective")
        if figures.precision is not None:
            lines += [
                f"  {name}: average precision {numbers.number(ap)}" for name, ap in figures.precision.by_class.items()
            ]
        return "\n".join(lines)


def evaluate_detector(
    bundle: Path, labels: Path, pictures: Path, *, key: Path | None = None, seed: int = 0
) -> DetectorEvaluation:
    """Figures on labelled pictures, with intervals by resampling pictures."""
    with DetectorRuntime.open(bundle, key=key) as runtime:
        config = runtime.config
        known = read_all(pictures, labels, DetectionOptions(out=bundle, template=config.template))
        store = PictureStore(pictures, runtime.image_reader)
        reference = None if config.template is None else reference_reader(store, config.template)
        results = inspect_all(runtime, store, known, reference=reference)
        figures = measure(
            known, results, config.classes, threshold=config.threshold, box_threshold=config.box_threshold,
            has_classes=config.method != "patches", min_overlap=overlap_of(config), seed=seed,
        )  # fmt: skip
        warnings = (*known.warnings, *_class_warnings(config, known), *light_warnings(config, results))
        return DetectorEvaluation(str(bundle), runtime.bundle.digest, config, figures, known, warnings)
