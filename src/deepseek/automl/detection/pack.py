"""A fitted model, its figures and its promise as a bundle."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

from deepseek.automl import evidence
from deepseek.automl.detection.fitted import GRAPH, FittedModel
from deepseek.automl.detection.measure import DetectionFigures
from deepseek.automl.detection.options import DetectionOptions
from deepseek.automl.detection.split import LabelSplit
from deepseek.bundle import Bundle, EngineEntry, Input, Lineage, Manifest, Output, now, write_bundle
from deepseek.contracts import JsonObject
from deepseek.data.labels.write import to_coco
from deepseek.engines.detector.config import CONFIG, TASK, DetectorConfig
from deepseek.train.detect.miss_bound import MissBound

PICTURE, REFERENCE = "picture", "reference"
PACKAGES = ("deepseek", "numpy", "torch", "onnxruntime")


def pack(
    fitted: FittedModel, config: DetectorConfig, figures: DetectionFigures, bound: MissBound | None, split: LabelSplit,
    options: DetectionOptions,
) -> Bundle:  # fmt: skip
    """Write the bundle to options.out."""
    inputs = [Input(PICTURE, "image", "uint8", (config.num_channels, -1, -1))]
    if config.template is not None:
        inputs.append(Input(REFERENCE, "image", "uint8", (config.num_channels, -1, -1)))
    manifest = Manifest(
        name=options.name or options.out.resolve().name, version="1", created=now(), task=TASK, target="defect",
        inputs=tuple(inputs), outputs=(Output("defects", "json"),), labels=config.classes,
        engines=(EngineEntry("onnxruntime", GRAPH, fitted.parity, figures.num_pictures),),
        lineage=Lineage(
            data=_digest(split), seed=options.seed, versions={name: version(name) for name in PACKAGES},
            config={
                "recipe": "defects", "method": config.method, "max_miss": options.max_miss, "trunk": options.trunk,
                "confidence": options.confidence, "budget_s": options.budget_s, "held_share": options.held_share,
            },
        ),
    )  # fmt: skip
    documents: dict[str, JsonObject] = {
        "evidence/metrics.json": {
            "note": "the thresholds were set on these pictures, too; no weight was",
            "rows": "held pictures", "num_rows": figures.num_pictures, **figures.to_dict(), "baseline": {},
            "miss_bound": None if bound is None else bound.to_dict(),
        },
        "evidence/training.json": fitted.training,
        "evidence/environment.json": evidence.environment(options.command),
    }  # fmt: skip
    files = fitted.files | {CONFIG: config.to_bytes()} | {
        name: (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
        for name, document in documents.items()
    }  # fmt: skip
    return write_bundle(options.out, manifest, files, overwrite=options.overwrite, key=options.key)


def _digest(split: LabelSplit) -> str:
    """Of all labels, in both parts."""
    parts = [to_coco(split.train), to_coco(split.held)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
