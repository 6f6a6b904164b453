"""CT slice and patient record: what leaks, a diagnosis from the picture alone, and reports that find their slices.

    python -m deepseek.recipes.ct_record covid-ct --report ct.html
    python -m deepseek.recipes.ct_record covid-ct --image efficientnet_lite0:lite0.safetensors --text all-MiniLM

leaks -> diagnosis (picture alone) -> retrieval (report and slice) -> fusion within the positive -> which word looks
where

The folder holds index.csv (image, split, covid, patient, orig_w, orig_h, age, gender, captions) and images.zip, or the
images themselves. Only positive cases have age, sex and text there, so a diagnosis that sees them is a leak: they serve
retrieval, and questions within the positive cases alone. Rows are split by patient; test rows are answered once.
For research; no clinical use.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.pretrained_encoders import load_image_encoder, load_text_encoder
from deepseek.data import Table, read_table
from deepseek.data.media.image import ImageReader
from deepseek.data.samples.decode import decode_table
from deepseek.data.samples.preparer import SamplePreparer, fit_samples
from deepseek.data.split.leaks import Finding
from deepseek.data.split.leaks_samples import check_presence, content_free_auc
from deepseek.errors import DeepseekError, InputError
from deepseek.nn.augment import MoveShape
from deepseek.recipes.ct_record_findings import ExampleRecord, Findings

IMAGE_COLUMN, TEXT_COLUMN, TARGET_COLUMN, PATIENT_COLUMN, SEX_COLUMN = "image", "captions", "covid", "patient", "gender"
SIZE_COLUMNS = ("orig_w", "orig_h")
RECORD_COLUMNS = (TEXT_COLUMN, "age", SEX_COLUMN)  # what only positive cases have
RECALL_KS = (1, 5, 10)


@dataclass(frozen=True)
class Choices:
    """What the recipe decides. Chosen on the validation rows of covid-ct."""

    side: int = 192  # pixels: all slices have one size, for theirs would tell the class
    diagnosis_side: int = 256  # of a diagnosis by an image net: no slice of covid-ct is larger
    learns: bool = False  # the image net goes on learning for the diagnosis; else support vectors look through it
    epochs: int = 20  # of a diagnosis by a net that learns
    members: int = 1  # such nets whose answers are averaged
    lr: float = 2e-3
    tower_lr: float = 0.25  # of lr, for the weights that the user brings
    small_side: int = 96  # where none are brought
    move: MoveShape = field(
        default_factory=lambda: MoveShape(shift=0.1, scale=0.2, rotate_degrees=12.0, mirror=True, light=0.2)
    )
    align_epochs: int = 40
    fusion_epochs: int = 30
    batch_size: int = 16
    seed: int = 0
    num_shown: int = 4  # records in the report


@dataclass(frozen=True)
class PretrainedPaths:
    """Encoders that the user has: NAME:FILE of an image net, the folder of a text model. Without, small ones learn."""

    image: str = ""
    text: Path | None = None


@dataclass(frozen=True)
class Study:
    """The rows, and where their files lie."""

    table: Table
    root: Path
    target: NDArray[np.int64]  # (N,) 1 for positive

    @classmethod
    def open(cls, folder: Path, scratch: Path) -> Study:
        """Unpacks images.zip into `scratch` where there is one."""
        table = read_table(folder / "index.csv")
        missing = [
            name
            for name in (IMAGE_COLUMN, TARGET_COLUMN, PATIENT_COLUMN, TEXT_COLUMN, "split", *SIZE_COLUMNS)
            if name not in table.columns
        ]
        if missing:
            raise InputError(
                f"index.csv has no column {missing[0]!r}", expected="the columns of covid-ct", fix="see its README"
            )
        packed = folder / "images.zip"
        if packed.exists():
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(scratch)
        root = next((path.parent for path in sorted(scratch.rglob("*.png"))), folder) if packed.exists() else folder
        return cls(table, root, np.asarray(table.column(TARGET_COLUMN), np.float64).astype(np.int64))

    def rows(self, part: str, *, having: Sequence[str] = ()) -> NDArray[np.int64]:
        """Rows of train, val or test, with a value in each of `having`."""
        chosen = np.asarray(self.table.column("split")) == part
        for name in having:
            chosen &= ~self.table.missing_mask(name)
        return np.flatnonzero(chosen)

    def unseen(self, part: str) -> NDArray[np.int64]:
        """Rows of a part whose report no training row has: one report stands under slices of several patients, and
        would be found by the other slices of its figure."""
        texts = self.table.column(TEXT_COLUMN)
        known = set(texts[self.rows("train", having=[TEXT_COLUMN])].tolist())
        return np.array([row for row in self.rows(part, having=[TEXT_COLUMN]) if texts[row] not in known], np.int64)


def run_study(folder: Path, *, brought: PretrainedPaths | None = None, choices: Choices | None = None) -> Findings:
    """All of it. InputError for a folder that is not such a study; what `fit_multimodal` and `decode` raise."""
    brought, choices = brought or PretrainedPaths(), choices or Choices()
    with tempfile.TemporaryDirectory(prefix="deepseek-ct-") as scratch:
        study = Study.open(folder, Path(scratch) / "images")
        retrieved, shown = retrieve(study, brought, choices, Path(scratch) / "pairs")
        return Findings(
            size_leak_auc(study), presence_leaks(study), diagnose(study, brought, choices, Path(scratch) / "slices"),
            retrieved, evaluate_within_positive(study, brought, choices, Path(scratch) / "pairs"), shown,
        )  # fmt: skip


def size_leak_auc(study: Study) -> float:
    """AUC of the class by width and height as they came."""
    width, height = (np.asarray(study.table.column(name), np.float64) for name in SIZE_COLUMNS)
    sizes = np.stack([width, height, width / height, width * height], 1)
    return content_free_auc(sizes, study.target, study.table.column(PATIENT_COLUMN))


def presence_leaks(study: Study) -> tuple[Finding, ...]:
    """Columns that are there for positive cases alone."""
    there = {name: ~study.table.missing_mask(name) for name in RECORD_COLUMNS if name in study.table.columns}
    return tuple(check_presence(there, study.target, task="binary"))


def diagnose(study: Study, brought: PretrainedPaths, choices: Choices, scratch: Path) -> dict[str, Any]:
    """Positive or not, from the picture alone: figures on test rows with intervals; threshold and slope are of the
    validation rows. A training that was cut off goes on in `scratch`."""
    from deepseek.train.tabular.calibrate import fit_calibration
    from deepseek.train.tabular.decide import choose_threshold
    from deepseek.train.tabular.metrics import measure_figures

    val, test = study.rows("val"), study.rows("test")
    answer = _margins_by_svm if brought.image and not choices.learns else _margins_by_nets
    margin = answer(study, brought, replace(choices, side=choices.diagnosis_side), scratch, np.concatenate([val, test]))
    calibration = fit_calibration(margin[: len(val), None], study.target[val], np.ones(len(val)), seed=choices.seed)
    chance = calibration.apply(margin[:, None])[:, 1]
    held, asked = chance[: len(val)], chance[len(val) :]
    threshold = choose_threshold(study.target[val], held, np.ones(len(val))).value
    return {
        "test": _figures_to_dict(measure_figures("binary", study.target[test], _two_columns(asked))),
        "num_test": len(test),
        "validation": _figures_to_dict(measure_figures("binary", study.target[val], _two_columns(held))),
        "accuracy_at_threshold": float(((asked >= threshold) == study.target[test]).mean()),
        "threshold": threshold, "encoder": brought.image.partition(":")[0] or "small",
    }  # fmt: skip


def _margins_by_svm(
    study: Study, brought: PretrainedPaths, choices: Choices, scratch: Path, asked: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Margins of the rows that are asked, by support vectors on the frozen image net."""
    from deepseek.nn.multimodal import NetShape, multimodal_net
    from deepseek.train.tabular.probe import probe_margins

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN], brought, choices)
    arrays = decode_table(preparer, study.table, scratch / "arrays", root=study.root).arrays
    net: Any = multimodal_net(preparer, NetShape(2, towers=towers.shapes), towers.weights).encoder(IMAGE_COLUMN)
    return probe_margins(net.tower, arrays[IMAGE_COLUMN], study.target, rows=study.rows("train"), query_rows=asked)


def _margins_by_nets(
    study: Study, brought: PretrainedPaths, choices: Choices, scratch: Path, asked: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Margins of the rows that are asked, by nets that are trained on all layers, or from the user's weights on."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, predict_margins

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN], brought, choices, trained=choices.learns)
    arrays = decode_table(preparer, study.table, scratch / "arrays", root=study.root).arrays
    config = MultimodalConfig(
        epochs=choices.epochs, lr=choices.lr, tower_lr=choices.tower_lr, batch_size=choices.batch_size, alone=0.0,
        move=choices.move,
    )  # fmt: skip
    total = np.zeros(len(asked))
    for member in range(choices.members):
        done = fit_multimodal(
            preparer, arrays, study.target, num_outputs=2, rows=study.rows("train"), held=study.rows("val"),
            config=config, seed=choices.seed + member, towers=towers, checkpoints=scratch / f"net-{member}",
        )  # fmt: skip
        found = predict_margins(done.net, arrays, asked, mirror=[IMAGE_COLUMN])
        total += (found[:, 1] - found[:, 0]) / choices.members
    return total


def retrieve(
    study: Study, brought: PretrainedPaths, choices: Choices, scratch: Path
) -> tuple[dict[str, Any], list[ExampleRecord]]:
    """Reports that were not seen find their slices among those of other patients, and slices their reports: recall at k
    beside chance, and a few records with what looks at what."""
    import torch

    from deepseek.nn.fusion import MultimodalShape
    from deepseek.nn.multimodal import NetShape, multimodal_net
    from deepseek.train.multimodal.align import AlignConfig, prealign, retrieval

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], brought, choices)
    arrays = decode_table(preparer, study.table, scratch, root=study.root).arrays
    torch.manual_seed(choices.seed)
    net = multimodal_net(preparer, NetShape(2, MultimodalShape(), choices.move, towers=towers.shapes), towers.weights)
    config = AlignConfig(epochs=choices.align_epochs)
    aligner = prealign(
        net,
        arrays,
        (TEXT_COLUMN, IMAGE_COLUMN),
        rows=study.rows("train", having=[TEXT_COLUMN]),
        config=config,
        seed=choices.seed,
    )
    told = {part: retrieval(aligner, arrays, study.unseen(part), ks=RECALL_KS) for part in ("val", "test")}
    plain = {
        part: {"num_rows": found.num_rows, "recall": found.recall, "chance": found.chance}
        for part, found in told.items()
    }
    return plain, _example_records(study, preparer, aligner, arrays, choices)


def evaluate_within_positive(study: Study, brought: PretrainedPaths, choices: Choices, scratch: Path) -> dict[str, Any]:
    """Sex from slice and report of positive cases: each alone, both added, both fused. The report often says it, the
    slice hardly: a check that the fusion knows whom to trust, no finding of medicine."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, make_batch
    from deepseek.train.tabular.metrics import measure_figures

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], brought, choices)
    arrays = decode_table(preparer, study.table, scratch, root=study.root).arrays
    sexes = np.asarray(study.table.column(SEX_COLUMN))
    truth = (sexes == "F").astype(np.int64)
    train, val, test = (study.rows(part, having=[SEX_COLUMN, TEXT_COLUMN]) for part in ("train", "val", "test"))
    told = {"question": "sex of positive cases", "num_train": len(train), "num_test": len(test)}
    if min(len(np.unique(truth[rows])) for rows in (train, test)) < 2:
        return told | {"auc": {}}  # not possible
    config = MultimodalConfig(epochs=choices.fusion_epochs, batch_size=choices.batch_size)
    done = fit_multimodal(
        preparer, arrays, truth, num_outputs=2, rows=train, held=val, config=config, seed=choices.seed, towers=towers
    )
    found = done.net(*make_batch(arrays, test))
    answers = {"fused": found.logits, "added": done.net.late(found)}
    answers |= {name: found.voices[:, at] for at, name in enumerate(done.net.names)}
    chances = {name: each.detach().softmax(1).double().numpy() for name, each in answers.items()}
    aucs = {name: measure_figures("binary", truth[test], chance)["auc"].to_dict() for name, chance in chances.items()}
    return told | {"auc": aucs}


def _fit_preparer(
    study: Study, columns: Sequence[str], brought: PretrainedPaths, choices: Choices, *, trained: bool = False
) -> tuple[SamplePreparer, Any]:
    """Readers of these columns, fitted on training rows, and the encoders that the user has."""
    from deepseek.nn.pretrained import PretrainedEncoders

    teaching = study.table.take(study.rows("train"))
    side = choices.side if brought.image else choices.small_side
    readers: dict[str, Any] = {IMAGE_COLUMN: ImageReader(size=(side, side), channels=1)}
    shapes, weights = {}, {}
    if brought.image:
        shapes[IMAGE_COLUMN], weights[IMAGE_COLUMN] = load_image_encoder(brought.image, trained=trained)
    if brought.text and TEXT_COLUMN in columns:
        texts = [str(text) for text in teaching.column(TEXT_COLUMN).tolist() if text is not None]
        shapes[TEXT_COLUMN], weights[TEXT_COLUMN], readers[TEXT_COLUMN] = load_text_encoder(brought.text, texts)
    kinds = {IMAGE_COLUMN: "image", TEXT_COLUMN: "text"}
    preparer = fit_samples(
        teaching, {name: kinds[name] for name in columns}, target=TARGET_COLUMN, root=study.root, readers=readers
    )
    return preparer, PretrainedEncoders(shapes, weights)


def _example_records(
    study: Study, preparer: SamplePreparer, aligner: Any, arrays: Any, choices: Choices
) -> list[ExampleRecord]:
    """A few test records of different reports."""
    import torch

    from deepseek.nn.align import associate

    texts = study.table.column(TEXT_COLUMN)
    firsts = {texts[row]: row for row in study.unseen("test")[::-1]}
    reader = next(column.reader for column in preparer.media if column.name == TEXT_COLUMN)
    found = []
    for row in sorted(firsts.values())[:: max(1, len(firsts) // choices.num_shown)][: choices.num_shown]:
        values = [torch.from_numpy(np.asarray(arrays[name][row])[None]) for name in (TEXT_COLUMN, IMAGE_COLUMN)]
        said = associate(aligner, *values)
        text = str(texts[row])
        found.append(
            ExampleRecord(
                int(row), values[1][0, 0].numpy(), text, reader.spans(text), said.fit, said.together.double().numpy()
            )
        )
    return found


def _two_columns(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - chance, chance], 1)


def _figures_to_dict(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {name: figure.to_dict() for name, figure in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The findings as JSON on stdout, the page where it is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m deepseek.recipes.ct_record", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="with index.csv and images.zip")
    parser.add_argument("--image", default="", metavar="NAME:FILE", help="an image net and its weights (safetensors)")
    parser.add_argument("--text", type=Path, metavar="FOLDER", help="a text model of Hugging Face")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write the page there")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    choices = Choices(seed=asked.seed)
    try:
        found = run_study(asked.folder, brought=PretrainedPaths(asked.image, asked.text), choices=choices)
    except DeepseekError as error:
        parser.exit(error.exit_code, f"{error}\n")
    if asked.report:
        from deepseek.recipes.ct_record_page import render_page

        asked.report.write_text(render_page(found, asked.folder.name, choices.seed), "utf-8")
    print(json.dumps(found.to_dict(), indent=1))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
