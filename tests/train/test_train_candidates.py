"""Every family, built in, by the one protocol: what it answers is what its arrays answer, whatever the table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from deepseek.engines.tabular.export import export_onnx
from deepseek.nn.model import MarginScale, Model, Part, PartWeights
from deepseek.nn.trees import TreeTable
from deepseek.train.candidates import BUILT_IN, Candidate, FitData, Params
from deepseek.train.candidates.boosting import HistGradientBoosting
from deepseek.train.candidates.texts import TextLinear

#: Those that read numbers; what reads texts is in tests/automl/test_automl_texts.py.
OF_NUMBERS = [candidate for candidate in BUILT_IN if not isinstance(candidate, TextLinear)]
NAMES = [candidate.name for candidate in OF_NUMBERS]
TASKS = ("binary", "multiclass", "regression")
QUICK = {"mlp": {"epochs": 4}}
FORESTS = ("random_forest", "extra_trees")
BOOSTED = ("xgboost", "lightgbm", "catboost")  # by rounds, with early stopping


def table(task: str, *, num_rows: int = 120, seed: int = 0) -> FitData:
    """Two numbers, a code of 6 levels with one-hots for two of them, and a mark of what was missing."""
    rng = np.random.default_rng(seed)
    numbers, code = rng.normal(size=(num_rows, 2)), rng.integers(0, 6, num_rows)
    score = numbers[:, 0] + np.array([0, 1, -1, 2, 0.5, -2])[code] + 0.3 * rng.normal(size=num_rows)
    missing = rng.random(num_rows) < 0.1
    features = np.column_stack([numbers, code, code == 1, code == 2, missing]).astype(np.float32)
    if task == "regression":
        target: np.ndarray = 50 * score + 1000
    else:
        cuts = np.quantile(score, [0.5] if task == "binary" else [0.33, 0.66])
        target = np.searchsorted(cuts, score)
    return FitData(
        features, target, np.ones(num_rows), task, {"binary": 2, "multiclass": 3}.get(task, 0),
        kinds=("numeric", "numeric", "code", "onehot", "onehot", "missing"), num_levels=(0, 0, 6, 0, 0, 0),
        monotone=(0,) * 6,
    )  # fmt: skip


def quick(candidate: Candidate, data: FitData) -> Params:
    knobs = dict(candidate.defaults(data)) | QUICK.get(candidate.name, {})
    return knobs | ({"rounds": 20} if candidate.name in BOOSTED else {})


@pytest.fixture(params=OF_NUMBERS, ids=NAMES)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    for module in request.param.needs:  # CatBoost is in no extra that the tests install
        pytest.importorskip(module)
    return request.param


@pytest.fixture(params=BOOSTED)
def boosting(request: pytest.FixtureRequest) -> Candidate:
    pytest.importorskip(request.param)
    return next(each for each in BUILT_IN if each.name == request.param)


def mean_margin(weights: list[PartWeights], data: FitData) -> np.ndarray:
    return np.mean([each.margin(data.features) for each in weights], axis=0)


def captured(function: Any, seen: dict[int, object]) -> dict[int, object]:
    """What a function keeps from where it was made, at any depth, by identity."""
    for cell in getattr(function, "__closure__", None) or ():
        if id(cell.cell_contents) not in seen:  # a function may keep itself
            seen[id(cell.cell_contents)] = cell.cell_contents
            captured(cell.cell_contents, seen)
    return seen


def test_what_was_fitted_keeps_no_rows(candidate: Candidate) -> None:
    """Folds that wait for others would hold a copy of the table each, and workers of a cluster would send it back."""
    data = table("binary", num_rows=60)
    fitted = candidate.fit(data, quick(candidate, data), seed=0, validation=table("binary", num_rows=60, seed=1))
    kept = [
        each for function in (fitted.margin, fitted.weights, fitted.cut) for each in captured(function, {}).values()
    ]
    assert not [each for each in kept if isinstance(each, FitData)]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_arrays_answer_as_the_library_did(candidate: Candidate, task: str) -> None:
    data, fresh = table(task), table(task, seed=1)
    fresh.features[:10, 2] = 9  # a level that was never seen
    fitted = candidate.fit(data, quick(candidate, data), seed=0)
    wanted = fitted.margin(fresh.features)
    assert wanted.shape == (len(fresh.target), data.num_margins)
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(mean_margin(fitted.weights(), fresh), wanted, rtol=1e-4, atol=1e-5 * scale)
    if fitted.is_share:
        assert ((wanted >= 0) & (wanted <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_something_is_learned(candidate: Candidate, task: str) -> None:
    data = table(task)
    knobs = dict(candidate.defaults(data)) | ({"rounds": 60} if candidate.name in BOOSTED else {})
    fitted, fresh = candidate.fit(data, knobs, seed=0), table(task, seed=1)
    margin = fitted.margin(fresh.features)
    if task == "regression":
        errors = margin[:, 0] - fresh.target
        assert np.sqrt(np.mean(errors**2)) < 0.75 * fresh.target.std()
    else:
        cut = 0.5 if fitted.is_share else 0.0
        guess = margin[:, 0] > cut if task == "binary" else margin.argmax(axis=1)
        assert np.mean(guess == fresh.target) > (0.75 if task == "binary" else 0.6)


def test_equal_seeds_give_equal_arrays_bit_for_bit(candidate: Candidate) -> None:
    data = table("binary")

    def arrays() -> list[np.ndarray]:
        weights = candidate.fit(data, quick(candidate, data), seed=4).weights()
        return [array for each in weights for array in each.arrays().values()]

    for first, again in zip(arrays(), arrays(), strict=True):
        np.testing.assert_array_equal(first, again)


def test_a_heavier_row_pulls_the_model_towards_itself(candidate: Candidate) -> None:
    data, fresh = table("binary"), table("binary", seed=1)
    heavy = replace(data, weight=np.where(data.target == 1, 5.0, 0.5))
    knobs = dict(quick(candidate, data)) | ({"min_samples_leaf": 10} if candidate.name in FORESTS else {})
    plain, pulled = (candidate.fit(d, knobs, seed=0).margin(fresh.features).mean() for d in (data, heavy))
    assert pulled > plain


def test_knobs_that_are_suggested_can_be_fitted_and_repeated(candidate: Candidate) -> None:
    data = table("regression")
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    knobs = dict(candidate.suggest(study.ask(), data))
    knobs |= {"rounds": 5} if candidate.name in BOOSTED else {}
    if "epochs" in knobs:
        knobs["epochs"] = 2
    fitted = candidate.fit(data, knobs, seed=0)
    again = candidate.fit(data, fitted.params, seed=0)
    np.testing.assert_array_equal(fitted.margin(data.features), again.margin(data.features))


def test_the_guess_of_what_a_fit_costs_grows_with_the_table(candidate: Candidate) -> None:
    small, large = table("binary"), table("binary", num_rows=4000)
    assert 0 < candidate.cost_s(small) < candidate.cost_s(large) < 60


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_family_that_takes_a_constraint_keeps_it(candidate: Candidate, task: str, sign: int) -> None:
    data = replace(table(task), monotone=(sign, 0, 0, 0, 0, 0))
    if not candidate.supports(data):
        assert candidate.supports(table(task))
        return
    fitted = candidate.fit(data, quick(candidate, data), seed=0)
    grid = np.repeat(data.features[:20], 30, axis=0)
    grid[:, 0] = np.tile(np.linspace(-3, 3, 30), 20)
    margin = fitted.margin(grid).reshape(20, 30, -1)
    if task != "multiclass":
        assert (sign * np.diff(margin, axis=1) >= -1e-6).all()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_tables_of_codes_alone_are_read(candidate: Candidate, task: str) -> None:
    whole = table(task, num_rows=300)
    data = replace(
        whole, features=whole.features[:, 2:5].copy(), kinds=whole.kinds[2:5], num_levels=whole.num_levels[2:5],
        monotone=(0,) * 3,
    )  # fmt: skip
    fitted = candidate.fit(data, quick(candidate, data), seed=0)
    margin = fitted.margin(data.features)[:, 0]
    assert np.corrcoef(margin, data.target)[0, 1] > 0.3
    np.testing.assert_allclose(mean_margin(fitted.weights(), data)[:, 0], margin, rtol=1e-4, atol=1e-2)


def test_a_feature_that_never_changes_is_survived(candidate: Candidate) -> None:
    data = table("binary")
    features = data.features.copy()
    features[:, 1] = 7.0
    fitted = candidate.fit(replace(data, features=features), quick(candidate, data), seed=0)
    assert np.isfinite(fitted.margin(features)).all()


@pytest.mark.parametrize("task", TASKS)
def test_ten_rows_are_survived(candidate: Candidate, task: str) -> None:
    data = table(task, num_rows=10)
    fitted = candidate.fit(data, quick(candidate, data), seed=0)
    assert np.isfinite(fitted.margin(data.features)).all()
    assert fitted.margin(data.features).shape == (10, data.num_margins)


def test_early_stopped_rounds_become_a_number_that_a_refit_repeats(boosting: Candidate) -> None:
    data, validation = table("binary"), table("binary", seed=1)
    fitted = boosting.fit(data, boosting.defaults(data), seed=0, validation=validation)
    rounds = fitted.params["rounds"]
    assert 1 <= rounds < 900
    again: Any = boosting.fit(data, fitted.params, seed=0)
    assert again.params == fitted.params
    if boosting.name == "xgboost":  # the random numbers of the others depend on whether there are validation rows
        np.testing.assert_array_equal(again.margin(validation.features), fitted.margin(validation.features))


@pytest.mark.parametrize("task", TASKS)
def test_a_boosting_cut_to_a_round_is_the_one_that_was_grown_to_it(boosting: Candidate, task: str) -> None:
    data, validation = table(task), table(task, seed=1)
    fitted = boosting.fit(data, boosting.defaults(data), seed=0, validation=validation)
    assert fitted.cut is not None
    for rounds in (3, fitted.params["rounds"] + 5):  # before and after the round of least validation loss
        cut = fitted.cut(rounds)
        assert cut.params["rounds"] == rounds
        wanted = cut.margin(validation.features)
        np.testing.assert_allclose(mean_margin(cut.weights(), validation), wanted, rtol=1e-4, atol=1e-2)
        if boosting.name == "xgboost":
            grown = boosting.fit(data, {**boosting.defaults(data), "rounds": rounds}, seed=0)
            np.testing.assert_array_equal(wanted, grown.margin(validation.features))


def test_trees_of_the_boosting_have_no_more_leaves_than_the_knob_says() -> None:
    boosting = next(c for c in BUILT_IN if c.name == "xgboost")
    data = table("regression", num_rows=400)
    (weights,) = boosting.fit(data, {**boosting.defaults(data), "max_leaves": 5, "rounds": 7}, seed=0).weights()
    assert isinstance(weights, TreeTable)
    assert weights.num_trees == 7
    assert 7 < len(weights.leaves) <= 7 * 5


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("task", TASKS)
def test_a_fit_knows_about_how_much_room_it_takes_in_a_bundle(candidate: Candidate, task: str, least: int) -> None:
    data = table(task, num_rows=1500)
    knobs = quick(candidate, data) | ({"min_samples_leaf": least} if candidate.name in FORESTS else {})
    fitted = candidate.fit(data, knobs, seed=0)
    parts = tuple(Part(f"member {number}", each) for number, each in enumerate(fitted.weights()))
    labels = {"binary": ("a", "b"), "multiclass": ("a", "b", "c")}.get(task, ())
    scale: MarginScale = "target units" if task == "regression" else "log-odds"
    model = Model(data.task, labels, scale, parts, bias=(0.0,) * data.num_margins)
    weights = sum(len(file) for name, file in model.to_files().items() if name != "model.json")
    assert fitted.size_bytes == pytest.approx(
        weights + len(export_onnx(model, data.features.shape[1])), rel=0.4, abs=9_000
    )


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_histograms_of_rows_that_weigh_the_same_take_no_weights(factor: float, monkeypatch) -> None:
    """scikit-learn finds the bounds of weighted columns one by one: most of the time of a small table."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    weights: list[Any] = []
    fit = HistGradientBoostingClassifier.fit

    def spy(self: Any, rows: Any, target: Any, sample_weight: Any = None) -> Any:
        weights.append(sample_weight)
        return fit(self, rows, target, sample_weight)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", spy)
    data = replace(table("binary"), weight=np.full(120, factor))
    HistGradientBoosting().fit(data, {}, seed=0)
    assert [each is None for each in weights] == [factor == 1.0]


def test_a_rare_class_at_the_end_of_a_feature_is_cut_off_exactly() -> None:
    """1 % of the rows, all above .99: 64 to 256 quantiles of all rows lie too far apart to say where it begins."""
    rng = np.random.default_rng(0)
    size = 20_000
    values = np.sort(rng.random(size))
    target = (values > values[-57]).astype(np.int64)  # 56 rows, fewer than lie between two of 256 quantiles
    one = FitData(values[:, None].astype(np.float32), target, np.ones(size), "binary", 2, ("numeric",), (0,), (0,))
    boosting = next(c for c in BUILT_IN if c.name == "xgboost")
    margin = boosting.fit(one, {**boosting.defaults(one), "rounds": 20, "subsample": 1.0}, seed=0).margin(one.features)
    wrong = int(((margin[:, 0] > np.sort(margin[:, 0])[-57]) != (target == 1)).sum())
    assert wrong <= 20_000 // 1_024
