"""Files of xgboost become bundles that answer as xgboost does, missing values too; what cannot is refused by name."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from deepseek.bundle import verify_bundle
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines import Runtime
from deepseek.engines.tabular import xgboost_file
from deepseek.engines.tabular.booster import write_ubjson
from deepseek.engines.tabular.ubjson import read_ubjson
from deepseek.engines.tabular.xgboost_file import cut_at_best_round, import_xgboost
from deepseek.errors import DeepseekError, InputError, IntegrityError, MissingError
from deepseek.explain import explainer_for
from deepseek.explain.tabular.interactions import interactions

OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary:logistic": {},
    "multi:softprob": {"num_class": 2},
    "reg:squarederror": {},
}
KNOBS = {"max_depth": 4, "nthread": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgboost_file, "TUNING_BUDGET_S", 0.02)


def with_gaps(table: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The table of breast cancers, every tenth value missing: more often where the value is large."""
    features, target = table
    rng = np.random.default_rng(0)
    large = features > np.median(features, axis=0)
    return np.where(rng.random(features.shape) < np.where(large, 0.15, 0.05), np.nan, features), target


@pytest.fixture(scope="module")
def boosters(cancer: Any) -> dict[str, Any]:
    features, target = with_gaps(cancer)
    return {
        objective: xgboost.train(KNOBS | knobs | {"objective": objective}, xgboost.DMatrix(features, target), 20)
        for objective, knobs in OBJECTIVES.items()
    }


@pytest.mark.parametrize("suffix", ["ubj", "json"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_answers_are_those_of_xgboost(
    objective: str, suffix: str, boosters: dict[str, Any], cancer: Any, tmp_path: Path
) -> None:
    features, _ = with_gaps(cancer)
    boosters[objective].save_model(tmp_path / f"cells.{suffix}")
    bundle = import_xgboost(tmp_path / f"cells.{suffix}", tmp_path / "cache")
    assert verify_bundle(bundle.path) == []
    expected = boosters[objective].inplace_predict(features)
    names = [f"f{place}" for place in range(features.shape[1])]
    with Runtime.open(bundle.path) as runtime:
        assert runtime.name == "cells"
        for records in (
            ColumnarRows(names, features),
            [dict(zip(names, row, strict=True)) for row in features.tolist()],
        ):
            prediction = runtime.predict(records)
            assert not prediction.flags
            if objective.startswith("reg"):
                np.testing.assert_allclose(prediction.values, expected, atol=1e-6)
            else:
                chances = prediction.probabilities[:, 1] if expected.ndim == 1 else prediction.probabilities
                np.testing.assert_allclose(chances, expected, atol=1e-6)
        if objective.startswith("binary"):
            assert runtime.labels == ("0", "1")
            few = runtime.predict([dict.fromkeys(names)]).probabilities
            empty = np.full((1, len(names)), np.nan, np.float32)
            np.testing.assert_allclose(few[:, 1], boosters[objective].inplace_predict(empty), atol=1e-6)


def test_names_are_kept_and_the_bundle_is_made_once(cancer: Any, tmp_path: Path) -> None:
    features, target = cancer
    rows = xgboost.DMatrix(features[:, :2], target, feature_names=["mean radius", "风险"])
    xgboost.train(KNOBS | {"objective": "binary:logistic"}, rows, 3).save_model(tmp_path / "a b.ubj")
    first = import_xgboost(tmp_path / "a b.ubj", tmp_path / "cache")
    again = import_xgboost(tmp_path / "a b.ubj", tmp_path / "cache")
    assert [entry.name for entry in first.manifest.inputs] == ["mean radius", "风险"]
    assert again.manifest.created == first.manifest.created
    with Runtime(first) as runtime:
        assert set(runtime.example) == {"mean radius", "风险"}
        with pytest.raises(InputError, match="mean radius"):
            runtime.predict([{"风险": 1.0}])


def test_without_the_package_onnx_the_trees_run_alone(
    boosters: dict[str, Any], cancer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, _ = with_gaps(cancer)
    monkeypatch.setattr(xgboost_file, "find_spec", lambda _: None)
    boosters["binary:logistic"].save_model(tmp_path / "m.ubj")
    bundle = import_xgboost(tmp_path / "m.ubj", tmp_path / "cache")
    assert [entry.kind for entry in bundle.manifest.engines] == ["trees"]
    assert not bundle.has("model.onnx")
    with Runtime(bundle) as runtime:
        probabilities = runtime.predict(ColumnarRows([f"f{place}" for place in range(30)], features)).probabilities
    np.testing.assert_allclose(probabilities[:, 1], boosters["binary:logistic"].inplace_predict(features), atol=1e-6)


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"objective": "count:poisson"}, "count:poisson"),
        ({"objective": "reg:gamma"}, "reg:gamma"),
        ({"objective": "binary:logistic", "booster": "gblinear"}, "gblinear"),
        ({"objective": "binary:logistic", "booster": "dart"}, "dart"),
    ],
)
def test_other_kinds_of_models_are_refused_by_name(
    knobs: dict[str, Any], says: str, cancer: Any, tmp_path: Path
) -> None:
    features, target = cancer
    data = xgboost.DMatrix(features, target + (says == "reg:gamma"))
    xgboost.train({"nthread": 1, **knobs}, data, 2).save_model(tmp_path / "m.ubj")
    with pytest.raises(InputError, match=says):
        import_xgboost(tmp_path / "m.ubj", tmp_path / "cache")


def test_categorical_columns_are_refused(tmp_path: Path) -> None:
    codes, target = np.arange(60)[:, None] % 5, np.arange(60) % 5 > 2
    data = xgboost.DMatrix(codes, target, feature_types=["c"], enable_categorical=True)
    xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 2).save_model(tmp_path / "m.ubj")
    with pytest.raises(InputError, match="categorical"):
        import_xgboost(tmp_path / "m.ubj", tmp_path / "cache")


def loop(tree: dict[str, Any]) -> None:
    tree["left_children"][0] = tree["left_children"][1]


def beyond(tree: dict[str, Any]) -> None:
    tree["right_children"][0] = 10**6


def root(tree: dict[str, Any]) -> None:
    tree["left_children"][1] = 0


def column(tree: dict[str, Any]) -> None:
    tree["split_indices"][0] = 30


def endless(tree: dict[str, Any]) -> None:
    tree["split_conditions"][-1] = float("inf")


def short(tree: dict[str, Any]) -> None:
    tree["default_left"].pop()


def text(tree: dict[str, Any]) -> None:
    tree["split_conditions"] = "text"


def without(tree: dict[str, Any]) -> None:
    del tree["sum_hessian"]


@pytest.mark.parametrize("harm", [loop, beyond, root, column, endless, short, text, without])
def test_trees_that_cannot_be_walked_are_refused(
    harm: Callable[[dict[str, Any]], None], boosters: dict[str, Any], tmp_path: Path
) -> None:
    top = json.loads(bytes(boosters["binary:logistic"].save_raw("json")))
    harm(top["learner"]["gradient_booster"]["model"]["trees"][0])
    (tmp_path / "m.json").write_text(json.dumps(top))
    with pytest.raises(IntegrityError, match="no whole model of xgboost"):
        import_xgboost(tmp_path / "m.json", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.json", b"{}"),
        ("m.json", b"[" * 100_000),
        ("m.json", b'{"learner": {}}'),
        ("m.ubj", b""),
        ("m.ubj", b"\x80\x04K\x01."),
        ("m.ubj", write_ubjson({"learner": {"objective": {"name": "binary:logistic"}}})),
    ],
)
def test_other_files_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DeepseekError, match=r"xgboost|UBJSON"):
        import_xgboost(tmp_path / name, tmp_path / "cache")


ODD: tuple[Any, ...] = (
    None, True, [], {}, "", "x", "[]", "[1, 2, 3]", "nan", "1e999", "-1", "0", -1, 0, 2, 10**6, 10**30, 1.5, 1e300,
    float("nan"), [1], [[1]], ["a"], {"a": 1}, [None], "9" * 5_000, "[" * 5_000,
)  # fmt: skip


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything below a value; of long lists the first few."""
    yield place
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*place, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 4)):
            yield from places(value[index], (*place, index))


def mutated(top: dict[str, Any], draw: random.Random, odd: Sequence[Any]) -> dict[str, Any]:
    """A copy in which something is gone, shorter, longer, or of another kind."""
    top = copy.deepcopy(top)
    for _ in range(draw.choice((1, 1, 2))):
        *above, last = draw.choice([place for place in places(top) if len(place) > 1])
        inside: Any = top
        for key in above:
            inside = inside[key]
        how, value = draw.random(), inside[last]
        if how < 0.15:
            del inside[last]
        elif how < 0.3 and isinstance(value, list):
            inside[last] = value[: draw.randrange(len(value) + 1)] + draw.choice(([], [draw.choice(odd)]))
        else:
            inside[last] = draw.choice(odd)
    return top


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes with a few others, some less, or some twice."""
    at, harmed = draw.randrange(len(data)), bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        harmed[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(draw.choice((harmed, harmed[:at], data[:at] + data[at + 3 :], data[:at] + data[max(0, at - 40) :])))


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """Boosters of two trees and four columns, of each objective."""
    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)
    data = xgboost.DMatrix(features, classes, feature_names=["a", "b", "c", "d"])
    knobs = {"max_depth": 3, "nthread": 1}
    return {name: xgboost.train(knobs | more | {"objective": name}, data, 2) for name, more in OBJECTIVES.items()}


@pytest.mark.parametrize("suffix", ["ubj", "json"])
def test_of_500_mutations_each_is_read_or_refused_in_words(
    suffix: str, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the reading: what was read is a model as any other."""

    class ReadError(InputError):
        pass

    def read(*_: object) -> Any:
        raise ReadError("it was read")

    monkeypatch.setattr(xgboost_file, "_bundle_contents", read)
    draw = random.Random(0)
    tops = [json.loads(bytes(booster.save_raw("json"))) for booster in small.values()]
    if suffix == "ubj":
        tops = [read_ubjson(bytes(booster.save_raw("ubj"))) for booster in small.values()]
        tops = [json.loads(json.dumps(top, default=lambda array: array.tolist())) for top in tops]
    writable = [value for value in ODD if isinstance(value, (str, int, list, dict)) and value not in ([None], 10**30)]
    raws = [bytes(booster.save_raw(suffix)) for booster in small.values()]
    outcomes: Counter[str] = Counter()
    for number in range(500):
        if number % 2:
            data = damaged(draw.choice(raws), draw)
        elif suffix == "json":
            data = json.dumps(mutated(draw.choice(tops), draw, ODD)).encode()
        else:
            data = write_ubjson(typed(mutated(draw.choice(tops), draw, writable)))
        path = tmp_path / f"m.{suffix}"
        path.write_bytes(data)
        with pytest.raises(DeepseekError) as caught:
            import_xgboost(path, tmp_path / "cache")
        outcomes[type(caught.value).__name__] += 1
    assert outcomes["IntegrityError"] > 100
    assert outcomes["ReadError"] > 50


def typed(value: Any) -> Any:
    """What the writer of UBJSON takes: lists of numbers as arrays, other numbers as text."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        numbers = value and all(isinstance(item, (int, float)) and abs(item) < 2**31 for item in value)
        if numbers:
            whole = all(isinstance(item, int) for item in value)
            return np.array(value, np.int32 if whole else np.float32)
        return [typed(item) for item in value]
    return value if isinstance(value, (str, int)) else str(value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("learner_model_param", "base_score"), "[]"), (("learner_model_param", "base_score"), 0.5),
        (("learner_model_param", "base_score"), "[" * 5_000), (("learner_model_param",), {}), (("feature_names",), 7),
        (("gradient_booster", "model", "trees", 0, "split_indices"), ["0"] * 3),
        (("gradient_booster", "model", "trees", 0, "split_conditions"), ["x"] * 3),
        (("gradient_booster", "model", "tree_info"), [[0]] * 20),
    ],
)  # fmt: skip
def test_a_field_of_another_kind_is_refused_in_words(
    place: tuple[Any, ...], value: Any, boosters: dict[str, Any], tmp_path: Path
) -> None:
    top = json.loads(bytes(boosters["binary:logistic"].save_raw("json")))
    inside = top["learner"]
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    (tmp_path / "m.json").write_text(json.dumps(top))
    with pytest.raises(IntegrityError, match="no whole model of xgboost"):
        import_xgboost(tmp_path / "m.json", tmp_path / "cache")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        import_xgboost(tmp_path / "no.ubj", tmp_path)


def stopped_early(cancer: Any, objective: str, knobs: dict[str, Any]) -> Any:
    """A booster that went on for rounds after its best one."""
    features, target = with_gaps(cancer)
    noisy = np.where(np.random.default_rng(1).random(len(target)) < 0.3, 1 - target, target)
    rows, held_out = xgboost.DMatrix(features[:300], noisy[:300]), xgboost.DMatrix(features[300:], noisy[300:])
    every = {"nthread": 1, "max_depth": 4, "objective": objective, **knobs}
    stop = xgboost.callback.EarlyStopping(rounds=8)
    booster = xgboost.train(every, rows, 200, evals=[(held_out, "held")], callbacks=[stop], verbose_eval=False)
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    return booster


@pytest.mark.parametrize("suffix", ["ubj", "json"])
@pytest.mark.parametrize(
    ("objective", "knobs"),
    [
        ("binary:logistic", {}),
        ("multi:softprob", {"num_class": 2, "num_parallel_tree": 2, "subsample": 0.7}),
        ("reg:squarederror", {"num_parallel_tree": 3, "subsample": 0.7}),
    ],
)
def test_a_model_that_stopped_early_answers_by_its_best_round(
    objective: str, knobs: dict[str, Any], suffix: str, cancer: Any, tmp_path: Path
) -> None:
    booster = stopped_early(cancer, objective, knobs)
    booster.save_model(tmp_path / f"m.{suffix}")
    wrapper = xgboost.XGBRegressor() if objective.startswith("reg") else xgboost.XGBClassifier()
    wrapper.load_model(tmp_path / f"m.{suffix}")
    features, _ = with_gaps(cancer)
    names = [f"f{place}" for place in range(features.shape[1])]
    with Runtime(import_xgboost(tmp_path / f"m.{suffix}", tmp_path / "cache")) as runtime:
        prediction = runtime.predict(ColumnarRows(names, features))
        if objective.startswith("reg"):
            np.testing.assert_allclose(prediction.values, wrapper.predict(features), atol=1e-6)
            assert np.abs(prediction.values - booster.inplace_predict(features)).max() > 1e-3
        else:
            np.testing.assert_allclose(prediction.probabilities, wrapper.predict_proba(features), atol=1e-6)
        explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
        rows = runtime.prepare([dict(zip(names, row, strict=True)) for row in features[:40].tolist()]).features
        target = "1" if objective.startswith("multi") else None
        values, pairs = explainer.explain(rows, target=target).values, interactions(explainer, rows[:5], target)
    matrix, until = xgboost.DMatrix(features[:40]), (0, booster.best_iteration + 1)
    expected = booster.predict(matrix, pred_contribs=True, iteration_range=until)
    expected_pairs = booster.predict(matrix, pred_interactions=True, iteration_range=until)[:5]
    if objective.startswith("multi"):
        expected, expected_pairs = expected[:, 1], expected_pairs[:, 1]
    np.testing.assert_allclose(values, expected[:, :-1], atol=1e-5)
    np.testing.assert_allclose(pairs, expected_pairs[:, :-1, :-1], atol=2e-5)


def test_the_best_round_of_a_file_that_does_not_say_where_rounds_end(cancer: Any) -> None:
    booster = stopped_early(cancer, "multi:softprob", {"num_class": 2, "num_parallel_tree": 2, "subsample": 0.7})
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    expected = cut_at_best_round(learner)["gradient_booster"]["model"]
    assert len(expected["trees"]) == len(expected["tree_info"]) == 4 * (booster.best_iteration + 1)
    del learner["gradient_booster"]["model"]["iteration_indptr"]
    assert cut_at_best_round(learner)["gradient_booster"]["model"]["trees"] == expected["trees"]
    for best in ("-1", str(booster.num_boosted_rounds())):
        learner["attributes"]["best_iteration"] = best
        with pytest.raises(IntegrityError, match="best round"):
            cut_at_best_round(learner)
