"""The page of a replay in a real browser: nothing overlaps, is cut off or asks for anything; both languages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from deepseek.data.table.table import Table
from deepseek.operating_point import Rate
from deepseek.serve.replay.figures import ReplayContext, measure
from deepseek.serve.replay.injection import inject
from deepseek.serve.replay.page import render_page
from deepseek.serve.replay.player import Playback, Reasons
from deepseek.serve.replay.rows import read_rows
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px
from support.servers.cards import definition, payments

__all__ = ["browser", "open_page"]  # fixtures


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of answers that need no model: every large payment is an alert."""
    records = payments(1_500, seed=5)
    columns = {name: np.array([record[name] for record in records], float) for name in records[0]}
    table = Table(columns, dict.fromkeys(columns, "number"))
    injections = []
    for kind in ("card", "terminal", "ring"):
        injections.append(inject(table, definition(), kind, seed=0, earlier=injections))
    rows = read_rows(table, definition(), ("time", "amount", "id", "card", "terminal"), injections=injections)
    amount = rows.table.column("amount")
    is_alert = (amount > 150) & (rows.origin != 1)  # none of the bad terminal
    why = Reasons(("amount = 212 raises the log-odds of fraud by 1.25",), ("amount = 212 使fraud的对数几率升高 1.25",))
    playback = Playback(
        ["accepted"] * len(rows), amount / amount.max(), is_alert, np.full(len(rows), 0.004),
        dict.fromkeys(np.flatnonzero(is_alert).tolist(), why), len(rows), wall_s=3.0,
    )  # fmt: skip
    context = ReplayContext(
        "cards", "0" * 64, "a_folder_with_a_long_name/transactions.parquet", "new", 600.0, 0, 0.5, 0
    )
    report = measure(rows, playback, context)
    assert isinstance(report.precision, Rate)
    path = tmp_path_factory.mktemp("page") / "replay.html"
    path.write_text(render_page(report), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_is_whole_on_a_screen_and_on_a_phone(
    address: str, open_page: OpenPage, width: int, dark: bool
) -> None:
    page = open_page(address, width=width, dark=dark)
    assert collisions(page) == []
    assert overflow_px(page) <= 0
    expect(page.locator("#answer")).to_contain_text("payments of the planted stolen card were alerts")
    expect(page.locator("#planted-terminal")).to_contain_text("None of its payments was an alert")
    expect(page.locator("#planted-card")).to_contain_text("raises the log-odds")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#planted-card")).to_contain_text("对数几率升高")
    assert collisions(page) == []


def test_the_page_is_small(address: str) -> None:
    assert Path(address.removeprefix("file://")).stat().st_size < 2_000_000
