"""What to label next and when to stop: what is known of the answers beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from automl.label.conftest import MakeProject
from automl.label.test_project import change
from deepseek.automl.label.choose.agreement import decide_labels, measure_agreement
from deepseek.automl.label.choose.cache import FILE_NAME, load_features
from deepseek.automl.label.choose.features import describe_picture
from deepseek.automl.label.choose.forecast import forecast
from deepseek.automl.label.choose.learner import STRENGTH, STRENGTHS, HeldOutFit, fit_held_out, fit_learner
from deepseek.automl.label.choose.strategy import choose_batch, choose_typical, choose_unsure
from deepseek.automl.label.choose.variance import LEAST_VARIANCE, choose_informative
from deepseek.automl.label.choose.verbs import next_batch, status
from deepseek.automl.label.project.people import add_person
from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.verbs import new_project

NO_ROWS = np.zeros(0, np.int64)


def make_blobs(num_each: int = 30, num_blobs: int = 4, spread: float = 0.1) -> tuple[Any, Any]:
    """Groups of points far from each other: (N, 8), and the group of each (N,)."""
    draw = np.random.default_rng(0)
    of_row = np.repeat(np.arange(num_blobs), num_each)
    return np.eye(8)[of_row] * 3 + draw.normal(0, spread, (len(of_row), 8)), of_row


def test_the_first_labels_are_of_every_group() -> None:
    dense, of_row = make_blobs()
    choices = choose_typical(dense, NO_ROWS, np.arange(len(dense)), 4, seed=0)
    assert sorted(of_row[[each.row for each in choices]]) == [0, 1, 2, 3]
    # three groups have a label: the fourth is asked
    labeled = np.array([0, 30, 60])
    [choice] = choose_typical(dense, labeled, np.setdiff1d(np.arange(len(dense)), labeled), 1, seed=0)
    assert of_row[choice.row] == 3


def test_a_batch_holds_each_row_once_and_no_more_than_there_are() -> None:
    dense, of_row = make_blobs()
    labeled = np.arange(0, 120, 6)
    pool = np.setdiff1d(np.arange(120), labeled)
    for num in (1, 7, 100, 500):
        rows = [each.row for each in choose_batch(dense, labeled, of_row[labeled], pool, num, 4, seed=1)]
        assert len(set(rows)) == len(rows) == min(num, 100)
        assert set(rows) <= set(pool.tolist())
    assert choose_batch(dense, labeled, of_row[labeled], NO_ROWS, 5, 4, seed=1) == []


def test_what_the_model_is_unsure_of_is_asked_before_what_it_knows() -> None:
    dense = np.linspace(-1, 1, 41)[:, None]
    chance = 1 / (1 + np.exp(-8 * dense[:, 0]))
    probabilities = np.stack([1 - chance, chance], axis=1)
    rows = [each.row for each in choose_unsure(dense, probabilities, NO_ROWS, np.arange(41), 3, strength=1.0)]
    assert all(abs(dense[row, 0]) <= 0.75 for row in rows)  # of the 30 smallest margins, none is farther


def test_a_batch_is_what_makes_the_model_most_certain_of_all_items() -> None:
    draw = np.random.default_rng(3)
    dense, chances = draw.normal(size=(30, 3)), draw.dirichlet(np.ones(3), 30)
    labeled, candidates = np.arange(4), np.arange(6, 30)
    chosen = choose_informative(dense, chances, labeled, candidates, 5, strength=2.0)

    def mean_variance(rows: list[int]) -> float:  # each time from the start, without a closed form
        points = np.hstack([dense, np.ones((30, 1))])
        weight = np.maximum(1 - np.square(chances).sum(axis=1), LEAST_VARIANCE)
        precision = np.eye(4) / 2.0 + (points[rows] * weight[rows, None]).T @ points[rows]
        return float((weight * ((points @ np.linalg.inv(precision)) * points).sum(axis=1)).mean())

    slow: list[int] = []
    for _ in range(5):
        left = [each for each in range(len(candidates)) if each not in slow]
        asked = [*labeled, *candidates[slow]]
        slow.append(min(left, key=lambda each: mean_variance([*asked, candidates[each]])))
    assert chosen == slow


def test_equal_items_are_chosen_to_the_end_and_a_copy_is_wanted_last() -> None:
    rows = choose_informative(np.ones((5, 3)), np.full((5, 2), 0.5), NO_ROWS, np.arange(5), 9, strength=1.0)
    assert sorted(rows) == [0, 1, 2, 3, 4]
    dense = np.array([[3.0, 0.0], [3.0, 0.0], [0.0, 2.5]])
    rows = choose_informative(dense, np.full((3, 2), 0.5), NO_ROWS, np.arange(3), 3, strength=1.0)
    assert rows[2] in (0, 1)


def test_a_learner_knows_only_classes_that_it_has_seen() -> None:
    dense, of_row = make_blobs()
    rows = np.flatnonzero(of_row < 2)
    learner = fit_learner(dense[rows], of_row[rows], np.ones(len(rows)), 4)
    probabilities = learner.probabilities(dense)
    assert probabilities[:, 2:].max() == 0
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities[rows].argmax(axis=1) == of_row[rows]).all()
    one = fit_learner(dense[:3], of_row[:3], np.ones(3), 4)
    assert (one.probabilities(dense).argmax(axis=1) == 0).all()


def test_margins_of_a_learner_that_knows_nothing_are_not_believed() -> None:
    dense, of_row = make_blobs(num_blobs=2, spread=0.5)
    assert fit_held_out(dense, of_row, 2, seed=0).slope > 0.9
    draw = np.random.default_rng(0)
    points, answers = draw.normal(size=(200, 200)), draw.integers(0, 2, 200)
    learner, fit = fit_learner(points, answers, np.ones(200), 2), fit_held_out(points, answers, 2, seed=0)
    assert learner.probabilities(points).max(axis=1).mean() > 0.9  # it has learned them by heart
    careful = fit_learner(points, answers, np.ones(200), 2, fit.strength)
    assert careful.probabilities(points, fit.slope).max(axis=1).mean() < 0.7
    # of three classes one has a single label, which no other fold knows
    single = fit_held_out(dense, np.where(np.arange(len(dense)) == 5, 2, of_row), 3, seed=0)
    assert single.strength in STRENGTHS
    assert 0 < single.slope <= 1
    assert fit_held_out(dense[:2], np.array([0, 1]), 2, seed=0) == HeldOutFit(STRENGTH, 1.0)  # nothing to hold out


@pytest.mark.parametrize("value", [0.0, 1.0, 1e6])
def test_rows_that_are_all_identical_are_asked_in_some_order(value: float) -> None:
    dense, answers = np.full((30, 8), value), np.arange(10) % 2
    fit = fit_held_out(dense[:10], answers, 2, seed=0)
    assert fit.strength in STRENGTHS
    assert 0 < fit.slope <= 1
    choices = choose_batch(dense, np.arange(10), answers, np.arange(10, 30), 5, 2, seed=0)
    assert len({each.row for each in choices} & set(range(10, 30))) == 5
    assert all(0 <= each.score <= 1 for each in choices)


def test_few_labels_of_many_numbers_hold_the_learner_back() -> None:
    draw = np.random.default_rng(1)
    points = draw.normal(size=(2_060, 100))
    of_row = (points[:, :10].sum(axis=1) + draw.normal(0, 2, len(points)) > 0).astype(np.int64)
    fit = fit_held_out(points[:60], of_row[:60], 2, seed=0)
    assert fit.strength < STRENGTH

    def loss(strength: float, slope: float) -> float:
        learner = fit_learner(points[:60], of_row[:60], np.ones(60), 2, strength)
        chances = learner.probabilities(points[60:], slope)
        return float(-np.log(chances[np.arange(2_000), of_row[60:]]).mean())

    assert loss(fit.strength, fit.slope) < 0.8 * loss(STRENGTH, 1.0)


def test_the_forecast_holds_what_can_be_checked_by_hand() -> None:
    dense, of_row = make_blobs(60, 2, spread=1.5)
    draw = np.random.default_rng(1)
    order = draw.permutation(len(dense))
    train, test, pool = order[:40], order[40:80], order[80:]
    seen = forecast(dense[train], of_row[train], np.ones(40), dense[test], of_row[test], dense[pool], 2, num_next=20)
    learner = fit_learner(dense[train], of_row[train], np.ones(40), 2)
    accuracy = float((learner.probabilities(dense[test]).argmax(axis=1) == of_row[test]).mean())
    assert seen.accuracy.value == accuracy == seen.curve[-1][1]
    assert [size for size, _ in seen.curve] == [10, 15, 20, 30, 40]
    assert seen.accuracy.low <= accuracy <= seen.accuracy.high
    assert seen.left_at_most == 1 - seen.accuracy.low
    assert seen.gain is not None
    assert 0 <= seen.gain.low <= seen.gain.value <= seen.gain.high <= 1


def label_all(project: Project, num: int, name: str = "ann") -> None:
    """What a story begins with is its class."""
    for item in project.store.next_items(name, num):
        value = "fire" if "burned" in str(item.content["story"]) else "water"
        project.store.record(change(f"{name}-{item.number}", item.number, value, name, duration_s=6.0))


def test_a_queue_is_chosen_from_nothing_and_then_by_labels_with_reasons(make_project: MakeProject) -> None:
    with make_project() as project:
        first = next_batch(project, 10)
        assert (first.num_queued, dict(first.reasons)) == (10, {"typical": 10})
        assert project.store.suggestion(project.store.next_items("bo", 2)[1].number) is None
        label_all(project, 18)
        second = next_batch(project, 8)
        assert dict(second.reasons) == {"uncertain": 8}
        assert second.num_open == 39 - 7 - 12
        queued = [row[0] for row in project.store.connection.execute("SELECT item FROM queue ORDER BY place")]
        assert not any(project.store.item(number).is_test for number in queued)
        suggestion = project.store.suggestion(queued[0])
        assert suggestion is not None
        truth = "fire" if "burned" in str(project.store.item(queued[0]).content["story"]) else "water"
        assert suggestion.value == truth
        words = str(project.store.item(queued[0]).content["story"]).split()
        assert {name for name, _ in suggestion.reasons} & {*words, "amount"}


def test_status_says_how_good_it_is_and_the_data_of_the_test_is_untouched(make_project: MakeProject) -> None:
    with make_project() as project:
        early = status(project)
        assert early.forecast is None
        assert "there are 0 and 0" in early.summary()
        label_all(project, 30)
        late = status(project)
        assert late.pace_per_h == 600
        assert late.forecast is not None
        assert late.forecast.num_test == late.counts.num_test_labeled == 7
        assert late.forecast.accuracy.value == 1.0
        assert late.forecast.left_at_most == pytest.approx(1 - 0.025 ** (1 / 7))  # no error in seven
        assert late.by_label["fire"] + late.by_label["water"] == 30


def test_numbers_of_items_are_kept_and_made_again_when_the_file_is_broken(make_project: MakeProject) -> None:
    with make_project() as project:
        made = load_features(project)
        kept = load_features(project)
        assert np.array_equal(made.dense, kept.dense)
        assert (made.names, made.term_names) == (kept.names, kept.term_names)
        assert made.reasons(0, np.ones(made.dense.shape[1]), 3) == kept.reasons(0, np.ones(made.dense.shape[1]), 3)
        (project.folder / FILE_NAME).write_bytes(b"cut off")
        assert np.array_equal(load_features(project).dense, made.dense)


def test_reasons_add_up_to_what_the_model_computes(make_project: MakeProject) -> None:
    with make_project() as project:
        features = load_features(project)
        direction = np.random.default_rng(0).normal(size=features.dense.shape[1])
        num_topics = features.topics.shape[1]
        whole = float(features.dense[3] @ direction)
        terms = float(np.asarray(features.terms[[3]] @ (features.topics @ direction[:num_topics])).item())
        numbers = float(features.dense[3, num_topics:] @ direction[num_topics:])
        assert terms + numbers == pytest.approx(whole)


def test_people_who_are_right_count_for_more_and_a_reviewer_decides(make_project: MakeProject) -> None:
    with make_project(overlap=1.0) as project:
        for number in range(1, 31):
            truth = "fire" if number % 2 else "water"
            other = "water" if truth == "fire" else "fire"
            for name, value in (("ann", truth), ("bo", truth), ("cy", other if number % 3 == 0 else truth)):
                project.store.record(change(f"{name}{number}", number, value, name))
        # cy is wrong on every third item; where only bo and cy answered, bo is believed
        project.store.record(change("bo31", 31, "fire", "bo"))
        project.store.record(change("cy31", 31, "water", "cy"))
        decided = {each.item: each for each in decide_labels(project)}
        assert decided[31].value == "fire"
        assert 0.5 < decided[31].confidence < 1
        agreement = measure_agreement(project)
        assert agreement.num_shared == 31
        assert agreement.accuracies["cy"] < agreement.accuracies["bo"]
        assert agreement.share == pytest.approx((20 + 10 / 3 + 0) / 31)
        add_person(project.store, "rex", "reviewer")
        project.store.record(change("rex31", 31, "water", "rex"))
        assert {each.item: each.value for each in decide_labels(project)}[31] == "water"


def test_tasks_without_classes_have_a_queue_and_say_what_is_not_told(tmp_path: Path) -> None:
    rows = [f"{number},{number % 7}" for number in range(30)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    new_project(tmp_path / "rows.csv", tmp_path / "project", ProjectOptions("regression"))
    with Project.open(tmp_path / "project") as project:
        assert dict(next_batch(project, 5).reasons) == {"typical": 5}
        assert "can be told of classes" in status(project).summary()


def test_pictures_with_edges_of_different_directions_differ() -> None:
    stripes = np.zeros((3, 32, 32), np.uint8)
    stripes[:, :, ::4] = 255
    turned = stripes.transpose(0, 2, 1)
    flat = np.full((3, 32, 32), 127, np.uint8)
    a, b, c = (describe_picture(each) for each in (stripes, turned, flat))
    assert np.abs(a - b).max() > 0.5
    assert np.abs(c[: -3 * 16]).max() == 0


def test_two_rows_and_labels_of_one_class_are_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("note\nthe pipe broke\nthe roof burned\n")
    options = ProjectOptions("binary", ("fire", "water"), num_test=1)
    new_project(tmp_path / "two.csv", tmp_path / "project", options, kinds={"note": "text"})
    with Project.open(tmp_path / "project") as project:
        assert next_batch(project).num_queued == 1
        [item] = [item for item in project.store.items() if not item.is_test]
        project.store.record(change("a", item.number, "fire"))
        assert next_batch(project).num_queued == 0
        now = status(project)
        assert (now.forecast, now.is_worth_it) == (None, None)
        assert "there are 0 and 1" in now.summary()
