"""CT slice and patient record: what leaks, a diagnosis from the picture alone, and reports that find their slices.

    deepseek recipe ct_record covid-ct --html ct.html
    deepseek recipe ct_record covid-ct --image efficientnet_lite0:lite0.safetensors --text all-MiniLM

Steps: leaks -> diagnosis (image alone) -> retrieval (report and slice) -> multimodal net within the positive cases ->
associations of words and regions.

The folder holds index.csv (image, split, covid, patient, orig_w, orig_h, age, gender, captions) and images.zip, or the
images themselves. Only positive cases have age, sex and text there, so a diagnosis that sees them is a leak: they serve
retrieval, and questions within the positive cases alone. Rows are split by patient; test rows are answered once.
For research; no clinical use.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.pretrained_encoders import load_image_encoder, load_text_encoder
from deepseek.data import Table, read_table
from deepseek.data.media.image import ImageReader
from deepseek.data.media.source import Reader
from deepseek.data.media.text import TextReader
from deepseek.data.samples.decode import decode_table
from deepseek.data.samples.preparer import SamplePreparer, fit_samples
from deepseek.data.split.findings import Finding
from deepseek.data.split.leaks_samples import check_presence, content_free_auc
from deepseek.errors import InputError
from deepseek.nn.augment import MoveShape
from deepseek.recipes.ct_record_findings import Diagnosis, ExampleRecord, Findings, WithinPositive

if TYPE_CHECKING:
    from deepseek.train.multimodal.align import Retrieval

IMAGE_COLUMN, TEXT_COLUMN, TARGET_COLUMN, PATIENT_COLUMN, SEX_COLUMN = "image", "captions", "covid", "patient", "gender"
SIZE_COLUMNS = ("orig_w", "orig_h")
RECORD_COLUMNS = (TEXT_COLUMN, "age", SEX_COLUMN)  # present for positive cases only
RECALL_KS = (1, 5, 10)


@dataclass(frozen=True)
class Choices:
    """Hyperparameters of the recipe, chosen on the validation rows of covid-ct."""

    side: int = 192  # pixels: all slices get one size, because the original one would tell the class
    diagnosis_side: int = 256  # pixels for a diagnosis by an image net: no slice of covid-ct is larger
    learns: bool = False  # train the image net for the diagnosis; else a support vector machine on its features
    epochs: int = 20  # of a diagnosis by a trained net
    members: int = 1  # trained nets whose margins are averaged
    lr: float = 2e-3
    tower_lr: float = 0.25  # times lr, for pretrained weights
    small_side: int = 96  # pixels, without a pretrained image net
    move: MoveShape = field(
        default_factory=lambda: MoveShape(shift=0.1, scale=0.2, rotate_degrees=12.0, mirror=True, light=0.2)
    )
    align_epochs: int = 40
    fusion_epochs: int = 30
    batch_size: int = 16
    seed: int = 0
    num_shown: int = 4  # example records in the report


@dataclass(frozen=True)
class PretrainedPaths:
    """The user's pretrained encoders: NAME:FILE of an image net, the folder of a text model. Without them small
    encoders are trained."""

    image: str = ""
    text: Path | None = None


@dataclass(frozen=True)
class Study:
    """The rows of a study and the folder of their images."""

    table: Table
    root: Path
    target: NDArray[np.int64]  # (N,) 1 for positive

    @classmethod
    def open(cls, folder: Path, scratch: Path) -> Study:
        """Open a study's folder; unpacks images.zip into `scratch` where there is one."""
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
        """Row numbers of "train", "val" or "test" with a value in each of the columns `having`."""
        chosen = np.asarray(self.table.column("split")) == part
        for name in having:
            chosen &= ~self.table.missing_mask(name)
        return np.flatnonzero(chosen)

    def unseen(self, part: str) -> NDArray[np.int64]:
        """Row numbers of a part whose report is in no training row: a report may belong to slices of several patients,
        and would be retrieved by the other slices of its figure."""
        texts = self.table.column(TEXT_COLUMN)
        known = set(texts[self.rows("train", having=[TEXT_COLUMN])].tolist())
        return np.array([row for row in self.rows(part, having=[TEXT_COLUMN]) if texts[row] not in known], np.int64)


def run_study(folder: Path, *, encoders: PretrainedPaths | None = None, choices: Choices | None = None) -> Findings:
    """Run the whole study. InputError for a folder that is not such a study; errors of fit_multimodal() and of the
    decoding of images."""
    encoders, choices = encoders or PretrainedPaths(), choices or Choices()
    with tempfile.TemporaryDirectory(prefix="deepseek-ct-") as scratch:
        study = Study.open(folder, Path(scratch) / "images")
        retrieved, examples = retrieve(study, encoders, choices, Path(scratch) / "pairs")
        return Findings(
            size_leak_auc(study), presence_leaks(study), diagnose(study, encoders, choices, Path(scratch) / "slices"),
            retrieved, evaluate_within_positive(study, encoders, choices, Path(scratch) / "pairs"), examples,
        )  # fmt: skip


def size_leak_auc(study: Study) -> float:
    """AUC of the class by the original width and height of the image alone."""
    width, height = (np.asarray(study.table.column(name), np.float64) for name in SIZE_COLUMNS)
    sizes = np.stack([width, height, width / height, width * height], 1)
    return content_free_auc(sizes, study.target, study.table.column(PATIENT_COLUMN))


def presence_leaks(study: Study) -> tuple[Finding, ...]:
    """Columns that are present for positive cases alone."""
    present = {name: ~study.table.missing_mask(name) for name in RECORD_COLUMNS if name in study.table.columns}
    return tuple(check_presence(present, study.target, task="binary"))


def diagnose(study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path) -> Diagnosis:
    """Diagnose positive or not from the image alone. Calibration and threshold are fitted on validation rows; figures
    on test rows have intervals. An interrupted training continues from `scratch`."""
    from deepseek.train.tabular.calibrate import fit_calibration
    from deepseek.train.tabular.decide import choose_threshold
    from deepseek.train.tabular.metrics import measure_figures

    val, test = study.rows("val"), study.rows("test")
    margins_of = _margins_by_svm if encoders.image and not choices.learns else _margins_by_nets
    margin = margins_of(
        study, encoders, replace(choices, side=choices.diagnosis_side), scratch, np.concatenate([val, test])
    )
    calibration = fit_calibration(margin[: len(val), None], study.target[val], np.ones(len(val)), seed=choices.seed)
    probabilities = calibration.apply(margin[:, None])[:, 1]
    validation_probabilities, test_probabilities = probabilities[: len(val)], probabilities[len(val) :]
    threshold = choose_threshold(study.target[val], validation_probabilities, np.ones(len(val))).value
    return Diagnosis(
        encoder=encoders.image.partition(":")[0] or "small",
        test=measure_figures("binary", study.target[test], _two_columns(test_probabilities)),
        validation=measure_figures("binary", study.target[val], _two_columns(validation_probabilities)),
        num_test=len(test),
        threshold=threshold,
        accuracy_at_threshold=float(((test_probabilities >= threshold) == study.target[test]).mean()),
    )


def _margins_by_svm(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Margins (R,) of `rows` by a support vector machine on features of the frozen image net."""
    from deepseek.nn.multimodal import NetShape, multimodal_net
    from deepseek.train.tabular.probe import probe_margins

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN], encoders, choices)
    arrays = decode_table(preparer, study.table, scratch / "arrays", root=study.root).arrays
    net: Any = multimodal_net(preparer, NetShape(2, towers=towers.shapes), towers.weights).encoder(IMAGE_COLUMN)
    return probe_margins(net.tower, arrays[IMAGE_COLUMN], study.target, rows=study.rows("train"), query_rows=rows)


def _margins_by_nets(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Margins (R,) of `rows`, the mean over nets that are trained from random or from the user's weights."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, predict_margins

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN], encoders, choices, trained=choices.learns)
    arrays = decode_table(preparer, study.table, scratch / "arrays", root=study.root).arrays
    config = MultimodalConfig(
        epochs=choices.epochs, lr=choices.lr, tower_lr=choices.tower_lr, batch_size=choices.batch_size, alone=0.0,
        move=choices.move,
    )  # fmt: skip
    total = np.zeros(len(rows))
    for member in range(choices.members):
        fitted = fit_multimodal(
            preparer, arrays, study.target, num_outputs=2, rows=study.rows("train"), held=study.rows("val"),
            config=config, seed=choices.seed + member, towers=towers, checkpoints=scratch / f"net-{member}",
        )  # fmt: skip
        logits = predict_margins(fitted.net, arrays, rows, mirror=[IMAGE_COLUMN])
        total += (logits[:, 1] - logits[:, 0]) / choices.members
    return total


def retrieve(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path
) -> tuple[dict[str, Retrieval], list[ExampleRecord]]:
    """Retrieval between reports that were not in training and slices, by part of the split ("val", "test"): recall at k
    beside chance, in both directions; and a few records with their word-region associations."""
    import torch

    from deepseek.nn.fusion import MultimodalShape
    from deepseek.nn.multimodal import NetShape, multimodal_net
    from deepseek.train.multimodal.align import AlignConfig, prealign, retrieval

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], encoders, choices)
    arrays = decode_table(preparer, study.table, scratch, root=study.root).arrays
    torch.manual_seed(choices.seed)
    net = multimodal_net(preparer, NetShape(2, MultimodalShape(), choices.move, towers=towers.shapes), towers.weights)
    config = AlignConfig(epochs=choices.align_epochs)
    rows = study.rows("train", having=[TEXT_COLUMN])
    aligner = prealign(net, arrays, (TEXT_COLUMN, IMAGE_COLUMN), rows=rows, config=config, seed=choices.seed)
    scores = {part: retrieval(aligner, arrays, study.unseen(part), ks=RECALL_KS) for part in ("val", "test")}
    return scores, _example_records(study, preparer, aligner, arrays, choices)


def evaluate_within_positive(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path
) -> WithinPositive:
    """Predict the sex of positive cases from slice and report: each alone, their late fusion ("added") and the whole
    net ("fused"). The report often says it, the slice hardly: this checks that the net trusts the right modality, and
    is no medical finding."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, make_batch
    from deepseek.train.tabular.metrics import measure_figures

    preparer, towers = _fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], encoders, choices)
    arrays = decode_table(preparer, study.table, scratch, root=study.root).arrays
    sexes = np.asarray(study.table.column(SEX_COLUMN))
    truth = (sexes == "F").astype(np.int64)
    train, val, test = (study.rows(part, having=[SEX_COLUMN, TEXT_COLUMN]) for part in ("train", "val", "test"))
    result = WithinPositive("sex of positive cases", num_train=len(train), num_test=len(test))
    if min(len(np.unique(truth[rows])) for rows in (train, test)) < 2:
        return result  # one sex alone: nothing to predict
    config = MultimodalConfig(epochs=choices.fusion_epochs, batch_size=choices.batch_size)
    fitted = fit_multimodal(
        preparer, arrays, truth, num_outputs=2, rows=train, held=val, config=config, seed=choices.seed, towers=towers
    )
    output = fitted.net(*make_batch(arrays, test))
    answers = {"fused": output.logits, "added": fitted.net.late_fusion(output)}
    answers |= {name: output.unimodal_logits[:, index] for index, name in enumerate(fitted.net.names)}
    probabilities = {name: logits.detach().softmax(1).double().numpy() for name, logits in answers.items()}
    aucs = {name: measure_figures("binary", truth[test], rows)["auc"] for name, rows in probabilities.items()}
    return replace(result, auc=aucs)


def _fit_preparer(
    study: Study, columns: Sequence[str], encoders: PretrainedPaths, choices: Choices, *, trained: bool = False
) -> tuple[SamplePreparer, Any]:
    """A preparer of these columns, fitted on training rows, and the user's pretrained encoders for them."""
    from deepseek.nn.pretrained import PretrainedEncoders

    training = study.table.take(study.rows("train"))
    side = choices.side if encoders.image else choices.small_side
    readers: dict[str, Reader | TextReader] = {IMAGE_COLUMN: ImageReader(size=(side, side), channels=1)}
    shapes, weights = {}, {}
    if encoders.image:
        shapes[IMAGE_COLUMN], weights[IMAGE_COLUMN] = load_image_encoder(encoders.image, trained=trained)
    if encoders.text and TEXT_COLUMN in columns:
        texts = [str(text) for text in training.column(TEXT_COLUMN).tolist() if text is not None]
        shapes[TEXT_COLUMN], weights[TEXT_COLUMN], readers[TEXT_COLUMN] = load_text_encoder(encoders.text, texts)
    kinds = {IMAGE_COLUMN: "image", TEXT_COLUMN: "text"}
    preparer = fit_samples(
        training, {name: kinds[name] for name in columns}, target=TARGET_COLUMN, root=study.root, readers=readers
    )
    return preparer, PretrainedEncoders(shapes, weights)


def _example_records(
    study: Study, preparer: SamplePreparer, aligner: Any, arrays: Any, choices: Choices
) -> list[ExampleRecord]:
    """A few test records with different reports, and their associations."""
    import torch

    from deepseek.nn.align import associate

    texts = study.table.column(TEXT_COLUMN)
    firsts = {texts[row]: row for row in study.unseen("test")[::-1]}
    reader = next(column.reader for column in preparer.media if column.name == TEXT_COLUMN)
    records = []
    for row in sorted(firsts.values())[:: max(1, len(firsts) // choices.num_shown)][: choices.num_shown]:
        values = [torch.from_numpy(np.asarray(arrays[name][row])[None]) for name in (TEXT_COLUMN, IMAGE_COLUMN)]
        association = associate(aligner, *values)
        text = str(texts[row])
        records.append(
            ExampleRecord(
                int(row),
                values[1][0, 0].numpy(),
                text,
                reader.spans(text),
                association.fit,
                association.interaction.double().numpy(),
            )
        )
    return records


def _two_columns(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - probabilities, probabilities], 1)
