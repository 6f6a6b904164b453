"""Pages of the product, as the pictures of the docs show them: axe finds nothing serious."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_pictures import SHOTS
from studio.materials import materials

from support.servers.axe import axe_script, barriers
from support.servers.browser import OpenPage, browser, open_page

__all__ = ["browser", "open_page"]  # fixtures

pytestmark = pytest.mark.slow
OWN = {shot.name: shot for shot in SHOTS if not shot.name.startswith("gallery-") and shot.name != "card"}
GALLERY = ("gallery-compliance", "gallery-tables")


def test_a_page_that_keeps_people_out_is_seen(open_page: OpenPage, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><html lang=en><title>x</title><main><h1>x</h1><input><p>y</main>", "utf-8")
    (finding,) = barriers(open_page(page.as_uri()))
    assert finding.startswith("label at 1")


@pytest.mark.parametrize("name", [*OWN, *GALLERY])
def test_axe_finds_nothing_serious_in_either_theme(name: str, open_page: OpenPage, tmp_path: Path) -> None:
    axe_script()  # before anything is made
    with materials()[name](tmp_path) as address:
        server = "/".join(address.split("/")[:3]) if address.startswith("http") else ""
        for dark in (False, True):
            page = open_page(address, dark=dark, allow=server, reduced_motion="reduce")
            page.wait_for_load_state("networkidle")
            if name in ("console", "chat"):
                prepare = OWN[name].prepare
                assert prepare is not None
                prepare(page)
            assert barriers(page) == []
            page.close()  # it asks its server again and again, which ends before the browser does
