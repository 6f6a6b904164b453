"""The recipe end to end on a simulated town, and tables that it refuses in words."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.cli import main
from deepseek.features.graph.example import simulate_payments
from deepseek.features.graph.payments import DAY_S, Payments
from deepseek.features.graph.planting import LEVELS, PlantedWorld, PlantingPlan, plant_levels
from deepseek.recipes.rings import (
    RingFindings,
    example_payments,
    find_rings,
    read_payments,
    time_warnings,
)
from deepseek.recipes.rings_drawing import MeetingMark, ring_over_time
from deepseek.recipes.rings_page import render_page
from deepseek.train.rings.held_out import limit_alarms
from deepseek.train.rings.scorer import ScorerConfig, TreeShape, fit_scorer, look_at

pytest.importorskip("xgboost")

pytestmark = pytest.mark.slow  # what they share takes ten seconds to make


@pytest.fixture(scope="module")
def payments() -> Payments:
    return example_payments()


@pytest.fixture(scope="module")
def findings(payments: Payments) -> RingFindings:
    return find_rings(payments)


@pytest.fixture(scope="module")
def planted() -> PlantedWorld:
    """The example again, with what is in it."""
    plan = PlantingPlan(num_rings=8, num_crowds=3, num_holidays=3)
    return plant_levels(simulate_payments(), list(LEVELS.values()), plan, seed=0)


def test_each_easy_ring_is_found_as_one_group(findings: RingFindings, planted: PlantedWorld) -> None:
    for ring in (0, 4):  # the levels take turns
        members = set(np.flatnonzero(planted.ring_of_card == ring).tolist())
        best = max(findings.rings, key=lambda group: len(members & set(group.cards)))
        assert len(members & set(best.cards)) > len(members) / 2


def test_the_threshold_keeps_false_alarms_within_the_limit(findings: RingFindings) -> None:
    held = findings.held_out
    assert held.num_alarms <= findings.choices.max_fpr * held.num_others
    assert list(held.recall) == list(LEVELS)
    assert all(each.num_cards >= each.num_rings > 0 for each in held.recall.values())


def test_the_json_says_recall_with_difficulty_false_positive_rate_and_decoys(findings: RingFindings) -> None:
    document = json.loads(json.dumps(findings.to_dict(), allow_nan=False))
    assert document["max_fpr"] == 0.005
    assert set(document["recall"]) == set(LEVELS)
    assert document["held_out"]["num_decoys"] > 0
    ring = document["rings"][0]
    assert {card["card"] for card in ring["cards"]} >= set(ring["meetings"][0]["cards"])
    assert len(ring["reasons"]) >= 4
    assert "terminals on" in ring["reasons"][0]


def test_the_page_draws_each_ring_and_asks_for_nothing(findings: RingFindings) -> None:
    html = render_page(findings, "<payments>")
    assert "http" not in html.replace("http-equiv", "")
    assert "<payments>" not in html
    assert html.count('id="ring-') == len(findings.rings) > 0
    assert html.count("<svg") == 2 * len(findings.rings)  # for a screen and for a phone
    assert len(html) < 2_000_000
    for card in findings.rings[0].cards:
        assert str(findings.payments.card_names[card]) in html


def test_no_more_false_alarms_than_allowed_where_scores_are_equal() -> None:
    scores = np.array([0.0] * 90 + [0.5] * 10)
    assert (scores > limit_alarms(scores, 0.05)).sum() <= 5


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


ROWS = [f"2025-01-0{1 + i % 5} 10:00:00,c{i % 4},s{i % 3},{i}.5" for i in range(20)]


def test_columns_are_recognized_and_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "when,customer,shop_id,amount", ROWS)
    payments = read_payments(path)
    assert (len(payments), payments.num_cards, payments.num_terminals) == (20, 4, 3)
    path = write(tmp_path / "b.csv", "when,pan,place,euros", ROWS)
    again = read_payments(path, card="pan", terminal="place", amount="euros")
    assert (again.cents == payments.cents).all()


@pytest.mark.parametrize(
    ("header", "rows", "words", "said"),
    [
        ("when,card,shop,amount", [], [], "column names but no rows"),
        ("when,card,shop,amount", [row.replace("c1", "c0").replace("c2", "c0").replace("c3", "c0") for row in ROWS], [],
         "all 20 payments are of one card"),
        ("when,card,shop,amount", [*ROWS, ",c1,s1,3.5"], [], "1 of 21 payments have no time ('when'), the first"),
        ("when,card,shop,amount", [*ROWS, "2025-01-01,,s1,3.5"], [], "1 of 21 payments have no card"),
        ("when,card,shop,euros", ROWS, [], "no column is certainly the amount"),
        ("when,card,shop,amount", ROWS, ["--terminal", "shp"], "Did you mean 'shop'?"),
        ("when,card,shop,amount", ROWS, ["--amount", "when"], "holds datetime, no amount"),
        ("when,card,shop,amount", ROWS, [], "4 cards are too few to plant rings among them"),
        ("when,card,shop,amount", [row.split(" ")[0] + "x" + row[19:] for row in ROWS], [], "no column holds dates"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_refused_in_words(
    header: str, rows: list[str], words: list[str], said: str, tmp_path: Path, capsys: Any
) -> None:
    path = write(tmp_path / "payments.csv", header, rows)
    assert main(["recipe", "rings", str(path), *words, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert said in error["message"], error
    assert error["fix"]


def test_the_verb_wants_a_table_or_the_example_and_a_place_for_the_page(tmp_path: Path, capsys: Any) -> None:
    assert main(["recipe", "rings"]) == 2
    assert "give either TRANSACTIONS or --example" in capsys.readouterr().err
    assert main(["recipe", "rings", "--example", "--html", str(tmp_path / "nowhere" / "rings.html")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["recipe", "rings", "--example", "--max-fpr", "5"]) == 2
    assert re.search(r"For 5 % write 0\.05", capsys.readouterr().err)


def test_a_drawing_has_a_row_for_each_card_and_a_letter_for_each_meeting() -> None:
    day_ms = 86_400_000.0
    meetings = [
        MeetingMark("A", [0, 1], [day_ms, day_ms + 1]),
        MeetingMark("B", [0, 2], [1.01 * day_ms, 1.01 * day_ms]),  # so near that its letter stands above the other
        MeetingMark("A", [1, 2], [9 * day_ms, 9 * day_ms]),
    ]
    drawn = ring_over_time(["c1", "c2", "c3"], meetings, [[], [2 * day_ms], []], title="t", width=700, x_label="time")
    texts = list(ET.fromstring(drawn).iter("text"))
    words = ["".join(each.itertext()) for each in texts]
    assert [word for word in words if word.startswith("c")] == ["c1", "c2", "c3"]
    letters = [each for each in texts if each.attrib.get("class") == "strong"]
    assert [each.text for each in letters] == ["A", "B", "A"]
    heights = [float(each.attrib["y"]) for each in letters]
    assert heights[1] < heights[0] == heights[2]


def test_cards_that_never_meet_are_in_no_ring() -> None:
    rng = np.random.default_rng(0)
    cards = np.repeat(np.arange(400), 20)
    alone = Payments.from_columns(rng.integers(0, 20 * DAY_S, len(cards)), cards, cards, rng.uniform(1, 50, len(cards)))
    config = ScorerConfig(plan=PlantingPlan(num_rings=4), worlds_per_stage=1, edge_trees=TreeShape(5, 3))
    scorer = fit_scorer(alone, config)
    scores = scorer.score(look_at(alone))
    assert scores.of_edges.shape == (0,)
    assert (scores.of_cards < 0.5).all()


def test_times_that_cannot_show_rings_are_said(findings: RingFindings, payments: Payments) -> None:
    assert findings.warnings == ()
    whole_days = replace(payments, time_s=payments.time_s // DAY_S * DAY_S)
    assert "whole days" in time_warnings(whole_days)[0]
    assert (
        "span 1.0 days"
        in time_warnings(replace(payments, time_s=payments.time_s[:1] + np.arange(len(payments)) % 9))[0]
    )
