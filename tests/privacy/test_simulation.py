"""A whole study in one process, and the bundle that it ends in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.data import read_table
from deepseek.engines import open_runtime
from deepseek.errors import InputError
from deepseek.privacy.bundles.pack import finish_model
from deepseek.privacy.parties.inputs import joiner
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.rounds.state import begin_study
from deepseek.privacy.simulation.parts import split_parties
from deepseek.privacy.simulation.simulate import SimulationOptions, simulate
from support.federation import loans_study, loans_table
from support.rows.loans import for_task, make_loans


def test_parties_are_uneven_and_share_no_value() -> None:
    table = read_table(for_task(make_loans(900), "binary", keep=("household",)))
    parts = split_parties(table, "by:household", 6, 0)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(900))
    owners = [set(table.column("household")[rows].tolist()) for rows in parts.values()]
    assert not any(one & other for place, one in enumerate(owners) for other in owners[:place])
    sizes = sorted(map(len, parts.values()))
    assert sizes[-1] > 4 * sizes[0]
    assert set(split_parties(table, "by:region", 3, 0)) == {"region-east", "region-north", "region-south"}
    for split, word in [("by:regoin", "region"), ("by:region", "3 values"), ("household", "not a split")]:
        with pytest.raises(InputError, match=word):
            split_parties(table, split, 6, 0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_finished_model_answers_as_the_parties_computed(task: str) -> None:
    study = loans_study("model.kind='perceptron'", "model.widths=[4]", task=task)
    objective, state = Objective.of(study), begin_study(study)
    rng = np.random.default_rng(0)
    standard = type(state.standardization)(rng.normal(size=objective.sizes[0]), rng.uniform(0.5, 2, objective.sizes[0]))
    from dataclasses import replace

    state = replace(state, parameters=rng.normal(size=objective.num_parameters), standardization=standard)
    features = study.preprocessor.table(loans_table(task).drop([study.target])).features
    inputs = (joiner(study).join(features) - standard.mean) / standard.spread
    expected = objective.probabilities(state.parameters, inputs) * study.target_scale + study.target_centre
    assert np.allclose(finish_model(study, state).score(features).output, expected, rtol=1e-4, atol=1e-4)


def test_a_simulation_ends_in_a_bundle_that_serves_and_says_who_took_part(tmp_path: Path) -> None:
    study = loans_study("rounds.num_rounds=8", "rounds.lr=0.3")
    table = loans_table(num_rows=900)
    result = simulate(study, table, SimulationOptions(num_parties=4, out=tmp_path / "bundle"))
    assert verify_bundle(tmp_path / "bundle") == []
    prediction = open_runtime(tmp_path / "bundle").predict(table.records(5))
    assert len(prediction) == 5
    federation = json.loads(open_bundle(tmp_path / "bundle").read("evidence/federation.json"))
    assert federation["simulated"]
    assert federation["rounds_by_party"] == dict.fromkeys(sorted(result.num_rows), 8)
    assert set(federation["what_left_each_house"]) == {"moments", "training", "figures"}
    assert federation["transcript_is_chained"]
    assert federation["figures"]["accuracy"] > 0.6
    assert federation["comparison"]["membership_auc"] == result.membership_auc
    assert 0.4 < result.membership_auc["federated"] < 0.7  # a linear model of 900 rows remembers little
    assert len(result.curves["accuracy"]) == len(result.curves["log_loss"]) == 8


def test_federated_learning_comes_near_to_all_data_in_one_place() -> None:
    """On the same rows: no further from it than the parties alone are on average."""
    result = simulate(loans_study("rounds.num_rounds=15", "rounds.lr=0.3"), loans_table(num_rows=1200),
                      SimulationOptions(num_parties=6))  # fmt: skip
    together, central = result.metrics["log_loss"].value, result.central["log_loss"].value
    alone = np.mean([figures["log_loss"] for figures in result.alone.values()])
    assert together < alone
    assert together - central < (alone - central) / 2
