"""The chat page, the script that embeds it, and the desk, in a real browser."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from support.assistant.processes import ask, process
from support.servers.browser import OpenPage, browser, open_page, overflow_px

__all__ = ["browser", "open_page"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with process(tmp_path_factory.mktemp("chat") / "state") as (url, _):
        yield url


def open_chat(open_page: OpenPage, url: str, page: str = "", **options: Any) -> Page:
    """The chat, or the desk, which may ask the routes of its assistant."""
    return open_page(f"{url}/chat/help{page}", allow=f"{url}/v1/models/help:", **options)


def test_a_message_is_answered_and_the_conversation_is_there_after_a_reload(url: str, open_page: OpenPage) -> None:
    page = open_chat(open_page, url)
    page.get_by_role("textbox", name="Your message").fill("Where is my card?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".turn.assistant")).to_contain_text("within five working days")
    page.get_by_role("button", name="Not helpful").click()
    expect(page.locator(".feedback")).to_contain_text("Thank you")
    page.reload()
    expect(page.locator(".turn.user")).to_contain_text("Where is my card?")
    expect(page.locator(".turn.assistant")).to_have_count(1)


def test_markup_that_a_user_writes_stays_text(url: str, open_page: OpenPage) -> None:
    page = open_chat(open_page, url)
    text = "<img src=x onerror=\"document.title='owned'\"><b>Where is my card?</b>"
    page.get_by_role("textbox", name="Your message").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".turn.user .text")).to_have_text(text)
    expect(page.locator(".turn.assistant")).not_to_have_count(0)
    assert page.locator("#log img, #log b").count() == 0
    assert "owned" not in page.title()


def test_a_button_is_offered_pressed_and_gone(url: str, open_page: OpenPage) -> None:
    page = open_chat(open_page, url)
    page.get_by_role("textbox", name="Your message").fill("I lost my card")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="debit").click()
    expect(page.locator("#state")).to_contain_text("A person was asked for")
    expect(page.locator(".offers")).to_have_count(0)
    expect(page.get_by_role("button", name="Talk to a person")).to_be_hidden()


@pytest.mark.slow
def test_a_person_at_the_desk_answers_and_gives_back(url: str, open_page: OpenPage) -> None:
    chat, desk = open_chat(open_page, url), open_chat(open_page, url, "/desk")
    chat.get_by_role("button", name="Talk to a person").click()
    expect(chat.locator("#state")).to_contain_text("A person was asked for")
    desk.get_by_role("textbox", name="Your name").fill("Ann")
    desk.locator("#waiting tbody tr", has_text="a person was asked for").first.get_by_role("button").click()
    desk.get_by_role("textbox", name="Your answer").fill("Good morning, how can I help?")
    desk.get_by_role("button", name="Send").click()
    expect(chat.locator(".turn.person")).to_contain_text("Good morning")
    expect(chat.locator("#state")).to_contain_text("You are talking to Ann")
    desk.get_by_role("button", name="Give back").click()
    expect(chat.locator(".turn.assistant").last).to_contain_text("You are with the assistant again")


def test_the_keeper_answers_a_question_and_undoes_it(url: str, open_page: OpenPage) -> None:
    ask(url, "converse", message="tell me a joke about penguins")
    desk = open_chat(open_page, url, "/desk")
    row = desk.locator("#groups > ul > li", has_text="penguins").first
    row.locator("textarea").fill("We know no penguins.")
    row.get_by_role("button", name="Answer from now on").click()
    expect(desk.locator("#answers")).to_contain_text("We know no penguins.")
    answer = ask(url, "converse", message="Tell me a joke about penguins!")
    assert answer["messages"][0]["text"] == "We know no penguins."
    desk.locator("#answers").get_by_role("button", name="Undo").click()
    expect(desk.locator("#answers")).not_to_contain_text("penguins")


def test_the_page_speaks_chinese(url: str, open_page: OpenPage) -> None:
    page = open_chat(open_page, url)
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("button", name="发送")).to_be_visible()
    page.locator("#text").fill("我的卡什么时候到？")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant")).to_contain_text("within five working days")


@pytest.fixture
def site(url: str, tmp_path: Path) -> Iterator[int]:
    """The port of another site whose page has the script."""
    (tmp_path / "index.html").write_text(
        f'<!doctype html><title>Bank</title><link rel="icon" href="data:,"><script src="{url}/chat/help.js"></script>'
    )

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_script_puts_the_chat_into_a_page_of_a_host_that_is_allowed(
    url: str, site: int, open_page: OpenPage
) -> None:
    page = open_page(f"http://localhost:{site}/", allow=url)
    page.get_by_role("button", name="Chat").click()
    chat = page.frame_locator("iframe")
    chat.get_by_role("textbox", name="Your message").fill("Where is my card?")
    chat.get_by_role("button", name="Send").click()
    expect(chat.locator(".turn.assistant")).to_contain_text("within five working days")
    page.get_by_role("button", name="Chat").click()
    expect(page.locator("iframe")).to_be_hidden()


def test_a_page_of_another_host_shows_no_chat(url: str, site: int, open_page: OpenPage) -> None:
    page = open_page(f"http://127.0.0.1:{site}/", allow=url, expected="frame-ancestors")
    page.get_by_role("button", name="Chat").click()
    expect(page.locator("iframe")).to_be_visible()
    assert page.frame_locator("iframe").get_by_role("textbox").count() == 0


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_nothing_is_wider_than_the_window(url: str, open_page: OpenPage, width: int, dark: bool) -> None:
    page = open_chat(open_page, url, width=width, dark=dark)
    page.get_by_role("textbox", name="Your message").fill("x" * 300 + " I lost my card")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant")).not_to_have_count(0)
    assert overflow_px(page) <= 0
    desk = open_page(f"{url}/chat/help/desk", width=width, dark=dark, allow=f"{url}/v1/models/help:")
    expect(desk.locator("#answers")).not_to_be_empty()
    assert overflow_px(desk) <= 0
