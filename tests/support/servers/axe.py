"""axe-core on a page in the browser: what keeps people with a screen reader, a keyboard or weak eyes out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from playwright.sync_api import Page

#: Impacts of axe that no page may have; "moderate" and "minor" are left to a reader.
BARRED = ("critical", "serious")


def axe_script() -> str:
    """axe-core as axe-playwright-python carries it; the test is skipped where that is not installed."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("no axe-core: pip install axe-playwright-python")
    return Path(found.origin).with_name("axe.min.js").read_text("utf-8")


def barriers(page: Page) -> list[str]:
    """Each finding of axe that is critical or serious: rule, how many places, and the first of them."""
    page.evaluate(axe_script())
    result = page.evaluate("axe.run()")
    assert result["passes"], "axe has looked at nothing"
    return [
        f"{found['id']} at {len(found['nodes'])}: {found['nodes'][0]['target']} {found['nodes'][0]['failureSummary']}"
        for found in result["violations"]
        if found["impact"] in BARRED
    ]
