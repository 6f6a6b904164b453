"""Pages in a real browser: what a reader would see, and what must never happen while a page is looked at.

`open_page(address, width=390, dark=True)` opens one and fails the test, at its end, when the page wrote an error to
the console, threw, or asked for anything but itself and addresses that begin with `allow`. Errors of the console that
contain `expected` are meant to happen. A page that asks on by itself is left before its server stops:
`with start() as server, open_page(server.url) as page`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000  # for what a page shows at once on an idle machine
expect.set_options(timeout=PATIENCE_MS)

OpenPage = Callable[..., Page]

#: Texts of the plots that are shown and overlap each other, or stick out of their plot.
COLLISIONS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg.plot")) {
    const frame = svg.getBoundingClientRect(), name = svg.getAttribute("aria-label");
    if (!frame.width) continue;
    const texts = Array.from(svg.querySelectorAll("text"), (text) => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([words, box], index) => {
      const inside = box.left >= frame.left - 2 && box.right <= frame.right + 2 && box.top >= frame.top - 2
        && box.bottom <= frame.bottom + 2;
      if (!inside) found.push(`${name}: ${words} sticks out`);
      for (const [others, other] of texts.slice(index + 1)) {
        const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (wide > 1 && high > 2) found.push(`${name}: ${words} on ${others}`);
      }
    });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Closed after each file: a running playwright holds the thread's event loop, which other tests need."""
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    problems: list[str] = []
    contexts: list[BrowserContext] = []

    def open_it(
        address: str, *, width: int = 1280, dark: bool = False, allow: str = "", expected: str = "", **options: Any
    ) -> Page:
        def heard(message: ConsoleMessage) -> None:
            if message.type == "error" and not (expected and expected in message.text):
                problems.append(message.text)

        def record_request(request: Request) -> None:
            own = request.url.partition("#")[0] == address.partition("#")[0] or request.url.startswith(
                ("data:", "blob:")
            )
            if not own and not (allow and request.url.startswith(allow)):
                problems.append(f"asked for {request.url}")

        look = {"color_scheme": "dark" if dark else "light", "locale": "en-US"}
        context = browser.new_context(viewport={"width": width, "height": 900}, **look | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", heard)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", record_request)
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not problems, "; ".join(problems)  # pytest shows no values for asserts outside of tests


def collisions(page: Page) -> list[str]:
    """Texts of shown plots that overlap or stick out; empty when all is well."""
    overlaps: list[str] = page.evaluate(COLLISIONS)
    return overlaps


def overflow_px(page: Page) -> int:
    """How far the page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wide
