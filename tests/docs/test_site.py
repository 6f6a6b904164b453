"""The site as it is built: every link and anchor, both languages, themes, no request to another host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect
from website.pages import ROOT

from support.servers.axe import axe_script, barriers
from support.servers.browser import OpenPage, browser, open_page

__all__ = ["browser", "open_page"]  # fixtures

ZENSICAL = [Path(sys.executable).with_name("zensical"), ROOT / ".venv-docs" / "bin" / "zensical"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(path.is_file() for path in ZENSICAL), reason="no Zensical: make test-docs"),
]


class _References(HTMLParser):
    """What a page links to, and which anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {values[name] or "" for name in ("id", "name") if name in values}
        self.links += [value for name in ("href", "src") if (value := values.get(name))]


@cache
def references(page: Path) -> _References:
    parser = _References()
    parser.feed(page.read_text("utf-8"))
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("site") / "html"
    run = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_site.py"), "--out", str(out)],
        capture_output=True, text=True, check=False, timeout=1_200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    yield out
    shutil.rmtree(out)


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    broken = []
    for page in sorted(site.rglob("*.html")):
        for link in references(page).links:
            if re.match(r"[a-z]+:", link) or link.startswith("//") or page.name == "404.html":
                continue
            name, _, anchor = unquote(link).partition("#")
            file = (page.parent / name.partition("?")[0]).resolve() if name else page
            if file.is_dir():
                file /= "index.html"
            if not file.is_file():
                broken.append(f"{page.relative_to(site)}: {link}")
            elif anchor and file.suffix == ".html" and anchor not in references(file).anchors:
                broken.append(f"{page.relative_to(site)}: {link} (anchor)")
    assert broken == []


def test_every_page_is_there_in_both_languages(site: Path) -> None:
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    chinese = {name.removeprefix("zh/") for name in names if name.startswith("zh/")}
    assert {name for name in names if not name.startswith("zh/")} == chinese


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:link|script|img|iframe)[^>]*(?:href|src)=[\"']?((?:https?:)?//[^\"' >]+)", text)
        assert loaded == [], page


def test_a_reader_switches_language_and_theme_and_no_request_leaves(
    site: Path, address: str, open_page: OpenPage
) -> None:
    page = open_page(f"{address}/guides/ship.html", allow=address)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.locator(".language-switch a").click()
    expect(page).to_have_url(f"{address}/zh/guides/ship.html")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    page.locator(".language-switch a").click()
    expect(page).to_have_url(f"{address}/guides/ship.html")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")
    page.locator("label[for=__palette_1]").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("threshold")
    expect(page.get_by_text(re.compile(r"^\d+ results$"))).to_be_visible()


#: What a newcomer wants: links to follow from the front page, and what has to stand on the last one.
TASKS = {
    "ship one's own CSV": (["Shipping"], "deepseek ship loans.csv"),
    "why was this row refused": (["Error messages, each with its mend"], "InputError"),
    "serve two versions": (["Serving: models that come and go"], "repository"),
    "make it smaller": (["A smaller, faster model, or none"], "deepseek compress"),
    "find the rule that fired": (["Watching: the alerts", "DeepseekErrors"], "deepseek_requests_total"),
    "see it on one's kind of data": (["Gallery", "Sounds: a bearing that knocks"], "deepseek ship sounds.csv"),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_newcomer_gets_there_in_three_clicks(task: str, address: str, open_page: OpenPage) -> None:
    links, words = TASKS[task]
    assert len(links) <= 3
    page = open_page(f"{address}/index.html", allow=address)
    for link in links:
        page.locator("article").get_by_role("link", name=link, exact=True).first.click()
    expect(page.locator("article")).to_contain_text(words)


def test_a_word_is_searched_for_and_its_page_opened(address: str, open_page: OpenPage) -> None:
    page = open_page(f"{address}/zh/index.html", allow=address)
    page.locator(".md-search__button").first.click()
    page.keyboard.type("deepseek compress")
    results = page.locator("[href*='guides/compress.html']")
    expect(results.first).to_be_visible()


@pytest.mark.parametrize("key", ["/", "Control+k"])
def test_the_script_and_the_index_of_the_search_come_when_a_reader_does_something(
    key: str, address: str, open_page: OpenPage
) -> None:
    page = open_page(f"{address}/gallery/ct.html", allow=address, dark=True)
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    expect(page.locator("label[for=__palette_0]")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert not [name for name in fetched(page) if "bundle" in name or "search" in name or "-light-" in name]
    page.keyboard.press(key)
    expect(page.get_by_role("combobox", name="Search")).to_be_focused()
    page.keyboard.type("threshold")
    expect(page.get_by_text(re.compile(r"^\d+ results$"))).to_be_visible()
    assert [name for name in fetched(page) if name.endswith("search.json")]


def fetched(page: Page) -> list[str]:
    """What the page has loaded besides itself."""
    names: list[str] = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    return names


def test_a_click_before_the_script_is_there_is_done_when_it_is(address: str, open_page: OpenPage) -> None:
    page = open_page(f"{address}/index.html", allow=address)
    page.locator("label[for=__palette_1]").evaluate("label => label.click()")  # without a pointer that moves before
    page.mouse.move(40, 400)
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "path", ["index.html", "gallery/ct.html", "zh/guides/ship.html", "benchmarks.html", "reference/api/serve.html"]
)
def test_axe_finds_nothing_serious(path: str, dark: bool, address: str, open_page: OpenPage) -> None:
    axe_script()
    page = open_page(f"{address}/{path}", allow=address, dark=dark, reduced_motion="reduce")
    page.wait_for_load_state("networkidle")
    assert barriers(page) == []
    page.mouse.move(40, 400)  # now the theme's script comes
    page.locator("html.js .md-search").wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    assert barriers(page) == []
