"""The console and the API reference in a real browser, on a real server."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from deepseek.look.numbers import duration, format_value, number, signed_number
from deepseek.serve.console.page import console_page, console_script, docs_page
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures

REFUSED = "Failed to load resource"


@pytest.fixture
def open_console(open_page: OpenPage, server: Any) -> OpenPage:
    """Opens the console and waits for its form."""

    def open_it(**options: Any) -> Page:
        opened = open_page(server.url + "/", allow=server.url, **options)
        opened.wait_for_selector("#fields input")
        return opened

    return open_it


def explain(opened: Page) -> None:
    opened.click("button[value=explain]")
    opened.wait_for_selector("#why svg")


def plot_texts(opened: Page) -> list[str]:
    """The words of the waterfall in the language that is shown."""
    texts: list[str] = opened.evaluate(
        "Array.from(document.querySelectorAll('#why svg text'), (text) => Array.from(text.childNodes)"
        ".filter((node) => node.nodeName === '#text' || getComputedStyle(node).display !== 'none' && node.nodeName"
        " !== 'title').map((node) => node.textContent).join(''))"
    )
    return texts


def says(opened: Page, place: str, words: str) -> None:
    """Waits until the element holds the words as they are shown."""
    expect(opened.locator(place)).to_contain_text(words, use_inner_text=True)


def enter(opened: Page, column: str, value: str) -> None:
    """Types the value of a column, or chooses it where levels are offered."""
    field = opened.get_by_label(column, exact=True)
    if field.evaluate("(field) => field.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)


def choose(opened: Page, name: str) -> None:
    opened.wait_for_selector("#field-0")
    if opened.input_value("#model") != name:  # choosing it again would make the form anew while a test fills it
        opened.select_option("#model", name)
    expect(opened.locator("#form")).to_contain_text("purpose" if name == "loans" else "rooms")


def test_the_first_sentence_says_what_is_served(open_console: OpenPage, server: Any) -> None:
    answer = open_console().inner_text("#answer")
    assert answer.startswith(f"Serving {len(server.models)} models: {', '.join(server.models)}.")


def test_the_form_is_filled_with_a_row_that_the_model_takes(open_console: OpenPage, client: httpx.Client) -> None:
    opened = open_console()
    choose(opened, "loans")
    example = client.get("/v1/models/loans/example").json()["instances"][0]
    assert opened.locator("#form label").all_inner_texts()[1:] == list(example)
    opened.click("button[value=predict]")
    expected = client.post("/v1/models/loans:predict", json={"instances": [example]}).json()["predictions"][0]
    expect(opened.locator("#predicted")).to_have_text(expected["label"])
    shown = opened.locator("#probabilities tbody th").all_inner_texts()
    assert shown == sorted(expected["probabilities"], key=expected["probabilities"].__getitem__, reverse=True)


@pytest.mark.slow
def test_what_is_typed_is_what_is_asked(open_console: OpenPage, client: httpx.Client, loan: dict[str, Any]) -> None:
    opened = open_console()
    choose(opened, "loans")
    for column, value in loan.items():
        enter(opened, column, str(value))
    explain(opened)
    answer = client.post("/v1/models/loans:explain", json={"instances": [loan]}).json()["explanations"][0]
    texts = plot_texts(opened)
    assert texts[texts.index("Output") + 1] == number(answer["output"])
    assert texts[texts.index("Base value") + 1] == number(answer["base_value"])
    for column, value in loan.items():
        label = f"{column} = {value if isinstance(value, str) else format_value(value)}"
        assert texts[texts.index(label) + 1] == signed_number(answer["values"][column])
    assert opened.locator("#why path.fill-positive, #why path.fill-negative").count() >= len(loan)


def test_a_regression_shows_its_value_and_interval(open_console: OpenPage) -> None:
    opened = open_console()
    choose(opened, "prices")
    opened.press("#field-0", "Enter")
    expect(opened.locator("#result .answer")).to_have_text(re.compile(r"^price: [\d.]+ \[[\d.]+, [\d.]+\]$"))


def test_an_empty_field_is_missing_and_the_answer_says_that_it_was_filled_in(open_console: OpenPage) -> None:
    opened = open_console()
    choose(opened, "loans")
    opened.get_by_label("age", exact=True).fill("")
    opened.get_by_label("purpose", exact=True).select_option(label="another value …")
    enter(opened, "purpose", "yacht")
    opened.click("button[value=predict]")
    says(opened, "#result .state.warn", "Missing, so filled in: age")
    says(opened, "#result .state.warn", "never saw: purpose")


def test_a_refused_value_shows_the_servers_own_words_and_the_field(open_console: OpenPage) -> None:
    opened = open_console(expected=REFUSED)
    choose(opened, "loans")
    opened.get_by_label("age", exact=True).fill("old")
    opened.click("button[value=predict]")
    says(opened, "#result .state.bad", "age")
    says(opened, "#result .state.bad", "Expected:")
    assert opened.evaluate("document.activeElement.dataset.name") == "age"
    assert opened.get_attribute("#field-0", "aria-invalid") == "true"
    opened.click("#reset")
    assert opened.inner_text("#result") == ""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_overlaps_or_is_cut_off(open_console: OpenPage, width: int, locale: str) -> None:
    opened = open_console(width=width, locale=locale)
    choose(opened, "loans")
    explain(opened)
    assert collisions(opened) == []
    assert overflow_px(opened) <= 0
    hidden_px = opened.evaluate(
        "(models => models.scrollWidth - models.clientWidth)(document.getElementById('models'))"
    )
    assert hidden_px <= 0
    titles = opened.locator("#models thead").is_visible() or opened.evaluate(
        "getComputedStyle(document.querySelector('#models td:last-child'), '::before').content"
    )
    assert titles in (True, '"Explanations"' if locale == "en-US" else '"解释延迟"')


@pytest.mark.slow
def test_requests_and_errors_are_counted_as_they_come(open_console: OpenPage, client: httpx.Client) -> None:
    opened = open_console(expected=REFUSED)
    cells = opened.locator("#models tr:has-text('prices') td")
    expect(cells.nth(1)).to_have_text(re.compile(r"\d"))
    before = [int(cells.nth(place).inner_text().replace(",", "")) for place in (1, 2)]
    example = client.get("/v1/models/prices/example").json()
    for _ in range(3):
        client.post("/v1/models/prices:predict", json=example)
    client.post("/v1/models/prices:predict", json={"instances": [{"area": "wide"}]})
    expect(cells.nth(1)).to_have_text(str(before[0] + 4))
    expect(cells.nth(2)).to_have_text(str(before[1] + 1))
    says(opened, "#answer", "requests/s, p99 of predictions")


@pytest.mark.slow
def test_the_language_stays_and_the_plot_follows_it(open_console: OpenPage) -> None:
    opened = open_console()
    explain(opened)
    opened.click("button[value=zh]")
    assert opened.inner_text("h1") == "模型服务"
    assert "输出" in plot_texts(opened)
    opened.reload()
    assert opened.inner_text("h1") == "模型服务"


def test_it_works_from_the_keyboard_alone(open_console: OpenPage) -> None:
    opened = open_console()
    opened.focus("#field-0")
    for _ in range(20):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.value") == "explain":
            break
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#why svg")


@pytest.mark.slow
def test_a_server_that_is_gone_is_said_so_and_found_again(open_page: OpenPage, loans: Path, start: Any) -> None:
    with start(loans) as running:
        opened = open_page(running.url + "/", allow=running.url, expected=REFUSED)
        opened.wait_for_selector("#fields input")
        running.stop()
        says(opened, "#answer", "The server does not answer.")
        says(opened, "#note", "Start it with deepseek serve BUNDLE")
        opened.click("button[value=predict]")
        says(opened, "#result", "Your row is still here")
        port = running.url.rsplit(":", 1)[1]
    with start(loans, "--port", port):
        says(opened, "#answer", "Serving 1 model: loans")


@pytest.mark.slow
def test_a_key_is_asked_for_and_used(open_page: OpenPage, loans: Path, start: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"secret").hexdigest() + "\n")
    with start(loans, "--api-keys", keys) as running:
        opened = open_page(running.url + "/", allow=running.url, expected=REFUSED)
        opened.wait_for_selector("#key-text")
        opened.fill("#key-text", "wrong")
        opened.keyboard.press("Enter")
        says(opened, "#note", "does not accept this key")
        opened.fill("#key-text", "secret")
        opened.keyboard.press("Enter")
        opened.wait_for_selector("#fields input")
        opened.click("button[value=predict]")
        opened.wait_for_selector("#predicted")


@pytest.mark.slow
def test_each_version_that_answers_has_its_own_figures(
    open_page: OpenPage, loans: Path, loan: dict[str, Any], start: Any
) -> None:
    with start(f"v1={loans}", f"v2={loans}", "--route", "loans=v1:0.9,v2:0.1", "--workers", "0") as running:
        for version, num_requests in (("v2", 2), ("v1", 5)):
            for _ in range(num_requests):
                httpx.post(f"{running.url}/v1/models/loans/versions/{version}:predict", json={"instances": [loan]})
        with open_page(running.url + "/", allow=running.url) as opened:
            rows = opened.locator("#models tbody tr")
            expect(rows).to_have_count(2)
            assert [row.split()[:4] for row in rows.all_inner_texts()] == [
                ["loans", "v1", "binary", "5"],
                ["loans", "v2", "binary", "2"],
            ]


def test_a_server_without_models_says_what_to_do(open_page: OpenPage, server: Any) -> None:
    opened = open_page(server.url + "/docs", allow=server.url)
    opened.route("**/v1/models", lambda route: route.fulfill(json={"object": "list", "data": []}))
    opened.goto(server.url + "/")
    says(opened, "#answer", "This server holds no model.")
    says(opened, "#note", "deepseek serve BUNDLE")
    assert not opened.is_visible("#form")


def test_a_hostile_column_name_stays_text(open_page: OpenPage, server: Any) -> None:
    """The wire is not trusted either: a model's columns come from whoever made the bundle."""
    name = "<img src=x onerror=document.title='owned'>"
    card = {"id": "loans", "target": name, "inputs": [{"name": name, "dtype": "float64"}]}
    opened = open_page(server.url + "/docs", allow=server.url)
    opened.route("**/v1/models/*", lambda route: route.fulfill(json=card))
    opened.route("**/example", lambda route: route.fulfill(json={"instances": [{name: 1.5}]}))
    values = {"base_value": 0, "values": {name: 1.5}, "output": 1.5, "residual": 0, "scale": name, "method": name}
    opened.route(re.compile(":predict$"), lambda route: route.fulfill(json={"predictions": [{"value": 1.5}]}))
    opened.route(re.compile(":explain$"), lambda route: route.fulfill(json={"explanations": [values]}))
    opened.goto(server.url + "/")
    opened.wait_for_selector("#fields input")
    explain(opened)
    assert opened.title() == "Model server"
    assert opened.locator("img").count() == 0
    assert collisions(opened) == []


@pytest.mark.slow
def test_what_the_threshold_does_stands_beside_the_form(open_page: OpenPage, cancer_bundle: Path, start: Any) -> None:
    with start(cancer_bundle, "--workers", "0") as running:
        card = httpx.get(f"{running.url}/v1/models/cancer").json()
        point = card["operating_point"]
        with open_page(running.url + "/docs", allow=running.url) as opened:
            notice = {"en": "the threshold catches <b>nothing</b>", "zh": "阈值没有发现任何一行"}
            opened.route("**/v1/models/cancer", lambda route: route.fulfill(json={**card, "notices": [notice]}))
            opened.goto(running.url + "/")
            says(opened, "#decision", f"malignant from a probability of {number(point['threshold'])} on")
            says(opened, "#decision", f"{point['num_caught']} of {point['num_positives']}")
            says(opened, "#decision", notice["en"])
            assert opened.locator("#decision b").count() == 0
            assert overflow_px(opened) <= 0
            assert collisions(opened) == []
    assert card["notices"] == []
    assert point["num_rows"] == 114
    assert set(point["recall"]) == {"value", "low", "high"}


@pytest.mark.parametrize("width", [1280, 390])
def test_the_reference_lists_every_route_with_a_body_to_copy(open_page: OpenPage, server: Any, width: int) -> None:
    opened = open_page(server.url + "/docs", allow=server.url, width=width)
    assert overflow_px(opened) <= 0
    opened.click("a:has-text('/v1/models/loans:predict')")
    section = opened.locator("details.section[open]")
    expect(section).to_contain_text("instances[].income")
    command = section.locator("pre.command")
    expect(command).to_contain_text(f"curl {server.url}/v1/models/loans:predict")
    expect(command).to_contain_text('"instances": [{')
    assert overflow_px(opened) <= 0


def test_the_console_writes_numbers_as_the_reports_do(open_console: OpenPage) -> None:
    values = [0.884, 0.99972, 1, 12345.6, 1e-5, 3e12, -0.5, 0, 99.95, 0.05]
    assert open_console().evaluate("(values) => values.map(number)", values) == [number(value) for value in values]
    times = [0.00031, 0.0021, 0.9994, 2.5, 80, 11_100, 200_000]
    assert open_console().evaluate("(times) => times.map(duration)", times) == [duration(time) for time in times]


def test_the_pages_ask_nothing_of_anyone_else() -> None:
    pages = console_page() + docs_page({"openapi": "3.1.0", "paths": {}})
    addresses = set(re.findall(r"https?://[^\s\"'`)$]+", pages))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert len(console_page().encode()) < 200_000


def test_the_script_never_writes_markup() -> None:
    """innerHTML may be read to compare, never set."""
    assert re.findall(r"(innerHTML|outerHTML)\s*=[^=]", console_script()) == []
    for forbidden in ("insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in console_script()


def test_the_reference_shows_parameters_references_and_errors_once() -> None:
    error = {"description": "There is no such thing.", "content": {}}
    document = {
        "paths": {
            "/a/{id}": {
                "get": {
                    "summary": "One <b>thing</b>",
                    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
                        "404": error,
                    },
                },
                "delete": {"responses": {"404": error}},
            }
        },
        "components": {"schemas": {"Thing": {"properties": {"size": {"type": ["number", "null"]}}}}},
    }
    page_text = docs_page(document)
    assert "path: integer" in page_text
    assert "number or null" in page_text
    assert "&lt;b&gt;thing" in page_text
    assert page_text.count("There is no such thing.") == 1
