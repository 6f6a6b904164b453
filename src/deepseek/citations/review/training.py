"""A checklist and reviewed documents into a bundle that carries its evidence.

    result = train_review(checklist, labelled, options)
    result.path, result.metrics["accuracy"]

The figures are of a model that has not seen the documents they are measured on: it is trained on the others, measured,
and trained again on all of them; the second one is shipped. Held documents are drawn by the seed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from deepseek.bundle import Input, Lineage, Manifest, Output, check_target, now, write_bundle
from deepseek.bundle.manifest import canonical_json
from deepseek.citations.review.embedders import EncoderChoice, RememberingEmbedder, encoder_folder, open_embedder
from deepseek.citations.review.evaluation import ReviewFigures, evaluate_model
from deepseek.citations.review.labels import LabelledDocument
from deepseek.citations.review.lines import Checklist
from deepseek.citations.review.model import ReviewModel, Tuner, embed_documents, trained_lines
from deepseek.citations.review.progress import Progress, ignore_progress, part_progress
from deepseek.citations.review.storage import TASK, model_files
from deepseek.citations.review.tuning import TuneOptions, tune_encoders
from deepseek.contracts import JsonObject
from deepseek.explain.report.document import installed_versions
from deepseek.look.summary import Figures, fact_table, figure_table
from deepseek.results import Result

MIN_HELD, MIN_TRAINED = 2, 4  # documents; with fewer there are no figures
_PACKAGES = ("numpy", "scikit-learn", "scipy", "xgboost-cpu", "xgboost", "openvino", "tokenizers", "safetensors")
#: The shares of a training at which all passages are embedded and its first model is measured, without and with tuning.
STEPS, TUNED_STEPS = (0.25, 0.6), (0.04, 0.5)
WRITTEN = 0.97


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """What a training may choose."""

    out: Path
    encoder: EncoderChoice
    held_share: float = 0.2  # of the documents, for the figures
    seed: int = 0  # of the draw of held documents
    overwrite: bool = False
    key: Path | None = None  # private key that signs the bundle
    command: str = ""
    tune: TuneOptions | None = None  # encoders learn the lines: minutes of CPU


@dataclass(frozen=True, slots=True, eq=False)
class ReviewTraining(Result):
    """A bundle, and how good it is."""

    path: Path
    digest: str
    judge: str
    num_documents: int
    num_held: int
    trained: tuple[str, ...]  # ids of lines
    untrained: tuple[str, ...]
    metrics: dict[str, Figures]
    baseline: dict[str, Figures]  # the same of retrieval, without training
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int
    warnings: tuple[str, ...]

    def to_dict(self) -> JsonObject:
        return {
            "bundle": str(self.path), "digest": self.digest, "task": TASK, "target": "verdict", "model": self.judge,
            "engine": "numpy", "metrics": {name: dict(each) for name, each in self.metrics.items()},
            "baseline": {name: dict(each) for name, each in self.baseline.items()}, "num_documents": self.num_documents,
            "num_held": self.num_held, "trained": list(self.trained), "untrained": list(self.untrained),
            "size_bytes": self.size_bytes, "cpu_s": self.cpu_s, "wall_s": self.wall_s, "seed": self.seed,
            "warnings": list(self.warnings),
        }  # fmt: skip

    def summary(self) -> str:
        every = len(self.trained) + len(self.untrained)
        lines = f"{len(self.trained)} of {every} lines are trained on {self.num_documents} documents"
        return f"{lines}; the bundle is in {self.path}"

    def summary_parts(self) -> list[object]:
        """What the terminal shows."""
        facts: list[tuple[str, object]] = [("judged by", self.judge), ("held documents", self.num_held)]
        if self.untrained:
            facts.append(("answered by retrieval", ", ".join(self.untrained)))
        table = [figure_table(self.metrics, self.baseline)] if self.metrics else []
        return [self.summary(), *table, fact_table(facts)]


def train_review(
    checklist: Checklist,
    labelled: Sequence[LabelledDocument],
    options: ReviewOptions,
    *,
    warnings: Sequence[str] = (),
    progress: Progress = ignore_progress,
) -> ReviewTraining:
    """Measure, train and write the bundle. InputError for a target that is not vacant."""
    check_target(options.out, overwrite=options.overwrite, key=options.key)
    start, start_cpu = time.perf_counter(), _cpu_seconds()
    embedder = RememberingEmbedder(open_embedder(options.encoder))
    embedded, measured = STEPS if options.tune is None else TUNED_STEPS
    groups = [[passage.text for passage in each.passages] for each in labelled]
    embed_documents(groups, embedder, part_progress(progress, 0.0, embedded))
    folder = encoder_folder(options.encoder) if options.tune is not None else None
    notes = list(warnings)
    training, held = _draw_held(labelled, options)
    figures, baseline = None, None
    if held:
        hear = _tell_where(part_progress(progress, embedded, measured), "on a part")
        with tempfile.TemporaryDirectory(prefix="deepseek-review-") as scratch:
            tune = _tuner(folder, options, Path(scratch))
            figures = evaluate_model(ReviewModel.fit(checklist, training, embedder, tune, hear), held)
        baseline = evaluate_model(ReviewModel(checklist, embedder, None), held)
    else:
        notes.append(f"{len(labelled)} documents are too few to hold some back: there are no figures")
    hear = _tell_where(part_progress(progress, measured if held else embedded, WRITTEN), "on all")
    with tempfile.TemporaryDirectory(prefix="deepseek-review-") as scratch:
        model = ReviewModel.fit(checklist, labelled, embedder, _tuner(folder, options, Path(scratch)), hear)
        files = model_files(model, options.encoder)
    untrained = tuple(line for line in checklist.ids if line not in model.trained_ids)
    if untrained:
        notes.append(f"{len(untrained)} lines have too few examples and are answered by retrieval, which is weaker")
    progress("writing the bundle", WRITTEN)
    bundle = write_bundle(
        options.out, review_manifest(checklist, labelled, options),
        files | _evidence_files(figures, baseline, options, len(held), notes),
        overwrite=options.overwrite, key=options.key,
    )  # fmt: skip
    return ReviewTraining(
        options.out, bundle.digest, model.name, len(labelled), len(held),
        model.trained_ids, untrained,
        {} if figures is None else figures.metrics, {} if baseline is None else baseline.metrics, bundle.size_bytes,
        _cpu_seconds() - start_cpu, time.perf_counter() - start, options.seed, tuple(notes),
    )  # fmt: skip


def _tell_where(progress: Progress, where: str) -> Progress:
    """What hears of a step with where it happens."""
    return lambda what, share: progress(f"{what} {where}", share)


def _tuner(folder: Path | None, options: ReviewOptions, scratch: Path) -> Tuner | None:
    """What makes the encoder in a folder learn the lines; None where that was not asked for."""
    if folder is None or options.tune is None:
        return None
    choices, source = options.tune, folder
    return lambda groups, targets, progress: tune_encoders(source, groups, targets, choices, scratch, progress)


def _draw_held(
    labelled: Sequence[LabelledDocument], options: ReviewOptions
) -> tuple[list[LabelledDocument], list[LabelledDocument]]:
    """Documents to train on and to measure on; none to measure on where too few would be left."""
    num = max(round(options.held_share * len(labelled)), MIN_HELD)
    order = np.random.default_rng(options.seed).permutation(len(labelled)).tolist()
    held, training = [labelled[index] for index in order[:num]], [labelled[index] for index in order[num:]]
    if len(training) < MIN_TRAINED or not trained_lines(training):
        return list(labelled), []
    return training, held


def review_manifest(checklist: Checklist, labelled: Sequence[LabelledDocument], options: ReviewOptions) -> Manifest:
    """The manifest of a bundle that was trained on these documents."""
    texts = "\0".join(each.document.text for each in labelled)
    labels = b"".join(each.labels.tobytes() + each.evidence.tobytes() for each in labelled)
    return Manifest(
        name=options.out.resolve().name, version="1", created=now(), task=TASK, target="verdict",
        inputs=(Input("document", "text", "str"),), outputs=(Output("findings", "json"),),
        labels=("not there", "holds", "breaks"),
        lineage=Lineage(
            data=hashlib.sha256(texts.encode() + labels).hexdigest(), seed=options.seed,
            versions=installed_versions(_PACKAGES) | {"python": platform.python_version()},
            config={"recipe": "compliance", "encoder": asdict(options.encoder), "held_share": options.held_share,
                    "num_documents": len(labelled), "checklist": checklist.name,
                    "tune": None if options.tune is None else asdict(options.tune)},
        ),
    )  # fmt: skip


def _evidence_files(
    figures: ReviewFigures | None,
    baseline: ReviewFigures | None,
    options: ReviewOptions,
    num_held: int,
    notes: Sequence[str],
) -> dict[str, bytes]:
    metrics = {
        "note": "of a model that was trained on the other documents; the one in the bundle was trained on all",
        "rows": "held documents", "num_rows": num_held,
        "metrics": {} if figures is None else figures.to_dict()["metrics"],
        "baseline": {} if baseline is None else baseline.to_dict()["metrics"], "warnings": list(notes),
    }  # fmt: skip
    environment = {"python": platform.python_version(), "platform": platform.platform(), "command": options.command,
                   "packages": installed_versions(_PACKAGES)}  # fmt: skip
    return {
        "evidence/metrics.json": canonical_json(metrics),
        "evidence/environment.json": json.dumps(environment, indent=2).encode() + b"\n",
    }


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
