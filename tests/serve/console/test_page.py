"""The console of models that read texts, tensors and files, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route, expect

from support.nets.onnxgraphs import lookup
from support.nets.textfolders import make_text_folder
from support.rows.sampled import sampled_bundle
from support.servers.browser import OpenPage, browser, open_page
from support.servers.serving import Server, started

__all__ = ["browser", "open_page"]  # fixtures


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("texts")
    tasks = ("embedding", "sequence-classification", "token-classification")
    folders = [make_text_folder(base / task, "bert", task) for task in tasks]
    with started(*folders, "--workers", "1") as running:
        yield running


@pytest.mark.slow
def test_the_console_takes_and_shows_tensors(open_page: OpenPage, tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    with (
        started(lookup(tmp_path / "places.onnx"), "--workers", "1", environ=environ) as running,
        open_page(running.url + "/", allow=running.url, expected="422") as opened,
    ):
        opened.wait_for_selector("#fields textarea")
        assert not opened.is_visible("#explain")
        areas = opened.locator("#fields textarea")
        areas.nth(0).fill('"Bonn"')
        areas.nth(1).fill("[1, 2, 3]")
        opened.click("button[value=predict]")
        expect(opened.locator("#predicted")).to_contain_text("sum 14", use_inner_text=True)
        areas.nth(1).fill("[1, 2")
        opened.click("button[value=predict]")
        expect(opened.locator("#result")).to_contain_text("places", use_inner_text=True)
        opened.close()  # before its server: the page asks every two seconds


def test_the_console_shows_what_a_text_model_answers(open_page: OpenPage, server: Server) -> None:
    opened = open_page(server.url + "/", allow=server.url)
    opened.wait_for_selector("#fields textarea")
    said = {"embedding": "32 numbers", "sequence-classification": "Probability", "token-classification": ""}
    for task, words in said.items():
        opened.select_option("#model", task)
        opened.wait_for_selector("#fields textarea")
        opened.fill("#fields textarea", "the cat sat on a mat")
        opened.click("button[value=predict]")
        expect(opened.locator("#result")).to_contain_text(words, use_inner_text=True)
        opened.wait_for_selector("#predicted")
        assert opened.is_visible("#explain") == (task != "token-classification")


def test_a_model_that_is_chosen_has_no_form_until_its_columns_have_come(open_page: OpenPage, server: Server) -> None:
    opened = open_page(server.url + "/", allow=server.url)
    opened.wait_for_selector("#fields textarea")
    held: list[Route] = []
    opened.route("**/v1/models/sequence-classification*", lambda route: held.append(route))  # noqa: PLW0108  (Playwright marks what it is given)
    opened.select_option("#model", "sequence-classification")
    opened.click("button[value=predict]")  # of a model that is not known yet: nothing is sent, and nothing breaks
    assert opened.locator("#fields textarea").count() == 0, "the form of the model before would be sent to this one"
    for _ in range(2):  # the page goes on asking for news: the second time it has written what it heard the first time
        with opened.expect_response("**/v1/models"):
            pass
    assert opened.is_visible("#model"), "nothing else could be chosen while a slow one comes"
    opened.select_option("#model", "token-classification")
    opened.wait_for_selector("#fields textarea")
    for route in held:
        route.continue_()
    opened.click("button[value=predict]")
    opened.wait_for_selector("#predicted")
    assert opened.input_value("#model") == "token-classification", "an answer that comes late changes nothing"


@pytest.mark.slow
def test_a_file_is_chosen_and_sent_with_its_row(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_text("no picture")
    bundle = sampled_bundle(tmp_path / "visits", ("photo", "note", "age"))
    with (
        started(bundle, "--workers", "1") as running,
        open_page(running.url + "/", allow=running.url, expected="400") as opened,
    ):
        opened.wait_for_selector("#fields input[type=file]")
        opened.click("button[value=explain]")
        opened.wait_for_selector("#why svg")
        assert "photo = \u2026" in (opened.text_content("#why svg") or "")
        chosen = opened.locator("#fields input[type=file]")
        chosen.set_input_files(tmp_path / "scan.png")
        expect(chosen).to_have_js_property("held", {"b64": "bm8gcGljdHVyZQ=="})
        opened.click("button[value=predict]")
        expect(opened.locator("#result")).to_contain_text("'photo' is no picture", use_inner_text=True)
        opened.close()


def test_the_console_is_compressed_for_who_takes_it_so(server: Server) -> None:
    packed = httpx.get(server.url, headers={"accept-encoding": "gzip, deflate"})
    plain = {words: httpx.get(server.url, headers={"accept-encoding": words}) for words in ("identity", "gzip;q=0")}
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain["identity"].headers["content-length"]) / 2
    for answer in plain.values():
        assert "content-encoding" not in answer.headers
        assert (answer.text, answer.headers["vary"]) == (packed.text, "accept-encoding")
        assert answer.headers["content-security-policy"] == packed.headers["content-security-policy"]


def test_models_without_a_card_of_their_training_rows_have_no_part_of_drift(server: Server) -> None:
    document = httpx.get(f"{server.url}/v1/drift").json()
    assert (document["models"], document["html"]) == ([], "")
