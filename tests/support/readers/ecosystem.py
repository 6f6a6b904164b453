"""A table of loans, a bundle of it, a model of Keras, and a registry and a hub in this folder."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import deepseek
from support.readers.loans import ship_loans
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    """KERAS_BACKEND has to be torch before Keras is imported anywhere in the process."""
    os.environ |= {
        "KERAS_BACKEND": "torch", "HF_HUB_CACHE": str(Path("hub").resolve()),
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "XDG_CACHE_HOME": str(Path("cache").resolve()),
    }  # fmt: skip
    import keras
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    table = ship_loans()
    X, y = table[["debt", "age", "children"]], table["default"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save("model.keras")
    names = {
        "X": X[:300], "y": y[:300], "X_new": X[300:], "X_test": X[300:], "y_test": y[300:],
        "frame": table.drop(columns="default").head(), "grid": {"lgbmclassifier__num_leaves": [7]},
        "GridSearchCV": GridSearchCV, "make_pipeline": make_pipeline, "ColumnTransformer": ColumnTransformer,
        "LGBMClassifier": LGBMClassifier, "keras": keras, "ds": deepseek, "rows": x[:2], "baselines": x[2:4],
        "x": x, "held": (x, x[:, :1]),
    }  # fmt: skip
    return Reader(names, {
        "budget_s=60": "budget_s=5", "[...]": '[("kept", "passthrough", ["debt", "age", "children"])]',
        'out="loans"': 'out="loans-search"', "model.fit(x, y,": "model.fit(x, x[:, :1],", "epochs=9": "epochs=2",
    })  # fmt: skip
