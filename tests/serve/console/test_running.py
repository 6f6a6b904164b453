"""The console is one home: it links to what else runs on the machine, and only where this machine alone looks."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from deepseek.running import announce
from support.servers.browser import OpenPage, browser, open_page, overflow_px
from support.servers.serving import started

__all__ = ["browser", "open_page"]  # fixtures

pytestmark = pytest.mark.slow


def test_what_runs_is_linked_and_what_does_not_is_said_how_to_start(
    cancer_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: OpenPage
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with started(cancer_bundle, "--port", "0") as server:
        page = open_page(server.url, allow=server.url, width=390)
        others = page.locator("#others")
        expect(others).to_contain_text("Nothing else of yours runs here.")
        expect(others).to_contain_text("deepseek label serve PROJECT")
        with announce("label", "claims", "http://127.0.0.1:8050"):
            page.reload()
            expect(others.get_by_role("link", name="claims")).to_have_attribute("href", "http://127.0.0.1:8050")
            (entry,) = httpx.get(f"{server.url}/v1/running").json()["running"]
            assert (entry["kind"], entry["name"]) == ("label", "claims")
        assert overflow_px(page) <= 0
        page.close()  # which would ask on
        assert server.stop() == 0
        assert list((tmp_path / "deepseek").iterdir()) == []


def test_a_server_that_others_reach_says_nothing_of_the_machine(cancer_bundle: Path) -> None:
    with started(cancer_bundle, "--host", "0.0.0.0", environ={"HOST": "0.0.0.0"}) as server:
        port = server.url.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/v1/running").status_code == 404
