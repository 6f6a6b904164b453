"""Fitted estimators as bundles: how many answer new rows as the estimator does, beside skl2onnx alone.

    python benchmarks/sklearn_bundles.py [--quick] [--only CLAIM]

Each estimator is fitted on half of a table, converted with 60 of the other rows in sight, and asked for all others: by
`to_bundle`, and by skl2onnx.to_onnx as its documentation says (float32), run by onnxruntime. Counted are those whose
every answer agrees within 1e-5, those that were refused by name, and those that were converted and answer otherwise.
LightGBM, CatBoost and XGBoost take part where they are installed; for the rival they are registered as for ours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deepseek as ds  # isort: skip - before onnxruntime
import numpy as np
import onnxruntime
import pandas as pd
import skl2onnx
from result import claim, finish
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from deepseek.errors import DeepseekError
from deepseek.integrations.sklearn.graphs import _register_converters
from deepseek.sklearn import to_bundle

LIMIT = 1e-5
NUM_IN_SIGHT = 60  # rows that the conversion is checked on
MIN_SHARE = 0.95
CLASSES, VALUES = "classes", "values"


def mixed_table(num_rows: int = 800, seed: int = 12) -> tuple[pd.DataFrame, np.ndarray]:
    """Amounts of cents, texts and numbers with gaps, few whole numbers, truths; a class that depends on all."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "amount": np.round(rng.lognormal(8, 2, num_rows), 2), "age": rng.integers(18, 90, num_rows),
        "debt ratio": rng.beta(2, 5, num_rows), "city": rng.choice(["Rome", "Oslo", "Paris", "Köln"], num_rows),
        "owner": rng.random(num_rows) > 0.5,
    })  # fmt: skip
    score = (
        np.log(frame["amount"]) / 8 + 4 * frame["debt ratio"] + (frame["city"] == "Rome") + rng.normal(size=num_rows)
    )
    frame.loc[::7, "debt ratio"] = np.nan
    frame.loc[::11, "city"] = None
    return frame, np.where(score > np.median(score), "late", "paid")


def mixed_steps(city: Any, numbers: Any) -> ColumnTransformer:
    """The usual first step: numbers with gaps scaled, texts with gaps encoded, the others passed through."""
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), numbers), ["amount", "age", "debt ratio"]),
            ("city", make_pipeline(SimpleImputer(strategy="most_frequent"), city), ["city"]),
        ],
        remainder="passthrough",
    )


def estimators(is_quick: bool) -> Iterator[tuple[str, Any, str]]:
    """Name, unfitted estimator and table of each case."""
    forest = RandomForestClassifier(20, random_state=0)
    plain: dict[str, Any] = {
        "logistic": LogisticRegression(max_iter=500), "forest": forest, "extra trees": ExtraTreesClassifier(20),
        "tree": DecisionTreeClassifier(), "boosting": GradientBoostingClassifier(n_estimators=20),
        "hist boosting": HistGradientBoostingClassifier(max_iter=30), "ada": AdaBoostClassifier(n_estimators=10),
        "bagging": BaggingClassifier(n_estimators=5), "neighbors": KNeighborsClassifier(), "bayes": GaussianNB(),
        "perceptron": MLPClassifier(max_iter=80, random_state=0), "svc": SVC(probability=True),
        "calibrated": CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=2),
        "vote": VotingClassifier([("a", LogisticRegression(max_iter=500)), ("b", forest)], voting="soft"),
        "stack": StackingClassifier([("a", LogisticRegression(max_iter=500)), ("b", forest)], cv=2),
    }  # fmt: skip
    for library, kind, settings in (
        ("xgboost", "XGBClassifier", {}), ("lightgbm", "LGBMClassifier", {"verbose": -1}),
        ("catboost", "CatBoostClassifier", {"verbose": 0, "allow_writing_files": False, "thread_count": 1}),
    ):  # fmt: skip
        try:
            plain[library] = getattr(importlib.import_module(library), kind)(n_estimators=30, **settings)
        except ImportError:
            print(f"{library} is not installed: left out", file=sys.stderr)
    for name, last in plain.items():
        yield f"{name}, scaled", make_pipeline(StandardScaler(), last), "cancer"
        if not is_quick:
            yield f"{name}, three classes", make_pipeline(RobustScaler(), last), "wine"
        if name not in ("bayes", "svc"):
            yield f"{name}, mixed", make_pipeline(mixed_steps(OneHotEncoder(), StandardScaler()), last), "mixed"
    if is_quick:
        return
    for name, city, numbers in (
        ("ordinal", OrdinalEncoder(), MinMaxScaler()), ("target", TargetEncoder(random_state=0), RobustScaler()),
        ("bins", OneHotEncoder(handle_unknown="ignore"), KBinsDiscretizer(5, encode="ordinal")),
    ):  # fmt: skip
        yield f"{name}, mixed", make_pipeline(mixed_steps(city, numbers), LogisticRegression(max_iter=500)), "mixed"
    for name, steps in (
        ("pca", [StandardScaler(), PCA(5)]), ("select", [MinMaxScaler(), SelectKBest(k=8)]),
        ("quantiles", [QuantileTransformer(n_quantiles=50)]),
    ):  # fmt: skip
        yield f"{name}, logistic", make_pipeline(*steps, LogisticRegression(max_iter=500)), "cancer"
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2
    )
    yield "search", search, "cancer"
    for name, last in (
        ("ridge", Ridge()), ("elastic net", ElasticNet()), ("forest", RandomForestRegressor(20)),
        ("hist boosting", HistGradientBoostingRegressor(max_iter=30)),
    ):  # fmt: skip
        yield f"{name}, values", make_pipeline(StandardScaler(), last), "diabetes"
        yield f"{name}, products", make_pipeline(StandardScaler(), PolynomialFeatures(2), last), "diabetes"


def tables() -> dict[str, tuple[Any, np.ndarray]]:
    return {
        "cancer": load_breast_cancer(return_X_y=True), "wine": load_wine(return_X_y=True),
        "diabetes": load_diabetes(return_X_y=True), "mixed": mixed_table(),
    }  # fmt: skip


def answers_of(model: Any, X: Any) -> np.ndarray:
    return model.predict_proba(X) if hasattr(model, "predict_proba") else np.asarray(model.predict(X))[:, None]


def by_bundle(model: Any, X: Any, later: Any) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = to_bundle(model, X, out=Path(folder) / "bundle").path
        rows = later if hasattr(later, "columns") else {f"x{i}": later[:, i] for i in range(later.shape[1])}
        prediction = ds.load(path).predict(rows)
        return prediction.values[:, None] if prediction.probabilities is None else prediction.probabilities


def by_skl2onnx(model: Any, X: Any, later: Any) -> np.ndarray:
    """skl2onnx as its documentation says: numbers in float32, a frame by its columns."""
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    for package in ("xgboost", "lightgbm"):
        if package in sys.modules:
            _register_converters(package)
    first = X[:1] if hasattr(X, "columns") else X[:1].astype(np.float32)
    session = onnxruntime.InferenceSession(skl2onnx.to_onnx(model, first, options=options).SerializeToString())
    if hasattr(later, "columns"):
        kinds = {each.name: each.type for each in session.get_inputs()}
        feed = {}
        for (name, kind), column in zip(kinds.items(), later.columns, strict=True):
            values = later[column].to_numpy()[:, None]
            types = {"tensor(string)": object, "tensor(double)": np.float64, "tensor(int64)": np.int64}
            feed[name] = values.astype(types.get(kind, bool if kind == "tensor(bool)" else np.float32))
    else:
        feed = {session.get_inputs()[0].name: later.astype(np.float32)}
    output = session.run(None, feed)[-1]
    return np.asarray(output).reshape(len(later), -1)


def judge(convert: Callable[[Any, Any, Any], np.ndarray], model: Any, X: Any, later: Any) -> str:
    """ "same", "other" or "refused"."""
    expected = answers_of(model, later)
    try:
        output = convert(model, X, later)
    except DeepseekError as error:
        print(f"    refused: {str(error)[:160]}", file=sys.stderr)
        return "refused"
    except Exception as error:  # noqa: BLE001 - a rival may raise anything
        print(f"    rival: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
        return "refused"
    scale = np.maximum(1.0, np.abs(expected)) if expected.shape[1] == 1 else 1.0
    difference = np.abs(output - expected) / scale
    return "same" if output.shape == expected.shape and difference.max() <= LIMIT else "other"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="agreement or silence")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data, counts = (
        tables(),
        {"ours": {"same": 0, "other": 0, "refused": 0}, "rival": {"same": 0, "other": 0, "refused": 0}},
    )
    for name, model, table in estimators(arguments.quick):
        X, y = data[table]
        half = len(y) // 2
        order = np.random.default_rng(2).permutation(len(y))
        rows = [X.iloc[part] if hasattr(X, "iloc") else X[part] for part in (order[:half], order[half:])]
        target = (y[order[:half]] == y[0]).astype(int) if table in ("mixed", "cancer") else y[order[:half]]
        model.fit(rows[0], target)
        verdicts = {
            "ours": judge(by_bundle, model, rows[1][:NUM_IN_SIGHT], rows[1][NUM_IN_SIGHT:]),
            "rival": judge(by_skl2onnx, model, rows[1][:NUM_IN_SIGHT], rows[1][NUM_IN_SIGHT:]),
        }
        print(f"{name:32} ours {verdicts['ours']:8} skl2onnx {verdicts['rival']}", flush=True)
        for who, verdict in verdicts.items():
            counts[who][verdict] += 1
    total = sum(counts["ours"].values())
    shares = {who: each["same"] / total for who, each in counts.items()}
    words = {who: ", ".join(f"{many} {verdict}" for verdict, many in each.items()) for who, each in counts.items()}
    note = f"{total} estimators; ours {words['ours']}; skl2onnx {words['rival']}"
    claims = [
        claim("agreement on new rows", ours=shares["ours"], rival=shares["rival"], rival_name="skl2onnx alone",
              unit="share of estimators", op=">=", bar=MIN_SHARE, note=note),
        claim("silently wrong", ours=counts["ours"]["other"], rival=counts["rival"]["other"],
              rival_name="skl2onnx alone", unit="estimators", op="<=", bar=0.0,
              note="converted, and some answer on new rows differs by more than 1e-5"),
    ]  # fmt: skip
    wanted = [each for each in claims if arguments.only is None or arguments.only in each["claim"]]
    return finish("sklearn_bundles", wanted, not_run=["three classes, values"] if arguments.quick else [])


if __name__ == "__main__":
    sys.exit(main())
