"""The console in a browser: choosing a model in it, and having a row explained."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from support.servers.serving import until


def choose(opened: Page, name: str) -> None:
    opened.wait_for_selector("#field-0")
    if opened.input_value("#model") != name:
        opened.select_option("#model", name)
        opened.wait_for_selector("#field-0")
    expect(opened.locator("#model")).to_have_value(name)
    until(lambda: opened.evaluate("() => state.model && state.model.id") == name)  # from outside: pages refuse eval


def explain(opened: Page) -> str:
    """The sentence of an explanation."""
    opened.click("button[value=explain]")
    opened.wait_for_selector("#why svg")
    return opened.inner_text("#joined")
