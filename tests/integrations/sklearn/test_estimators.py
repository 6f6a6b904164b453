"""AutoClassifier and AutoRegressor as scikit-learn's tools use them. A fit with one trial costs about a CPU second."""

from __future__ import annotations

import functools
import pickle  # noqa: TID251 - what a user's tools do with an estimator
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import deepseek as ds
from deepseek.errors import CheckError, IntegrityError
from deepseek.integrations.sklearn.estimators import EXPECTED_FAILED_CHECKS, ShipWarning
from deepseek.sklearn import AutoClassifier, AutoRegressor

#: One trial of the yardstick: the same on every machine.
CHEAP = {"trials": 1, "candidates": ["linear"]}
#: scikit-learn skips it by itself unless the environment sets SCIPY_ARRAY_API: arrays of other libraries are not taken.
SKIPPED_CHECKS = {"check_array_api_input": "SCIPY_ARRAY_API is not set"}
#: Those checks that fit nothing, or nothing that gets as far as a search.
QUICK_CHECKS = """
    check_estimator_cloneable check_estimator_tags_renamed check_valid_tag_types check_estimator_repr
    check_no_attributes_set_in_init check_do_not_raise_errors_in_init_or_set_params check_mixin_order
    check_all_zero_sample_weights_error check_complex_data check_estimators_empty_data_messages
    check_estimators_unfitted check_classifiers_one_label check_supervised_y_no_nan check_fit1d check_fit2d_1sample
    check_parameters_default_constructible check_get_params_invariance check_set_params check_requires_y_none
    check_classifiers_regression_target
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pickles leave their bundles."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    data = load_breast_cancer()
    return data.data[:240, :4], data.target_names[data.target[:240]]


@pytest.fixture(scope="module")
def fitted(cancer: tuple[np.ndarray, np.ndarray]) -> Iterator[AutoClassifier]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShipWarning)
        yield AutoClassifier(**CHEAP).fit(*cancer)


def test_a_classifier_answers_as_its_bundle_does(fitted: AutoClassifier, cancer: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = cancer
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (len(X), 2)
    assert fitted.classes_.tolist() == ["benign", "malignant"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    prediction = ds.load(fitted.bundle_.path).predict({f"x{place}": X[:, place] for place in range(4)})
    np.testing.assert_allclose(probabilities, prediction.probabilities, atol=1e-5)
    assert (fitted.predict(X) == prediction.labels).all()
    assert fitted.score(X, y) == (fitted.predict(X) == y).mean()
    assert 0.5 < fitted.metrics_["auc"].low <= fitted.metrics_["auc"].value
    assert ds.verify(fitted.bundle_.path)["ok"]


def test_a_pickle_holds_a_path_and_a_digest_and_outlives_the_estimator(
    fitted: AutoClassifier, cancer: tuple[np.ndarray, np.ndarray], cache: Path
) -> None:
    data = pickle.dumps(fitted)
    assert len(data) < 5_000, "no weights"
    copy = pickle.loads(data)
    assert copy.bundle_.path == cache / "deepseek" / "estimators" / fitted.bundle_.digest
    np.testing.assert_array_equal(copy.predict_proba(cancer[0]), fitted.predict_proba(cancer[0]))
    assert pickle.loads(pickle.dumps(copy)).bundle_.path == copy.bundle_.path, "a second pickle copies nothing"
    next(copy.bundle_.path.glob("weights/*")).write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="weights/part-"):
        pickle.loads(data).bundle_.runtime.model  # noqa: B018


def test_a_pickle_whose_folder_holds_another_model_is_refused(fitted: AutoClassifier, tmp_path: Path) -> None:
    state = fitted.bundle_.__getstate__()
    other = type(fitted.bundle_)(Path(state["path"]), "0" * 64)
    with pytest.raises(IntegrityError, match="holds the model"):
        other.runtime  # noqa: B018


def test_the_bundle_goes_with_an_estimator_that_has_no_folder(tmp_path: Path) -> None:
    from deepseek.integrations.sklearn.estimator_bundle import EstimatorBundle

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    bundle = EstimatorBundle(scratch / "estimator", "0" * 64, scratch=scratch)
    del bundle
    assert not scratch.exists()


def test_clone_and_get_params_give_an_unfitted_twin() -> None:
    model = AutoRegressor(trials=3, interval=0.8, kinds={"n": "category"})
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "bundle_")


@pytest.mark.slow
def test_frames_with_texts_and_gaps_weights_and_a_folder_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=150), "city": rng.choice(["Rome", "Oslo"], 150)})
    frame.loc[::9, "size"] = np.nan
    y = (np.where(frame["city"] == "Rome", 1.5, -1.5) + rng.normal(size=150) > 0).astype(int)
    weight = np.where(np.arange(150) < 100, 2.0, 0.0)
    model = AutoClassifier(**CHEAP, bundle=tmp_path / "cities")
    with pytest.warns(ShipWarning):
        model.fit(frame, y, sample_weight=weight)
    assert model.feature_names_in_.tolist() == ["size", "city"]
    assert model.predict(frame).dtype == y.dtype
    assert model.bundle_.path == tmp_path / "cities"
    assert pickle.loads(pickle.dumps(model)).bundle_.path == tmp_path / "cities", "a folder of the user's stays"
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"city": "town"}))
    same = AutoClassifier(**CHEAP)
    with pytest.warns(ShipWarning):
        same.fit(frame[:100], y[:100])  # equal weights are none, and rows of weight 0 are not there
    np.testing.assert_allclose(same.predict_proba(frame), model.predict_proba(frame), atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepseek.integrations.sklearn.estimators.ShipWarning")
def test_a_regression_of_a_sparse_matrix_inside_of_a_pipeline_with_set_output() -> None:
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:160, :3], y[:160]
    dense = AutoRegressor(**CHEAP).fit(X, y)
    np.testing.assert_allclose(dense.predict(sparse.csr_array(X)), dense.predict(X))
    intervals = dense.predict_interval(X)
    assert (intervals[:, 0] <= dense.predict(X)).all()
    assert (dense.predict(X) <= intervals[:, 1]).all()
    pipeline = make_pipeline(StandardScaler(), AutoRegressor(**CHEAP)).set_output(transform="pandas").fit(X, y)
    assert pipeline[-1].feature_names_in_.tolist() == ["x0", "x1", "x2"]
    assert pipeline.predict(X).shape == (160,)


@pytest.mark.slow
def test_a_column_that_gives_the_target_away_is_a_warning_or_an_error() -> None:
    y = np.arange(60) % 2
    X = np.column_stack([y, np.random.default_rng(0).normal(size=60)])
    with pytest.raises(CheckError, match="x0"):
        AutoClassifier(**CHEAP, leaks="fail").fit(X, y)
    with pytest.warns(ShipWarning) as said:
        AutoClassifier(**CHEAP).fit(X, y)
    assert any("x0" in str(each.message) for each in said)


@pytest.mark.slow
def test_few_rows_promise_a_lesser_interval_and_say_so() -> None:
    X = np.random.default_rng(0).normal(size=(10, 1))
    with pytest.warns(ShipWarning) as said:
        model = AutoRegressor(**CHEAP).fit(X, 3 * X[:, 0])
    assert any("10 rows cannot promise an interval of 0.9" in str(each.message) for each in said)
    assert model.predict_interval(X).shape == (10, 2)


@pytest.mark.parametrize(
    ("X", "y", "parameters", "words"),
    [
        (np.zeros((30, 2)), np.arange(30) % 2, {"leaks": "pass"}, "warn or fail"),
        (np.zeros((30, 2)), np.array([1, "1"] * 15, object), {}, "same|Unknown label type"),
        (sparse.csr_array((30, 30_000)), np.arange(30) % 2, {}, "at most 20,000"),
        (np.array([["a", "b"]] * 30), np.arange(30) % 2, {}, "convert|numeric"),
        (np.zeros((30, 2)), np.arange(30) % 2, {"budget_s": -1.0}, "above 0"),
    ],
)
def test_bad_input_is_a_value_error_in_words(X: Any, y: np.ndarray, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AutoClassifier(**{**CHEAP, **parameters}).fit(X, y)


def test_a_single_class_is_named() -> None:
    with pytest.raises(ValueError, match="one class only: 'a'"):
        AutoClassifier(**CHEAP).fit(np.zeros((30, 2)), ["a"] * 30)


@pytest.mark.parametrize("estimator", [AutoClassifier(**CHEAP), AutoRegressor(**CHEAP)], ids=["classes", "values"])
def test_the_quick_checks_of_scikit_learn_hold(estimator: Any) -> None:
    names = set()
    for unfitted, check in estimator_checks_generator(estimator):
        name = (check.func if isinstance(check, functools.partial) else check).__name__
        if name in QUICK_CHECKS.split():
            names.add(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check(unfitted)
    assert len(names) >= 15


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [AutoClassifier(**CHEAP), AutoRegressor(**CHEAP)], ids=["classes", "values"])
def test_every_check_of_scikit_learn_holds(estimator: Any) -> None:
    results = check_estimator(estimator, expected_failed_checks=dict(EXPECTED_FAILED_CHECKS), on_fail=None)
    wrong = {
        f"{result['check_name']}: {result['status']} {result['exception']}"
        for result in results
        if result["status"] != "passed" and result["check_name"] not in {**EXPECTED_FAILED_CHECKS, **SKIPPED_CHECKS}
    }
    assert not wrong
    assert len(results) > 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepseek.integrations.sklearn.estimators.ShipWarning")
def test_cross_validation_takes_it(cancer: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = cancer
    assert (cross_val_score(AutoClassifier(**CHEAP), X, y, cv=2, scoring="roc_auc", error_score="raise") > 0.8).all()
