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

import copy
import math
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.multimodal_plan import ANSWER_COST
from deepseek.data.samples.decode import decode_table
from deepseek.data.samples.preparer import SamplePreparer
from deepseek.data.split.findings import Finding
from deepseek.data.split.leaks_samples import check_presence, content_free_auc
from deepseek.recipes.ct_record_budget import ALMOST_ALL, StudyBudget
from deepseek.recipes.ct_record_findings import (
    Diagnosis,
    EncoderOrigin,
    ExampleRecord,
    Findings,
    StudyCost,
    WithinPositive,
)
from deepseek.recipes.ct_record_study import (
    IMAGE_COLUMN,
    PATIENT_COLUMN,
    RECORD_COLUMNS,
    SEX_COLUMN,
    SIZE_COLUMNS,
    TEXT_COLUMN,
    Choices,
    PretrainedPaths,
    Study,
    fit_preparer,
)

if TYPE_CHECKING:
    from deepseek.train.multimodal.align import Retrieval

RECALL_KS = (1, 5, 10)
RETRIEVAL_SHARE, WITHIN_SHARE = 0.35, 0.3  # of the budget that is left may go to these; the diagnosis has the rest
MAX_NETS = 8  # that a budget buys for the diagnosis: more hardly change a mean


def run_study(
    folder: Path,
    *,
    encoders: PretrainedPaths | None = None,
    choices: Choices | None = None,
    budget: StudyBudget | None = None,
) -> Findings:
    """Run the whole study, within the budget of `budget`. InputError for a folder that is not such a study; errors of
    fit_multimodal() and of the decoding of images."""
    encoders, choices, budget = encoders or PretrainedPaths(), choices or Choices(), budget or StudyBudget()
    with tempfile.TemporaryDirectory(prefix="deepseek-ct-") as scratch:
        budget.begin("reading the study", 0.0, 0.05)
        study, pairs, slices = Study.open(folder, Path(scratch) / "images"), Path(scratch) / "pairs", Path(scratch)
        origins, size_auc, presence = (
            encoder_origins(study, encoders, choices),
            size_leak_auc(study),
            presence_leaks(study),
        )
        # support vectors take what they take, and nets what is left: so the former go first, the latter last
        first = diagnose(study, encoders, choices, slices, budget) if _is_by_svm(encoders, choices) else None
        retrieved, examples = retrieve(study, encoders, choices, pairs, budget)
        within = evaluate_within_positive(study, encoders, choices, pairs, budget)
        diagnosis = first or diagnose(study, encoders, choices, slices, budget)
    budget.finish()
    cost = StudyCost(round(budget.used_s(), 2), budget.budget_s, budget.epochs)
    return Findings(
        size_auc, presence, diagnosis, retrieved, within, examples, origins, cost, tuple(budget.warnings)
    )  # fmt: skip


def encoder_origins(study: Study, encoders: PretrainedPaths, choices: Choices) -> tuple[EncoderOrigin, ...]:
    """Where the weights of both encoders come from. Errors of reading the user's encoders."""
    _, towers = fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], encoders, choices)
    origins = []
    for column, name, file in (
        (IMAGE_COLUMN, *encoders.image.partition(":")[::2]),
        (TEXT_COLUMN, encoders.text.name if encoders.text else "", encoders.text.name if encoders.text else ""),
    ):
        if column in towers.shapes:
            is_trained = column == IMAGE_COLUMN and choices.learns
            origin = EncoderOrigin(column, name, Path(file).name, towers.shapes[column].digest, is_trained)
        else:
            origin = EncoderOrigin(column, "small", seed=choices.seed)
        origins.append(origin)
    return tuple(origins)


def _is_by_svm(encoders: PretrainedPaths, choices: Choices) -> bool:
    """Whether the diagnosis is by support vectors on a frozen image net, rather than by nets that are trained."""
    return bool(encoders.image) and not choices.learns


def size_leak_auc(study: Study) -> float:
    """AUC of the class by the original width and height of the image alone."""
    width, height = (np.asarray(study.table.column(name), np.float64) for name in SIZE_COLUMNS)
    sizes = np.stack([width, height, width / height, width * height], 1)
    return content_free_auc(sizes, study.target, study.table.column(PATIENT_COLUMN))


def presence_leaks(study: Study) -> tuple[Finding, ...]:
    """Columns that are present for positive cases alone."""
    present = {name: ~study.table.missing_mask(name) for name in RECORD_COLUMNS if name in study.table.columns}
    return tuple(check_presence(present, study.target, task="binary"))


def diagnose(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path, budget: StudyBudget | None = None
) -> Diagnosis:
    """Diagnose positive or not from the image alone. Calibration and threshold are fitted on validation rows; figures
    on test rows have intervals. An interrupted training continues from `scratch`."""
    from deepseek.train.tabular.calibrate import fit_calibration
    from deepseek.train.tabular.decide import choose_threshold
    from deepseek.train.tabular.metrics import measure_figures

    val, test = study.rows("val"), study.rows("test")
    budget, is_by_svm = budget or StudyBudget(), _is_by_svm(encoders, choices)
    budget.begin("diagnosis from the slice alone", 0.05 if is_by_svm else 0.5, 0.4 if is_by_svm else 0.97)
    margins_of = _margins_by_svm if is_by_svm else _margins_by_nets
    at_side = replace(choices, side=choices.diagnosis_side)
    margin = margins_of(study, encoders, at_side, scratch, np.concatenate([val, test]), budget)
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
    study: Study,
    encoders: PretrainedPaths,
    choices: Choices,
    scratch: Path,
    rows: NDArray[np.int64],
    budget: StudyBudget,
) -> NDArray[np.float64]:
    """Margins (R,) of `rows` by a support vector machine on features of the frozen image net."""
    from deepseek.nn.multimodal import NetShape, multimodal_net
    from deepseek.train.tabular.probe import probe_margins

    preparer, towers = fit_preparer(study, [IMAGE_COLUMN], encoders, choices)
    arrays = decode_table(preparer, study.table, scratch / "arrays", root=study.root).arrays
    net: Any = multimodal_net(preparer, NetShape(2, towers=towers.shapes), towers.weights).encoder(IMAGE_COLUMN)
    return probe_margins(
        net.tower,
        arrays[IMAGE_COLUMN],
        study.target,
        rows=study.rows("train"),
        query_rows=rows,
        progress=partial(budget.tell, "features of slices"),
    )


def _margins_by_nets(
    study: Study,
    encoders: PretrainedPaths,
    choices: Choices,
    scratch: Path,
    rows: NDArray[np.int64],
    budget: StudyBudget,
) -> NDArray[np.float64]:
    """Margins (R,) of `rows`, the mean over nets that are trained from random or from the user's weights. A budget
    that is more than enough for the nets of `choices` buys further ones and longer trainings."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, predict_margins

    preparer, towers = fit_preparer(study, [IMAGE_COLUMN], encoders, choices, trained=choices.learns)
    arrays = decode_table(preparer, study.table, scratch / "arrays", root=study.root).arrays
    config = MultimodalConfig(
        lr=choices.lr, tower_lr=choices.tower_lr, batch_size=choices.batch_size, alone=0.0,
        move=choices.move,
    )  # fmt: skip
    train, held = study.rows("train"), study.rows("val")

    def fit(rows: NDArray[np.int64], config: MultimodalConfig, member: int = 0, **options: Any) -> Any:
        seed = choices.seed + member
        return fit_multimodal(
            preparer, arrays, study.target, num_outputs=2, rows=rows, config=config, seed=seed, towers=towers, **options
        )

    few = train[:: max(1, 2 * len(train) // config.batch_size)]
    affordable = budget.affordable_epochs(
        lambda epochs: fit(few, replace(config, epochs=epochs)),
        num_times=(len(train) + ANSWER_COST * len(held)) / len(few), share=ALMOST_ALL,
        num_answers=2 * len(rows) / len(few),
    )  # fmt: skip
    train = budget.choose_rows("diagnosis", train, affordable, least=len(few))
    num_nets, config = choices.members, replace(config, epochs=choices.epochs)
    if affordable < math.inf:
        num_nets = min(MAX_NETS, max(1, int(affordable / choices.epochs)))
        most = min(2 * choices.epochs, max(choices.epochs, int(affordable / num_nets)))
        config = replace(config, epochs=most)
    epochs = budget.choose_epochs("diagnosis", config.epochs, affordable / num_nets)
    budget.epochs["nets"], config = num_nets, replace(config, epochs=epochs)
    total = np.zeros(len(rows))
    for member in range(num_nets):
        fitted = fit(
            train, config, member, held=held, checkpoints=scratch / f"net-{member}",
            validated=lambda epoch, _, done=member * epochs: budget.tell_epoch(done + epoch, num_nets * epochs),
        )  # fmt: skip
        logits = predict_margins(fitted.net, arrays, rows, mirror=[IMAGE_COLUMN])
        total += (logits[:, 1] - logits[:, 0]) / num_nets
    return total


def retrieve(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path, budget: StudyBudget | None = None
) -> tuple[dict[str, Retrieval], list[ExampleRecord]]:
    """Retrieval between reports that were not in training and slices, by part of the split ("val", "test"): recall at k
    beside chance, in both directions; and a few records with their word-region associations."""
    import torch

    from deepseek.nn.fusion import MultimodalShape
    from deepseek.nn.multimodal import NetShape, multimodal_net
    from deepseek.train.multimodal.align import AlignConfig, prealign, retrieval

    budget = budget or StudyBudget()
    budget.begin("reports and slices find each other", 0.05, 0.3)
    preparer, towers = fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], encoders, choices)
    arrays = decode_table(preparer, study.table, scratch, root=study.root).arrays
    torch.manual_seed(choices.seed)
    net = multimodal_net(preparer, NetShape(2, MultimodalShape(), choices.move, towers=towers.shapes), towers.weights)
    config, pair = AlignConfig(), (TEXT_COLUMN, IMAGE_COLUMN)
    rows = study.rows("train", having=[TEXT_COLUMN])
    few = rows[: config.batch_size // 2]
    affordable = budget.affordable_epochs(
        lambda epochs: prealign(copy.deepcopy(net), arrays, pair, rows=few, config=replace(config, epochs=epochs)),
        num_times=len(rows) / len(few), share=RETRIEVAL_SHARE, is_frozen=bool(towers.shapes),
        num_answers=sum(2 * len(study.unseen(part)) for part in ("val", "test")) / len(few),
    )  # fmt: skip
    rows = budget.choose_rows("retrieval", rows, affordable, least=len(few))
    epochs = budget.choose_epochs("retrieval", choices.align_epochs, affordable)
    aligner = prealign(
        net, arrays, pair, rows=rows, config=replace(config, epochs=epochs), seed=choices.seed,
        on_epoch=lambda epoch: budget.tell_epoch(epoch, epochs),
    )  # fmt: skip
    scores = {part: retrieval(aligner, arrays, study.unseen(part), ks=RECALL_KS) for part in ("val", "test")}
    return scores, _example_records(study, preparer, aligner, arrays, choices)


def evaluate_within_positive(
    study: Study, encoders: PretrainedPaths, choices: Choices, scratch: Path, budget: StudyBudget | None = None
) -> WithinPositive:
    """Predict the sex of positive cases from slice and report: each alone, their late fusion ("added") and the whole
    net ("fused"). The report often says it, the slice hardly: this checks that the net trusts the right modality, and
    is no medical finding."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, make_batch
    from deepseek.train.tabular.metrics import measure_figures

    budget = budget or StudyBudget()
    budget.begin("slice and report together", 0.3, 0.5)
    preparer, towers = fit_preparer(study, [IMAGE_COLUMN, TEXT_COLUMN], encoders, choices)
    arrays = decode_table(preparer, study.table, scratch, root=study.root).arrays
    sexes = np.asarray(study.table.column(SEX_COLUMN))
    truth = (sexes == "F").astype(np.int64)
    train, val, test = (study.rows(part, having=[SEX_COLUMN, TEXT_COLUMN]) for part in ("train", "val", "test"))
    result = WithinPositive("sex of positive cases", num_train=len(train), num_test=len(test))
    if min(len(np.unique(truth[rows])) for rows in (train, test)) < 2:
        return result  # one sex alone: nothing to predict
    config = MultimodalConfig(batch_size=choices.batch_size)

    def fit(rows: NDArray[np.int64], epochs: int, **options: Any) -> Any:
        return fit_multimodal(
            preparer, arrays, truth, num_outputs=2, rows=rows, config=replace(config, epochs=epochs), seed=choices.seed,
            towers=towers, **options,
        )  # fmt: skip

    few = train[: config.batch_size // 2]
    affordable = budget.affordable_epochs(
        lambda epochs: fit(few, epochs), num_times=(len(train) + ANSWER_COST * len(val)) / len(few),
        share=ALMOST_ALL if _is_by_svm(encoders, choices) else WITHIN_SHARE, is_frozen=bool(towers.shapes),
        num_answers=len(test) / len(few),
    )  # fmt: skip
    train = budget.choose_rows("slice and report together", train, affordable, least=len(few))
    epochs = budget.choose_epochs("slice and report together", choices.fusion_epochs, affordable)
    fitted = fit(train, epochs, held=val, validated=lambda epoch, _: budget.tell_epoch(epoch, epochs))
    output = fitted.net(*make_batch(arrays, test))
    answers = {"fused": output.logits, "added": fitted.net.late_fusion(output)}
    answers |= {name: output.unimodal_logits[:, index] for index, name in enumerate(fitted.net.names)}
    probabilities = {name: logits.detach().softmax(1).double().numpy() for name, logits in answers.items()}
    aucs = {name: measure_figures("binary", truth[test], rows)["auc"] for name, rows in probabilities.items()}
    return replace(result, auc=aucs)


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
