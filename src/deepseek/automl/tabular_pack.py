"""From a developed model of a table to its bundle: graph, parity, engine choice, evidence of search and explanation."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from deepseek.automl import evidence
from deepseek.automl.comparison.differences import group_codes
from deepseek.automl.comparison.leaderboard import build_leaderboard
from deepseek.automl.develop import DevelopedModel, refit_on, search_report
from deepseek.automl.pack import (
    ChosenDecision,
    FinishedRun,
    TestFigures,
    choose_decision,
    pack_bundle,
)
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.automl.tabular_run import TabularRun
from deepseek.bundle.last_fit import LastFit
from deepseek.bundle.leaderboard import Leaderboard
from deepseek.contracts import Float32, JsonObject
from deepseek.data import make_card
from deepseek.engines import Source, Tuning, autotune, check_parity, export_onnx
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.parity import ParityReport
from deepseek.engines.registry import REFERENCE, OpenEngines
from deepseek.explain import explainer_for
from deepseek.nn.model import Model
from deepseek.nn.trees import TreeTable
from deepseek.train.candidates import BASELINE, TEXT_BASELINE, FitData
from deepseek.train.tabular.metrics import PairedFigures, default_metric, measure_pair

PARITY_ROWS = 512
#: Rows that are explained for the evidence, and the nodes of trees that these pass at most, .4 us each in deep trees: a
#: hundred rows by 1,250 trees without a bound on their leaves took 50 of 89 s of a run with a budget of 20, and 86 rows
#: by 150 trees of ten classes 9 s.
EXPLAIN_ROWS, MIN_EXPLAIN_ROWS, EXPLAIN_NODES = 100, 3, 5_000_000
REFERENCE_ROWS = 200  # of the opt-in file of real training rows
BASELINE_TITLES = {BASELINE: "HistGradientBoosting", TEXT_BASELINE: "logistic regression (ridge) on TF-IDF of words"}


@dataclass(frozen=True, slots=True, eq=False)
class ExportedModel:
    """A model, its graph, and the engines that run it, each of which is opened once."""

    model: Model
    graph: bytes
    engines: OpenEngines

    @classmethod
    def of(cls, model: Model, num_features: int) -> ExportedModel:
        graph = export_onnx(model, num_features)
        return cls(model, graph, OpenEngines(Source(lambda: model, lambda: graph, num_features, 1)))

    def check(self, features: Float32, missing: Float32) -> tuple[ParityReport, Tuning]:
        """Parity on these features (N, F) and on rows in which columns have no value (M, F), and which engine is the
        fastest. CheckError where the graph does not answer as the model does."""
        parity = check_parity(
            self.model, self.graph, features, max_rows=PARITY_ROWS, missing=missing, engines=self.engines
        )
        return parity, autotune(self.engines.source, parity, features, budget_s=1.0, engines=self.engines)

    def close(self) -> None:
        self.engines.close()


def write_tabular_bundle(run: TabularRun, developed: DevelopedModel, clock: RunClock) -> ShipResult:
    """Export, check, measure and pack. CheckError when the exported graph or a stated limit does not hold."""
    if run.options.progress:
        run.options.progress("exporting, checking, explaining", 0.96)
    return pack_bundle(finish_tabular(run, developed), clock)


def finish_tabular(run: TabularRun, developed: DevelopedModel) -> FinishedRun:
    """The exported model with its figures on the test rows, and the files and evidence of a table's bundle."""
    data, options, model = run.data, run.options, developed.model
    test = run.fit_data(data.test)
    num_features = test.features.shape[1]
    with closing(ExportedModel.of(model, num_features)) as measured:
        test_figures = _measure_test_rows(run, developed, test, measured)
        if run.refits:
            last_fit = run.last_fit(has_test_rows=False)
            model = refit_on(developed, run.fit_data(data.table), run.candidates, options.seed, last_fit)
        exported = ExportedModel.of(model, num_features) if run.refits else measured
        with closing(exported):
            parity, tuning = exported.check(test.features, rows_with_missing_columns(run.preprocessor))
            explanation = explanation_report(run, exported, test.features)
    held_out = developed.held_out
    decision = choose_decision(
        run.task, data.labels, held_out.target, developed.held_out_output, held_out.weight, options
    )
    validation = measure_pair(
        run.task, held_out.target, developed.held_out_output, developed.baseline_output, held_out.weight,
        seed=options.seed,
    )  # fmt: skip
    documents: dict[str, object] = {
        "card.json": make_card(data.development, run.kinds, options.target),
        "example.json": run.preprocessor.example(),
        "evidence/validation.json": _validation_report(validation, len(held_out.target)),
        "evidence/search.json": {**search_report(developed), "leaderboard": _leaderboard(run, developed).to_dict()},
        "evidence/parity.json": {**parity.to_dict(), "timings": tuning.to_dict()},
        "evidence/explanation.json": explanation,
        **_group_reports(run, test_figures, decision),
    }
    preprocessor = run.preprocessor.with_support(run.preprocessor.table(data.development).features)
    files = {**model.to_files(), "model.onnx": exported.graph, "preprocess.json": preprocessor.to_bytes()}
    if options.reference:
        files["reference.parquet"] = _reference_rows(run)
    counts = {label: int(np.sum(test.target == index)) for index, label in enumerate(data.labels)}
    return FinishedRun(
        data=data, options=options, kinds=run.kinds, warnings=run.warnings, model=_model_name(developed),
        num_trials=len(developed.trials), lineage={"trials": len(developed.trials)}, inputs=run.preprocessor.inputs(),
        engines=tuning.entries, decision=decision, test=test_figures, validation=validation, files=files,
        documents=documents, fitted_rows=data.table if run.refits else data.development,
        metrics_details={"num_rows_by_label": counts} if data.labels else {}, last_fit=_last_fit(run),
        workers=run.workers,
    )  # fmt: skip


def _last_fit(run: TabularRun) -> LastFit:
    """Which rows the packed model was fitted on."""
    num_measured = run.data.development.num_rows
    return LastFit(
        run.data.table.num_rows if run.refits else num_measured, num_measured, run.options.test is not None,
        num_boosted=0 if run.workers is None else run.workers.last_fit_rows,
    )  # fmt: skip


def _measure_test_rows(
    run: TabularRun, developed: DevelopedModel, test: FitData, exported: ExportedModel
) -> TestFigures:
    """Figures of the exported graph of the model that has not seen these rows, and of the baseline."""
    output = exported.engines.get(REFERENCE).score(test.features).output.astype(np.float64)
    baseline_output = developed.score_baseline(test.features)

    figures = measure_pair(run.task, test.target, output, baseline_output, test.weight, seed=run.options.seed)
    first = developed.trials[0]
    rounds = first.params.get("max_iter")
    how = "with its defaults" if rounds is None else f"of {rounds} rounds of small trees"
    name = f"{BASELINE_TITLES.get(first.family, first.family)} {how}, the same rows"
    return TestFigures(test.target, output, test.weight, figures, name)


def explanation_report(run: TabularRun, exported: ExportedModel, features: Float32) -> JsonObject:
    """How explanations of this model are made and how exactly they add up to what its graph answers, on test rows
    spread evenly."""
    model = exported.model
    num_nodes = sum(len(part.weights.feature) for part in model.parts if isinstance(part.weights, TreeTable))
    num_rows = max(MIN_EXPLAIN_ROWS, min(EXPLAIN_ROWS, EXPLAIN_NODES // max(1, num_nodes)))
    rows = np.unique(np.linspace(0, len(features) - 1, min(num_rows, len(features))).round().astype(np.int64))
    score = exported.engines.get(REFERENCE).score  # that is open: engines of its own take seconds for a large forest
    attribution = explainer_for(model, run.preprocessor.owners(), score=score, once=True).explain(features[rows])
    importance = np.abs(attribution.values).mean(axis=0)
    order = np.argsort(-importance, kind="stable")
    return {
        "method": attribution.method,
        "scale": attribution.scale,
        "target": attribution.target,
        "num_rows": len(rows),
        "max_residual": float(np.abs(attribution.residual).max()),
        "importance": {attribution.names[i]: float(importance[i]) for i in order},
    }


def _leaderboard(run: TabularRun, developed: DevelopedModel) -> Leaderboard:
    """Every trial on the held-out rows, ranked by what the search improved."""
    held_out, options = developed.held_out, run.options
    metric = options.metric or default_metric(run.task, held_out.target)
    method, _, column = options.split.partition(":")
    groups = None
    if method == "group":
        groups = group_codes(run.data.development.take(developed.held_out_rows), column)
    return build_leaderboard(
        developed.trials, developed.blend, held_out, metric=metric, groups=groups, seed=options.seed
    )


def _validation_report(figures: PairedFigures, num_rows: int) -> JsonObject:
    """Figures on the held-out rows, by models that had not seen them; the blend and its calibration were chosen on
    them."""
    return {
        "num_rows": num_rows,
        "metrics": evidence.figures_to_dict(figures.first),
        "baseline": evidence.figures_to_dict(figures.second),
        "note": "the blend, its calibration and the threshold were chosen on these rows",
    }


def _group_reports(run: TabularRun, test: TestFigures, decision: ChosenDecision) -> dict[str, object]:
    """Evidence by segment and by group, where the options ask for it, by path in the bundle."""
    options, data, reports = run.options, run.data, dict[str, object]()
    if options.segments:
        segments = evidence.segment_figures(run.task, data.test, options.segments, test.target, test.output)
        reports["evidence/segments.json"] = evidence.segments_to_dict(segments)
    if options.fairness:
        decided = decision.classes(run.task, data.labels, test.output)
        fairness = evidence.fairness_gaps(run.task, data.test, options.fairness, test.target, test.output, decided)
        reports["evidence/fairness.json"] = fairness.to_dict()
    return reports


def _model_name(developed: DevelopedModel) -> str:
    """'xgboost', or the families of a blend by falling weight: 'blend of extra_trees, mlp'."""
    weights: dict[str, float] = {}
    for trial, weight in zip(developed.blend.trials, developed.blend.weights, strict=True):
        weights[trial.family] = weights.get(trial.family, 0.0) + weight
    families = sorted(weights, key=lambda family: -weights[family])
    return families[0] if len(families) == 1 else "blend of " + ", ".join(families)


def _reference_rows(run: TabularRun) -> bytes:
    """A seeded sample of real training rows: the columns that the model reads, so no target, weight or identifier."""
    import io

    from deepseek.extras import need

    pa, parquet = need("pyarrow", extra="tabular"), need("pyarrow.parquet", extra="tabular")
    pick = np.random.default_rng(run.options.seed).permutation(run.data.development.num_rows)[:REFERENCE_ROWS]
    inputs = {column.name for column in run.preprocessor.columns}
    development = run.data.development
    rows = development.take(np.sort(pick)).drop([name for name in development.names if name not in inputs])
    sink = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(v, from_pandas=True) for name, v in rows.columns.items()}), sink)
    return sink.getvalue()
