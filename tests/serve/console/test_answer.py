"""What the console says of an answer: from log-odds to the decision, levels, regions of a picture, versions."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from deepseek.look.numbers import number, signed_number
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px
from support.servers.console import choose, explain
from support.servers.serving import Server, until

__all__ = ["browser", "open_page"]  # fixtures


def ask(server: Server, name: str, verb: str, row: dict[str, Any]) -> Any:
    answer = httpx.post(f"{server.url}/v1/models/{name}:{verb}", json={"instances": [row]}, timeout=60).json()
    return next(iter(answer.values()))[0]


@pytest.mark.slow
def test_one_sentence_leads_from_log_odds_to_the_decision(open_page: OpenPage, console_server: Server) -> None:
    card = httpx.get(f"{console_server.url}/v1/models/cancer").json()
    row = card["example"]["instances"][0]
    why, predicted = ask(console_server, "cancer", "explain", row), ask(console_server, "cancer", "predict", row)
    chance, calibration = predicted["probabilities"]["malignant"], card["calibration"]
    size = calibration["slope"] * why["output"] + calibration["bias"][0]
    smoothing = calibration["smoothing"]
    by_hand = smoothing + (1 - 2 * smoothing) / (1 + math.exp(-size))
    assert by_hand == pytest.approx(chance, rel=1e-4)  # float32
    opened = open_page(console_server.url + "/", allow=console_server.url)
    choose(opened, "cancer")
    sentence = explain(opened)
    assert f"log-odds of {number(why['output'])} for malignant, before calibration" in sentence
    assert f"a probability of {number(chance)}" in sentence
    side = "at or above" if predicted["label"] == "malignant" else "below"
    limit = number(card["threshold"])
    assert sentence.endswith(f"{side} the threshold of {limit}, so the answer is {predicted['label']}.")


@pytest.mark.slow
def test_log_odds_beyond_the_smallest_probability_are_said_to_be(open_page: OpenPage, console_server: Server) -> None:
    """A linear part goes on without end where training never was, and a probability stops at the model's smallest."""
    card = httpx.get(f"{console_server.url}/v1/models/cancer").json()
    row = card["example"]["instances"][0]
    body = {"instances": [row | {name: 1e9} for name in row]}
    whys = httpx.post(f"{console_server.url}/v1/models/cancer:explain", json=body, timeout=60).json()["explanations"]
    column = max(zip(row, whys, strict=True), key=lambda pair: abs(pair[1]["output"]))[0]
    changed = row | {column: 1e9}
    why, predicted = (
        ask(console_server, "cancer", "explain", changed),
        ask(console_server, "cancer", "predict", changed),
    )
    chance, smoothing = predicted["probabilities"]["malignant"], card["calibration"]["smoothing"]
    assert abs(why["output"]) > 1e4
    assert min(chance, 1 - chance) == pytest.approx(smoothing, rel=1e-3)
    opened = open_page(console_server.url + "/", allow=console_server.url)
    choose(opened, "cancer")
    opened.evaluate("(row) => fillForm(row)", changed)
    sentence = explain(opened)
    end = "largest that this model gives, however high" if why["output"] > 0 else "smallest that this model gives"
    assert f"a probability of {number(chance)}, the {end}" in sentence
    expect(opened.locator("#result .state.warn")).to_contain_text(column)


@pytest.mark.slow
def test_a_bare_label_is_called_with_its_column(open_page: OpenPage, console_server: Server) -> None:
    opened = open_page(console_server.url + "/", allow=console_server.url)
    choose(opened, "loans")
    opened.click("button[value=predict]")
    opened.wait_for_selector("#joined")
    assert opened.inner_text("#joined").startswith("late = yes has a probability of ")
    assert " for late = yes, before calibration" in explain(opened)
    texts = opened.locator("#why svg text").all_text_contents()
    assert any("log-odds of late = yes" in text for text in texts)
    assert opened.locator("#probabilities thead th").first.inner_text() == "late"
    assert collisions(opened) == []


def test_levels_are_offered_and_another_value_is_taken(open_page: OpenPage, console_server: Server) -> None:
    opened = open_page(console_server.url + "/", allow=console_server.url)
    choose(opened, "loans")
    purpose = opened.get_by_label("purpose", exact=True)
    shown = purpose.locator("option:not(.zh)").all_inner_texts()
    assert sorted(shown[1:-1]) == ["car", "house", "study"]
    purpose.select_option("study")
    assert opened.evaluate("readForm().purpose") == "study"
    purpose.select_option(label="another value …")
    opened.get_by_label("purpose", exact=True).fill("yacht")
    opened.click("button[value=predict]")
    expect(opened.locator("#result .state.warn")).to_contain_text("purpose", use_inner_text=True)
    opened.click("#reset")
    assert opened.evaluate("document.getElementById('field-2').tagName") == "SELECT"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_a_picture_is_shown_and_its_regions_are_drawn_on_it(
    open_page: OpenPage, console_server: Server, tmp_path: Path, width: int
) -> None:
    pixels = np.zeros((24, 48), np.uint8)
    pixels[:, 24:] = 250  # the model speaks by the mean: the right half raises its answer
    Image.fromarray(pixels).save(tmp_path / "halves.png")
    opened = open_page(console_server.url + "/", allow=console_server.url, width=width)
    choose(opened, "photos")
    opened.wait_for_selector("#fields .preview img")
    opened.set_input_files("#fields input[type=file]", tmp_path / "halves.png")
    until(lambda: opened.evaluate("() => document.querySelector('.preview img')?.naturalWidth") == 48)
    explain(opened)
    views = opened.locator("figure.parts svg")
    expect(views).to_have_count(2)
    shape = "() => document.querySelector('figure.parts svg').viewBox.baseVal.height"
    until(lambda: opened.evaluate(shape) == 160)  # half of the width, as the picture has it
    values = [region["value"] for region in opened.evaluate("state.last.why.parts[0].regions")]
    largest = max(map(abs, values))
    shaded = [value for value in values if round(6 * abs(value) / largest)]
    assert views.nth(1).locator("rect[class^=lit-]").count() == len(shaded) > 0
    assert signed_number(max(values, key=abs)) in opened.inner_text("figure.parts figcaption")
    assert overflow_px(opened) <= 0
    assert collisions(opened) == []


@pytest.mark.slow
def test_a_file_that_no_browser_shows_is_said_to_be_one(
    open_page: OpenPage, console_server: Server, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, "TIFF")
    (tmp_path / "scan.tif").write_bytes(stream.getvalue())
    opened = open_page(console_server.url + "/", allow=console_server.url)
    choose(opened, "photos")
    opened.set_input_files("#fields input[type=file]", tmp_path / "scan.tif")
    expect(opened.locator(".preview")).to_contain_text("cannot show the file", use_inner_text=True)
    explain(opened)
    expect(opened.locator("figure.parts svg")).to_have_count(2)


def test_a_refused_version_stands_beside_the_one_that_serves(open_page: OpenPage, console_server: Server) -> None:
    opened = open_page(console_server.url + "/", allow=console_server.url)
    rows = opened.locator("#versions tbody tr")
    expect(rows.filter(has_text="refused")).to_contain_text("model.onnx", use_inner_text=True)
    listed = {
        entry["version"]: entry
        for entry in httpx.post(f"{console_server.url}/v2/repository/index").json()
        if entry["name"] == "credit"
    }
    assert listed["2"]["code"] == "integrity"
    expect(opened.locator("#note")).to_contain_text("1 version was refused", use_inner_text=True)
    assert overflow_px(opened) <= 0


def test_predictions_and_explanations_have_latencies_of_their_own(open_page: OpenPage, console_server: Server) -> None:
    for verb in ("predict", "predict", "explain"):
        ask(console_server, "loans", verb, {"age": 33.5, "income": 2400.0, "purpose": "car"})
    opened = open_page(console_server.url + "/", allow=console_server.url)
    cells = opened.locator("#models tr:has-text('loans') td")
    expect(cells.nth(4)).to_contain_text(re.compile(r"median [\d.]+ .s\s*p99 [\d.]+ .?s\s*of \d"), use_inner_text=True)
    expect(cells.nth(5)).to_contain_text(re.compile(r"of \d"), use_inner_text=True)
    stats = {one["name"]: one for one in httpx.get(f"{console_server.url}/v1/stats").json()["models"]}["loans"]
    assert sum(kind["num_requests"] for kind in stats["latency"].values()) == stats["num_requests"]


def test_the_last_hours_stand_on_the_page_with_what_was_looked_at(open_page: OpenPage, console_server: Server) -> None:
    ask(console_server, "loans", "predict", {"age": 33.5, "income": 2400.0, "purpose": "car"})
    opened = open_page(console_server.url + "/", allow=console_server.url, width=390, dark=True)
    expect(opened.locator("#hours")).to_contain_text("rules are looked at here", use_inner_text=True)
    assert httpx.get(f"{console_server.url}/v1/history").json()["slot_s"] == 10
    assert overflow_px(opened) <= 0
