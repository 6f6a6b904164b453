"""The page in Chromium: begin, check and hint by keyboard, in both languages, on a phone and in the dark."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from deepseek.errors import InputError
from deepseek.learn.page.matrix_page import matrix_page
from deepseek.learn.page.parts import render_markdown
from deepseek.learn.page.server import LearnServer
from deepseek.learn.verbs import LearningPath
from learn.conftest import solve
from support.pages.chinese import english_left_over
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]
LONG_MS = 120_000  # a check begins three processes, and the machine may be busy


@pytest.fixture
def server(learning_path: LearningPath, tmp_path: Path) -> Iterator[LearnServer]:
    with LearnServer(learning_path, "127.0.0.1", 0, tmp_path / "work") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_a_lab_is_begun_checked_and_passed_by_keyboard(server: LearnServer, open_page: OpenPage) -> None:
    page = open_page(server.url, allow=server.url)
    page.get_by_role("link", name="Counting").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/#counting")
    buttons = {name: page.get_by_role("button", name=name, exact=True) for name in ("Begin", "Check", "Next hint")}
    said = page.get_by_role("status")
    buttons["Begin"].focus()
    page.keyboard.press("Enter")
    expect(said).to_contain_text("The folder is", timeout=LONG_MS)
    buttons["Check"].focus()
    page.keyboard.press("Enter")
    expect(said).to_contain_text("Not passed yet", timeout=LONG_MS)
    expect(said).to_contain_text("answer.json is not there yet", timeout=LONG_MS)
    expect(buttons["Check"]).to_be_focused(timeout=LONG_MS)
    buttons["Next hint"].press("Enter")
    expect(said).to_contain_text("All rows.", timeout=LONG_MS)
    solve(server.folder / "counting")
    buttons["Check"].press("Enter")
    expect(said).to_contain_text("Passed: 100 of 100 points", use_inner_text=True, timeout=LONG_MS)
    expect(page.locator('[data-status="counting"]')).to_contain_text("passed")
    page.get_by_role("button", name="中文").click()
    expect(said).to_contain_text("已通过：100 分（满分 100）", use_inner_text=True)
    assert overflow_px(page) <= 0


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_nothing_overlaps_or_sticks_out(server: LearnServer, open_page: OpenPage, width: int, dark: bool) -> None:
    page = open_page(server.url, width=width, dark=dark, allow=server.url)
    assert collisions(page) == []
    assert overflow_px(page) <= 0


def test_the_chinese_of_the_matrix_has_no_english(learning_path: LearningPath) -> None:
    html = matrix_page(learning_path.matrix, learning_path.catalog, {"counting"})
    assert english_left_over(html, ("torch", "English")) == {}


def test_markup_in_a_task_is_shown_and_not_run() -> None:
    html = render_markdown("# A\n\n<script>alert(1)</script>\n\n[a](javascript:alert(1))\n")
    assert "<script>" not in html
    assert "javascript:alert" not in html.replace("(javascript:alert(1))", "")
    assert html.startswith("<h3>A</h3>")


def test_the_page_is_served_to_this_machine_alone(learning_path: LearningPath, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could run code here"):
        LearnServer(learning_path, "0.0.0.0", 0, tmp_path)
