"""NaN and infinite numbers are found in whatever is answered, and named by row and output."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepseek.automl.evaluate import evaluate_bundle
from deepseek.cli import main
from deepseek.contracts import Attribution, Prediction, Tensors
from deepseek.engines.checks.finite import blame_inputs, check_answers, check_attribution, check_numbers
from deepseek.errors import NonFiniteError
from deepseek.train.tabular.metrics import measure_figures
from support.rows.sampled import sampled_bundle


def rows(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array([[number, 1.0] for number in numbers], np.float32)


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (Prediction(("a", "b"), np.array(["a", "a"]), rows(0, math.nan)), "NaN as probabilities for row 11"),
        (Prediction(values=rows(0, math.inf)[:, 0]), "an infinite number as values for row 11"),
        (Prediction(values=rows(0, 1)[:, 0], intervals=rows(-math.inf, 1)), "infinite number as intervals for row 10"),
        (Prediction(embeddings=rows(0, math.nan)), "NaN as embeddings for row 11"),
        (Prediction(tensors=Tensors({"n": np.array([1, 2]), "y": rows(math.nan, 2)})), "output 'y' for row 10"),
        (Prediction(entities=(({"probability": math.nan},), ())), "probability of an entity for row 10"),
    ],
)  # fmt: skip
def test_every_form_of_answer_is_looked_through(prediction: Prediction, said: str) -> None:
    with pytest.raises(NonFiniteError, match=said):
        check_answers(prediction, first_row=10)


def test_finite_answers_pass_and_infinite_ones_where_a_graph_may_give_them() -> None:
    check_answers(Prediction(("a", "b"), np.array(["a"]), rows(0.5), flags=()))
    check_answers(Prediction(tensors=Tensors({"t": np.array(["nan"]), "y": rows(-math.inf)})), allow_infinite=True)
    check_answers(Prediction(entities=((), ())))
    with pytest.raises(NonFiniteError, match="NaN"):
        check_answers(Prediction(tensors=Tensors({"y": rows(math.nan)})), allow_infinite=True)
    with pytest.raises(NonFiniteError, match="infinite"):  # a chance or a value never may
        check_answers(Prediction(values=rows(math.inf)[:, 0]), allow_infinite=True)


@pytest.mark.parametrize("field", ["values", "base_value", "output"])
def test_an_explanation_is_looked_through(field: str) -> None:
    fields = {"values": np.zeros((2, 3)), "base_value": np.zeros(2), "output": np.zeros(2)}
    check_attribution(Attribution(("a", "b", "c"), **fields, scale="", method=""), [4, 17])
    fields[field] = fields[field] + np.array([0, math.nan]).reshape((2,) + (1,) * (fields[field].ndim - 1))
    with pytest.raises(NonFiniteError, match="for row 17"):
        check_attribution(Attribution(("a", "b", "c"), **fields, scale="", method=""), [4, 17])


def test_the_exit_code_is_that_of_a_check_and_the_status_that_of_a_server() -> None:
    with pytest.raises(NonFiniteError) as raised:
        check_numbers(np.array([math.nan]), "a figure", model="loans")
    assert (raised.value.exit_code, raised.value.status, raised.value.code) == (3, 500, "non_finite")
    assert "'loans'" in raised.value.message


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_figure_is_made_of_such_an_output(bad: float) -> None:
    """NaN for every row is an accuracy of one half: class 0 is the largest."""
    target, output = np.array([0, 1, 0, 1]), np.full((4, 2), 0.5)
    assert measure_figures("binary", target, output)["accuracy"].value == 0.5
    output[2] = bad
    with pytest.raises(NonFiniteError, match="row 2"):
        measure_figures("binary", target, output)
    with pytest.raises(NonFiniteError, match="row 2"):
        measure_figures("regression", target, output[:, :1])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle that gives NaN for whatever is bright, and rows of which the third is."""
    base = tmp_path_factory.mktemp("photos")
    weights = {"photo": np.full(1, 3e38, np.float32)}
    bundle = sampled_bundle(base / "photos", ("photo", "age"), labels=("a", "b", "c"), weights=weights)
    for name, level in (("dark", 0), ("bright", 255)):
        Image.fromarray(np.full((8, 8), level, np.uint8)).save(base / f"{name}.png")
    names = ["dark", "dark", "bright", "dark"]
    lines = ["photo,age,sex,ill", *(f"{name}.png,40.0,m,{'abca'[row]}" for row, name in enumerate(names))]
    (base / "rows.csv").write_text("\n".join(lines) + "\n")
    return bundle, base / "rows.csv"


@pytest.mark.parametrize("verb", [["predict"], ["evaluate"], ["explain", "--row", "2"], ["explain"]])
def test_every_verb_that_answers_ends_in_words(verb: list[str], table: tuple[Path, Path], capsys: Any) -> None:
    bundle, data = table
    assert main([verb[0], str(bundle), str(data), *verb[1:]]) == 3
    output = capsys.readouterr()
    assert "nan" not in output.out.lower()
    assert "the model 'photos' gives NaN as" in output.err
    assert "for row 2" in output.err


def test_a_bundle_is_evaluated_on_the_rows_that_it_answers(table: tuple[Path, Path]) -> None:
    bundle, data = table
    kept = data.with_name("kept.csv")
    kept.write_text("".join(line for line in data.read_text().splitlines(keepends=True) if "bright" not in line))
    assert evaluate_bundle(bundle, kept)["num_rows"] == 3
    with pytest.raises(NonFiniteError, match="row 2"):
        evaluate_bundle(bundle, data)


@pytest.mark.parametrize(("value", "status"), [(0.5, 500), (1e18, 500), (math.nan, 422), (1e20, 422), (-math.inf, 422)])
def test_who_sends_what_has_no_answer_is_told_so(value: float, status: int) -> None:
    error = NonFiniteError("the model gives NaN as values for row 0")
    blamed = blame_inputs(error, {"word": np.array(["nan"]), "x": np.array([[1, value]], np.float32)})
    assert blamed.status == status
    assert blamed.message.startswith(error.message)
    assert ("'x'" in blamed.message) == (status == 422)
