"""choose(): the fastest precision behind the gate that the user set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines.text import PrecisionChoice, TextEngine, TextModel, Tolerance, choose_precision
from deepseek.engines.text.tuning.tune import compare_outputs
from deepseek.errors import InputError
from support.nets.textfolders import make_text_folder

TEXTS = ["the cat sat on a mat", "i am happy", "a very bad film, not good at all !", "berlin is big"] * 4
ANYTHING = Tolerance(min_cosine=-1, max_difference=1, min_agreement=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_text_folder(tmp_path_factory.mktemp("tune") / "model", "bert", "sequence-classification")


def test_without_a_tolerance_only_the_exact_precision_is_used(folder: Path) -> None:
    choice = choose_precision(folder, TEXTS, budget_s=0)
    assert choice.precision == "f32"
    assert [row.precision for row in choice.table] == ["f32"]
    assert choice.ranges is None


@pytest.mark.slow
def test_what_misses_the_tolerance_is_measured_and_not_chosen(folder: Path) -> None:
    choice = choose_precision(folder, TEXTS, Tolerance(max_difference=0), budget_s=0)
    assert choice.precision == "f32"
    lossy = [row for row in choice.table if row.precision != "f32"]
    assert {(row.precision, row.exact_part) for row in lossy} >= {("int8", ""), ("int8", ".down")}
    assert not any(row.passes for row in lossy)
    assert all(row.differences.difference > 0 and row.texts_per_cpu_s > 0 for row in lossy)


@pytest.mark.slow
def test_the_table_is_json_and_the_choice_opens(folder: Path) -> None:
    choice = choose_precision(folder, TEXTS, ANYTHING, budget_s=0)
    assert all(row.passes for row in choice.table)
    table = json.loads(json.dumps(choice.to_dict()))["table"]
    assert table[0]["differences"] == {"difference": 0.0, "cosine": None, "agreement": 1.0}
    assert isinstance(choice, PrecisionChoice)
    TextEngine.open(folder, precision=choice.precision, ranges=choice.ranges).close()


@pytest.mark.slow
def test_a_faster_precision_that_passes_is_chosen(minilm: Path) -> None:
    """The real model: int8 takes well under two thirds of the CPU time of float32, and one layer makes its loss."""
    texts = [f"Why was payment {number} declined when I paid by card in the shop yesterday?" for number in range(32)]
    choice = choose_precision(minilm, texts, ANYTHING, budget_s=0)
    assert choice.precision != "f32"
    cosine = {(row.precision, row.exact_part): row.differences.cosine for row in choice.table}
    assert 0.97 < (cosine["int8", ""] or 0) < (cosine["int8", ".down"] or 0) < 1


def test_differences_are_those_of_hand_made_outputs(folder: Path, minilm: Path) -> None:
    model = TextModel.open(folder)
    rows = model.prepare(["a", "b"])
    exact: Any = {"logits": np.float32([[0, 9, 0], [9, 0, 0]])}
    other: Any = {"logits": np.float32([[0, 9, 0], [0, 9, 0]])}
    differences = compare_outputs(model, [rows], [exact], [other])
    assert differences.agreement == 0.5
    assert differences.difference == pytest.approx(1, abs=1e-3)
    broken: Any = {"logits": np.full((2, 3), np.nan, np.float32)}
    assert compare_outputs(model, [rows], [exact], [broken]).difference > 1
    embeddings: Any = [{"embedding": np.eye(2, dtype=np.float32)}, {"embedding": np.float32([[1, 0], [1, 1]])}]
    model = TextModel.open(minilm)
    differences = compare_outputs(model, [rows], embeddings[:1], embeddings[1:])
    assert differences.cosine == pytest.approx(np.sqrt(0.5))
    assert differences.difference == 1


@pytest.mark.parametrize("wrong", [{"min_cosine": 98}, {"max_difference": "much"}, {"min_agreement": float("nan")}])
def test_a_tolerance_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Tolerance(**wrong)
