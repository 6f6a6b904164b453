"""What keeps a run within its budget: dear yardsticks, guesses of many classes, what large models cost at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.automl import tabular_pack, tabular_run
from deepseek.automl.blend import LARGE_BYTES, choose_blend, probabilities_of
from deepseek.automl.develop import _reach, finish_s
from deepseek.automl.options import ShipOptions
from deepseek.automl.search import Budget, Search
from deepseek.automl.shipped import ShipResult
from deepseek.automl.split_data import open_data
from deepseek.automl.tabular_run import MAX_YARDSTICK_SHARE, TabularRun
from deepseek.automl.trial import Reach, Trial
from deepseek.contracts import Task
from deepseek.engines import onnx
from deepseek.explain.tabular.trees.leaf_tables import LeafTables
from deepseek.train.candidates import BASELINE, BUILT_IN, Candidate, FitData, FittedCandidate
from deepseek.train.candidates.boosting import MIN_ROUNDS, ROUNDS, HistGradientBoosting
from deepseek.train.candidates.forest import MIN_TREES
from deepseek.train.candidates.linear import LinearModel
from deepseek.train.tabular.metrics import METRICS
from support.rows.loans import for_task, make_loans


def family(name: str) -> Candidate:
    return next(each for each in BUILT_IN if each.name == name)


def rows_of(num_classes: int, num_rows: int, num_features: int = 4) -> FitData:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(num_rows, num_features)).astype(np.float32)
    target = np.arange(num_rows) % num_classes
    features[:, 0] += target
    no = (0,) * num_features
    task: Task = "binary" if num_classes == 2 else "multiclass"
    return FitData(features, target, np.ones(num_rows), task, num_classes, ("numeric",) * num_features, no, no)


@pytest.mark.parametrize(("share", "rounds"), [(2.0, None), (0.99, ROUNDS), (0.25, ROUNDS // 2), (0.01, MIN_ROUNDS)])
def test_the_yardstick_has_as_many_small_trees_as_its_share_of_the_budget_allows(
    share: float, rounds: int | None
) -> None:
    data, boosting = rows_of(6, 300), HistGradientBoosting()
    fit_s = share * boosting.cost_s(data)
    params = boosting.affordable(data, fit_s)
    if rounds is None:
        assert params == boosting.defaults(data) == {}
        assert boosting.affordable_cost_s(data, fit_s) == boosting.cost_s(data)
        return
    assert params["max_iter"] == pytest.approx(rounds, abs=1)
    assert rounds == MIN_ROUNDS or boosting.affordable_cost_s(data, fit_s) <= fit_s


@pytest.mark.slow
def test_a_dear_yardstick_keeps_its_rounds_where_classes_are_nearly_sure() -> None:
    """Of classes that a column tells apart, the defaults grow leaves that change nothing: small trees with a penalty
    are a fraction of their size, and as many rounds of them leave no more loss."""
    data, boosting = rows_of(20, 600), HistGradientBoosting()
    data = replace(data, features=(data.features + 3 * data.target[:, None]).astype(np.float32))
    fits = {
        name: boosting.fit(data.rows(np.arange(400)), params, seed=0)
        for name, params in (("small", boosting.affordable(data, 0.5 * boosting.cost_s(data))), ("defaults", {}))
    }
    assert fits["small"].params["max_iter"] == ROUNDS
    assert fits["small"].size_bytes < 0.8 * fits["defaults"].size_bytes
    seen = data.rows(np.arange(400, 600))
    loss = {
        name: METRICS["multiclass"]["log_loss"].loss(
            seen.target, probabilities_of(seen, fit.margin(seen.features)), seen.weight
        )
        for name, fit in fits.items()
    }
    assert loss["small"] < loss["defaults"]


def test_a_dear_yardstick_is_tried_and_refitted_with_small_trees() -> None:
    data = rows_of(6, 300)
    folds = [(np.arange(200), np.arange(200, 300))]
    metric = METRICS["multiclass"]["log_loss"]
    families = (family(BASELINE), family("linear"))
    for yardstick_s, rounds in ((100.0, None), (0.01, MIN_ROUNDS)):
        search = Search(data, folds, metric, 0, families, yardstick_s=yardstick_s)
        (trial,) = search.run(Budget(None), num_trials=1, reserve=lambda _: 0, progress=lambda _: None)
        assert trial.family == BASELINE
        assert trial.params.get("max_iter") == rounds, "a refit repeats these settings"


class Slow(LinearModel):
    """A linear model that guesses its fits to take so long, and needs a module."""

    def __init__(self, name: str, cost_s: float, needs: tuple[str, ...] = ()) -> None:
        self.name, self.guess_s, self.needs = name, cost_s, needs
        self.was_imported: list[bool] = []

    def cost_s(self, data: FitData) -> float:
        return self.guess_s

    def fit(self, *arguments: Any, **options: Any) -> FittedCandidate:
        self.was_imported += [name in sys.modules for name in self.needs]
        return super().fit(*arguments, **options)


def fifths_of(num_rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = np.array_split(np.random.default_rng(1).permutation(num_rows), 5)
    return [(np.setdiff1d(np.arange(num_rows), part), part) for part in parts]


def test_an_import_does_not_count_as_the_first_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one fold judges, torch's import made a net of 2 s one of 5, and its last fit was expected to take that."""
    (tmp_path / "slowly_imported.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slowly_imported", raising=False)
    data, slow = rows_of(2, 300), Slow("slow", 0.1, ("slowly_imported",))
    folds = [(np.arange(200), np.arange(200, 300))]
    search = Search(data, folds, METRICS["binary"]["log_loss"], 0, (family(BASELINE), slow))
    search.run(Budget(None), num_trials=2, reserve=lambda _: 0, progress=lambda _: None)
    assert slow.was_imported == [True]


@pytest.mark.parametrize("num_folds", [5, 1])
def test_there_is_room_for_the_last_fit_of_a_family_before_it_is_tried(num_folds: int) -> None:
    """Where nets led, their last fit took as much again as their trial: 115 to 131 % of the budget."""
    data, folds, total_s = rows_of(2, 1_000), fifths_of(1_000)[:num_folds], 1e6
    families = (family(BASELINE), Slow("slow", 0.1))

    def reserve(trials: Sequence[Trial]) -> float:
        return 2 * total_s * any(trial.family == "slow" for trial in trials)

    search = Search(data, folds, METRICS["binary"]["log_loss"], 0, families)
    assert len(search.run(Budget(None), num_trials=2, reserve=reserve, progress=lambda _: None)) == 2
    (trial,) = search.run(Budget(total_s), num_trials=None, reserve=reserve, progress=lambda _: None)
    assert trial.family == BASELINE


def test_a_family_that_the_budget_cannot_hold_leaves_it_to_others() -> None:
    """By guesses, so that the same budget and number of trials have the same order, whatever the clock says."""
    data, folds = rows_of(2, 300), fifths_of(300)
    families = (Slow("first", 0.5), Slow("other", 0.5), Slow("dear", 4.0))  # three times 4 s are spent in 24 trials
    orders = {}
    for budget_s in (1e6, 20.0):
        reach = Reach(budget_s, growth=1.25, finish_s=2.5)
        search = Search(data, folds, METRICS["binary"]["log_loss"], 0, families, reach=reach)
        trials = search.run(Budget(None), num_trials=40, reserve=lambda _: 0, progress=lambda _: None)
        orders[budget_s] = [trial.family for trial in trials]
    assert "dear" in orders[1e6]
    assert "dear" not in orders[20.0]
    assert len(orders[20.0]) == 40


def test_a_forest_that_is_too_large_for_the_budget_is_beyond_its_reach() -> None:
    """60 MB took 18 s of 20 after the search."""
    reach = Reach(20.0, growth=1.25, finish_s=3.0)
    assert reach.holds(before_s=3.0, trial_s=3.0, fit_s=1.0, size_bytes=1_000_000)
    assert not reach.holds(before_s=3.0, trial_s=3.0, fit_s=1.0, size_bytes=60_000_000)


@pytest.mark.slow
def test_a_forest_has_as_many_trees_as_the_budget_has_room_for() -> None:
    """It is judged with them, and fitted again with them: 61 MB took 18 s after the search."""
    data, folds = rows_of(2, 1_000), fifths_of(1_000)
    trees, forest = {}, family("random_forest")
    for budget_s in (1e6, 0.4):
        search = Search(
            data, folds, METRICS["binary"]["log_loss"], 0, (forest,), reach=Reach(budget_s, growth=1.25, finish_s=0.0)
        )
        (trial,) = search.run(Budget(None), num_trials=1, reserve=lambda _: 0, progress=lambda _: None)
        trees[budget_s] = trial.params["n_estimators"]
        assert search.reach is not None
        assert trial.size_bytes <= 1.1 * search.reach.most_bytes
        again = forest.fit(data.rows(folds[0][0]), trial.params, seed=0)
        np.testing.assert_allclose(
            trial.shares[: len(folds[0][1])],  # type: ignore[index]
            again.margin(data.features[folds[0][1]]),
            err_msg="the trees of a forest are drawn one after the other",
        )
    assert MIN_TREES < trees[0.4] < trees[1e6]


@pytest.mark.parametrize(
    ("num_classes", "num_rows", "is_limited"), [(2, 600, False), (2, 4_000, True), (12, 600, True), (3, 600, False)]
)
def test_few_rows_of_few_classes_are_repeated_by_the_number_of_trials_alone(
    num_classes: int, num_rows: int, is_limited: bool
) -> None:
    data = rows_of(num_classes, num_rows)
    metric = METRICS["binary" if num_classes == 2 else "multiclass"]["log_loss"]
    search = Search(data, fifths_of(num_rows), metric, 0, (family(BASELINE),), yardstick_s=0.2)
    assert (_reach(search, 1.25, 4.0) is not None) is is_limited


def test_a_dear_family_that_does_not_lead_waits_while_cheap_ones_go_on() -> None:
    """A net that was looked at, of 1.8 s a fold, ended runs at half of the budget."""
    data, folds = rows_of(2, 1_000), fifths_of(1_000)
    families = (Slow("first", 0.5), Slow("dear", 2.0))
    search = Search(data, folds, METRICS["binary"]["log_loss"], 0, families)
    trials = search.run(Budget(None), num_trials=14, reserve=lambda _: 0, progress=lambda _: None)
    order = [trial.family for trial in trials]
    assert order.index("dear") == 12, "after 12 trials of half a second, three times of what it takes"


def test_the_yardstick_has_a_share_of_the_budget_by_its_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    options_seen: dict[str, Any] = {}

    monkeypatch.setattr(tabular_run, "develop", lambda *_, **options: options_seen.update(options))
    options = ShipOptions(target="default", out="out", budget_s=20.0, candidates=("linear",))
    TabularRun.of(open_data(for_task(make_loans(), "binary"), options), options).develop()
    assert options_seen["yardstick_s"] == MAX_YARDSTICK_SHARE * 20.0
    assert options_seen["budget_s"] == 20.0


def test_guesses_of_many_classes_have_the_order_of_what_was_measured() -> None:
    """15,000 rows of 16 features and 26 classes: LightGBM takes 46 s a fit, XGBoost 31, the yardstick 7, a random
    forest 4.4, extra trees 3.8. LightGBM was guessed to take less than the yardstick, and forests more than all."""
    data = rows_of(26, 15_000, 16)
    cost = {name: family(name).cost_s(data) for name in ("lightgbm", "xgboost", BASELINE, "random_forest")}
    assert cost["random_forest"] < cost[BASELINE] < cost["xgboost"] < cost["lightgbm"]
    assert family("extra_trees").cost_s(data) < cost["random_forest"]


@pytest.mark.parametrize("num_classes", [2, 6, 26])
def test_a_tree_for_each_class_makes_lightgbm_take_larger_steps(num_classes: int) -> None:
    few = family("lightgbm").defaults(rows_of(2, 300))["learning_rate"]
    many = family("lightgbm").defaults(rows_of(num_classes, 300))["learning_rate"]
    assert (many > few) is (num_classes > 2)


@pytest.mark.slow
def test_the_graph_is_made_and_opened_once(
    monkeypatch: pytest.MonkeyPatch, quick_ship: Callable[..., ShipResult]
) -> None:
    """For test rows, parity, the choice of the engine and explanations alike: of 61 MB each opening took seconds."""
    calls = {"open_session": 0, "export_onnx": 0}

    def count(module: Any, name: str) -> None:
        original = getattr(module, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    count(onnx, "open_session")
    count(tabular_pack, "export_onnx")
    shipped = quick_ship(for_task(make_loans(), "binary"))
    assert calls == {"open_session": 1, "export_onnx": 1}
    report = json.loads((shipped.path / "evidence" / "explanation.json").read_text())
    assert report["max_residual"] < 1e-4


@pytest.mark.slow
def test_rows_that_are_explained_once_make_no_tables_of_trees(
    monkeypatch: pytest.MonkeyPatch, quick_ship: Callable[..., ShipResult]
) -> None:
    """Tables of 172 trees took 2.6 s; a hundred rows are walked in .1."""
    num_tables, enter = [], LeafTables.__init__
    monkeypatch.setattr(
        LeafTables, "__init__", lambda self, *rest, **more: (num_tables.append(1), enter(self, *rest, **more))[1]
    )
    shipped = quick_ship(for_task(make_loans(), "regression"), target="price", candidates=("xgboost",))
    report = json.loads((shipped.path / "evidence" / "explanation.json").read_text())
    assert "TreeSHAP, exact" in report["method"]
    assert not num_tables


def make_trial(data: FitData, number: int, name: str, margin: np.ndarray, size_bytes: int) -> Trial:
    loss = METRICS["binary"]["log_loss"].loss(data.target, probabilities_of(data, margin[:, None]), data.weight)
    return Trial(number, name, {}, "identity", 0, 1.0, margin[:, None], None, loss, 1.0, 1.0, size_bytes)


@pytest.mark.parametrize(("num_right", "is_large"), [(1, False), (40, True)])
def test_a_large_model_gives_way_to_a_small_one_that_is_as_good_within_noise(num_right: int, is_large: bool) -> None:
    """One of four rows that the small one has wrong, and the large one right, takes 11 % off its loss: that is luck.
    36 rows of which it is surer are not."""
    data, rng = rows_of(2, 150), np.random.default_rng(3)
    truth = 2.0 * data.target - 1
    small = 2 * truth + rng.normal(scale=0.3, size=150)
    small[:4] = -5 * truth[:4]
    large = small + rng.normal(scale=0.3, size=150)
    large[:num_right] = 4 * truth[:num_right]
    trials = [
        make_trial(data, 0, BASELINE, 3 * rng.normal(size=150), 1_000),
        make_trial(data, 1, "xgboost", small, 100_000),
        make_trial(data, 2, "random_forest", large, 2 * LARGE_BYTES),
    ]
    assert trials[2].loss < 0.95 * trials[1].loss
    blend = choose_blend(trials, data, METRICS["binary"]["log_loss"], "log-odds", seed=0)
    assert (max(trial.size_bytes for trial in blend.trials) >= LARGE_BYTES) is is_large


def test_what_follows_a_search_counts_the_bytes_of_what_leads() -> None:
    data = rows_of(2, 100)
    margin = 2.0 * data.target - 1
    trials = [make_trial(data, 0, BASELINE, 0 * margin, 1_000), make_trial(data, 1, "random_forest", margin, 1_000)]
    small_s = finish_s(trials, 100, 100, 1.25)
    large_s = finish_s([trials[0], replace(trials[1], size_bytes=60_000_000)], 100, 100, 1.25)
    assert large_s - small_s > 10.0, "60 MB took 18 s"
    grows_s = finish_s([trials[0], replace(trials[1], size_bytes=60_000_000, refit_s=2.5)], 100, 100, 1.25)
    assert grows_s - large_s > large_s - small_s, "a refit with 2.5 times the trees is as much larger"
    far = replace(trials[1], size_bytes=60_000_000, loss=1.2 * trials[0].loss)
    assert finish_s([trials[0], far], 100, 100, 1.25) < small_s, "a forest that is far behind is not refitted"


def test_rows_that_do_not_judge_hardly_count() -> None:
    """Of 33,700 rows one fold in four judged: 5 s were kept for what takes 2, and a trial less was tried."""
    data = rows_of(2, 100)
    trials = [make_trial(data, 0, BASELINE, np.zeros(100), 1_000)]
    none_s, some_s, all_s = (
        finish_s(trials, num_rows, num_judged, 1.25)
        for num_rows, num_judged in ((0, 0), (33_700, 8_400), (33_700, 33_700))
    )
    assert some_s - none_s < 0.5 * (all_s - none_s)
