"""`ship` for rows that hold files and texts: decode, train a multimodal net, calibrate, check, pack.

media_kinds -> kinds -> leak checks (presence, copies, patients) -> fit readers -> decode to disk
            -> train on development -> calibrate and decide on held-out rows -> export with parity
            -> figures of the graph, of each modality alone and with each one missing -> one bundle (pack.py)

The baseline beside the multimodal figures is the late fusion of the same net: each modality's own answer, added. Where
all files are texts that frozen encoders read, linear models of their embeddings are candidates beside the net, and the
baseline of one of them is such a model of words alone (train/multimodal/linear_text.py).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl import evidence
from deepseek.automl.constraints import check_constraints
from deepseek.automl.multimodal_plan import EXPORT_S, TrainingSamples, plan_training
from deepseek.automl.options import ShipOptions
from deepseek.automl.pack import ChosenDecision, FinishedRun, TestFigures, choose_decision, pack_bundle
from deepseek.automl.pretrained_encoders import UserEncoders, is_folder, load_encoders
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.automl.split_data import SplitData, check_findings, find_leaks
from deepseek.bundle import EngineEntry
from deepseek.bundle.agreement import SAMPLES
from deepseek.contracts import Figure, Float64, JsonObject, Tensors
from deepseek.data import encode_target, find_kinds, make_card, make_folds
from deepseek.data.media.kinds import find_media
from deepseek.data.media.readers import READERS
from deepseek.data.samples.decode import DecodedSamples, decode_table
from deepseek.data.samples.preparer import PRESENT_SUFFIX, SamplePreparer, Samples, fit_samples
from deepseek.data.split.leaks_samples import check_copies, check_presence
from deepseek.engines.multimodal.runtime import (
    GRAPH,
    PARITY_BATCH_SIZES,
    MultimodalParity,
    check_multimodal_parity,
    export_multimodal,
    run_graph,
)
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.train.multimodal.choice import (
    FUSED,
    TITLES,
    WORDS_TITLE,
    CalibratedCandidate,
    HeldOutComparison,
    apply_calibration,
    best_of,
    standardize_target,
)
from deepseek.train.tabular.metrics import PairedFigures, default_metric, measure_figures, measure_pair

if TYPE_CHECKING:
    from deepseek.nn.fusion import MultimodalNet
    from deepseek.nn.multimodal import AnswersModalities
    from deepseek.train.multimodal.fusion import MultimodalConfig, MultimodalFit
    from deepseek.train.multimodal.linear_text import LinearTextTrial

NUM_FOLDS = 6  # one part in so many of the development rows judges


def media_kinds(data: SplitData, options: ShipOptions) -> dict[str, str]:
    """Kinds of the columns of files, and of texts that the user named as such; empty for a table, and for texts without
    files and encoders, which a table's linear models read better than a net of a few thousand rows."""
    named = {name: "text" for name, spec in (options.encoders or {}).items() if is_folder(spec)}
    named |= {name: kind for name, kind in (options.kinds or {}).items() if kind in READERS}
    root = media_root(data, options)
    kinds = {**({} if root is None else find_media(data.table, root=root)), **named}
    ignored = {options.target, *data.hidden, *(name for name in options.kinds or {} if name not in named)}
    media = {name: kind for name, kind in kinds.items() if name not in ignored}
    if not options.encoders and all(kind == "text" for kind in media.values()):
        return {}
    return media


def media_root(data: SplitData, options: ShipOptions) -> Path | None:
    """The folder that paths lie below."""
    if options.files is not None:
        root = Path(options.files)
        if not root.is_dir():
            raise InputError(f"ship.files is {root}", expected="a folder", fix="name the folder of the files")
        return root
    return Path(data.source).resolve().parent if isinstance(data.source, (str, Path)) else None


@dataclass(frozen=True, slots=True)
class MultimodalRun:
    """Rows of files and texts, decoded and ready for training."""

    data: SplitData
    options: ShipOptions
    kinds: dict[str, str]  # of the columns, by name
    warnings: list[str]
    preparer: SamplePreparer
    decoded: DecodedSamples  # of all rows of the table
    target: NDArray[Any]  # (N,) class numbers or values
    encoders: UserEncoders

    def fit_and_held_out_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to train on and rows to judge by: the user's validation rows, else one fold of the stated split."""
        data, options = self.data, self.options
        if len(data.split.validation):
            return data.split.train, data.split.validation
        fit, held_out = make_folds(
            data.development, split=data.method, target=options.target, task=data.info.task, num_folds=NUM_FOLDS,
            seed=options.seed,
        )[-1]  # fmt: skip
        rows = data.development_rows
        return rows[fit], rows[held_out]

    def samples(self, rows: NDArray[Any]) -> Samples:
        """The rows as samples in memory."""
        return Samples(Tensors({name: np.asarray(array[rows]) for name, array in self.decoded.arrays.items()}))

    def tabular_kinds(self) -> dict[str, str]:
        """Kinds of the columns that are no files and no texts."""
        return {name: kind for name, kind in self.kinds.items() if kind not in READERS}


def ship_multimodal(data: SplitData, options: ShipOptions, media: Mapping[str, str], clock: RunClock) -> ShipResult:
    """Train and pack. `media`: kinds of the columns of files and texts.

    InputError and CheckError as `ship` raises them, and BrokenError for a file that cannot be read, unless `broken` is
    "mask"."""
    need("torch", extra="train")
    need("onnxscript", extra="compress")  # for the export, which comes last
    with tempfile.TemporaryDirectory(prefix="deepseek-samples-") as scratch:
        run = _prepare_run(data, options, media, Path(scratch))
        return pack_bundle(_finish(run, _train(run)), clock)


def check_samples(
    data: SplitData, options: ShipOptions, media: Mapping[str, str]
) -> tuple[dict[str, str], NDArray[Any], list[str]]:
    """(kinds of the columns, target (N,) as class numbers or values, warnings) of rows of files and texts. InputError
    and CheckError for what is refused before a file is decoded."""
    check_constraints(options, data.info.task, data.labels)
    for name in ("monotone", "fairness", "weights"):
        if getattr(options, name):
            raise InputError(
                f"{name} is for tables alone, and {', '.join(media)} are files or texts", expected="none",
                fix=f"leave {name} out, or drop these columns",
            )  # fmt: skip
    table, rows, root = data.table, data.development_rows, media_root(data, options)
    kinds = find_kinds(data.development, target=options.target, overrides={**media, **(options.kinds or {})})
    kinds = {name: kind for name, kind in kinds.items() if name not in data.hidden}
    target = encode_target(table, options.target, data.labels)
    present = {name: ~table.missing_mask(name)[rows] for name in kinds if kinds[name] != "constant"}
    findings = find_leaks(options, data, {name: kind for name, kind in kinds.items() if kind not in READERS})
    findings += check_presence(present, target[rows], task=data.info.task)
    files = {name: table.column(name).tolist() for name, kind in kinds.items() if kind in READERS and kind != "text"}
    findings += check_copies(files, data.split, root=root)
    return kinds, target, check_findings(options, findings)


def _prepare_run(data: SplitData, options: ShipOptions, media: Mapping[str, str], scratch: Path) -> MultimodalRun:
    """Kinds, leak checks, fitted readers, and every row decoded into `scratch`."""
    kinds, target, leaks = check_samples(data, options, media)
    table, development, root = data.table, data.development, media_root(data, options)
    warnings = [*data.notes, *leaks]
    encoders = load_encoders(options.encoders or {}, development, trained=options.train_encoders)
    preparer = fit_samples(development, kinds, target=options.target, root=root, readers=encoders.readers)
    preparer = encoders.adapt(preparer)
    # what was held back from the table is no input, but rows may hold it
    preparer = replace(preparer, ignored=tuple(name for name in table.names if name not in preparer.columns()))
    warnings += [
        *(preparer.table.notes if preparer.table else ()),
        *evidence.small_sample_warnings(data.test, options.segments),
    ]
    decoded = decode_table(
        preparer, table, scratch / "arrays", root=root, broken="mask" if options.broken == "mask" else "fail",
        workers=options.workers, progress=options.progress,
    )  # fmt: skip
    return MultimodalRun(
        data, options, kinds, warnings + _masking_warnings(decoded), preparer, decoded, target, encoders
    )


def _masking_warnings(decoded: DecodedSamples) -> list[str]:
    """A warning for each column with files that could not be read: how many, and the first one's fault."""
    return [
        f"{count} files in {name!r} could not be read and were masked; the first: "
        f"{next(fault.message for fault in decoded.faults if fault.column == name)}"
        for name, count in Counter(fault.column for fault in decoded.faults).items()
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _TrainedModel:
    """A trained net as it will answer, and what it answers to the test rows."""

    fit: MultimodalFit
    net: AnswersModalities  # the fitted net, or a linear model
    config: MultimodalConfig
    candidates: list[CalibratedCandidate]  # by rising loss on the held-out rows
    chosen: CalibratedCandidate
    decision: ChosenDecision
    validation: dict[str, Figure]  # of the net on the held-out rows
    graph: bytes
    parity: MultimodalParity
    outputs: dict[str, NDArray[Any]]  # of the graph for the N test rows: "output" (N, C), "voices", "gates", ...

    @property
    def output(self) -> Float64:
        """(N, C) probabilities or (N, 1) values of the test rows."""
        return self.outputs["output"].astype(np.float64)


def _train(run: MultimodalRun) -> _TrainedModel:
    """Train within the budget, calibrate and decide on held-out rows, export with a parity check."""
    from deepseek.nn.multimodal import CalibratedNet, array_names
    from deepseek.train.multimodal.fusion import fit_multimodal, predict_margins

    data, options, arrays = run.data, run.options, run.decoded.arrays
    fit_rows, held_out = run.fit_and_held_out_rows()
    num_outputs = max(1, len(data.labels))
    learned, scale = standardize_target(run.target, fit_rows, num_outputs)
    learning = TrainingSamples(run.preparer, arrays, learned, num_outputs, run.encoders.pretrained)
    plan = plan_training(
        learning, fit_rows, num_held=len(held_out), num_test=len(data.split.test), options=options, budget=data.budget
    )
    config, fit_rows = plan.config, plan.rows
    run.warnings.extend(plan.warnings)

    def report_epoch(epoch: int, loss: float) -> None:
        if options.progress:
            message = f"epoch {epoch} of {config.epochs}: {loss:.4g} on held rows"
            options.progress(message, 0.1 + 0.8 * epoch / config.epochs)

    candidates: list[CalibratedCandidate] = []

    def compare_candidates(net: MultimodalNet) -> None:
        margin = predict_margins(net, arrays, held_out).astype(np.float64)
        linear = _fit_linear(run, net, learned, fit_rows, held_out)
        candidates.extend(_compare_candidates(run, held_out, margin, scale, linear))

    fit = fit_multimodal(
        run.preparer, arrays, learned, num_outputs=num_outputs, rows=fit_rows, held=held_out, config=config,
        seed=options.seed, towers=run.encoders.pretrained, validated=report_epoch, trained=compare_candidates,
    )  # fmt: skip
    if options.progress:
        options.progress("exporting, checking", 0.92)
    chosen = best_of(candidates)
    calibration, answering = chosen.calibration, chosen.build(fit.net)
    net = CalibratedNet(answering, slope=calibration.slope, bias=calibration.bias)
    names, test = array_names(answering.names), data.split.test
    samples = run.samples((test if len(test) > 1 else fit_rows)[: max(PARITY_BATCH_SIZES)])
    graph = export_multimodal(net, Samples(samples.tensors[:2]), names)
    parity = check_multimodal_parity(net, graph, samples, names)
    decision = choose_decision(
        data.info.task, data.labels, run.target[held_out], chosen.output, np.ones(len(held_out)), options
    )
    validation = measure_figures(data.info.task, run.target[held_out], chosen.output, seed=options.seed)
    outputs = run_graph(graph, arrays, test)
    return _TrainedModel(fit, answering, config, candidates, chosen, decision, validation, graph, parity, outputs)


def _fit_linear(
    run: MultimodalRun, net: MultimodalNet, learned: NDArray[Any], fit_rows: NDArray[np.int64],
    held_out: NDArray[np.int64],
) -> list[LinearTextTrial]:  # fmt: skip
    """Linear models of the embeddings that the net has read; none where it reads anything but texts and a table."""
    from deepseek.train.multimodal.linear_text import EmbeddedRows, fit_linear_texts, frozen_text_encoders

    options, budget, encoders = run.options, run.data.budget, frozen_text_encoders(net)
    if not encoders:
        return []
    rows = EmbeddedRows(run.decoded.arrays, np.unique(fit_rows), held_out, encoders)
    return fit_linear_texts(
        rows, learned, num_outputs=net.bias.shape[0],
        allows=lambda cost_s: options.trials is not None or budget.allows(cost_s + EXPORT_S),
    )  # fmt: skip


def _compare_candidates(
    run: MultimodalRun, held_out: NDArray[np.int64], margin: Float64, scale: tuple[float, float],
    linear: list[LinearTextTrial],
) -> list[CalibratedCandidate]:  # fmt: skip
    """The net by its margins (M, K) on the held-out rows and the linear models, by rising loss."""
    task, target = run.data.info.task, run.target[held_out]
    metric = run.options.metric or default_metric(task, target)
    comparison = HeldOutComparison(task, target, metric, scale, run.options.seed)
    models = (comparison.of(TITLES[each.family], each.margin, each) for each in linear)
    candidates = sorted([comparison.of(FUSED, margin), *models], key=lambda each: each.loss)
    if candidates[0].name == WORDS_TITLE:
        run.warnings.append(
            f"words alone are better than with the encoders on {len(held_out):,} held-out rows: try it without them"
        )
    return candidates


def _finish(run: MultimodalRun, trained: _TrainedModel) -> FinishedRun:
    """The figures on the test rows, and the files and evidence of a bundle of several modalities."""
    data, options, fit = run.data, run.options, trained.fit
    task, target, output = data.info.task, run.target[data.split.test], trained.output
    weight = np.ones(len(target))
    baseline_output, baseline_name = _baseline(run, trained)
    figures = measure_pair(task, target, output, baseline_output, weight, seed=options.seed)
    calibration = {"slope": trained.chosen.calibration.slope, "bias": list(trained.chosen.calibration.bias)}
    tabular_kinds = run.tabular_kinds()
    development = data.development
    hidden = [name for name in development.names if name not in (*tabular_kinds, options.target)]
    segments = {}
    if options.segments:
        groups = evidence.segment_figures(task, data.test, options.segments, target, output)
        segments = {"segments": evidence.segments_to_dict(groups)}
    return FinishedRun(
        data=data, options=options, kinds=run.kinds, warnings=run.warnings, model=trained.chosen.name,
        num_trials=trained.config.epochs, lineage={"epochs": trained.config.epochs}, inputs=run.preparer.inputs(),
        engines=(EngineEntry("onnxruntime", GRAPH, trained.parity.max_difference, trained.parity.num_rows),),
        decision=trained.decision,
        validation=PairedFigures(trained.validation, {}, {}),  # late fusion has no figures there
        test=TestFigures(target, output, weight, figures, baseline_name),
        files={
            SAMPLES: run.preparer.to_bytes(), GRAPH: trained.graph, "weights/net.safetensors": _net_weights(trained.net)
        },
        documents={
            "model.json": {
                "kind": "fused", "family": trained.chosen.name, "shape": asdict(fit.shape),
                "modalities": list(trained.net.names), "config": asdict(trained.config), "calibration": calibration,
                "prior": _target_prior(run),
            },
            # of files and texts a card says nothing but through its kinds
            "card.json": make_card(development.drop(hidden), tabular_kinds, options.target),
            "example.json": _example_record(run),
            "evidence/modalities.json": {
                "rows": "test", "fused": evidence.figures_to_dict(figures.first),
                "modalities": _modality_report(run, trained),
            },
            "evidence/training.json": {
                "losses": fit.fit.losses, "validations": fit.fit.validations,
                "candidates": [candidate.to_dict() for candidate in trained.candidates],
            },
            "evidence/parity.json": trained.parity.to_dict(),
        },
        metrics_details=segments, data_details={"faults": [asdict(fault) for fault in run.decoded.faults]},
    )  # fmt: skip


def _target_prior(run: MultimodalRun) -> list[float]:
    """What is known of a row of which nothing is: the share of each class in the development rows, or their mean."""
    target, labels = run.target[run.data.development_rows], run.data.labels
    return [float(np.mean(target == index)) for index in range(len(labels))] if labels else [float(target.mean())]


def _baseline(run: MultimodalRun, trained: _TrainedModel) -> tuple[Float64, str]:
    """Outputs (N, C) or (N, 1) of the baseline for the test rows, and its name. Of the net: its unimodal logits, added,
    through the same calibration. Of a linear model: words alone, by their own."""
    if trained.chosen.trial is None:
        bias = trained.net.bias.detach().numpy()
        logits = trained.outputs["voices"].astype(np.float64).sum(1) + bias
        title = "late fusion: the answers of each modality of the same net, added"
        return apply_calibration(trained.chosen.calibration, logits), title
    words = next(each for each in trained.candidates if each.name == WORDS_TITLE)
    assert words.trial is not None  # noqa: S101
    logits = words.trial.predict(run.decoded.arrays, run.data.split.test)
    return apply_calibration(words.calibration, logits), f"{WORDS_TITLE}, without the encoders, the same rows"


def _modality_report(run: MultimodalRun, trained: _TrainedModel) -> JsonObject:
    """What each modality is worth: figures without it, its mean gate, how often it is present."""
    test, arrays, modalities = run.data.split.test, run.decoded.arrays, run.preparer.names
    report: JsonObject = {}
    for index, name in enumerate(modalities):
        present = np.asarray(arrays[name + PRESENT_SUFFIX][test])
        gate = trained.outputs["gates"][:, index].mean()
        entry: JsonObject = {"share_there": float(present.mean()), "mean_gate": float(gate)}
        if len(modalities) > 1:
            output = run_graph(trained.graph, arrays, test, without=[name])["output"].astype(np.float64)
            without = measure_figures(run.data.info.task, run.target[test], output, seed=run.options.seed)
            entry["without"] = evidence.figures_to_dict(without)
        report[name] = entry
    return report


def _example_record(run: MultimodalRun) -> JsonObject:
    """A typical record: of the table's columns their usual values; a word for a text, and nothing for a file."""
    example: JsonObject = {column.name: "text" if column.kind == "text" else None for column in run.preparer.media}
    return example | (run.preparer.table.example() if run.preparer.table else {})


def _net_weights(net: Any) -> bytes:
    """The state of a torch module as safetensors."""
    from safetensors.torch import save

    data: bytes = save({name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()})
    return data
