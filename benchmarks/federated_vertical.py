"""`deepseek federate` between two houses with other columns of the same people: how near both together come to all
columns in one place, and how far beyond each alone.

    python benchmarks/federated_vertical.py [--quick] [--only CLAIM]

Breast cancer (the ten means, ten rounds: more sums over 455 rows are refused, for the other's could be worked out) and
diabetes of scikit-learn, and concrete, with default settings; the columns dealt to two houses at random, five times,
the target to the first. Every message is made, encrypted and read as between two processes; the ids are joined without
an intersection, whose library has an environment of its own (make test-vertical). "All columns in one place" is
scikit-learn's logistic or linear regression on the same training rows. The bar of a point is that of studies whose rows
are cut.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from fraud_features import data_folder
from result import claim, finish, options
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepseek.data import read_table
from deepseek.privacy.study.request import StudyRequest, VerticalRequest, make_study
from deepseek.privacy.study.settings import read_settings
from deepseek.privacy.vertical.sessions import ColumnHouse, LabelHouse
from deepseek.privacy.vertical.simulation import run_houses, simulate_vertical

FIELDS = ("joint", "central", "best_alone")


@dataclass(frozen=True)
class Cut:
    """One deal of the columns, in points of the task's measure: percent of accuracy, or hundredths of R2."""

    joint: float
    central: float  # by scikit-learn with all columns
    best_alone: float  # by our own steps with the columns of one house
    megabytes: float
    cpu_s: float


def tables() -> dict[str, tuple[pd.DataFrame, str, str, tuple[str, ...]]]:
    """Name -> (table, target, metric, settings)."""
    cancer, diabetes = load_breast_cancer(as_frame=True).frame, load_diabetes(as_frame=True).frame
    cancer = cancer[[each for each in cancer if each.startswith("mean ") or each == "target"]]
    cancer = cancer.assign(target=np.where(cancer["target"] == 1, "benign", "malignant"))
    concrete = pd.read_csv(data_folder() / "concrete" / "concrete.csv")
    return {
        "cancer": (cancer, "target", "accuracy", ("rounds.num_rounds=10",)),
        "diabetes": (diabetes, "target", "r2", ()), "concrete": (concrete, str(concrete.columns[-1]), "r2", ()),
    }  # fmt: skip


def run_cut(name: str, seed: int) -> Cut:
    """Both houses on one deal of the columns."""
    frame, target, metric, settings = tables()[name]
    frame = frame.rename(columns={each: each.replace(" ", "_") for each in frame}).assign(person=np.arange(len(frame)))
    target = target.replace(" ", "_")
    inputs = np.random.default_rng(seed).permutation([each for each in frame if each not in (target, "person")])
    first, second = np.sort(inputs[: len(inputs) // 2]), np.sort(inputs[len(inputs) // 2 :])
    shop = VerticalRequest("person", read_table(frame[["person", *second]]), "same_ids")
    request = StudyRequest("study", target, vertical=shop)
    study = make_study(read_table(frame[["person", *first, target]]), request, read_settings(None, settings))
    start_s = time.process_time()
    report = simulate_vertical(study, read_table(frame))
    cpu_s = time.process_time() - start_s
    central = score_of_scikit_learn(*run_houses(study, read_table(frame)))
    alone = max(each[metric] for each in report.alone.values())
    megabytes = sum(report.bytes_by_party.values()) / 1e6
    return Cut(100 * report.metrics[metric].value, 100 * central, 100 * alone, megabytes, cpu_s)


def score_of_scikit_learn(labels: LabelHouse, columns: ColumnHouse) -> float:
    """Accuracy or R2 on the rows that the study tests on, of a model that saw its training rows with all columns."""
    inputs = np.concatenate([house.shared_rows.inputs for house in (labels, columns)], axis=1)
    target, split = labels.shared_target, labels.split
    model = LogisticRegression(max_iter=1000) if labels.study.task == "binary" else LinearRegression()
    model = make_pipeline(StandardScaler(), model).fit(inputs[split.training], target[split.training])
    return float(model.score(inputs[split.test], target[split.test]))


def beside_one_place(name: str, seeds: list[int]) -> list[dict[str, Any]]:
    """What both together lose against all columns in one place, and gain over the better one alone."""
    cuts = [run_cut(name, seed) for seed in seeds]
    unit = "points of accuracy" if name == "cancer" else "hundredths of R2"
    joint, central, alone = (np.array([getattr(cut, field) for cut in cuts]) for field in FIELDS)
    note = (
        f"{len(cuts)} deals of the columns: together {joint.mean():.1f} ({joint.min():.1f} to {joint.max():.1f}), in "
        f"one place {central.mean():.1f}, the better house alone {alone.mean():.1f}; "
        f"{np.mean([cut.megabytes for cut in cuts]):.0f} MB, {np.mean([cut.cpu_s for cut in cuts]):.1f} CPU s a study"
    )
    return [
        claim(f"{name}_lost_to_one_place", ours=float((central - joint).mean()), unit=unit, op="<=", bar=1.0,
              rival=0.0, rival_name="scikit-learn, all columns in one place", num_seeds=len(cuts), note=note),
        claim(f"{name}_gained_over_one_house", ours=float((joint - alone).mean()), unit=unit, num_seeds=len(cuts),
              note="no bar: what a house gains hangs on the columns that it is dealt"),
    ]  # fmt: skip


def main() -> int:
    runs: dict[str, Callable[[list[int]], list[dict[str, Any]]]] = {
        name: lambda seeds, name=name: beside_one_place(name, seeds) for name in tables()
    }
    arguments = options(__doc__, runs, quick="one deal of the columns instead of five.").parse_args()
    seeds = [0] if arguments.quick else [0, 1, 2, 3, 4]
    claims: list[dict[str, Any]] = []
    for name, run in runs.items():
        if arguments.only in (None, name):
            claims += run(seeds)
    return finish("federated_vertical", claims, not_run=[name for name in runs if arguments.only not in (None, name)])


if __name__ == "__main__":
    sys.exit(main())
