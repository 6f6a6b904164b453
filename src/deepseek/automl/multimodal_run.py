"""`ship` for rows that hold files and texts: decode, train a fused net, calibrate, check, pack.

media_kinds -> kinds -> leak checks (presence, copies, patients) -> fit readers -> decode to disk -> train on
development
         -> calibrate and decide on held rows -> export with parity -> figures of the graph, of each modality alone and
            with each one missing -> one bundle

The baseline beside the fused figures is the late fusion of the same net: each modality's own answer, added.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl import evidence
from deepseek.automl.constraints import check_constraints
from deepseek.automl.naming import default_name
from deepseek.automl.options import ShipOptions
from deepseek.automl.pack import as_json
from deepseek.automl.pretrained_encoders import UserEncoders, is_folder, load_encoders
from deepseek.automl.shipped import ShipResult
from deepseek.automl.tabular_run import SplitData, check_findings, find_leaks
from deepseek.bundle import EngineEntry, Lineage, Manifest, Output, now, write_bundle
from deepseek.bundle.agreement import SAMPLES
from deepseek.contracts import Figure, Float64, Tensors
from deepseek.data import Table, encode_target, find_kinds, make_card, make_folds
from deepseek.data.media.kinds import find_media
from deepseek.data.media.readers import READERS
from deepseek.data.samples.decode import DecodedSamples, decode_table
from deepseek.data.samples.preparer import PRESENT_SUFFIX, SamplePreparer, Samples, fit_samples
from deepseek.data.split.leaks_samples import check_copies, check_presence
from deepseek.engines.decide import Decision
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
from deepseek.train.tabular.calibrate import Calibration, fit_calibration
from deepseek.train.tabular.decide import check_costs, choose_threshold, conformal_half_width
from deepseek.train.tabular.metrics import measure_figures

NUM_FOLDS = 6  # one part in so many of the development rows judges
EPOCH_RANGE = (4, 60)  # the fewest and the most that a budget buys


def media_kinds(opened: SplitData, asked: ShipOptions) -> dict[str, str]:
    """Kinds of the columns of files, and of texts that the user named as such; empty for a table alone."""
    told = {name: "text" for name, spec in (asked.encoders or {}).items() if is_folder(spec)}
    told |= {name: kind for name, kind in (asked.kinds or {}).items() if kind in READERS}
    root = media_root(opened, asked)
    found = {} if root is None else find_media(opened.table, root=root)
    kinds = {**found, **told}
    not_read = {asked.target, *opened.hidden, *(name for name in asked.kinds or {} if name not in told)}
    return {name: kind for name, kind in kinds.items() if name not in not_read}


def media_root(opened: SplitData, asked: ShipOptions) -> Path | None:
    """The folder that paths lie below."""
    if asked.files is not None:
        root = Path(asked.files)
        if not root.is_dir():
            raise InputError(f"ship.files is {root}", expected="a folder", fix="name the folder of the files")
        return root
    return Path(opened.source).resolve().parent if isinstance(opened.source, (str, Path)) else None


@dataclass
class MultimodalRun:
    """One run of `ship` over samples."""

    opened: SplitData
    asked: ShipOptions
    kinds: dict[str, str]
    warnings: list[str]
    preparer: SamplePreparer
    decoded: DecodedSamples  # of all rows of the table
    target: NDArray[Any]  # (N,) class numbers or values
    brought: UserEncoders  # encoders that the user has

    def fitted_and_held(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to train on and rows to judge by: the user's validation rows, else one fold of the stated split."""
        split = self.opened.split
        if len(split.validation):
            return split.train, split.validation
        fit, held = make_folds(
            self.opened.development, split=self.asked.split, target=self.asked.target, task=self.opened.info.task,
            num_folds=NUM_FOLDS, seed=self.asked.seed,
        )[-1]  # fmt: skip
        rows = self.opened.development_rows
        return rows[fit], rows[held]

    def samples(self, rows: NDArray[Any]) -> Samples:
        """The rows as samples in memory."""
        return Samples(Tensors({name: np.asarray(array[rows]) for name, array in self.decoded.arrays.items()}))


def ship_multimodal(
    opened: SplitData, asked: ShipOptions, media: Mapping[str, str], clock: tuple[float, float]
) -> ShipResult:
    """Train and pack. InputError and CheckError as `ship` raises them, and BrokenError for a file that cannot be read,
    unless `broken` is "mask"."""
    need("torch", extra="train")
    need("onnxscript", extra="compress")  # for the export, which comes last
    check_constraints(asked, opened.info.task, opened.labels)
    for name in ("monotone", "fairness", "weights"):
        if getattr(asked, name):
            raise InputError(
                f"{name} is for tables alone, and {', '.join(media)} are files or texts", expected="none",
                fix=f"leave {name} out, or drop these columns",
            )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="deepseek-samples-") as scratch:
        work = _prepare_run(opened, asked, media, Path(scratch))
        return _train_and_pack(work, clock)


def _prepare_run(opened: SplitData, asked: ShipOptions, media: Mapping[str, str], scratch: Path) -> MultimodalRun:
    table, task, root = opened.table, opened.info.task, media_root(opened, asked)
    kinds = find_kinds(opened.development, target=asked.target, overrides={**media, **(asked.kinds or {})})
    kinds = {name: kind for name, kind in kinds.items() if name not in opened.hidden}
    plain = {name: kind for name, kind in kinds.items() if kind not in READERS}
    target = encode_target(table, asked.target, opened.labels)
    there = {name: ~table.missing_mask(name)[opened.development_rows] for name in kinds if kinds[name] != "constant"}
    found = find_leaks(asked, table, opened.split, task, plain)
    found += check_presence(there, target[opened.development_rows], task=task)
    files = {name: table.column(name).tolist() for name, kind in kinds.items() if kind in READERS and kind != "text"}
    found += check_copies(files, opened.split, root=root)
    warnings = [*opened.notes, *check_findings(asked, found)]
    brought = load_encoders(asked.encoders or {}, opened.development, trained=asked.train_encoders)
    preparer = fit_samples(opened.development, kinds, target=asked.target, root=root, readers=brought.readers)
    preparer = brought.adapt(preparer)
    # what was held back from the table is no input, but rows may hold it
    preparer = replace(preparer, ignored=tuple(name for name in table.names if name not in preparer.columns()))
    warnings += [
        *(preparer.table.notes if preparer.table else ()),
        *evidence.small_sample_warnings(opened.test, asked.segments),
    ]
    decoded = decode_table(
        preparer, table, scratch / "arrays", root=root, broken="mask" if asked.broken == "mask" else "fail",
        workers=asked.workers, progress=asked.progress,
    )  # fmt: skip
    warnings += _masking_warnings(decoded)
    return MultimodalRun(opened, asked, kinds, warnings, preparer, decoded, target, brought)


def _masking_warnings(decoded: DecodedSamples) -> list[str]:
    columns: dict[str, int] = {}
    for fault in decoded.faults:
        columns[fault.column] = columns.get(fault.column, 0) + 1
    return [
        f"{count} files in {name!r} could not be read and were masked; the first: "
        f"{next(fault.message for fault in decoded.faults if fault.column == name)}"
        for name, count in columns.items()
    ]


@dataclass(frozen=True)
class _TrainedModel:
    """A trained net as it will answer, and what it answers to the test rows."""

    done: Any  # train.fusion.FusionFit
    config: Any  # train.fusion.FusionConfig
    calibration: Calibration
    decision: dict[str, Any]
    graph: bytes
    parity: MultimodalParity
    found: dict[str, NDArray[Any]]  # outputs of the graph for the test rows

    @property
    def output(self) -> Float64:
        return self.found["output"].astype(np.float64)


def _train_and_pack(work: MultimodalRun, clock: tuple[float, float]) -> ShipResult:
    asked, opened = work.asked, work.opened
    made = _train(work)
    task, target = opened.info.task, work.target[opened.split.test]
    metrics = measure_figures(task, target, made.output, seed=asked.seed)
    baseline = measure_figures(task, target, _late_fusion_output(made), seed=asked.seed)
    files = _files(work, made, metrics, baseline)
    manifest = _manifest(work, made)
    out = Path(asked.out or manifest.name)
    bundle = write_bundle(out, manifest, files, overwrite=asked.overwrite, key=asked.key)
    if asked.progress:
        asked.progress("done", 1.0)
    return ShipResult(
        path=bundle.path, digest=bundle.digest, task=task, target=asked.target, model="fused", engine="onnxruntime",
        metrics=metrics, baseline=baseline, size_bytes=bundle.size_bytes, cpu_s=time.process_time() - clock[1],
        wall_s=time.perf_counter() - clock[0], seed=asked.seed, num_trials=made.config.epochs,
        warnings=tuple(work.warnings),
    )  # fmt: skip


def _train(work: MultimodalRun) -> _TrainedModel:
    from deepseek.nn.multimodal import CalibratedNet, array_names
    from deepseek.train.multimodal.fusion import fit_multimodal, predict_margins

    asked, say = work.asked, work.asked.progress
    fitted, held = work.fitted_and_held()
    num_outputs = max(1, len(work.opened.labels))
    truth, scale = _standardize_target(work.target, fitted, num_outputs)
    config = _choose_config(work, fitted, truth, num_outputs)

    def validated(epoch: int, loss: float) -> None:
        if say:
            say(f"epoch {epoch} of {config.epochs}: {loss:.4g} on held rows", 0.1 + 0.8 * epoch / config.epochs)

    done = fit_multimodal(
        work.preparer, work.decoded.arrays, truth, num_outputs=num_outputs, rows=fitted, held=held, config=config,
        seed=asked.seed, towers=work.brought.towers, validated=validated,
    )  # fmt: skip
    if say:
        say("exporting, checking", 0.92)
    margin = predict_margins(done.net, work.decoded.arrays, held).astype(np.float64)
    calibration, held_output = _calibrate(work, held, margin, scale)
    answering = CalibratedNet(done.net, slope=calibration.slope, bias=calibration.bias)
    names, test = array_names(done.net.names), work.opened.split.test
    some = work.samples((test if len(test) > 1 else fitted)[: max(PARITY_BATCH_SIZES)])
    graph = export_multimodal(answering, Samples(some.tensors[:2]), names)
    parity = check_multimodal_parity(answering, graph, some, names)
    decision = _decide(work, held, held_output)
    return _TrainedModel(
        done, config, calibration, decision, graph, parity, run_graph(graph, work.decoded.arrays, test)
    )


def _files(
    work: MultimodalRun, made: _TrainedModel, metrics: Mapping[str, Figure], baseline: Mapping[str, Figure]
) -> dict[str, bytes]:
    done, opened = made.done, work.opened
    net = {
        "kind": "fused", "shape": asdict(done.shape), "modalities": list(done.net.names),
        "config": asdict(made.config),
        "calibration": {"slope": made.calibration.slope, "bias": list(made.calibration.bias)},
        "prior": _target_prior(work),
    }  # fmt: skip
    documents = {
        "model.json": net,
        "decision.json": made.decision,
        "card.json": make_card(_tabular_columns(work), _tabular_kinds(work), work.asked.target),
        "example.json": _example_record(work),
        "evidence/metrics.json": _metrics_report(work, made, metrics, baseline),
        "evidence/modalities.json": _modality_report(work, made, metrics),
        "evidence/training.json": {"losses": done.fit.losses, "validations": done.fit.validations},
        "evidence/parity.json": made.parity.to_dict(),
        "evidence/environment.json": evidence.environment(work.asked.command),
        "evidence/data.json": {
            "warnings": work.warnings, "kinds": work.kinds, "digest": opened.development.digest(),
            "faults": [asdict(fault) for fault in work.decoded.faults],
            **({"rows": opened.reading.to_dict()} if opened.reading else {}),
        },
    }  # fmt: skip
    files = {name: as_json(document) for name, document in documents.items()}
    return files | {
        SAMPLES: work.preparer.to_bytes(), GRAPH: made.graph, "weights/net.safetensors": _net_weights(done.net)
    }  # fmt: skip


def _target_prior(work: MultimodalRun) -> list[float]:
    """What is known of a row of which nothing is: the share of each class in the development rows, or their mean."""
    target, labels = work.target[work.opened.development_rows], work.opened.labels
    return [float(np.mean(target == at)) for at in range(len(labels))] if labels else [float(target.mean())]


def _standardize_target(
    target: NDArray[Any], fitted: NDArray[Any], num_outputs: int
) -> tuple[NDArray[Any], tuple[float, float]]:
    """What is learned, and (deviation, mean) that bring a value back."""
    if num_outputs > 1:
        return target, (1.0, 0.0)
    mean, deviation = float(target[fitted].mean()), float(target[fitted].std()) or 1.0
    return (target - mean) / deviation, (deviation, mean)


def _choose_config(work: MultimodalRun, fitted: NDArray[Any], truth: NDArray[Any], num_outputs: int) -> Any:
    """As many epochs as the budget buys, by the time that a few steps take; exactly `trials` where they are given."""
    from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal

    config = MultimodalConfig(batch_size=min(32, max(2, len(fitted) // 8)))
    if work.asked.trials:
        return replace(config, epochs=work.asked.trials)
    few = fitted[: 4 * config.batch_size]
    began_s = time.process_time()
    fit_multimodal(
        work.preparer, work.decoded.arrays, truth, num_outputs=num_outputs, rows=few, config=replace(config, epochs=1),
        towers=work.brought.towers,
    )  # fmt: skip
    epoch_s = (time.process_time() - began_s) * len(fitted) / len(few)
    return replace(config, epochs=int(np.clip(0.8 * work.asked.budget_s / max(epoch_s, 1e-3), *EPOCH_RANGE)))


def _calibrate(
    work: MultimodalRun, held: NDArray[Any], margin: Float64, scale: tuple[float, float]
) -> tuple[Calibration, Float64]:
    """How margins become chances, and the chances (or values) of the held rows."""
    target = work.target[held]
    if not work.opened.labels:
        return Calibration(scale[0], (scale[1],)), margin * scale[0] + scale[1]
    margin = margin[:, 1:] - margin[:, :1] if margin.shape[1] == 2 else margin
    calibration = fit_calibration(margin, target, np.ones(len(target)), seed=work.asked.seed)
    return calibration, calibration.apply(margin)


def _decide(work: MultimodalRun, held: NDArray[Any], output: Float64) -> dict[str, Any]:
    """decision.json, set on the held rows."""
    asked, target = work.asked, work.target[held]
    decision: dict[str, Any] = {"threshold": None, "threshold_rule": None, "costs": None, "interval": None}
    if not work.opened.labels:
        half = conformal_half_width(target, output[:, 0], asked.interval)
        decision["interval"] = {"level": asked.interval, "half_width": half, "num_rows": len(target)}
        return decision
    costs = None if asked.costs is None else check_costs(asked.costs, work.opened.labels)
    if work.opened.info.task == "binary":
        found = choose_threshold(
            target, output[:, 1], np.ones(len(target)), max_fpr=asked.max_fpr, min_recall=asked.min_recall, costs=costs
        )
        decision |= {"threshold": found.value, "threshold_rule": found.to_dict()}
    decision["costs"] = None if costs is None else costs.tolist()
    return decision


def _late_fusion_output(made: _TrainedModel) -> Float64:
    """Outputs (N, C) or (N, 1) of the voices alone, through the same calibration."""
    bias = made.done.net.bias.detach().numpy()
    total, calibration = made.found["voices"].astype(np.float64).sum(1) + bias, made.calibration
    if total.shape[1] == 1:
        value: Float64 = total * calibration.slope + calibration.bias[0]
        return value
    return calibration.apply(total[:, 1:] - total[:, :1] if total.shape[1] == 2 else total)


def _modality_report(work: MultimodalRun, made: _TrainedModel, metrics: Mapping[str, Figure]) -> dict[str, Any]:
    """What each modality is worth: figures without it, its mean gate, how often it is there."""
    test, task = work.opened.split.test, work.opened.info.task
    told: dict[str, Any] = {}
    for at, name in enumerate(work.preparer.names):
        there = np.asarray(work.decoded.arrays[name + PRESENT_SUFFIX][test])
        gate = made.found["gates"][:, at].mean()
        entry: dict[str, Any] = {"share_there": float(there.mean()), "mean_gate": float(gate)}
        if len(work.preparer.names) > 1:
            output = run_graph(made.graph, work.decoded.arrays, test, without=[name])["output"].astype(np.float64)
            without = measure_figures(task, work.target[test], output, seed=work.asked.seed)
            entry["without"] = {key: figure.to_dict() for key, figure in without.items()}
        told[name] = entry
    return {"rows": "test", "fused": {key: figure.to_dict() for key, figure in metrics.items()}, "modalities": told}


def _metrics_report(
    work: MultimodalRun, made: _TrainedModel, metrics: Mapping[str, Figure], baseline: Mapping[str, Figure]
) -> dict[str, Any]:
    task, test, output = work.opened.info.task, work.opened.split.test, made.output
    rule = Decision.from_bytes(as_json(made.decision), task=task, labels=work.opened.labels)
    decided = np.zeros(len(test), np.int64) if task == "regression" else rule.classes(output.astype(np.float32))
    report: dict[str, Any] = {
        "rows": "test", "num_rows": len(test),
        "metrics": {name: found.to_dict() for name, found in metrics.items()},
        "baseline": {name: found.to_dict() for name, found in baseline.items()},
        "baseline_name": "late fusion: the answers of each modality of the same net, added",
    }  # fmt: skip
    report |= evidence.diagnostic_curves(task, work.target[test], output, decided, work.opened.labels)
    if work.asked.segments:
        report["segments"] = evidence.segment_figures(
            task, work.opened.test, work.asked.segments, work.target[test], output
        )
    return report


def _tabular_kinds(work: MultimodalRun) -> dict[str, str]:
    return {name: kind for name, kind in work.kinds.items() if kind not in READERS}


def _tabular_columns(work: MultimodalRun) -> Table:
    """The development rows without files and texts, of which a card says nothing but through its kinds."""
    development = work.opened.development
    return development.drop(
        [name for name in development.names if name not in (*_tabular_kinds(work), work.asked.target)]
    )


def _example_record(work: MultimodalRun) -> dict[str, Any]:
    """A typical record: of the table's columns their usual values; a word for a text, and nothing for a file."""
    example: dict[str, Any] = {column.name: "text" if column.kind == "text" else None for column in work.preparer.media}
    return example | (work.preparer.table.example() if work.preparer.table else {})


def _net_weights(net: Any) -> bytes:
    from safetensors.torch import save

    data: bytes = save({name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()})
    return data


def _manifest(work: MultimodalRun, made: _TrainedModel) -> Manifest:
    opened, asked, parity = work.opened, work.asked, made.parity
    classes = (Output("label", "str", ()), Output("probabilities", "float32", (len(opened.labels),)))
    outputs = classes if opened.labels else (Output("value", "float32", ()),)
    return Manifest(
        name=default_name(asked, opened.source), version="1", created=now(), task=opened.info.task, target=asked.target,
        inputs=work.preparer.inputs(), outputs=outputs, labels=opened.labels,
        threshold=made.decision["threshold"],
        engines=(EngineEntry("onnxruntime", GRAPH, parity.max_difference, parity.num_rows),),
        lineage=Lineage(
            parent=None, data=opened.development.digest(), config=asked.config() | {"epochs": made.config.epochs},
            seed=asked.seed, versions=evidence.package_versions(),
        ),
    )  # fmt: skip
