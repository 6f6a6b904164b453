"""The report in a real browser: one offline file that says what the numbers say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.bundle import Input, Lineage, Manifest, Output
from deepseek.data.table.examples import load_example
from deepseek.errors import InputError, IntegrityError
from deepseek.explain import explainer_for, global_report, row_reports
from deepseek.explain.bundle import explain_bundle
from deepseek.explain.evaluation.records import FaithfulnessReport, SkippedFaithfulness
from deepseek.explain.records import Bar, ColumnImportance, GlobalReport, RowReport
from deepseek.explain.report.document import Cost, DataProvenance, ModelProvenance, Provenance
from deepseek.explain.report.evidence import evidence_sections, headline, refuse_unreadable
from deepseek.explain.report.explanation import BundleExplanation
from deepseek.explain.report.page import write_report
from deepseek.look import numbers
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures

NUM_COLUMNS, NUM_ROWS = 64, 400
HOSTILE = "<script>document.title='owned'</script>"
LONG = "mean_transaction_amount_over_the_last_thirty_days_per_customer_and_terminal"
CHINESE = "客户近三十天内跨终端交易金额的平均值（人民币元）与去年同期的差额比例"
NAMES = [HOSTILE, LONG, CHINESE, "kind", *(f"column {i}" for i in range(NUM_COLUMNS - 4))]
COMMAND = "deepseek explain ./loans new.csv --html report.html"

Write = Callable[..., Path]


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def evidence() -> dict[str, Any]:
    """As a bundle holds it."""
    return {
        "metrics": {
            "num_rows": 143,
            "metrics": {"log_loss": figure(0.08), "auc": figure(0.98)},
            "baseline": {"log_loss": figure(0.1), "auc": figure(0.97)},
            "baseline_name": "HistGradientBoosting with its defaults",
            "confusion": {"labels": ["no", HOSTILE], "counts": [[80, 3], [1, 59]]},
            "roc": [[0, 0], [0.1, 0.9], [1, 1]],
            "precision_recall": [[0, 1], [0.9, 0.8], [1, 0.4]],
            "residuals": {"edges": [-2, -1, 0, 1, 2], "counts": [3, 40, 50, 9], "interval": 1.5},
            "reliability": [{"predicted": i / 9, "observed": i / 9, "num_rows": 14} for i in range(10)],
        },
        "segments": {
            CHINESE: [
                {"group": HOSTILE, "num_rows": 80, "metrics": {"auc": figure(0.97)}},
                {"group": "small", "num_rows": 3},
            ]
        },
        "fairness": {
            "column": "sex",
            "groups": [{"group": "a", "num_rows": 80, "recall": 0.9}, {"group": "b", "num_rows": 63, "recall": None}],
            "gaps": {"recall": None},
            "min_rows": 30,
        },
        "search": {
            "trials": [{"number": i, "family": "xgboost", "loss": 0.2 - i / 100, "fit_cpu_s": 0.5} for i in range(9)],
            "yardstick": {"family": "hist_gradient_boosting", "held_loss": 0.15},
        },
        "parity": {"engines": {"onnxruntime": {"passes": True, "max_abs_difference": {"output": 1e-7}}}},
        "data": {"warnings": ["column 'id' looks like an identifier; --drop id"]},
        "environment": {"command": ["deepseek", "ship", "loans.csv"]},
    }


@pytest.fixture(scope="module")
def parts() -> tuple[GlobalReport, list[RowReport]]:
    """A global and two row reports of a real linear model on 64 columns, one of them in words."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(NUM_ROWS, NUM_COLUMNS)).astype(np.float32)
    features[:, 3] = rng.integers(0, 20, NUM_ROWS)
    coef = (3 * 0.9 ** np.arange(NUM_COLUMNS) * rng.choice([-1, 1], NUM_COLUMNS))[:, None]
    linear = Linear(coef, np.zeros(1), features.mean(axis=0).astype(np.float64))
    model = Model("binary", ("no", "yes"), "log-odds", (Part("linear", linear),))
    records: list[dict[str, Any]] = [dict(zip(NAMES, row, strict=True)) for row in features.tolist()]
    for record in records:
        record["kind"] = f"{HOSTILE} kind {record['kind']:.0f} of a very long name that goes on and on"
    explainer = explainer_for(model, NAMES)
    rows = row_reports(explainer.explain(features[:2]), records[:2])
    return global_report(explainer, features, records), rows


@pytest.fixture
def write(parts: tuple[GlobalReport, list[RowReport]], tmp_path: Path) -> Write:
    def write_it(report: GlobalReport | None = None, **options: Any) -> Path:
        manifest = Manifest(
            name="loans", version="3", created="2026-01-01T00:00:00+00:00", task="binary", target="late",
            inputs=(Input("age", "tabular", "float64", (), True),), outputs=(Output("label", "str"),),
            labels=("no", "yes"), threshold=0.5, engines=(), lineage=Lineage(None, "ab" * 32, {}, 7, {"numpy": "2"}),
        )  # fmt: skip
        path = tmp_path / "report.html"
        arguments = {"manifest": manifest, "evidence": evidence(), "command": COMMAND, "rows": parts[1]} | options
        write_report(path, report or parts[0], **arguments)
        return path

    return write_it


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_overlaps_with_64_columns_and_hard_names(
    open_page: OpenPage, write: Write, width: int, locale: str
) -> None:
    page = open_page(write().as_uri(), width=width, locale=locale)
    for closed in page.query_selector_all("details:not(.json) > summary"):
        closed.click()
    assert collisions(page) == []
    assert overflow_px(page) <= 0


def test_the_first_sentence_names_what_moves_the_answers_most(
    open_page: OpenPage, write: Write, parts: tuple[GlobalReport, Any]
) -> None:
    importance = parts[0].importance
    page = open_page(write().as_uri())
    answer = page.inner_text("#answer")
    share = 100 * sum(entry.share for entry in importance[:3])
    assert f"{numbers.number(share)} % of all influence over {NUM_ROWS} rows" in answer
    assert all(numbers.clip(entry.column) in answer for entry in importance[:3])
    assert page.inner_text(".lead") == "AUC 0.980 [0.970, 0.990] on 143 test rows."


def test_the_page_is_one_small_file_that_runs_nothing_of_the_data(open_page: OpenPage, write: Write) -> None:
    path = write()
    assert path.stat().st_size < 2_000_000
    page = open_page(path.as_uri())
    assert page.title() == "Explanation report: loans"
    assert page.locator("script").count() == 1


def test_ours_stands_beside_the_baseline_with_interval_and_ratio(open_page: OpenPage, write: Write) -> None:
    row = open_page(write().as_uri()).locator("#figures tbody tr").first
    assert row.locator("th,td").all_inner_texts() == [
        "Log loss (lower is better)",
        "0.0800 [0.0700, 0.0900]",
        "0.100 [0.090, 0.110]",
        "0.800×",
    ]


def test_a_row_is_told_in_the_readers_language(open_page: OpenPage, write: Write) -> None:
    page = open_page(write().as_uri())
    assert "the log-odds of yes by" in page.locator("#rows li").first.inner_text()
    page.click("button[value=zh]")
    assert "的对数几率" in page.locator("#rows li").first.inner_text()


def test_a_missing_value_is_a_dash_in_the_waterfall(
    open_page: OpenPage, write: Write, parts: tuple[GlobalReport, list[RowReport]]
) -> None:
    row = parts[1][0]
    missing = replace(row, bars=(Bar("age", None, 9.0), *row.bars))
    labels = open_page(write(rows=[missing]).as_uri()).locator("#rows .wide text").all_text_contents()
    assert "age = –" in labels


def test_a_failed_check_is_said_in_words(open_page: OpenPage, write: Write, parts: tuple[GlobalReport, Any]) -> None:
    broken = replace(parts[0], additivity=replace(parts[0].additivity, passes=False))
    checks = open_page(write(broken).as_uri()).locator("#checks li")
    assert checks.first.inner_text().startswith("✕")
    assert checks.last.inner_text().startswith("!")


def test_trials_are_numbered_as_in_the_terminal(open_page: OpenPage, write: Write) -> None:
    numbers = open_page(write().as_uri()).locator("#search tbody th").all_text_contents()
    assert numbers == [str(number) for number in range(1, 10)]


def test_an_option_in_a_warning_is_not_cut_at_the_end_of_a_line(open_page: OpenPage, write: Write) -> None:
    assert open_page(write().as_uri()).locator("#checks .option:visible").all_inner_texts() == ["--drop"]


@pytest.mark.slow
def test_evidence_that_does_not_fit_is_refused_in_words_or_shown() -> None:
    """It is a stranger's: whatever stands in the place of a value, the page ends in no error of ours."""

    def places(part: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        items = part.items() if isinstance(part, dict) else enumerate(part[:1]) if isinstance(part, list) else ()
        return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]

    num_refused = 0
    for path in places(evidence()):
        for value in ("x", None, [], {}, -1, 10**400):
            changed: Any = evidence()
            part = changed
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
            try:
                with refuse_unreadable():
                    evidence_sections(changed)
                    headline(changed)
            except IntegrityError:
                num_refused += 1
    assert num_refused > 50


def test_groups_of_a_number_stand_in_its_order_and_in_words(open_page: OpenPage, write: Write) -> None:
    groups = [
        {"group": name, "num_rows": 40, "metrics": dict.fromkeys(("log_loss", "auc", "brier", "accuracy"), figure(0.9))}
        for name in ("61 to inf", "missing", "-inf to 34", "34 to 47", "47 to 61")
    ]
    page = open_page(write(evidence=evidence() | {"segments": {"age": groups}}).as_uri())
    wanted = ["below 34", "34 to 47", "47 to 61", "61 and above", "missing"]
    assert page.locator("#segments tbody th").all_inner_texts() == wanted
    assert {"below 34", "61 and above"} <= set(page.locator("#segments .wide text .en").all_text_contents())
    narrow = open_page(page.url, width=390)
    ends = narrow.locator("#segments caption").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert ends
    assert max(ends) <= 390
    assert page.locator("#segments th").all_inner_texts()[2:4] == ["AUC", "Accuracy"]
    assert overflow_px(page) <= 0


@pytest.mark.parametrize(("num", "words"), [(1, "Taking away the column that matters most"), (3, "the 3 columns that")])
def test_columns_that_were_taken_away_are_counted(
    write: Write, parts: tuple[GlobalReport, Any], num: int, words: str
) -> None:
    report = replace(parts[0], ablation=replace(parts[0].ablation, num_columns_taken_away=num))
    assert words in write(report).read_text("utf-8")


def test_the_mean_influence_on_many_classes_is_not_said_to_be_that_on_one(
    write: Write, parts: tuple[GlobalReport, Any]
) -> None:
    by_class = {name: dict.fromkeys(NAMES, 1.0) for name in ("a", "b", "c")}
    html = write(replace(parts[0], by_class=by_class, target="a")).read_text("utf-8")
    assert "mean |contribution|, log-odds, mean over 3 classes" in html
    assert "mean |contribution|, log-odds of a" not in html


def test_the_page_says_how_to_make_it_again(open_page: OpenPage, write: Write) -> None:
    text = open_page(write().as_uri()).inner_text("#provenance")
    for part in (COMMAND, "deepseek ship loans.csv", "ab" * 32, "linear", f"{NUM_ROWS} of {NUM_ROWS}"):
        assert part in text


def test_without_evidence_only_what_is_known_is_shown(open_page: OpenPage, write: Write) -> None:
    page = open_page(write(evidence=None, manifest=None, rows=(), command="").as_uri())
    assert page.locator("section h2").all_inner_texts() == [
        "What matters",
        "How single columns act",
        "Checks",
        "Where this comes from",
    ]


@pytest.mark.slow
def test_it_prints_on_paper(open_page: OpenPage, write: Write) -> None:
    page = open_page(write().as_uri(), dark=True)
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.fixture(scope="module")
def five_rows(cancer_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BundleExplanation]:
    """The page of a real bundle with five rows of both classes, as the shell makes it."""
    table, target, _ = load_example("cancer")
    path = tmp_path_factory.mktemp("five") / "report.html"
    return path, explain_bundle(cancer_bundle, table.drop([target]), rows=(0, 1, 19, 20, 21), html=path, trust=True)


@pytest.mark.slow
def test_five_rows_fit_on_eight_sheets_of_paper(open_page: OpenPage, five_rows: tuple[Path, BundleExplanation]) -> None:
    pdf = open_page(five_rows[0].as_uri()).pdf(format="A4")
    assert 0 < len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8


def test_curves_follow_the_class_that_a_row_was_answered_with(
    open_page: OpenPage, five_rows: tuple[Path, BundleExplanation]
) -> None:
    path, explanation = five_rows
    assert isinstance(explanation.faithfulness, FaithfulnessReport)
    classes = [row.curve_class for row in explanation.faithfulness.rows]
    assert classes == [row.prediction.partition(" (")[0] for row in explanation.rows]
    assert set(classes) == {"malignant", "benign"}
    for row in explanation.faithfulness.rows:  # what speaks for it is gone first: none of the answer is left at once
        assert row.deletion.points[0] > row.deletion.points[1]
    titles = open_page(path.as_uri()).locator("#trust figure h3").all_text_contents()
    for label in ("malignant", "benign"):
        assert any(f"Taken away, first what speaks for {label}" in title for title in titles)


def test_a_class_without_a_name_of_its_own_stands_with_its_column(
    write: Write, parts: tuple[GlobalReport, list[RowReport]]
) -> None:
    named = {"target": "1", "outcome": "fraud"}
    rows = [replace(row, prediction="1 (0.982)", **named) for row in parts[1]]  # type: ignore[arg-type]
    html = write(replace(parts[0], **named), rows=rows).read_text("utf-8")  # type: ignore[arg-type]
    assert "log-odds of fraud = 1" in html
    assert "fraud = 1 的对数几率" in html
    assert ": fraud = 1 (0.982)" in html
    assert "log-odds of 1" not in html


def test_nothing_is_cut_on_paper(open_page: OpenPage, write: Write, tmp_path: Path) -> None:
    """680 px are A4 without its margins."""
    page = open_page(write().as_uri(), width=680, dark=True)
    on_screen = page.locator("details:not(.json):not([open])").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert on_screen > 0
    assert page.locator("details:not(.json):not([open])").count() == 0
    assert overflow_px(page) <= 0
    assert collisions(page) == []
    heights = page.locator("svg.plot").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert max(heights) < 890  # of the 1009 px of a page
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"


def test_who_made_it_when_and_at_what_cost_stands_at_the_end(open_page: OpenPage, write: Write) -> None:
    provenance = Provenance(
        model=ModelProvenance("loans", "ab" * 32, "binary"), data=DataProvenance("cd" * 32, 400, 64), method="linear",
        why="exact", seed=7, cost=Cost(12345, 2.0), versions={"deepseek": "1.2.3"}, date="2026-01-02T03:04:05+00:00",
        command=COMMAND,
    )  # fmt: skip
    text = open_page(write(provenance=provenance).as_uri()).inner_text("#provenance")
    for part in ("exact", "12,345 answers of the model, 2.00 s", "2026-01-02", "cd" * 32, "deepseek 1.2.3"):
        assert part in text


def test_trust_that_was_not_measured_says_what_to_do(open_page: OpenPage, write: Write) -> None:
    page = open_page(write(trust=SkippedFaithfulness(None, 90.0, "it would take 90 s")).as_uri())
    assert "Add --trust to the command" in page.inner_text("#trust")


def test_ten_thousand_columns_make_a_page_below_two_megabytes(
    write: Write, parts: tuple[GlobalReport, list[RowReport]]
) -> None:
    importance = tuple(ColumnImportance(f"a name as long as names are {i}", 1.0, 1e-4, 0.1) for i in range(10_000))
    assert write(replace(parts[0], importance=importance), rows=parts[1] * 25).stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("num_moving", "num", "title", "rest"),
    [(1, 1, "The column as a table", False), (3, 3, "All 3 columns as a table", False),
     (3, 40, "The first 3 of 40 columns as a table", True),
     (150, 200, "The first 100 of 200 columns as a table", False)],
)  # fmt: skip
def test_the_table_names_columns_that_move_the_answers_and_few_of_many(
    write: Write, parts: tuple[GlobalReport, Any], num_moving: int, num: int, title: str, rest: bool
) -> None:
    importance = tuple(
        ColumnImportance(f"c{i}", float(i < num_moving), float(i < num_moving) / num_moving, 0.0) for i in range(num)
    )
    report = replace(parts[0], importance=importance)
    page = write(report, rows=[]).read_text(encoding="utf-8")
    assert title in page
    assert ("the other columns move nothing" in page) == rest


def test_more_rows_than_a_page_holds_are_refused(write: Write, parts: tuple[GlobalReport, list[RowReport]]) -> None:
    with pytest.raises(InputError, match="51 rows"):
        write(rows=parts[1][:1] * 51)
