"""Drift in the console: measured by the verb, shown by the server that logs the rows."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from playwright.sync_api import expect

from deepseek.cli.observe.drift import command
from support.servers.axe import axe_script, barriers
from support.servers.browser import OpenPage, browser, open_page, overflow_px
from support.servers.serving import started, until

__all__ = ["browser", "open_page"]  # fixtures

pytestmark = pytest.mark.slow


def test_the_state_of_drift_is_seen_once_it_is_measured(
    cancer_bundle: Path, tmp_path: Path, open_page: OpenPage
) -> None:
    axe_script()
    log = tmp_path / "predictions"
    with (
        started(cancer_bundle, "--prediction-log", f"{log},flush_s=0.1") as server,
        open_page(server.url, allow=server.url, width=390, dark=True) as page,
    ):
        inputs = page.locator("#inputs")
        expect(inputs).to_contain_text("Nobody has measured the drift of cancer.")
        expect(inputs).to_contain_text("deepseek observe drift BUNDLE predictions --json")
        (row,) = httpx.get(f"{server.url}/v1/models/cancer").json()["example"]["instances"]
        far = {name: 10 * value for name, value in row.items()}
        httpx.post(f"{server.url}/v1/models/cancer:predict", json={"instances": [far] * 200}, timeout=60)
        until(lambda: bool(list(log.rglob("*.parquet"))))
        measured = CliRunner().invoke(command, [str(cancer_bundle), str(log), "--json"])
        assert measured.exit_code == 0, measured.output
        (log / "cancer.drift.json").write_text(measured.stdout)
        again = CliRunner().invoke(command, [str(cancer_bundle), str(log), "--json"])
        assert json.loads(again.stdout)["num_rows"] == 200  # the document is no log
        page.reload()
        expect(inputs).to_contain_text("columns have drifted; the answers depend on")
        expect(inputs).to_contain_text("200 rows from")
        assert overflow_px(page) <= 0
        assert barriers(page) == []
        page.get_by_role("button", name="中文").click()
        expect(inputs).to_contain_text("列发生漂移")
        assert overflow_px(page) <= 0
        assert barriers(page) == []
        page.close()  # which would ask on
