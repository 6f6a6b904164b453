# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Beside scikit-learn
# An estimator over `ship` in scikit-learn's own tools, and a fitted Pipeline as a bundle.

# %%
import warnings

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepseek as ds
from deepseek.sklearn import AutoClassifier, to_bundle

warnings.simplefilter("ignore")  # what ship says of a small table
X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
model = AutoClassifier(trials=1).fit(X_train, y_train)
model.score(X_test, y_test), model.metrics_["auc"]

# %%
model.bundle_

# %%
cross_val_score(AutoClassifier(trials=1, candidates=["linear"]), X_train, y_train, cv=2, scoring="roc_auc")

# %% [markdown]
# A Pipeline that was fitted elsewhere: the bundle answers these rows as it does, or nothing is written.

# %%
pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
converted = to_bundle(pipeline, X_test, y_test, out="pipeline", target="benign", overwrite=True)
converted

# %%
difference = abs(ds.load("pipeline").predict(X_test).probabilities - pipeline.predict_proba(X_test)).max()
assert difference < 1e-5
