"""The search: repeatable to the byte, within its budget, never below the yardstick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

from deepseek.automl import tabular_pack
from deepseek.automl.blend import SIZE_WORTH, choose_blend, probabilities_of
from deepseek.automl.develop import select_blend
from deepseek.automl.options import ShipOptions
from deepseek.automl.search import Budget, FirstFolds, Search, choose_candidates
from deepseek.automl.ship import ship
from deepseek.automl.shipped import ShipResult
from deepseek.automl.split_data import open_data
from deepseek.automl.tabular_run import TabularRun
from deepseek.automl.trial import Trial
from deepseek.contracts import Task
from deepseek.data import Table
from deepseek.engines import open_runtime
from deepseek.errors import InputError
from deepseek.train.candidates import BASELINE, BUILT_IN, FitData, FittedCandidate
from deepseek.train.candidates.linear import LinearModel
from deepseek.train.tabular.metrics import METRICS
from support.rows.loans import TARGETS, for_task, make_loans

SHALLOW = tuple(c for c in BUILT_IN if c.name in (BASELINE, "linear", "xgboost"))


def evidence(bundle: Path, name: str) -> dict:
    return json.loads((bundle / "evidence" / f"{name}.json").read_text())


def fit_data(num_rows: int = 200, seed: int = 0) -> FitData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_rows, 3)).astype(np.float32)
    target = (features[:, 0] + 0.5 * rng.normal(size=num_rows) > 0).astype(np.int64)
    return FitData(features, target, np.ones(num_rows), "binary", 2, ("numeric",) * 3, (0,) * 3, (0,) * 3)


def halves(num_rows: int = 200) -> list[tuple[np.ndarray, np.ndarray]]:
    rows = np.arange(num_rows)
    return [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])]


def run(num_trials: int | None, *, budget_s: float | None = None, seed: int = 0, reserve_s: float = 0) -> list[Trial]:
    search = Search(fit_data(), halves(), METRICS["binary"]["log_loss"], seed, SHALLOW)
    return search.run(
        Budget(budget_s), num_trials=num_trials, reserve=lambda _: reserve_s, progress=lambda _: None
    )  # fmt: skip


def test_every_family_is_tried_with_its_defaults_and_the_yardstick_first() -> None:
    trials = run(3)
    assert trials[0].family == BASELINE
    assert {t.family for t in trials} == {c.name for c in SHALLOW}
    assert [t.number for t in trials] == [0, 1, 2]


def test_the_yardsticks_held_margin_is_that_of_scikit_learn_up_to_its_temperature() -> None:
    data, first = fit_data(), run(1)[0]
    raw = np.concatenate(
        [
            HistGradientBoostingClassifier(random_state=0)
            .fit(data.features[fit], data.target[fit])
            .decision_function(data.features[held])
            for fit, held in halves()
        ]
    )
    np.testing.assert_allclose(first.margin[:, 0], first.slope * raw, rtol=1e-9)
    held = np.concatenate([held for _, held in halves()])
    assert first.loss <= log_loss(data.target[held], 1 / (1 + np.exp(-raw))) + 1e-12


class Dear(LinearModel):
    """A linear model that guesses its fits to be dear."""

    name = "dear"

    def cost_s(self, data: FitData) -> float:
        return 0.4


@pytest.mark.slow
def test_a_dear_family_waits_until_as_much_was_spent_on_the_others() -> None:
    families = (SHALLOW[0], LinearModel(), Dear())
    search = Search(fit_data(), halves(), METRICS["binary"]["log_loss"], 0, families)
    trials = search.run(Budget(None), num_trials=25, reserve=lambda _: 0, progress=lambda _: None)
    order = [t.family for t in trials]
    cost = {each.name: each.cost_s(search.data) for each in families}
    assert order[:2] == [BASELINE, "linear"]
    first = order.index("dear")
    spent = [sum(cost[name] for name in order[:stop]) for stop in range(len(order))]
    assert spent[first - 1] < cost["dear"] <= spent[first]
    assert all(cost[name] <= before for name, before in zip(order[2:], spent[2:], strict=True))


@pytest.mark.parametrize(("spent_s", "rest_s"), [(0.4, 1.6), (2.0, 2.4)])
def test_what_was_imported_for_the_first_fold_is_not_counted_for_the_others(spent_s: float, rest_s: float) -> None:
    """Of five folds one took .4 or 2 seconds, of .2 that were guessed: four more take at most three times the guess."""
    fitted = LinearModel().fit(fit_data(), {"strength": 1.0}, seed=0)
    assert FirstFolds([fitted], spent_s).rest_s(5, 0.2) == pytest.approx(rest_s)


class Blind(LinearModel):
    """A linear model that sees noise alone, and counts its fits."""

    name = "blind"

    def __init__(self) -> None:
        self.num_fits = 0

    def fit(self, data: FitData, *more: Any, **options: Any) -> FittedCandidate:
        self.num_fits += 1
        noise = np.random.default_rng(self.num_fits).normal(size=data.features.shape).astype(np.float32)
        return super().fit(replace(data, features=noise), *more, **options)


def fifths(num_rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = np.array_split(np.arange(num_rows), 5)
    return [(np.setdiff1d(np.arange(num_rows), part), part) for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize(("num_rows", "num_fits"), [(1_000, 1), (500, 2), (200, 4)])
def test_a_family_that_is_far_behind_ends_on_its_first_folds(num_rows: int, num_fits: int) -> None:
    """On those that hold 150 rows; its place among the trials goes to others."""
    blind = Blind()
    search = Search(
        fit_data(num_rows), fifths(num_rows), METRICS["binary"]["log_loss"], 0, (SHALLOW[0], LinearModel(), blind)
    )
    trials = search.run(Budget(None), num_trials=6, reserve=lambda _: 0, progress=lambda _: None)
    assert blind.num_fits == num_fits
    assert len(trials) == 6
    assert {t.family for t in trials} == {BASELINE, "linear"}


@pytest.mark.slow
def test_a_family_that_is_not_far_behind_is_judged_as_without_a_look_at_its_first_folds() -> None:
    metric = METRICS["binary"]["log_loss"]
    search = Search(fit_data(500), fifths(500), metric, 0, (SHALLOW[0], LinearModel()))
    trials = search.run(Budget(None), num_trials=2, reserve=lambda _: 0, progress=lambda _: None)
    alone = Search(fit_data(500), fifths(500), metric, 0, (LinearModel(),))
    (same,) = alone.run(Budget(None), num_trials=1, reserve=lambda _: 0, progress=lambda _: None)
    np.testing.assert_array_equal(trials[1].margin, same.margin)


class Hazy(LinearModel):
    """A linear model that reads its features through noise of some size, and guesses what a fit costs."""

    def __init__(self, name: str, noise: float, cost: float) -> None:
        self.name, self.noise, self.cost = name, noise, cost

    def cost_s(self, data: FitData) -> float:
        return self.cost

    def fit(self, data: FitData, *more: Any, **options: Any) -> FittedCandidate:
        noise = np.random.default_rng(0).normal(scale=self.noise, size=data.features.shape).astype(np.float32)
        return super().fit(replace(data, features=data.features + noise), *more, **options)


def hazy_search(num_rows: int) -> Search:
    families = (Hazy("first", 0.5, 0.020), Hazy("cheap", 0.5, 0.021), Hazy("better", 0.0, 0.022))
    return Search(fit_data(num_rows), fifths(num_rows), METRICS["binary"]["log_loss"], 0, families)


@pytest.mark.parametrize(("num_rows", "order"), [(1_000, ["better", "cheap"]), (500, ["cheap", "better"])])
def test_families_that_were_looked_at_on_one_fold_of_five_go_on_by_their_losses(
    num_rows: int, order: list[str]
) -> None:
    """Of 500 rows two folds hold 150: a look would cost nearly half of the trial, so the cheapest goes on at once."""
    search = hazy_search(num_rows)
    trials = search.run(Budget(None), num_trials=6, reserve=lambda _: 0, progress=lambda _: None)
    assert not search.ended
    loss = {t.family: t.loss for t in reversed(trials)}
    assert loss["better"] < loss["cheap"]
    assert list(dict.fromkeys(t.family for t in trials)) == ["first", *order]


def test_looks_take_no_more_than_half_of_what_trials_took() -> None:
    """After a trial of .02 one of .12 is not looked at: a fifth of it is more than the half. It is after two more."""
    families = (Hazy("first", 0.5, 0.02), Hazy("cheap", 0.5, 0.021), Hazy("dear", 0.0, 0.12))
    search = Search(fit_data(1_000), fifths(1_000), METRICS["binary"]["log_loss"], 0, families)
    trials = search.run(Budget(None), num_trials=4, reserve=lambda _: 0, progress=lambda _: None)
    assert [t.family for t in trials] == ["first", "cheap", "cheap", "dear"]


@pytest.mark.slow
def test_a_search_that_looks_first_begins_alike_however_long_it_is() -> None:
    short, long = (
        hazy_search(900).run(Budget(None), num_trials=num_trials, reserve=lambda _: 0, progress=lambda _: None)
        for num_trials in (2, 6)
    )
    assert [(t.family, t.loss) for t in long[:2]] == [(t.family, t.loss) for t in short]


def test_optional_families_are_missed_only_by_who_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek.automl.search.is_installed", lambda module: module not in ("catboost", "lightgbm"))
    candidates, warnings = choose_candidates(None)
    assert {each.name for each in candidates} & {"catboost", "lightgbm"} == set()
    assert not warnings
    _, warnings = choose_candidates(["catboost"])
    assert any("catboost was left out" in each and "pip install -e '.[catboost]'" in each for each in warnings)


def test_every_fold_is_judged_at_the_rounds_of_the_refit_not_at_its_own_best() -> None:
    data, boosting = fit_data(), next(c for c in BUILT_IN if c.name == "xgboost")
    search = Search(data, halves(), METRICS["binary"]["log_loss"], 0, (boosting,))
    (trial,) = search.run(Budget(None), num_trials=1, reserve=lambda _: 0, progress=lambda _: None)
    stopped = [
        boosting.fit(data.rows(fit), boosting.defaults(data), seed=0, validation=data.rows(held))
        for fit, held in halves()
    ]
    own = [each.params["rounds"] for each in stopped]
    assert own[0] != own[1]
    assert trial.params["rounds"] == round(sum(own) / 2)
    refitted = [
        boosting.fit(data.rows(fit), trial.params, seed=0).margin(data.features[held]) for fit, held in halves()
    ]
    np.testing.assert_allclose(trial.margin, trial.slope * np.concatenate(refitted), rtol=1e-6)


@pytest.mark.slow
def test_later_trials_depend_on_seed_and_losses_alone() -> None:
    first, again, other = run(7), run(7), run(7, seed=1)
    assert [(t.family, dict(t.params), t.loss) for t in first] == [(t.family, dict(t.params), t.loss) for t in again]
    assert [dict(t.params) for t in first[3:]] != [dict(t.params) for t in other[3:]]


@pytest.mark.slow
def test_a_longer_run_begins_like_a_shorter_one() -> None:
    assert [t.loss for t in run(7)][:5] == [t.loss for t in run(5)]


@pytest.mark.slow
def test_trials_end_before_the_reserve_is_touched() -> None:
    start_s = time.process_time()
    trials = run(None, budget_s=3.0, reserve_s=1.0)
    used_s = time.process_time() - start_s
    assert len(trials) >= 3
    assert used_s <= 2.1, "the last trial may be a little dearer than its guess"


def test_a_budget_that_is_too_small_for_anything_still_gives_the_yardstick() -> None:
    assert [t.family for t in run(None, budget_s=0.001)] == [BASELINE]


def test_on_many_rows_no_blend_is_worse_than_the_best_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are hedged: there the best trial is partly luck. HEDGE_ROWS is lowered instead of making 3,000 rows."""
    monkeypatch.setattr("deepseek.automl.blend.HEDGE_ROWS", 1)
    metric, data = METRICS["binary"]["log_loss"], fit_data()
    search = Search(data, halves(), metric, 0, SHALLOW)
    trials = search.run(Budget(None), num_trials=5, reserve=lambda _: 0, progress=lambda _: None)
    blend = choose_blend(trials, data.rows(search.held_out), metric, "log-odds", seed=0)
    assert blend.loss <= min(t.loss for t in trials) * (1 + SIZE_WORTH)


def test_few_rows_hedge_between_families() -> None:
    metric, data = METRICS["binary"]["log_loss"], fit_data()
    search = Search(data, halves(), metric, 0, SHALLOW)
    trials = search.run(Budget(None), num_trials=5, reserve=lambda _: 0, progress=lambda _: None)
    blend = choose_blend(trials, data.rows(search.held_out), metric, "log-odds", seed=0)
    assert len({t.family for t in blend.trials} - {BASELINE}) >= 2


def make_trial(data: FitData, number: int, family: str, noise: float, size_bytes: int, *, shared: float = 0.0) -> Trial:
    """A trial whose held margin is the truth under noise, a share of which all trials have in common."""
    truth = 2.0 * (2 * data.target - 1)
    own, common = (np.random.default_rng(seed).normal(size=len(truth)) for seed in (number, 99))
    margin = (truth + noise * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common))[:, None]
    loss = METRICS["binary"]["log_loss"].loss(data.target, probabilities_of(data, margin), data.weight)
    return Trial(number, family, {}, "identity", 0, 1.0, margin, None, loss, 1.0, 1.0, size_bytes)


@pytest.mark.parametrize(("size_bytes", "kept"), [(1_000, True), (50_000_000, False)])
def test_a_part_has_to_be_worth_its_size(size_bytes: int, kept: bool) -> None:
    """The second family takes some 5 % off the loss: enough for a few bytes, too little for eight halvings."""
    data, metric = fit_data(6_000), METRICS["binary"]["log_loss"]
    trials = [make_trial(data, 0, BASELINE, 9.0, 1_000), make_trial(data, 1, "linear", 1.0, 1_000, shared=0.8)]
    trials.append(make_trial(data, 2, "xgboost", 1.0, size_bytes, shared=0.8))
    blend = choose_blend(trials, data, metric, "log-odds", seed=0)
    assert blend.loss <= (0.98 if kept else 1.01) * min(t.loss for t in trials)
    assert ("xgboost" in {t.family for t in blend.trials}) is kept


@pytest.mark.parametrize(("growth", "num_parts"), [(1.0, 2), (2.5, 1)])
def test_a_family_whose_refit_grows_is_refitted_once(growth: float, num_parts: int) -> None:
    """Two trials of a family that err on different rows: both are wanted, unless the budget keeps room for one."""
    data, metric = fit_data(6_000), METRICS["binary"]["log_loss"]
    trials = [make_trial(data, 0, BASELINE, 9.0, 1_000)]
    trials += [replace(make_trial(data, number, "linear", 3.0, 1_000), refit_s=growth) for number in (1, 2)]
    blend = choose_blend(trials, data, metric, "log-odds", seed=0)
    assert [t.family for t in blend.trials if t.number] == ["linear"] * num_parts


def test_few_rows_of_a_class_are_hedged_like_few_rows() -> None:
    data, metric = fit_data(40_000), METRICS["binary"]["log_loss"]
    rare = replace(data, target=(np.arange(len(data.target)) % 400 == 0).astype(np.int64))
    for rows, num_families in ((data, 1), (rare, 2)):
        trials = [make_trial(rows, 0, BASELINE, 9.0, 1_000), make_trial(rows, 1, "linear", 0.5, 1_000)]
        trials.append(make_trial(rows, 2, "xgboost", 3.0, 1_000))
        blend = choose_blend(trials, rows, metric, "log-odds", seed=0)
        assert len({t.family for t in blend.trials}) == num_families


@pytest.mark.parametrize(
    ("target", "task", "num_classes", "expected"),
    [
        ([0, 1] * 50, "binary", 2, 100),
        ([0] * 99 + [1], "binary", 2, 4 / (1 / 99 + 1)),
        ([0, 1, 2] * 20, "multiclass", 3, 60),
        ([0.5] * 30, "regression", 0, 30),
    ],
)
def test_rows_count_as_much_as_they_tell_of_the_rarer_class(
    target: list[float], task: Task, num_classes: int, expected: float
) -> None:
    data = replace(fit_data(), target=np.array(target), task=task, num_classes=num_classes)
    assert data.num_effective == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(METRICS["binary"]))
def test_no_blend_is_worse_on_the_held_rows_than_the_yardstick(name: str) -> None:
    metric, data = METRICS["binary"][name], fit_data()
    search = Search(data, halves(), metric, 0, SHALLOW)
    trials = search.run(Budget(None), num_trials=5, reserve=lambda _: 0, progress=lambda _: None)
    blend = choose_blend(trials, data.rows(search.held_out), metric, "log-odds", seed=0)
    assert blend.loss <= trials[0].loss
    assert sum(blend.weights) == pytest.approx(1)
    assert all(weight > 0 for weight in blend.weights)


def test_a_blend_for_average_precision_minds_the_order_of_all_rows_too() -> None:
    """Where the metric alone would take the trial that is best at the top and no better than chance below it."""
    data, metric = fit_data(6_000), METRICS["binary"]["average_precision"]
    rng = np.random.default_rng(1)
    rare = replace(data, target=(rng.uniform(size=6_000) < 0.02).astype(np.int64))
    is_rare = rare.target == 1
    top = is_rare & (rng.uniform(size=6_000) < 0.4)
    sharp = np.where(top, 9.0, 0.0) + rng.normal(size=6_000)
    broad = np.where(is_rare, 2.2, 0.0) + rng.normal(size=6_000)
    assert metric.loss(rare.target, probabilities_of(rare, sharp[:, None]), rare.weight) < metric.loss(
        rare.target, probabilities_of(rare, broad[:, None]), rare.weight
    )
    trials = [make_trial(rare, 0, BASELINE, 30.0, 1_000)]
    for number, (family, margin) in enumerate((("linear", sharp), ("xgboost", broad)), 1):
        loss = metric.loss(rare.target, probabilities_of(rare, margin[:, None]), rare.weight)
        trials.append(replace(make_trial(rare, number, family, 1.0, 1_000), margin=margin[:, None], loss=loss))
    trials[0] = replace(trials[0], loss=metric.loss(rare.target, probabilities_of(rare, trials[0].margin), rare.weight))
    blend = select_blend(trials, rare, metric, "log-odds", 0)
    assert blend.loss == metric.loss(rare.target, blend.held_out_output(rare), rare.weight)
    alone, by_auc = choose_blend(trials, rare, metric, "log-odds", seed=0), METRICS["binary"]["auc"]
    assert by_auc.loss(rare.target, blend.held_out_output(rare), rare.weight) < by_auc.loss(
        rare.target, alone.held_out_output(rare), rare.weight
    )


def test_where_the_steadier_choice_falls_below_the_yardstick_the_metric_chooses_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The steadier judge is turned into one that likes bad blends."""
    data, metric = fit_data(6_000), METRICS["binary"]["average_precision"]
    bad = replace(metric, higher_is_better=False)
    monkeypatch.setattr("deepseek.automl.develop.stabilize_metric", lambda _: bad)
    trials = [make_trial(data, 0, BASELINE, 2.0, 1_000), make_trial(data, 1, "linear", 90.0, 1_000)]
    losses = [metric.loss(data.target, probabilities_of(data, t.margin), data.weight) for t in trials]
    trials = [replace(t, loss=loss) for t, loss in zip(trials, losses, strict=True)]
    by_bad = choose_blend(trials, data, bad, "log-odds", seed=0)
    assert metric.loss(data.target, by_bad.held_out_output(data), data.weight) > losses[0]
    assert select_blend(trials, data, metric, "log-odds", 0).loss <= losses[0]


@pytest.mark.slow
def test_equal_seed_and_trials_give_an_equal_digest_in_another_process(tmp_path: Path) -> None:
    """All six families, with another hash seed, so that no order of a set or of the clock can hide."""
    for name, num_rows, seed in (("loans", 80, 0), ("held", 40, 1)):
        make_loans(num_rows, seed).pipe(for_task, "binary").to_csv(tmp_path / f"{name}.csv", index=False)
    loans, held = str(tmp_path / "loans.csv"), str(tmp_path / "held.csv")
    here = ship(loans, validation=held, target="default", trials=8, seed=3, out=tmp_path / "loans")
    verb = ["ship", loans, "--validation", held, "--target", "default", "--trials", "8", "--seed", "3", "--json"]
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", *verb, "--out", str(tmp_path / "there")],
        capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    assert json.loads(done.stdout)["digest"] == here.digest


@pytest.mark.slow
def test_a_budgeted_run_records_its_trials_and_repeats_to_the_same_digest(tmp_path: Path) -> None:
    table = make_loans().pipe(for_task, "binary")
    knobs = {"target": "default", "candidates": ("linear", "xgboost"), "seed": 1}
    start_s = time.process_time()
    first = ship(table, out=tmp_path / "timed", budget_s=4.0, **knobs)  # type: ignore[arg-type]
    used_s = time.process_time() - start_s
    assert first.num_trials >= 2, "the baseline and one more, however slow the processor"
    assert used_s <= 4.0 * 1.05
    recorded = json.loads((first.path / "bundle.json").read_text())["lineage"]["config"]["trials"]
    assert recorded == first.num_trials == evidence(first.path, "search")["num_trials"]
    again = ship(table, out=tmp_path / "counted", trials=recorded, **knobs)  # type: ignore[arg-type]
    assert again.digest == first.digest
    # How much of 4 s one more trial would take depends on the processor; that three times as much buys more does not.
    more = ship(table, out=tmp_path / "more", budget_s=12.0, **knobs)  # type: ignore[arg-type]
    assert more.num_trials > first.num_trials, "a budget is there to be used"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_blend_is_not_below_the_yardstick_on_the_held_rows(
    quick_ship: Callable[..., ShipResult], task: str
) -> None:
    shipped = quick_ship(for_task(make_loans(), task), target=TARGETS[task])
    search = evidence(shipped.path, "search")
    assert search["held_loss"] <= search["yardstick"]["held_loss"]
    assert search["yardstick"]["family"] == BASELINE
    assert [entry["number"] for entry in search["trials"]] == [0, 1]


@pytest.mark.slow
def test_the_largest_seed_can_be_shipped(quick_ship: Callable[..., ShipResult]) -> None:
    shipped = quick_ship(for_task(make_loans(100), "binary"), seed=2**31 - 1, trials=3)
    assert shipped.seed == 2**31 - 1


HIDE_TORCH = """
import sys
from importlib.machinery import PathFinder
class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "torch" else super().find_spec(name, path, target)
sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
import json
from deepseek.automl.ship import ship
shipped = ship(sys.argv[1], target="default", out=sys.argv[2], trials=2, candidates=("linear", "mlp"))
print(json.dumps([list(shipped.warnings), "torch" in sys.modules]))
"""


@pytest.mark.slow
def test_a_family_whose_library_is_absent_is_left_out_and_said(tmp_path: Path) -> None:
    make_loans(100).pipe(for_task, "binary").to_csv(tmp_path / "loans.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-c", HIDE_TORCH, str(tmp_path / "loans.csv"), str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    warnings, loaded = json.loads(done.stdout)
    assert any("mlp was left out" in warning and "pip install -e '.[train]'" in warning for warning in warnings)
    assert not loaded


def test_one_fold_judges_where_the_first_trees_are_dear_for_the_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {**dict(zip("abcdefgh", rng.normal(size=(8, 6_000)), strict=True)), "y": rng.normal(size=6_000)}
    many = Table(columns, dict.fromkeys(columns, "number"))
    few = many.take(np.arange(3_000))
    for table, budget_s, num_folds in ((many, 20.0, 5), (many, 2.0, 1), (few, 2.0, 5)):
        options = ShipOptions(target="y", out=tmp_path / "out", budget_s=budget_s)
        _, folds = TabularRun.of(open_data(table, options), options).check()
        assert len(folds) == num_folds


def test_a_model_that_is_not_refitted_answers_the_held_rows_as_it_was_judged(tmp_path: Path) -> None:
    """A threshold with a bound is set by the very model that is shipped: the held rows taught it nothing."""
    rng = np.random.default_rng(0)

    def table(num_rows: int) -> Table:
        features = rng.normal(size=(num_rows, 3))
        target = (features @ [1.0, -1.0, 0.5] + rng.normal(size=num_rows) > 0).astype(float)
        columns = {**dict(zip("abc", features.T, strict=True)), "y": target}
        return Table(columns, dict.fromkeys(columns, "number"))

    held = table(120)
    options = ShipOptions(
        target="y", out=tmp_path / "out", validation=held, test=table(60), trials=2, candidates=("xgboost",)
    )
    run = TabularRun.of(open_data(table(200), options), options)
    kept, refitted = run.develop(refit_on_held=False), run.develop()
    assert kept.held_out_rows.tolist() == list(range(200, 320))  # the validation rows, behind those for training
    features = run.fit_data(held).features
    np.testing.assert_array_equal(kept.model.score(features).output, kept.held_out_output)
    assert (refitted.model.score(features).output != refitted.held_out_output).any()
    folded = replace(options, validation=None)
    with pytest.raises(InputError, match="one fold where nothing is refitted"):
        TabularRun.of(open_data(table(200), folded), folded).develop(refit_on_held=False)


class RecordingLinear(LinearModel):
    """A linear model that keeps the features that it was fitted and stopped by."""

    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def fit(self, data: FitData, params: Any, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        assert validation is not None
        self.seen.append((data.features, validation.features))
        return super().fit(data, params, seed=seed, validation=validation)


def test_each_fold_has_an_order_of_levels_of_its_own_which_no_row_to_judge_by_has_a_part_in() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 13, 400)
    target = (rng.random(400) < codes % 5 / 5).astype(np.int64)
    features = np.stack([codes, rng.normal(size=400)], axis=1).astype(np.float32)
    data = FitData(features, target, np.ones(400), "binary", 2, ("code", "numeric"), (13, 0), (0, 0))
    folds = halves(400)

    def features_seen(labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        family = RecordingLinear()
        metric = METRICS["binary"]["log_loss"]
        search = Search(replace(data, target=labels), folds, metric, 0, (family,), orders_levels=True)
        search.run(Budget(None), num_trials=1, reserve=lambda _: 0, progress=lambda _: None)
        return family.seen

    first = features_seen(target)
    for (fitted, judged), (fit_rows, held_out_rows) in zip(first, folds, strict=True):
        ranks = data.level_ranks(fit_rows)
        assert np.array_equal(fitted, data.rows(fit_rows, ranks).features)
        assert np.array_equal(judged, data.rows(held_out_rows, ranks).features)
    assert not np.array_equal(first[0][0][:, 0], features[folds[0][0], 0])
    turned = target.copy()
    turned[folds[0][1]] = 1 - turned[folds[0][1]]
    assert all(np.array_equal(*pair) for pair in zip(first[0], features_seen(turned)[0], strict=True))


def test_a_bundle_has_its_levels_in_the_order_of_the_rows_to_develop_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cities = [f"city{number}" for number in rng.integers(0, 12, 600)]
    columns = {"city": np.array(cities, object), "x": rng.normal(size=600)}
    columns["y"] = np.array([float(name[4:]) for name in cities]) + 0.5 * rng.normal(size=600)
    table = Table(columns, {"city": "text", "x": "number", "y": "number"})
    options = ShipOptions(target="y", out=tmp_path / "out", trials=2, candidates=("xgboost",))
    run = TabularRun.of(open_data(table, options), options)
    (coder,) = [column.coder for column in run.preprocessor.columns if column.name == "city"]
    by_rank = [level for _, level in sorted(zip(coder.ranks, coder.levels, strict=True))]
    assert by_rank == [f"city{number}" for number in range(12)]
    plain = TabularRun.of(open_data(table, options), options, orders_levels=False)
    assert all(not getattr(column.coder, "ranks", ()) for column in plain.preprocessor.columns)


@pytest.mark.slow
def test_rows_that_are_answered_have_the_codes_that_were_fitted(tmp_path: Path) -> None:
    """By codes of another order an answer would be that of another city, 4 away on average."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 12, 600)
    columns = {"city": np.array([f"city{place}" for place in places], object), "x": rng.normal(size=600)}
    table = Table({**columns, "y": places + rng.normal(size=600)}, {"city": "text", "x": "number", "y": "number"})
    shipped = ship(table, target="y", out=tmp_path / "out", trials=1)
    answers = open_runtime(shipped.path).predict([{"city": f"city{place}", "x": 0.0} for place in range(12)])
    assert np.abs(answers.values - np.arange(12)).max() < 1.5


@pytest.mark.slow
def test_fewer_rows_are_explained_for_the_evidence_where_trees_are_many(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hundred rows by a forest of 1.5 million nodes took more than twice the budget of the run."""
    numbers = []
    for name, num_nodes in (("whole", tabular_pack.EXPLAIN_NODES), ("few", 1)):
        monkeypatch.setattr(tabular_pack, "EXPLAIN_NODES", num_nodes)
        loans = for_task(make_loans(), "regression")
        shipped = ship(loans, target="price", out=tmp_path / name, trials=1, candidates=("xgboost",))
        numbers.append(evidence(shipped.path, "explanation")["num_rows"])
    assert numbers == [min(tabular_pack.EXPLAIN_ROWS, 80), tabular_pack.MIN_EXPLAIN_ROWS]
