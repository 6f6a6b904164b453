"""Solutions of the lab same_answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from learn.solutions.tools import deepseek_verb, replace_text

WRONG = {
    "half_of_the_rows": "other_chances", "zeros_for_empty": "other_empty", "edited_predictions": "other_predictions"
}  # fmt: skip

PIPELINE = """
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit(frame):
    names = [name for name in frame.columns if name != "cultivar"]
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))
    return pipeline.fit(frame[names].astype(float), frame["cultivar"])


def predict_proba(train, new):
    return fit(pd.DataFrame(train)).predict_proba(pd.DataFrame(new).astype(float)).tolist()
"""
MAKE = """
import sys
import pandas as pd
from deepseek.sklearn import to_bundle
sys.path.insert(0, ".")
from pipeline import fit

frame = pd.read_csv("train.csv"){rows}
to_bundle(fit(frame), frame.drop(columns="cultivar"), frame["cultivar"], out="model", target="cultivar")
"""


def reference(folder: Path) -> None:
    (folder / "pipeline.py").write_text(PIPELINE)
    make_bundle(folder)


def make_bundle(folder: Path, rows: str = "") -> None:
    shutil.rmtree(folder / "model", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", MAKE.format(rows=rows)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "predictions.csv").unlink(missing_ok=True)
    deepseek_verb(folder, "predict", "model", "new.csv", "--out", "predictions.csv")


def half_of_the_rows(folder: Path) -> None:
    """The bundle keeps back rows that the pipeline learns from."""
    make_bundle(folder, "[:70]")


def zeros_for_empty(folder: Path) -> None:
    """Fills empty cells by hand, where the bundle has what its imputer has learned."""
    replace_text(
        folder / "pipeline.py", "pd.DataFrame(new).astype(float)", "pd.DataFrame(new).astype(float).fillna(0.0)"
    )


def edited_predictions(folder: Path) -> None:
    path = folder / "predictions.csv"
    head, first, *rest = path.read_text().splitlines()
    names = ("class_0", "class_1")
    said = next(name for name in ("class_0", "class_1", "class_2") if f",{name}," in first)
    other = names[1] if said == names[0] else names[0]
    path.write_text("\n".join([head, first.replace(f",{said},", f",{other},"), *rest]) + "\n")
