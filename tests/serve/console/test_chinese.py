"""The console and the API reference in Chinese, in a real browser: no English is left over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from deepseek.look import Text
from deepseek.serve.console.chinese import in_both_languages
from support.servers.browser import OpenPage, browser, open_page
from support.servers.console import choose, explain
from support.servers.serving import Server

__all__ = ["browser", "open_page"]  # fixtures

#: Names: of formats, protocols, methods, units and this program; types of JSON; and the other language of the switch.
NAMES = frozenset(
    re.findall(
        r"\S+",
        """
        English deepseek model server API JSON Prometheus OpenAPI OpenAI Open Inference Protocol HTTP GET POST Retry
        After TreeSHAP DeepLift Rescale Shapley Owen null string number integer boolean object array kB MB MiB GiB
        ms min µs query path curl COLUMN FILE VALUE predict explain multipart form data
        """,
    )
)
#: Texts that are shown, but for code, commands and what is marked as English words of the server.
SHOWN_TEXTS = """() => {
  const shown = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (parent.closest("script, style, noscript, pre, code, [lang=en]")) continue;
    if (parent.closest("[lang]").lang === "en" || !parent.checkVisibility({ visibilityProperty: true })) continue;
    shown.push(walker.currentNode.textContent);
  }
  return shown;
}"""


def english_words(opened: Page, names: set[str]) -> set[str]:
    """Words in Latin letters that are shown, but for `names` and NAMES. A route is a name, too."""
    texts = [re.sub(r"/v?[\w{}:./-]+", " ", text) for text in opened.evaluate(SHOWN_TEXTS)]
    for name in sorted(names, key=len, reverse=True):
        texts = [text.replace(name, " ") for text in texts]
    return {word for text in texts for word in re.findall(r"[A-Za-zµ]{2,}", text)} - NAMES


def names_of(opened: Page) -> set[str]:
    """Names of models, columns, targets, classes and levels; and of what else runs on this machine."""
    names: list[str] = opened.evaluate(
        "async () => (await Promise.all(state.models.map(({ id }) => ask(modelPath(id))))).flatMap((card) => [card.id,"
        " card.target, ...card.labels, ...card.inputs.flatMap((one) => [one.name, ...(one.levels || [])])])"
    )
    running: list[str] = opened.evaluate("async () => (await ask('/v1/running')).running.map((one) => one.name)")
    return {name for name in names + running if name} | {"credit"}


@pytest.mark.slow
def test_the_console_has_no_english_left_over(open_page: OpenPage, console_server: Server, tmp_path: Path) -> None:
    url = console_server.url
    opened = open_page(url + "/", allow=url, locale="zh-CN", expected="Failed to load resource")
    opened.wait_for_selector("#field-0")
    names = names_of(opened)
    for model in ("loans", "cancer", "photos"):
        choose(opened, model)
        assert "校准前" in explain(opened)
        assert english_words(opened, names) == set(), model
    (tmp_path / "scan.png").write_text("no picture")
    opened.set_input_files("#fields input[type=file]", tmp_path / "scan.png")
    opened.click("button[value=predict]")
    expect(opened.locator("#result .state.bad")).to_contain_text("列 photo", use_inner_text=True)
    assert english_words(opened, names | {"scan.png"}) == set()
    choose(opened, "loans")
    opened.get_by_label("age", exact=True).fill("old")
    opened.click("button[value=predict]")
    expect(opened.locator("#result .state.bad")).to_contain_text("应为：数字", use_inner_text=True)
    assert english_words(opened, names) == set()


@pytest.mark.slow
def test_the_reference_has_no_english_left_over(open_page: OpenPage, console_server: Server) -> None:
    url = console_server.url
    opened = open_page(url + "/", allow=url, locale="zh-CN")
    opened.wait_for_selector("#field-0")
    names = names_of(opened)
    opened.goto(url + "/docs")
    opened.evaluate("for (const part of document.querySelectorAll('details.section')) part.open = true")
    assert english_words(opened, names) == set()


def test_a_sentence_of_the_reference_without_chinese_would_be_seen() -> None:
    assert in_both_languages("Something new") == Text("Something new", "Something new")
