"""Fitted estimators of others as bundles: the bundle answers as the estimator does on rows that neither was made of, or
nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("skl2onnx")

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import deepseek as ds
from deepseek.data.features.wide_numbers import WideNumberEncoder
from deepseek.errors import CheckError, InputError
from deepseek.integrations.sklearn.probes import make_probes
from deepseek.sklearn import to_bundle

NUMBERS = ["age", "income", "debt ratio"]


def loans(num_rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of numbers with gaps, texts with gaps, few whole numbers and truths, and a class."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(num_rows, 3)) * [1, 1e5, 0.1], columns=NUMBERS)
    frame["city"] = rng.choice(["Rome", "Oslo", "Paris"], num_rows)
    frame["children"] = rng.integers(0, 4, num_rows)
    frame["owner"] = rng.random(num_rows) > 0.5
    default = frame["age"] + frame["debt ratio"] * 10 + (frame["city"] == "Rome") + rng.normal(size=num_rows) > 0
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "city"] = None
    return frame, np.where(default, "yes", "no")


def prepared(last: Any) -> Any:
    """A Pipeline of every part that a usual one has."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    city = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_pipeline(
        ColumnTransformer(
            [("numbers", numbers, NUMBERS), ("city", city, ["city"]), ("children", OrdinalEncoder(), ["children"])],
            remainder="passthrough",
        ),
        last,
    )


def answers(path: Path, frame: pd.DataFrame) -> np.ndarray:
    prediction = ds.load(path).predict(frame)
    return prediction.values[:, None] if prediction.labels is None else prediction.probabilities


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    return loans(300, seed=0)


@pytest.mark.parametrize(
    "last",
    [LogisticRegression(), HistGradientBoostingClassifier(max_iter=10), RandomForestClassifier(5, random_state=0)],
    ids=lambda last: type(last).__name__,
)
def test_a_pipeline_answers_the_same_on_new_rows(
    last: Any, rows: tuple[pd.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    model = prepared(last).fit(*rows)
    new, truth = loans(200, seed=1)
    result = to_bundle(model, new, truth, out=tmp_path / "loans", target="default")
    assert 0.5 < result.metrics["auc"].value <= 1
    later, _ = loans(500, seed=2)
    np.testing.assert_allclose(answers(result.path, later), model.predict_proba(later), atol=1e-5)
    assert (ds.load(result.path).predict(later).labels == model.predict(later)).mean() > 0.99
    assert ds.verify(result.path)["ok"]
    assert json.loads((result.path / "evidence/parity.json").read_text())["source"]["max_difference"] <= 1e-5


def test_a_search_becomes_the_bundle_of_its_best_estimator_and_can_be_explained(
    rows: tuple[pd.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    search = GridSearchCV(prepared(LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(*rows)
    new, _ = loans(50, seed=1)
    path = to_bundle(search, new, out=tmp_path / "loans").path
    np.testing.assert_allclose(answers(path, new), search.predict_proba(new), atol=1e-5)
    why = ds.explain(path, new, rows=[0])["explanations"][0]
    assert abs(why["base_value"] + sum(why["values"].values()) + why["residual"] - why["output"]) < 1e-6
    unseen = new.assign(city="Atlantis")
    prediction = ds.load(path).predict(unseen)
    np.testing.assert_allclose(prediction.probabilities, search.predict_proba(unseen), atol=1e-5)
    assert {flag.column for flag in prediction.flags} == {"city"}


def test_a_regression_of_an_array_and_a_vote(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)) * [1, 10, 1e3, 1e6]
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(X, X @ [1.0, 2.0, 3.0, 0.0])
    path = to_bundle(ridge, X, X @ [1.0, 2.0, 3.0, 0.0], out=tmp_path / "ridge").path
    frame = pd.DataFrame(X, columns=["x0", "x1", "x2", "x3"])
    np.testing.assert_allclose(answers(path, frame)[:, 0], ridge.predict(X), rtol=1e-5, atol=1e-5)
    vote = VotingClassifier([("linear", LogisticRegression()), ("trees", RandomForestClassifier(3))], voting="soft")
    vote.fit(X, np.digitize(X[:, 0], [-0.5, 0.5]))
    path = to_bundle(vote, X, out=tmp_path / "vote").path
    np.testing.assert_allclose(answers(path, frame), vote.predict_proba(X), atol=1e-5)


class Squares(FunctionTransformer):
    """A step of the user's own, of which no converter knows."""


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (prepared(LinearSVC()), "LinearSVC gives no probabilities"),
        (make_pipeline(FunctionTransformer(np.abs), LogisticRegression()), "'functiontransformer'.*Python function"),
        (make_pipeline(Squares(), LogisticRegression()), "'squares' .Squares. cannot become a bundle"),
        (StandardScaler(), "neither classifies nor predicts"),
    ],
)
def test_what_cannot_be_converted_is_named_and_nothing_is_written(model: Any, words: str, tmp_path: Path) -> None:
    frame, y = loans(60, seed=0)
    X = frame if isinstance(model[0] if hasattr(model, "steps") else None, ColumnTransformer) else frame[["income"]]
    with pytest.raises(InputError, match=words):
        to_bundle(model.fit(X, y), X, out=tmp_path / "loans")
    assert not list(tmp_path.iterdir())


def test_what_is_not_fitted_or_not_of_these_columns_is_refused(
    rows: tuple[pd.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    frame, y = rows
    with pytest.raises(InputError, match="not fitted"):
        to_bundle(prepared(LogisticRegression()), frame, out=tmp_path / "loans")
    dated = frame[["income"]].assign(day=pd.Timestamp("2026-01-01"))
    model = make_pipeline(ColumnTransformer([("income", StandardScaler(), ["income"])]), LogisticRegression())
    with pytest.raises(InputError, match="'day' holds dates"):
        to_bundle(model.fit(dated, y), dated, out=tmp_path / "loans")
    with pytest.raises(InputError, match="called 'income'"):
        to_bundle(model.fit(frame, y), frame, out=tmp_path / "loans", target="income")
    assert not list(tmp_path.iterdir())


def test_an_estimator_that_answers_otherwise_than_its_steps_say_is_refused(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    own = model.predict_proba
    model.predict_proba = lambda X: own(X) * 0.9 + 0.05
    with pytest.raises(CheckError, match="answers otherwise than the estimator on 1060 of 1060 rows"):
        to_bundle(model, X, out=tmp_path / "biased")
    model.predict_proba = own
    model.predict = lambda X: np.zeros(len(X), bool)
    with pytest.raises(CheckError, match="most probable class"):
        to_bundle(model, X, out=tmp_path / "biased")
    assert not list(tmp_path.iterdir())


def test_trees_split_where_the_estimator_s_do_between_amounts_of_cents(tmp_path: Path) -> None:
    """Scaled by a large amount, cents are a unit of float32 apart, and a tree splits between them."""
    cents = np.concatenate([np.arange(400) / 100, [5e4, 1e5, 2e5]])
    y = np.arange(len(cents)) % 2
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(cents[:, None], y)
    path = to_bundle(model, cents[::7, None], out=tmp_path / "cents").path
    later = pd.DataFrame({"x0": np.concatenate([cents, cents[:400] + 0.005])})
    np.testing.assert_allclose(answers(path, later), model.predict_proba(later.to_numpy()), atol=1e-5)


def test_probes_meet_values_that_were_not_passed_and_keep_whole_numbers_and_texts(
    rows: tuple[pd.DataFrame, np.ndarray],
) -> None:
    frame, _ = rows
    probes = make_probes(frame)
    assert list(probes.columns) == list(frame.columns)
    assert (probes.dtypes == frame.dtypes).all()
    assert not set(probes["income"]) <= set(frame["income"])
    assert set(probes["children"]) <= set(frame["children"])
    assert set(probes["city"].dropna()) <= set(frame["city"].dropna())
    array = make_probes(np.column_stack([np.arange(9.0), np.linspace(0, 1, 9)]))
    assert set(array[:, 0]) <= set(range(9))
    assert make_probes([[1, 2]]) is None


def test_wide_numbers_keep_what_float32_loses() -> None:
    values = np.array([0.1, 16_777_217.0, -1e-30, np.nan, 1e39, 0.0])
    features = np.empty((6, 2), np.float32)
    encoder = WideNumberEncoder()
    replaced = encoder.encode(values, features)
    wide = features.astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(wide[:3], values[:3], rtol=2**-47)
    assert wide[3] == wide[4] == -np.finfo(np.float32).max
    assert replaced.imputed == [4]
    for row, value in zip(features, [*values[:3].tolist(), None, 1e39, 0], strict=True):
        quick = encoder.quick()(value)
        assert tuple(np.float32(quick if quick is not None else encoder.careful(value)[0])) == tuple(row)


BOOSTED = ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier", "catboost.CatBoostClassifier"]


@pytest.mark.parametrize("name", BOOSTED)
def test_boosted_trees_of_other_packages_in_a_pipeline(
    name: str, rows: tuple[pd.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    package, _, kind = name.partition(".")
    library = pytest.importorskip(package)
    if package != "catboost":
        pytest.importorskip("onnxmltools")
    quiet = {"lightgbm": {"verbose": -1}, "catboost": {"verbose": 0, "allow_writing_files": False}, "xgboost": {}}[
        package
    ]
    frame, y = rows
    model = prepared(getattr(library, kind)(n_estimators=10, **quiet)).fit(frame, (y == "yes").astype(int))
    path = to_bundle(model, frame, out=tmp_path / "loans").path
    later, _ = loans(500, seed=2)
    np.testing.assert_allclose(answers(path, later), model.predict_proba(later), atol=1e-5)


def test_the_function_stays_a_function_whatever_was_imported_before() -> None:
    """A module of its name would take its place in the package as soon as somebody imports it."""
    import deepseek.integrations.sklearn as package

    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    assert modules.isdisjoint(package.__all__)
