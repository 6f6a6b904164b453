"""A tabular bundle as a compression target: fewer trees, or the weights of a trained module's graph in int8; then
calibration and threshold are fitted again.

    target = BundleTarget.open(Path("loans"), Path("validation.csv"))

A quarter of the rows calibrates the smaller model and sets its threshold again by the bundle's own rule; the others
evaluate it, by the metric that the bundle was optimized for. The result is a whole bundle, as `ship` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import EngineEntry, Manifest, now
from deepseek.bundle.manifest import PLAIN_TASKS
from deepseek.compress.quantize.graph_weights import quantize_graph_weights
from deepseek.compress.targets.evaluator import Evaluator, split_rows
from deepseek.compress.targets.target import GIVEN, Backend, Plan, Variant
from deepseek.compress.targets.tree_pruning import num_trees, prune_trees
from deepseek.contracts import Engine, Float32, Float64, JsonObject, Task
from deepseek.data import encode_target, read_table
from deepseek.data.table.formats import apply_formats
from deepseek.engines import Runtime, Source, autotune, check_parity, export_onnx, open_engine
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.tabular.graph_part import GraphWeights
from deepseek.errors import InputError, MissingError
from deepseek.nn.model import Model, log_odds
from deepseek.train.tabular.calibrate import fit_calibration
from deepseek.train.tabular.decide import choose_threshold
from deepseek.train.tabular.group_intervals import ConformalInterval
from deepseek.train.tabular.metrics import METRICS, default_metric

TREE_SHARES = {"prune": (0.75, 0.5, 0.25)}
#: Files of the original bundle that a variant keeps unchanged.
_COPIED_FILES = ("preprocess.json", "card.json", "example.json")


class BundleTarget:
    """CompressionTarget of a tabular bundle. Its engines compute on one thread."""

    kind = "bundle"

    def __init__(self, runtime: Runtime, features: Float32, target: NDArray[Any], data_digest: str, seed: int) -> None:
        self.runtime, self.model, self.seed = runtime, runtime.model, seed
        self.manifest = runtime.manifest
        self.name, self.data_digest = self.manifest.name, data_digest
        self.digest = f"{self.manifest.digest} {data_digest} {seed}"
        self.task = cast("Task", self.manifest.task)
        calibration, evaluation = split_rows(len(features), seed)
        self._calibration_rows = features[calibration], target[calibration]
        self._features, self._target = features[evaluation], target[evaluation]
        wanted_metric = self.manifest.lineage.config.get("metric")
        metric = wanted_metric if wanted_metric in METRICS[self.task] else default_metric(self.task, target)
        info = METRICS[self.task][metric]
        self.evaluator = Evaluator(metric, self._target, info.function, info.higher_is_better, seed)
        files = [name for name in self.manifest.files if not name.startswith("evidence/") and name != "card.json"]
        size = sum((runtime.bundle.path / name).stat().st_size for name in files)
        self.original = Variant(GIVEN, runtime.bundle.path, size)

    @classmethod
    def open(cls, path: Path, data: Path, *, seed: int = 0) -> BundleTarget:
        """Open a bundle and the table `data`. InputError for a bundle that reads no table, MissingError for a table
        without the target column."""
        runtime = Runtime.open(path)
        table = apply_formats(read_table(data), runtime.formats)
        manifest = runtime.manifest
        if manifest.task in PLAIN_TASKS:
            raise InputError(
                f"{path} was compressed before", expected="a bundle that ship has made", fix="compress the original"
            )
        if manifest.target not in table.names:
            raise MissingError(
                f"the data has no column {manifest.target!r}, the target of the bundle",
                expected=f"a column {manifest.target!r} with the true answers",
                fix="add the true answers",
            )
        target = encode_target(table, manifest.target, manifest.labels)
        features = runtime.prepare_table(table.drop([manifest.target])).features
        return cls(runtime, features, target, table.digest(), seed)

    def methods(self) -> tuple[str, ...]:
        prunes = ("prune",) if num_trees(self.model) > 1 else ()
        return (*prunes, "int8") if has_graph(self.model) else prunes

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        plans: list[Plan] = []
        for method in methods:
            shares = TREE_SHARES.get(method)
            plans += [Plan((f"{method}-{round(100 * share)}",)) for share in shares] if shares else [Plan((method,))]
        return plans

    def make(self, plan: Plan, folder: Path) -> Variant:
        if plan.name == "int8":
            model, note = self._calibrate(quantize_parts(self.model)), "weights alone are int8"
        else:
            share = float(plan.steps[0].rpartition("-")[2]) / 100
            model = self._calibrate(prune_trees(self.model, share))
            note = f"{num_trees(model)} of {num_trees(self.model)} trees"
        files = self._files(model)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        size = sum(
            len(data) for name, data in files.items() if not name.startswith("evidence/") and name != "card.json"
        )
        return Variant(plan.name, folder, size, (note,))

    def backends(self, variant: Variant) -> list[Backend]:
        source, kinds = self._source(variant)
        backends = []
        for kind in dict.fromkeys(kinds):
            engine = open_engine(kind, source)
            backends.append(Backend(kind, True, _score_function(engine), engine.close))
        return backends

    def outputs(self, backend: Backend, num_rows: int | None = None) -> NDArray[Any]:
        return np.asarray(backend.run(self._features[:num_rows]), np.float64)

    def rows(self, number: int, batch: int) -> Float32:
        rows = np.arange(number * batch, (number + 1) * batch) % len(self._features)
        return np.ascontiguousarray(self._features[rows])

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        names = [str(path.relative_to(variant.folder)) for path in sorted(variant.folder.rglob("*")) if path.is_file()]
        files = {name: (variant.folder / name).read_bytes() for name in names}
        tuning = json.loads(files["evidence/parity.json"])["timings"]["entries"]
        lineage = replace(
            self.manifest.lineage, parent=self.manifest.digest, data=self.data_digest, seed=self.seed,
            config={**self.manifest.lineage.config, "compress": variant.name},
        )  # fmt: skip
        decision = json.loads(files["decision.json"])
        manifest = replace(
            self.manifest, created=now(), lineage=lineage, files={}, digest="", threshold=decision["threshold"],
            engines=tuple(EngineEntry(**entry) for entry in tuning),
        )  # fmt: skip
        return manifest, files

    def close(self) -> None:
        self.runtime.close()

    def _calibrate(self, model: Model) -> Model:
        """The model with slope and bias fitted again on the calibration rows; a regression stays as it is."""
        if self.task == "regression":
            return model
        features, target = self._calibration_rows
        margin = model.score(features).margin.astype(np.float64)
        z = log_odds(margin, model.floor) if model.scale == "probability" else margin
        calibration = fit_calibration(z, target, np.ones(len(target)), seed=self.seed)
        return replace(model, slope=calibration.slope, bias=calibration.bias)

    def _files(self, model: Model) -> dict[str, bytes]:
        features, _ = self._calibration_rows
        graph = export_onnx(model, features.shape[1])
        missing = rows_with_missing_columns(self.runtime.preprocessor)
        parity = check_parity(model, graph, features, missing=missing)
        tuning = autotune(Source(lambda: model, lambda: graph, features.shape[1], 1), parity, features, budget_s=0.5)
        copied = {name: self.runtime.bundle.read(name) for name in _COPIED_FILES if self.runtime.bundle.has(name)}
        return {
            **model.to_files(), **copied, "model.onnx": graph, "decision.json": _json_bytes(self._decision(model)),
            "evidence/parity.json": _json_bytes({**parity.to_dict(), "timings": tuning.to_dict()}),
        }  # fmt: skip

    def _decision(self, model: Model) -> JsonObject:
        """decision.json with its threshold and interval set again on the calibration rows."""
        decision: JsonObject = json.loads(self.runtime.bundle.read("decision.json"))
        (features, target), config = self._calibration_rows, self.manifest.lineage.config
        output = model.score(features).output.astype(np.float64)
        if self.task == "binary":
            costs = decision.get("costs")
            threshold = choose_threshold(
                target, output[:, 1], np.ones(len(target)), max_fpr=config.get("max_fpr"),
                min_recall=config.get("min_recall"), costs=None if costs is None else np.asarray(costs, np.float64),
            )  # fmt: skip
            decision |= {"threshold": threshold.value, "threshold_rule": threshold.to_dict()}
        if decision.get("interval"):
            level = decision["interval"]["level"]
            decision["interval"] = ConformalInterval.fit(target, output[:, 0], level).to_dict()
        return decision

    def _source(self, variant: Variant) -> tuple[Source, list[str]]:
        if variant.name == GIVEN:
            bundle, model = self.runtime.bundle, self.model
            kinds = [entry.kind for entry in self.manifest.engines]
            return Source(lambda: model, lambda: bundle.read("model.onnx"), self._features.shape[1], 1), kinds
        pruned = Model.from_files(lambda name: (variant.folder / name).read_bytes())
        tuning = json.loads((variant.folder / "evidence/parity.json").read_bytes())["timings"]["entries"]
        graph = (variant.folder / "model.onnx").read_bytes()
        return Source(lambda: pruned, lambda: graph, self._features.shape[1], 1), [entry["kind"] for entry in tuning]


def has_graph(model: Model) -> bool:
    """Whether a part of the model is a graph as it stands."""
    return any(isinstance(part.weights, GraphWeights) for part in model.parts)


def quantize_parts(model: Model) -> Model:
    """The model with the weights of its graphs in int8; other parts stay."""
    parts = [
        replace(
            part,
            weights=GraphWeights.of(quantize_graph_weights(part.weights.graph.tobytes()), part.weights.baseline),
        )
        if isinstance(part.weights, GraphWeights)
        else part
        for part in model.parts
    ]
    return replace(model, parts=tuple(parts))


def _score_function(engine: Engine) -> Any:
    def run(features: Float32) -> Float64:
        return engine.score(features).output  # type: ignore[return-value]

    return run


def _json_bytes(document: Any) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, default=float) + "\n").encode()
