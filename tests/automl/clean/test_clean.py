"""What is wrong with a table: planted errors are found, nothing is changed by itself, a reviewed patch is applied."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from deepseek.automl.clean.findings import CleanFinding, CleanReport
from deepseek.automl.clean.label_errors import find_label_errors
from deepseek.automl.clean.near_duplicates import find_near
from deepseek.automl.clean.outliers import far_cells, far_rows
from deepseek.automl.clean.page import render_clean_page
from deepseek.automl.clean.patch import apply_patch, data_digest, write_patch
from deepseek.cli import main
from deepseek.data import read_table
from deepseek.errors import DeepseekError

WORDS = (
    "the",
    "card",
    "of",
    "my",
    "account",
    "was",
    "lost",
    "in",
    "town",
    "last",
    "week",
    "and",
    "nobody",
    "at",
    "the",
    "desk",
    "could",
    "say",
    "when",
    "it",
    "would",
    "come",
)


def make_texts(num: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [f"{' '.join(draw.choice(WORDS, 14))} {place}" for place in range(num)]


def test_planted_near_duplicates_are_found_and_others_are_not() -> None:
    texts = make_texts(200)
    copies = {200 + k: 7 * k for k in range(20)}
    texts += [texts[source].replace(" the ", "  The ", 1) + "!" for source in copies.values()]
    groups = find_near(read_table({"text": texts}), {"text": "text"}, None)
    assert sorted(map(tuple, groups)) == sorted((source, copy) for copy, source in copies.items())


def test_rows_of_cells_are_copies_only_where_all_cells_are_equal() -> None:
    columns = {f"c{k}": [float(k), float(k), float(k)] for k in range(20)}
    columns["c0"][1] = 9.0
    kinds = dict.fromkeys(columns, "numeric")
    assert find_near(read_table(columns), kinds, None) == [[0, 2]]


def test_confidently_another_class_is_a_finding_and_doubt_is_none() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.05, 0.95], [0.45, 0.55], [0.97, 0.03]])
    codes = np.array([0, 0, 1, 1, 0, 1])
    errors = find_label_errors(codes, probabilities)
    assert errors.is_finding.tolist() == [False, False, False, False, False, True]
    assert errors.better[5] == 0
    # a label may be wrong though no single other class is likely
    doubtful = find_label_errors(np.array([0, 0]), np.array([[0.3, 0.35, 0.35], [0.4, 0.6, 0.0]]))
    assert doubtful.score.tolist() == [0.7, 0.6]
    assert errors.score.argmax() == 5
    assert errors.score[4] > errors.score[1]


DRAWS = {
    "normal": lambda draw, num: draw.normal(50, 4, num),
    "exponential": lambda draw, num: draw.exponential(3, num),
    "lognormal": lambda draw, num: draw.lognormal(3, 1, num),
    "uniform": lambda draw, num: draw.uniform(-1, 1, num),
    "counts": lambda draw, num: draw.poisson(200, num).astype(float),
}


@pytest.mark.parametrize("name", DRAWS)
def test_columns_without_a_slip_have_hardly_any_outlier_whatever_their_tail(name: str) -> None:
    columns = [DRAWS[name](np.random.default_rng(seed), 1_000) for seed in range(200)]
    assert sum(bool(far_cells("x", values)) for values in columns) <= 6


@pytest.mark.parametrize(("name", "slips"), [("normal", (500, -40, 0.5)), ("uniform", (9, -5)), ("counts", (2_000, 1))])
def test_slips_of_the_decimal_point_are_found_and_nothing_else(name: str, slips: tuple[float, ...]) -> None:
    values = DRAWS[name](np.random.default_rng(0), 1_000)
    values[100 : 100 + len(slips)] = slips
    outliers = far_cells("x", values)
    assert [each.row for each in outliers] == list(range(100, 100 + len(slips)))
    assert f"x is {slips[0]:,.6g}; the largest of the other rows is" in outliers[0].evidence


def test_columns_of_which_nobody_can_say_how_they_go_on_have_no_outlier() -> None:
    few = np.array([0.0, 1.0] * 500)
    few[3] = 1e9
    assert far_cells("x", few) == []
    assert far_cells("x", np.full(10, np.nan)) == []
    sentinel = np.random.default_rng(0).normal(0, 1, 1_000)
    sentinel[:100] = -9_999  # a tenth is a group of its own, and no slip
    assert far_cells("x", sentinel) == []


def test_a_row_whose_cells_are_each_ordinary_may_stand_alone() -> None:
    draw = np.random.default_rng(0)
    first = draw.normal(0, 1, 500)
    columns = {"a": first, "b": first + draw.normal(0, 0.05, 500)}
    assert far_rows(columns) == []
    columns["a"][7], columns["b"][7] = 1.0, -1.0
    assert far_cells("b", columns["b"]) == []
    [outlier] = far_rows(columns)
    assert (outlier.row, outlier.column) == (7, "")
    assert "differs from row" in outlier.evidence


@pytest.fixture
def reviewed(tmp_path: Path) -> Any:
    """Data of four rows, and a patch of three findings."""
    (tmp_path / "data.csv").write_text('a,y\n1.50,no\n"2, and more",no\n3,yes\n4,yes\n')
    findings = (
        CleanFinding(1, "wrong_label", "relabel", 0.9, "e", "no", "yes"),
        CleanFinding(2, "near_duplicate", "drop", 1.0, "e"),
        CleanFinding(4, "wrong_label", "relabel", 0.8, "e", "yes", "no"),
    )
    write_patch(CleanReport(findings, ()), tmp_path / "patch.csv", data_digest(tmp_path / "data.csv"))
    return tmp_path


def decide(folder: Path, *decisions: str, **cells: str) -> None:
    with (folder / "patch.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [{**row, "decision": decision, **cells} for row, decision in zip(rows, decisions, strict=True)]
    with (folder / "patch.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_only_what_was_accepted_is_changed_and_cells_stay_as_they_were_written(reviewed: Path) -> None:
    data, patch, out = (reviewed / name for name in ("data.csv", "patch.csv", "clean.csv"))
    before = data.read_bytes()
    assert apply_patch(data, patch, out, "y").num_open == 3
    assert list(csv.reader(out.read_text().splitlines())) == list(csv.reader(before.decode().splitlines()))
    decide(reviewed, "accept", "Accept ", "reject")
    done = apply_patch(data, patch, out, "y")
    assert (done.num_rows, done.num_dropped, done.num_relabeled, done.num_open) == (3, 1, 1, 0)
    assert out.read_text().splitlines() == ["a,y", "1.50,yes", "3,yes", "4,yes"]
    assert data.read_bytes() == before
    decide(reviewed, "", "", "")
    apply_patch(data, patch, out, "y")
    assert len(out.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("decisions", "cells", "target", "expected"),
    [
        (("perhaps", "", ""), {}, "y", "the decision is 'perhaps'"),
        (("accept", "", ""), {"data": "0"}, "y", "of another file"),
        (("accept", "", ""), {"row": "9"}, "y", "row 9 of 4"),
        (("accept", "", ""), {"row": "x"}, "y", "is no finding"),
        (("accept", "", ""), {}, None, "labels are to be changed"),
        (("accept", "", ""), {"old": "yes"}, "y", "is 'no', not 'yes'"),
        (("accept", "", "accept"), {"row": "1"}, "y", "row 1 gets two labels"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_in_words(
    reviewed: Path, decisions: tuple[str, ...], cells: dict[str, str], target: str | None, expected: str
) -> None:
    decide(reviewed, *decisions, **cells)
    with pytest.raises(DeepseekError, match=expected):
        apply_patch(reviewed / "data.csv", reviewed / "patch.csv", reviewed / "clean.csv", target)
    assert not (reviewed / "clean.csv").exists()
    with pytest.raises(DeepseekError, match="is the data itself"):
        apply_patch(reviewed / "data.csv", reviewed / "patch.csv", reviewed / "data.csv", target)


def test_the_page_says_what_was_found_and_escapes_it() -> None:
    finding = CleanFinding(3, "wrong_label", "relabel", 0.9, "<b>models</b>", "no", "yes")
    page = render_clean_page(CleanReport((finding,), ("a note",)), name="x.csv", num_rows=10, command="deepseek data")
    assert "1 of 10 rows need a look." in page
    assert "<b>models" not in page
    assert "可能错误的标签" in page


@pytest.mark.slow
def test_planted_errors_of_a_table_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 300)
    values = draw.normal(3 * truth[:, None] * np.array([1, 0, 1]), 1.0)
    labels = np.where(truth == 1, "yes", "no")
    wrong = draw.choice(300, 15, replace=False)
    labels[wrong] = np.where(truth[wrong] == 1, "no", "yes")
    lines = [
        f"{a:.4f},{b:.4f},{c:.4f},p{row % 40},{label}"
        for row, ((a, b, c), label) in enumerate(zip(values, labels, strict=True))
    ]
    lines += [lines[5].replace("p5", "p6"), ",,,,yes"]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,who,y", *lines]) + "\n")
    words = ["data", "clean", str(tmp_path / "rows.csv"), "--target", "y", "--group", "who"]
    assert main([*words, "--out", str(tmp_path / "patch.csv"), "--html", str(tmp_path / "p.html"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {each["row"] - 1 for each in document["findings"] if each["kind"] == "wrong_label"}
    assert len(found & set(wrong.tolist())) >= 11
    assert len(found) <= 30
    assert {(each["kind"], each["row"]) for each in document["findings"] if each["kind"] != "wrong_label"} >= {
        ("group_leak", 301), ("empty_row", 302),
    }  # fmt: skip
    assert main([*words, "--apply", str(tmp_path / "patch.csv"), "--out", str(tmp_path / "clean.csv")]) == 0
    assert "no decision" in capsys.readouterr().out
