"""`ship` of tables with texts: they are read, beside numbers too, and the plain way is the baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import deepseek as ds
from deepseek.automl.multimodal_plan import RowCost
from deepseek.automl.shipped import ShipResult
from deepseek.train.candidates import Candidate, FitData
from deepseek.train.candidates.boosting import XGBoost
from deepseek.train.candidates.linear import LinearModel
from deepseek.train.candidates.perceptron import PerceptronModel
from deepseek.train.candidates.without_texts import WithoutTexts

TOPICS = {
    "lost": ["my card is lost", "i lost my card today", "the card was stolen from me", "card gone please block it"],
    "rate": [
        "what is the exchange rate",
        "which rate do you use for euros",
        "is the rate fixed today",
        "rates of dollars",
    ],
    "limit": [
        "raise my limit please",
        "how high is the limit now",
        "the limit is too low for me",
        "a limit for a month",
    ],
}


def make_questions(num_rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """Questions whose words say the topic, and a number that says whether they are urgent."""
    random = np.random.default_rng(seed)
    topics = random.choice(list(TOPICS), num_rows)
    ends = random.choice(["thanks", "hello there", "today", "for the second time", "ok"], num_rows)
    texts = [
        f"{random.choice(TOPICS[topic])} {end} {row % 97}"
        for row, (topic, end) in enumerate(zip(topics, ends, strict=True))
    ]
    minutes = random.normal(10, 4, num_rows).round(1)
    urgent = minutes + random.normal(0, 3, num_rows) > 10  # a number that told it alone would be a leak
    return pd.DataFrame(
        {"question": texts, "minutes": minutes, "topic": topics, "urgent": np.where(urgent, "yes", "no")}
    )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> ShipResult:
    frame = make_questions().drop(columns="urgent")
    out = tmp_path_factory.mktemp("texts") / "topics"
    return ds.ship(frame, target="topic", out=out, trials=3, candidates=("text_linear", "xgboost"))


def read(shipped: ShipResult, name: str) -> Any:
    return json.loads((shipped.path / name).read_text())


def test_texts_beside_numbers_are_learned_from(shipped: ShipResult) -> None:
    assert not [warning for warning in shipped.warnings if "left out" in warning]
    assert shipped.metrics["accuracy"].value > 0.9
    trials = read(shipped, "evidence/search.json")["trials"]
    assert [trial["family"] for trial in trials][:2] == ["text_logistic", "text_linear"]
    assert "TF-IDF" in read(shipped, "evidence/metrics.json")["baseline_name"]
    assert all(engine["passes"] for engine in read(shipped, "evidence/parity.json")["engines"].values())


def test_one_row_and_many_are_answered_alike_and_explained_by_column(shipped: ShipResult) -> None:
    frame = make_questions(70, seed=1)[["question", "minutes"]]
    with ds.load(shipped.path) as model:
        many = model.predict(frame)
        for row in (0, 3, 69):
            one = model.predict(frame.to_dict("records")[row : row + 1])
            assert np.allclose(one.probabilities[0], many.probabilities[row], atol=1e-6)
    explanation = read(shipped, "evidence/explanation.json")
    assert set(explanation["importance"]) == {"question", "minutes"}
    assert explanation["max_residual"] < 1e-4


@pytest.mark.slow
def test_trees_read_the_numbers_beside_a_text(tmp_path: Path) -> None:
    frame = make_questions().drop(columns="topic")
    result = ds.ship(frame, target="urgent", out=tmp_path / "b", trials=2, candidates=("xgboost",))
    families = [trial["family"] for trial in read(result, "evidence/search.json")["trials"]]
    assert families == ["text_logistic", "xgboost"]
    assert result.metrics["auc"].value > 0.8  # by the number; the words say nothing
    assert all(engine["passes"] for engine in read(result, "evidence/parity.json")["engines"].values())
    with ds.load(result.path) as model:
        again = model.predict(frame.drop(columns="urgent"))
    assert np.mean(again.labels == frame["urgent"]) > 0.7


@pytest.mark.parametrize("candidate", [LinearModel(), PerceptronModel(), XGBoost()])
def test_a_candidate_of_numbers_sees_no_ngrams_and_its_weights_read_whole_rows(candidate: Candidate) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 4)).astype(np.float32)
    features[:, 1:3] = [[7, 0.5]]  # an n-gram and its weight, of which nothing is to be learned
    data = FitData(
        features, (features[:, 3] > 0).astype(np.int64), np.ones(60), "binary", 2,
        ("numeric", "word", "word_weight", "numeric"), (0, 9, 0, 0), (0, 0, 0, 0),
    )  # fmt: skip
    within = WithoutTexts(candidate)
    params = dict(within.defaults(data)) | ({"rounds": 3} if isinstance(candidate, XGBoost) else {})
    fitted = within.fit(data, params, seed=0)
    other = features.copy()
    other[:, 1:3] = random.normal(size=(60, 2))
    assert np.array_equal(fitted.margin(other), fitted.margin(features))
    (weights,) = fitted.weights()[:1]
    assert np.array_equal(weights.margin(other), weights.margin(features))
    assert np.corrcoef(weights.margin(features)[:, 0], features[:, 3])[0, 1] > 0.5


@pytest.mark.slow
def test_words_that_no_constrained_model_reads_are_said(tmp_path: Path) -> None:
    frame = make_questions().drop(columns="topic")
    result = ds.ship(
        frame, target="urgent", out=tmp_path / "b", trials=2, candidates=("xgboost",), monotone={"minutes": 1}
    )
    families = [trial["family"] for trial in read(result, "evidence/search.json")["trials"]]
    assert families == ["hist_gradient_boosting", "xgboost"]
    assert [warning for warning in result.warnings if "words in 'question' are not read" in warning]


def test_a_column_that_is_named_text_enters_as_one_without_files(tmp_path: Path) -> None:
    frame = make_questions()[["question", "topic"]]
    result = ds.ship(frame, target="topic", out=tmp_path / "b", trials=1, kinds={"question": "text"})
    assert result.model == "text_logistic"
    assert read(result, "bundle.json")["inputs"][0]["modality"] == "text"


def test_values_are_learned_from_texts_too(tmp_path: Path) -> None:
    frame = make_questions()
    value = frame["topic"].map({"lost": 1.0, "rate": 5.5, "limit": 9.25}) + frame["minutes"] / 50
    result = ds.ship(
        pd.DataFrame({"question": frame["question"], "price": value}), target="price", out=tmp_path / "b", trials=2,
        candidates=("text_linear",),
    )  # fmt: skip
    assert result.metrics["r2"].value > 0.8


def test_a_budget_that_is_short_of_an_epoch_buys_a_share_of_one() -> None:
    cost = RowCost(first_s=0.04, later_s=0.01)
    assert cost.epochs(25.0, 2_500) == pytest.approx(0.25)
    assert cost.epochs(150.0, 2_500) == pytest.approx(3.0)
