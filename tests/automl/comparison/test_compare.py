"""`ds.compare`: bundles on the same rows, what is said of them, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deepseek as ds
from deepseek.automl.comparison.differences import ComparedRows, compare_models, group_codes
from deepseek.automl.comparison.models import Question, ScoredModel, check_comparable, display_names
from deepseek.automl.comparison.page import write_page
from deepseek.automl.ship import ship
from deepseek.bundle import Input, Manifest, Output, write_bundle
from deepseek.data import read_table
from deepseek.errors import InputError, IntegrityError, MissingError, NonFiniteError
from support.pages.chinese import english_left_over
from support.rows.loans import make_loans

COLUMNS = ["debt", "age", "region", "default", "household"]


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train on, and later ones."""
    frame = make_loans(560)[COLUMNS]
    return frame[:260], frame[260:].reset_index(drop=True)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, frames: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, Path]:
    """The bundle "poor" reads the age alone; "good" reads more; "turned" has its classes the other way round."""
    root, train = tmp_path_factory.mktemp("bundles"), frames[0]
    usual = {"target": "default", "trials": 2, "candidates": ("linear",), "seed": 0}
    poor = ship(train.drop(columns=["debt", "region", "household"]), out=root / "poor", **usual)
    good = ship(train.drop(columns="household"), out=root / "good", **usual)
    turned = ship(train, out=root / "turned", split="group:household", positive="no", **usual)
    return {"poor": poor.path, "good": good.path, "turned": turned.path}


@pytest.fixture(scope="module")
def result(bundles: dict[str, Path], frames: tuple[pd.DataFrame, pd.DataFrame]) -> ds.results.Result:
    return ds.compare([bundles["poor"], bundles["good"]], frames[1], by=("region", "debt"))


def test_the_page_has_no_english_left_over_in_chinese(result) -> None:
    html = write_page(None, result, data="ab" * 32, seed=0, command="deepseek compare")
    names = {"poor", "good", *COLUMNS, "yes", "no", "deepseek compare", "north", "south", "west", "east"}
    assert english_left_over(html, names) == {}


@pytest.mark.slow
def test_the_better_model_is_better_by_more_than_noise(result, bundles, frames) -> None:
    (comparison,) = result.comparisons
    difference = comparison.differences["log_loss"]
    assert comparison.verdict == difference.verdict == "better"
    assert difference.high < 0
    parts = {"poor": ["age", "default"], "good": ["debt", "age", "region", "default"]}
    alone = [
        ds.evaluate(bundles[name], frames[1][columns]).metrics["log_loss"].value for name, columns in parts.items()
    ]
    assert difference.value == pytest.approx(alone[1] - alone[0])
    assert "good is better than poor, more than noise: log loss" in result.summary()


def test_counts_add_up_and_rows_to_look_at_are_those_that_differ(result, bundles, frames) -> None:
    (comparison,) = result.comparisons
    with ds.load(bundles["poor"]) as poor, ds.load(bundles["good"]) as good:
        labels = [poor.predict(frames[1][["age"]]).labels, good.predict(frames[1][["debt", "age", "region"]]).labels]
    truth = frames[1]["default"].to_numpy()
    agreement = comparison.agreement
    assert agreement.num_differ == int((labels[0] != labels[1]).sum())
    assert agreement.only_model == int(((labels[1] == truth) & (labels[0] != truth)).sum())
    assert agreement.both_right + agreement.both_wrong + agreement.only_model + agreement.only_reference == len(truth)
    assert len(comparison.rows) == 10
    for row in comparison.rows:
        assert labels[0][row.row] == row.reference.answer != row.model.answer == labels[1][row.row]
        assert row.truth == truth[row.row]
        assert row.record["debt"] == frames[1]["debt"][row.row]
        assert "household" not in row.record, "no model reads it"


def test_segments_hold_every_row_and_small_ones_say_why_they_have_no_figures(bundles, frames) -> None:
    later = frames[1].copy()
    later.loc[:9, "region"] = "west"
    later.loc[later["region"] == "east", "default"] = "no"
    both = [bundles["poor"], bundles["good"]]
    result = ds.compare(both, later, by=("region",), metric="auc", rows=0, speed=False)
    groups = {group.group: group for group in result.comparisons[0].segments["region"]}
    assert sum(group.num_rows for group in groups.values()) == len(later)
    assert groups["west"].reason == "fewer than 30 rows"
    assert groups["east"].reason == "not defined: one class"
    assert groups["north"].difference is not None
    assert (
        groups["north"].difference.p_value
        >= ds.compare(both, later[later["region"] == "north"], metric="auc", rows=0, speed=False)
        .comparisons[0]
        .differences["auc"]
        .p_value
    ), "of several groups one may differ by chance"
    assert result.comparisons[0].rows == []


def test_the_object_is_json_and_reads_like_the_fields(result) -> None:
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document == result
    assert document["reference"] == "poor"
    assert document["comparisons"][0]["verdict"] == "better"
    assert document["models"][1]["size_bytes"] > 0
    assert [entry["num_rows"] for entry in document["models"][1]["speed"]] == [1, 300]
    assert "good is better than poor" in result._repr_html_()
    assert document["comparisons"][0]["headline"]["zh"].startswith("good 优于 poor")


def test_the_page_says_the_answer_first_in_both_languages(result, tmp_path) -> None:
    page = write_page(tmp_path / "page.html", result, data="ab" * 32, seed=0, command="deepseek compare a b c")
    assert page == (tmp_path / "page.html").read_text("utf-8")
    answer = page.partition('id="answer">')[2].partition("</p>")[0]
    assert "good is better than poor" in answer
    assert "good 优于 poor" in answer
    for part in ("differences", "segments", "disagreement", "costs", "provenance"):
        assert f'id="{part}"' in page


def test_a_copy_is_the_same_model_and_every_difference_is_exactly_zero(bundles, frames, tmp_path) -> None:
    copy = shutil.copytree(bundles["good"], tmp_path / "copy")
    result = ds.compare([bundles["good"], copy], frames[1], by=("region",), speed=False)
    (comparison,) = result.comparisons
    assert comparison.verdict == "identical"
    assert all((d.value, d.low, d.high) == (0, 0, 0) for d in comparison.differences.values())
    assert comparison.rows == []
    assert "they are the same model, with one digest, and every difference is exactly 0" in result.summary()


def test_classes_in_another_order_are_aligned_by_name(bundles, frames) -> None:
    result = ds.compare([bundles["good"], bundles["turned"]], frames[1], speed=False)
    alone = ds.evaluate(bundles["turned"], frames[1]).metrics
    assert result.models[1].metrics["log_loss"].value == pytest.approx(alone["log_loss"].value)
    assert result.models[1].metrics["auc"].value == pytest.approx(alone["auc"].value)
    assert result.comparisons[0].agreement.num_differ < 60
    assert (result.group_by, result.num_groups) == ("household", 101), "of the one that was split by groups"
    assert result.comparisons[0].agreement.p_value is None


def test_groups_that_the_data_lacks_are_warned_of(bundles, frames) -> None:
    later = frames[1].drop(columns="household")
    result = ds.compare([bundles["good"], bundles["turned"]], later, speed=False)
    assert result.group_by is None
    assert any("'household'" in warning for warning in result.warnings)


def test_several_models_are_compared_with_the_first(bundles, frames) -> None:
    result = ds.compare([bundles[name] for name in ("good", "poor", "turned")], frames[1], rows=3, speed=False)
    assert [comparison.model for comparison in result.comparisons] == ["poor", "turned"]
    assert result.comparisons[0].verdict == "worse"
    assert "poor is worse than good" in result.summary()


def test_rows_that_a_bundle_has_learned_from_are_said(bundles, frames) -> None:
    result = ds.compare([bundles["poor"], bundles["good"]], frames[0].drop(columns="household"), speed=False)
    assert result.learned_from == {"good": "some"}
    assert any(warning.startswith("good has learned from 208 of these 260 rows") for warning in result.warnings)
    assert "but good has learned from some of them" in result.summary()


def test_one_row_and_one_class_say_what_they_cannot(bundles, frames) -> None:
    both = [bundles["poor"], bundles["good"]]
    one = ds.compare(both, frames[1][:1])
    assert one.comparisons[0].verdict == "unknown"
    assert "cannot be told from" in one.summary()
    json.dumps(one.to_dict(), allow_nan=False)
    of_one_class = frames[1][frames[1]["default"] == "no"]
    assert ds.compare(both, of_one_class, speed=False).metric == "log_loss"
    with pytest.raises(InputError, match="auc is not defined on these rows"):
        ds.compare(both, of_one_class, metric="auc", speed=False)
    with pytest.raises(InputError, match="rmse"):
        ds.compare(both, frames[1], metric="rmse", speed=False)


def test_what_the_data_lacks_is_said_at_once_with_whose_it_is(bundles, frames) -> None:
    both = [bundles["poor"], bundles["good"]]
    with pytest.raises(MissingError, match="'default', the target"):
        ds.compare(both, frames[1].drop(columns="default"))
    with pytest.raises(MissingError, match="lacks 'debt', 'region', which good reads"):
        ds.compare(both, frames[1].drop(columns=["debt", "region"]))
    with pytest.raises(InputError, match="no rows"):
        ds.compare(both, frames[1][:0])
    with pytest.raises(InputError, match="branch"):
        ds.compare(both, frames[1], by=("branch",))
    with pytest.raises(InputError, match="branch"):
        ds.compare(both, frames[1], group="branch")
    with pytest.raises(InputError, match="one bundle"):
        ds.compare(both[:1], frames[1])


def test_a_changed_bundle_is_refused_with_its_file(bundles, frames, tmp_path) -> None:
    copy = Path(shutil.copytree(bundles["good"], tmp_path / "copy"))
    graph = bytearray((copy / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (copy / "model.onnx").write_bytes(graph)
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        ds.compare([bundles["poor"], copy], frames[1])


def test_a_graph_that_reads_no_table_is_refused(bundles, frames, tmp_path) -> None:
    manifest = Manifest(
        name="graph", version="1", created="2026-01-31T12:00:00+00:00", task="tensors", target="y",
        inputs=(Input("x", "tensor", "float32", (4,)),), outputs=(Output("y", "float32", (2,)),), labels=(),
    )  # fmt: skip
    graph = write_bundle(tmp_path / "graph", manifest, {"model.onnx": b"graph"})
    with pytest.raises(InputError, match="reads no table"):
        ds.compare([bundles["poor"], graph.path], frames[1])


def test_bundles_that_answer_other_questions_are_refused_with_everything_that_differs() -> None:
    churn = Question("multiclass", "churn", ("no", "maybe"))
    with pytest.raises(InputError) as caught:
        check_comparable(["a", "b"], [Question("binary", "default", ("no", "yes")), churn])
    for words in ("task", "target", "'yes'", "'maybe'"):
        assert words in caught.value.message
    check_comparable(["a", "b"], [Question("binary", "y", ("0", "1")), Question("binary", "y", ("1", "0"))])


def test_names_tell_bundles_apart() -> None:
    assert display_names(["a/loans", "b/loans", "c/cards"]) == ["a/loans", "b/loans", "c/cards"]
    assert display_names(["a/loans/", "b/cards"]) == ["loans", "cards"]


def compared_rows(task: str, target: np.ndarray, labels: tuple[str, ...]) -> ComparedRows:
    table = read_table({"x": np.arange(float(len(target)))})
    return ComparedRows(task, "y", labels, table, target, np.ones(len(target)))


def test_values_are_compared_by_their_errors() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=200)
    outputs = [(target + scale * rng.normal(size=200))[:, None] for scale in (1.0, 0.5)]
    models = [ScoredModel(name, name, name, o, np.zeros(200, np.int64)) for name, o in zip("ab", outputs, strict=True)]
    result = compare_models(models, compared_rows("regression", target, ()))
    (comparison,) = result.comparisons
    assert (result.metric, comparison.verdict) == ("rmse", "better")
    errors = [np.abs(output[:, 0] - target) for output in outputs]
    assert comparison.agreement.only_model == int((errors[1] < errors[0]).sum())
    assert comparison.rows[0].row == int(np.abs(outputs[0] - outputs[1]).argmax())
    assert "nearer to the truth" in result.summary()
    write_page(None, result, data="", seed=0)


def test_several_classes_and_answers_that_are_not_finite() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 150)
    outputs = [np.full((150, 3), 1 / 3), 0.4 * np.eye(3)[target] + 0.2]
    models = [ScoredModel(name, name, name, o, o.argmax(axis=1)) for name, o in zip("ab", outputs, strict=True)]
    rows = compared_rows("multiclass", target, ("x", "y", "z"))
    result = compare_models(models, rows)
    assert result.comparisons[0].verdict == "better"
    assert result.comparisons[0].differences["accuracy"].value == pytest.approx(1 - (target == 0).mean())
    broken = replace(models[1], output=np.full((150, 3), np.nan))
    with pytest.raises(NonFiniteError):
        compare_models([models[0], broken], rows)


def test_equal_answers_of_other_models_are_said() -> None:
    target = np.array([0, 1] * 40)
    output = np.stack([1 - target * 0.5, target * 0.5], axis=1)
    models = [ScoredModel(name, name, name * 8, output, target) for name in "ab"]
    result = compare_models(models, compared_rows("binary", target, ("no", "yes")))
    assert result.comparisons[0].verdict == "identical"
    assert "both answer each of the 80 rows exactly alike" in result.summary()


def test_rows_without_a_group_stand_alone() -> None:
    table = read_table({"who": ["a", None, "b", None, "a"]})
    codes = group_codes(table, "who").tolist()
    assert codes[0] == codes[4]
    assert len(set(codes)) == 4
