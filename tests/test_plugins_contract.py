"""What every listed plugin must do, built in or from another package. Passing this file is what being listed means."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from deepseek.contracts import Attribution, Engine, Event, Explainer, Sink
from deepseek.data.table.examples import load_example
from deepseek.engines import Runtime, Source, check_parity, export_onnx
from deepseek.nn.model import Model, Part
from deepseek.plugins import find, names
from deepseek.train.candidates import FitData, FittedCandidate

SLOW_CANDIDATES = ("mlp", "extra_trees", "random_forest")
LOADERS = {"binary": load_breast_cancer, "multiclass": load_wine, "regression": load_diabetes}


@pytest.fixture(scope="module")
def runtime(cancer_bundle: Path):
    with Runtime.open(cancer_bundle) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def features(runtime: Runtime) -> np.ndarray:
    table, target, _ = load_example("cancer")
    return runtime.prepare_table(table.drop([target]).take(np.arange(64))).features


def fit_data(task: str) -> FitData:
    features, target = LOADERS[task](return_X_y=True)
    features = np.ascontiguousarray((features - features.mean(0)) / features.std(0), np.float32)
    num_features = features.shape[1]
    return FitData(
        features=features,
        target=target.astype(np.float64 if task == "regression" else np.int64),
        weight=np.ones(len(target)),
        task=task,
        num_classes=0 if task == "regression" else len(set(target)),
        kinds=("numeric",) * num_features,
        num_levels=(0,) * num_features,
        monotone=(0,) * num_features,
    )


@pytest.mark.parametrize("group", ["modalities", "candidates", "parts", "engines", "explainers", "sinks"])
def test_every_listed_name_loads(group: str) -> None:
    assert names(group)
    assert all(find(group, name) is not None for name in names(group))


@pytest.mark.parametrize("name", names("engines"))
def test_an_engine_scores_as_the_reference_does_from_several_threads(name: str, runtime: Runtime, features) -> None:
    kind = find("engines", name)
    assert kind.kind == name
    if not kind.supports(runtime.model):
        return
    source = Source(
        load_model=lambda: runtime.model,
        load_graph=lambda: runtime.bundle.read("model.onnx"),
        num_features=features.shape[1],
    )
    engine = kind.open(source)
    assert isinstance(engine, Engine)
    expected = runtime.model.score(features)
    scores = engine.score(features)
    assert scores.margin.dtype == scores.output.dtype == np.float32
    np.testing.assert_allclose(scores.output, expected.output, atol=1e-4)
    np.testing.assert_allclose(scores.margin, expected.margin, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(engine.score(features[:1]).output, expected.output[:1], atol=1e-4)
    wrong: list[int] = []

    def score_again(row: int) -> None:
        for _ in range(20):
            if not np.allclose(engine.score(features[row : row + 3]).output, expected.output[row : row + 3], atol=1e-4):
                wrong.append(row)

    threads = [threading.Thread(target=score_again, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    engine.close()


@pytest.mark.parametrize(
    "task", [task if task == "binary" else pytest.param(task, marks=pytest.mark.slow) for task in LOADERS]
)
@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow) if each in SLOW_CANDIDATES else each for each in names("candidates")],
)
def test_a_candidate_gives_weights_that_repeat_its_own_scores(name: str, task: str) -> None:
    candidate, data = find("candidates", name), fit_data(task)
    for module in candidate.needs:  # CatBoost is in no extra that the tests install
        pytest.importorskip(module)
    assert candidate.name == name
    assert candidate.cost_s(data) > 0
    if not candidate.supports(data):
        return
    held = np.random.default_rng(0).permutation(len(data.target))[:240]
    train, validation = data.rows(np.sort(held[: len(held) // 2])), data.rows(np.sort(held[len(held) // 2 :]))
    fitted = candidate.fit(train, candidate.defaults(train), seed=3, validation=validation)
    margin = fitted.margin(validation.features)
    assert margin.shape == (len(validation.target), data.num_margins)
    assert np.isfinite(margin).all()
    twin = np.mean([weights.margin(validation.features) for weights in fitted.weights()], axis=0)
    np.testing.assert_allclose(twin.reshape(margin.shape), margin, atol=2e-3, rtol=1e-3)
    check_weights(name, fitted, validation)
    again = candidate.fit(train, fitted.params, seed=3)
    repeated = candidate.fit(train, fitted.params, seed=3)
    assert np.array_equal(again.margin(validation.features), repeated.margin(validation.features))


def check_weights(name: str, fitted: FittedCandidate, data: FitData) -> None:
    """Whatever kind of part they are: they survive a bundle's files, their graph gives their answers, and their
    explanation adds up."""
    labels = tuple(str(index) for index in range(data.num_classes))
    scale = "probability" if fitted.is_share else "log-odds" if labels else "target units"
    members = fitted.weights()
    parts = tuple(Part(name, weights, 1 / len(members)) for weights in members)
    model = Model(data.task, labels, scale, parts, bias=(0.0,) * data.num_margins)
    files = model.to_files()
    read = Model.from_files(files.__getitem__)
    assert read.to_files() == files
    assert [find("parts", part.kind) for part in parts] == [type(part.weights) for part in read.parts]
    num_features = data.features.shape[1]
    check_parity(read, export_onnx(read, num_features), data.features)
    explainer = find("explainers", "additive")(read, [f"column {index}" for index in range(num_features)])
    attribution = explainer.explain(data.features)
    assert np.abs(attribution.residual).max() < 1e-3 * np.maximum(1, np.abs(attribution.output)).max()


@pytest.mark.parametrize("name", names("explainers"))
def test_an_explainer_adds_up_and_says_what_it_cannot_explain(name: str, runtime: Runtime, features) -> None:
    explainer = find("explainers", name)(runtime.model, runtime.preprocessor.owners())
    assert isinstance(explainer, Explainer)
    for target in (None, *runtime.labels):
        attribution = explainer.explain(features, target=target)
        assert isinstance(attribution, Attribution)
        assert attribution.values.shape == (len(features), len(attribution.names))
        assert set(attribution.names) <= {item.name for item in runtime.manifest.inputs}
        assert np.abs(attribution.residual).max() < 1e-3 * np.maximum(1, np.abs(attribution.output)).max()


@pytest.mark.parametrize("name", names("sinks"))
def test_a_sink_takes_every_event_and_does_not_block(name: str) -> None:
    sink = find("sinks", name)()
    assert isinstance(sink, Sink)
    fields = {
        "request": {"method": "POST", "route": "predict", "request_id": "r"},
        "model": {"loaded": True, "digest": "d"},
        "server": {"state": "started"},
    }
    start_s = time.process_time()
    for kind in ("server", "model", "request", "batch", "explain"):
        for status in (200, 404, 503):
            sink.emit(Event(kind, "cancer", "1", status, 3, 0.01, 0.002, fields.get(kind, {})))
    sink.emit(Event("request"))
    assert time.process_time() - start_s < 0.5


@pytest.mark.parametrize("name", names("modalities"))
def test_a_modality_knows_its_kinds_and_its_coder(name: str) -> None:
    modality = find("modalities", name)
    assert modality.name == name
    assert modality.kinds
    assert all(isinstance(kind, str) for kind in modality.kinds)
    assert dataclasses.is_dataclass(modality.coder)
    assert callable(modality.claims)
    assert callable(modality.fit)
