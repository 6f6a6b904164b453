"""Boosted trees over parties: the same trees as with all rows in one place, and the bundle that they end in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle
from deepseek.errors import InputError
from deepseek.nn.model import Model
from deepseek.privacy.accounting.gaussian import epsilon_of
from deepseek.privacy.accounting.records import epsilon_of_rows
from deepseek.privacy.bundles.pack import finish_model
from deepseek.privacy.bundles.transcript import privacy_spent
from deepseek.privacy.parties.inputs import InputRows, read_rows
from deepseek.privacy.parties.trees import MarginCache, TreeObjective
from deepseek.privacy.rounds.answer import LocalParty, answer_size, check_record_budget
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.simulation.simulate import SimulationOptions, simulate
from deepseek.privacy.study.definition import Study, open_study, write_study
from deepseek.privacy.study.settings import TreeSettings
from deepseek.privacy.sums.field import from_field, to_field
from deepseek.train.private.budget import BudgetSpentError
from support.federation import loans_study, loans_table

TREES = ("model.kind='trees'", "model.trees={num_trees=6, depth=3, num_bins=8}", "rounds.lr=0.3")


def trees_of(study: Study, parties: list[LocalParty]) -> StudyState:
    state = begin_study(study)
    while state.kind(study) == "training":
        answers = [party.answer(state) for party in parties]
        state = advance(study, state, combine(study, state, answers).vector, 1.0)
    return state


def parties_of(study: Study, cuts: list[int], task: str = "binary") -> list[LocalParty]:
    rows = read_rows(study, loans_table(task, num_rows=600))
    parts = np.split(np.arange(600), cuts)
    return [LocalParty(study, f"p{place}", rows.take(part), rows.take(part[:1])) for place, part in enumerate(parts)]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_uneven_parties_grow_the_trees_of_all_rows_in_one_place(task: str) -> None:
    study = loans_study(*TREES, task=task)
    apart, whole = (trees_of(study, parties_of(study, cuts, task)) for cuts in ([40, 300], []))
    learner = TreeObjective.of(study)
    rows = read_rows(study, loans_table(task, num_rows=600))
    one, other = (learner.margin(state.parameters, rows.inputs) for state in (apart, whole))
    assert np.abs(one - other).max() < 1e-4
    assert np.ptp(one) > 0.1
    assert apart.task == 19  # six trees of three levels


def test_a_split_is_the_best_of_all_that_could_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    objective = TreeObjective(((0.5,), (1.5, 2.5, 3.5)), "regression", TreeSettings(num_trees=1, depth=1), 1.0)
    inputs = np.stack([rng.integers(0, 2, 400), rng.integers(0, 4, 400)], axis=1).astype(np.float32)
    target = np.where(inputs[:, 1] > 2, 2.0, -1.0) + 0.1 * rng.normal(size=400)
    rows = InputRows(inputs, target)
    start = objective.initial(0)
    means = objective.histograms(start, 1, rows, MarginCache())
    assert len(means) == objective.answer_size(1)
    grown = objective.grow(start, 1, means)
    assert grown[:2].tolist() == [1.0, 2.0]  # the second feature, after its third bin
    assert grown[2:] == pytest.approx([target[inputs[:, 1] <= 2].mean(), target[inputs[:, 1] > 2].mean()], abs=1e-2)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_finished_trees_answer_as_the_parties_computed(task: str) -> None:
    study = loans_study(*TREES, task=task)
    state = trees_of(study, parties_of(study, [200], task))
    table = loans_table(task, num_rows=600)
    features = study.preprocessor.table(table.drop([study.target])).features
    expected = TreeObjective.of(study).probabilities(state.parameters, read_rows(study, table).inputs)
    model = finish_model(study, state)
    again = Model.from_files(model.to_files().__getitem__)
    for each in (model, again):
        expected_values = expected * study.target_scale + study.target_centre if task == "regression" else expected
        assert np.allclose(each.score(features).output, expected_values, rtol=1e-4, atol=1e-4)


def test_sums_by_masks_choose_the_same_splits() -> None:
    """What to_field() rounds to is far below any gain that matters."""
    study = loans_study(*TREES)
    (party,) = parties_of(study, [])
    state = begin_study(study)
    vector = party.answer(state).vector
    rounded = from_field(to_field(vector, 1.0, 10), 1.0, 10)
    plain, masked = (advance(study, state, each, 1.0).parameters for each in (vector, rounded))
    assert np.array_equal(plain, masked)


def test_a_simulation_of_trees_ends_in_a_bundle_and_beats_the_parties_alone(tmp_path: Path) -> None:
    study = loans_study(*TREES)
    result = simulate(study, loans_table(num_rows=900), SimulationOptions(num_parties=4, out=tmp_path / "bundle"))
    alone = np.mean([figures["log_loss"] for figures in result.alone.values()])
    assert result.metrics["log_loss"].value < alone
    assert abs(result.metrics["log_loss"].value - result.central["log_loss"].value) < 1e-3
    bundle = open_bundle(tmp_path / "bundle")
    assert len(bundle.manifest.inputs) == len(study.preprocessor.inputs())


def test_a_study_of_trees_is_read_again_and_one_without_is_written_as_before(tmp_path: Path) -> None:
    study = loans_study(*TREES)
    assert open_study(write_study(tmp_path / "trees", study).path).study == study
    plain = loans_study()
    assert b"tree" not in plain.content
    assert open_study(write_study(tmp_path / "plain", plain).path).study.digest == plain.digest


@pytest.mark.parametrize(
    "settings",
    [("rounds.strategy='fedadam'",), ("budget.noise=1.0", "protection.secure_sums=true"), ("rounds.rule='median'",),
     ("budget.unit='record'", "budget.noise=1.0", "budget.epsilon=8.0"), ("model.trees={depth=9}",),
     ("model.kind='linear'",)],
)  # fmt: skip
def test_what_does_not_go_with_trees_is_refused_by_name(settings: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"trees|depth"):
        loans_study(*TREES, *settings)


PRIVATE = ("model.trees={num_trees=2, depth=2, num_bins=8, min_hessian=0.01}", "budget.unit='record'",
           "budget.noise=4.0", "budget.epsilon=8.0", "budget.delta=1e-5")  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_one_row_changes_a_partys_sums_by_no_more_than_the_noise_is_made_for(task: str) -> None:
    study = loans_study(*TREES, task=task)
    learner, rows = TreeObjective.of(study), parties_of(study, [], task)[0].training
    parameters = trees_of(study, parties_of(study, [200], task)).parameters
    for clip_norm in (0.3, 5.0):
        for level in (1, 2, 3):  # levels of the first tree
            sums = learner.histograms(parameters, level, rows, MarginCache(), clip_norm) * len(rows)
            changes = []
            for left_out in range(0, 600, 25):
                others = rows.take(np.delete(np.arange(600), left_out))
                without = learner.histograms(parameters, level, others, MarginCache(), clip_norm) * len(others)
                changes.append(np.linalg.norm(sums - without))
            assert max(changes) <= learner.row_norm(clip_norm) * (1 + 1e-9)
            assert max(changes) > 0.3 * learner.row_norm(clip_norm)


def test_levels_of_a_budget_have_the_noise_that_is_counted() -> None:
    pytest.importorskip("opacus", reason="needs the extra 'dp'")
    study = loans_study(*TREES, *PRIVATE)
    learner, state = TreeObjective.of(study), begin_study(study)
    party = parties_of(study, [])[0]
    plain = learner.histograms(state.parameters, 1, party.training, MarginCache(), 1.0)
    noises = [LocalParty(study, "p", party.training, party.held).answer(state).vector - plain for _ in range(20)]
    expected = 4.0 * learner.row_norm(1.0) / 600
    assert np.std(noises) == pytest.approx(expected, rel=0.1)
    ours = epsilon_of_rows(study.settings, 600, study.settings.num_training_tasks)
    assert ours == pytest.approx(epsilon_of(4.0, 4, 1e-5), abs=0.02)  # the exact one of four Gaussian mechanisms


def test_trees_under_a_budget_end_after_their_levels_and_a_party_of_any_size_pays_the_same() -> None:
    pytest.importorskip("opacus", reason="needs the extra 'dp'")
    study = loans_study(*TREES, *PRIVATE)
    state = trees_of(study, parties_of(study, [300]))
    assert (state.task, state.kind(study)) == (5, None)
    spent = privacy_spent(study, 4)
    assert spent is not None
    assert (spent.unit, spent.epsilon) == ("record", 8.0)
    dear = replace(study.settings, budget=replace(study.settings.budget, noise=0.5))
    with pytest.raises(BudgetSpentError, match="ada would spend"):
        check_record_budget(replace(study, settings=dear), "ada", 100_000)


def test_three_classes_are_refused() -> None:
    with pytest.raises(InputError, match="3 classes"):
        loans_study(*TREES, task="multiclass")


def test_sizes_follow_the_level_and_the_largest_is_known() -> None:
    study = loans_study(*TREES)
    sizes = [answer_size(study, "training", task) for task in (1, 2, 3, 4)]
    assert sizes == [sizes[0], 2 * sizes[0], 4 * sizes[0], sizes[0]]
    assert answer_size(study, "training") == sizes[2]
    assert replace(begin_study(study), task=19).kind(study) == "figures"
