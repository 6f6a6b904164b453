"""`deepseek federate` with trees: how near ten owners come to all data in one place, and to XGBoost on it.

    python benchmarks/federated_trees.py [--quick] [--only CLAIM]

fraud-handbook of one month, a tenth of the customers, dealt to ten parties of uneven size by CUSTOMER_ID; average
precision on a fifth of the rows, which no party has. Amount and time alone, no history of cards. XGBoost has the same
rows, trees, depth and rate, and histograms of its own. Settings were chosen on the month before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost as xgb
from federated_data import fraud_table, pneumonia_table, study_of
from result import claim, finish, options

from deepseek.contracts import Float64
from deepseek.data import Table, encode_target, split_table
from deepseek.privacy.accounting.gaussian import epsilon_of
from deepseek.privacy.simulation.simulate import TEST_SHARE, Simulation, SimulationOptions, simulate
from deepseek.privacy.study.definition import Study
from deepseek.train.tabular.metrics import average_precision

MONTH, NUM_ROWS = "transactions-2018-07.parquet", 30_000
NUM_TREES, DEPTH, RATE = 40, 4, 0.2
TREES = ("model.kind='trees'", f"model.trees={{num_trees={NUM_TREES}, depth={DEPTH}}}", f"rounds.lr={RATE}")
SMALL = "{num_trees=10, depth=3, num_bins=8, min_hessian=0.02}"
COMMONER = 0.742  # of the training pictures have pneumonia
DROP = ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD_SCENARIO", "TX_TIME_SECONDS", "TX_TIME_DAYS")


def make_study(table: Table) -> Study:
    return study_of(table, "TX_FRAUD", tuple(name for name in DROP if name in table.names), TREES)


def run_xgboost(study: Study, table: Table, seed: int) -> float:
    """Average precision of XGBoost with all training rows of a simulation in one place."""
    cut = split_table(table, target=study.target, task=study.task, test_share=TEST_SHARE, validation_share=0, seed=seed)
    parts = []
    for rows in (cut.train, cut.test):
        own = table.take(rows)
        known = {column.name for column in study.preprocessor.columns}
        features = study.preprocessor.table(own.drop([name for name in own.names if name not in known])).features
        parts.append((features, encode_target(own, study.target, study.labels)))
    (training, labels), (test, truth) = parts
    settings = {
        "max_depth": DEPTH, "eta": RATE, "objective": "binary:logistic", "nthread": 1, "seed": seed, "base_score": 0.5,
    }  # fmt: skip
    booster = xgb.train(settings, xgb.DMatrix(training, labels), NUM_TREES)
    positive: Float64 = booster.predict(xgb.DMatrix(test)).astype(np.float64)
    return average_precision(truth, np.stack([1 - positive, positive], axis=1), np.ones(len(truth)))


def trees(seeds: list[int], month: str = MONTH) -> list[dict[str, Any]]:
    table = fraud_table(month, NUM_ROWS)
    study = make_study(table)
    runs: list[Simulation] = []
    rival: list[float] = []
    for seed in seeds:
        runs.append(simulate(study, table, SimulationOptions(split="by:CUSTOMER_ID", seed=seed)))
        rival.append(run_xgboost(study, table, seed))
    ours, central = (
        float(np.mean([getattr(run, name)["average_precision"].value for run in runs]))
        for name in ("metrics", "central")
    )
    alone = float(np.mean([[figures["average_precision"] for figures in run.alone.values()] for run in runs]))
    size = float(np.mean([max(run.bytes_by_party.values()) for run in runs])) / 1e6
    note = f"{ours:.3f}; a party alone {alone:.3f}; {NUM_TREES} trees of depth {DEPTH}, {size:.1f} MB left a party"
    return [
        claim("trees_against_one_place", ours=central - ours, rival=central, op="<=", bar=0.02,
              rival_name="average precision of the same trees with all data in one place", num_seeds=len(seeds),
              unit="below all data in one place", note=note),
        claim("trees_against_xgboost", ours=float(np.mean(rival)) - ours, rival=float(np.mean(rival)), op="<=",
              bar=0.02,
              rival_name="average precision of XGBoost with all data in one place", num_seeds=len(seeds),
              unit="below XGBoost", note=note),
    ]  # fmt: skip


def trees_under_budget(seeds: list[int]) -> list[dict[str, Any]]:
    """Accuracy on pneumoniamnist in 7 x 7 pixels with noised histograms, beside the same trees without noise."""
    table = pooled_pictures()
    plain = (f"model.trees={SMALL}", "model.kind='trees'", "rounds.lr=0.3")
    budget = ("budget.unit='record'", "budget.noise=3.3", "budget.epsilon=9.0", "budget.delta=1e-5")
    studies = [study_of(table, "label", (), each) for each in (plain, (*plain, *budget))]
    free, noised = ([simulate(study, table, SimulationOptions(seed=seed)) for seed in seeds] for study in studies)
    ours, rival = (100 * float(np.mean([run.metrics["accuracy"].value for run in runs])) for runs in (noised, free))
    settings = studies[1].settings
    epsilon = epsilon_of(settings.budget.noise, settings.num_training_tasks, settings.budget.delta)
    return [
        claim("trees_under_budget", ours=ours, rival=rival, rival_name="the same trees without noise", unit="accuracy",
              num_seeds=len(seeds), note=f"epsilon {epsilon:.2f} of each record at delta 1e-5, ten uneven parties; "
              f"{settings.num_training_tasks} levels; the commoner class has {100 * COMMONER:.1f}"),
    ]  # fmt: skip


def pooled_pictures() -> Table:
    """Training pictures as means of blocks of 4 x 4 pixels."""
    pictures = pneumonia_table("train")
    pixels = np.stack([pictures.column(f"p{place}") for place in range(784)], axis=1).reshape(-1, 7, 4, 7, 4)
    columns: dict[str, Any] = {
        f"p{place}": each for place, each in enumerate(pixels.mean(axis=(2, 4)).reshape(-1, 49).T)
    }
    types = dict.fromkeys(columns, "number") | {"label": "text"}
    return Table(columns | {"label": pictures.column("label")}, types)  # type: ignore[arg-type]


def main() -> int:
    runs: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
        "trees_against_one_place": lambda quick: trees([1] if quick else [1, 2, 3]),
        "trees_under_budget": lambda quick: trees_under_budget([1] if quick else [1, 2, 3]),
    }
    args = options(__doc__, runs, quick="one seed instead of three.").parse_args()
    chosen = [args.only] if args.only else list(runs)
    claims = [each for name in chosen for each in runs[name](args.quick)]
    return finish("federated_trees", claims, not_run=[name for name in runs if name not in chosen])


if __name__ == "__main__":
    sys.exit(main())
