"""The front door's figures: the median of the runs, told with what it is made of; nothing without Lighthouse."""

from __future__ import annotations

from pathlib import Path

import front_door
import pytest


def report(performance: int) -> front_door.Report:
    metrics = dict.fromkeys(front_door.METRICS, f"{performance} ms")
    return front_door.Report(performance, 100, 96, metrics, 900.0)


def test_a_score_is_the_median_of_its_runs_and_says_what_that_one_is_made_of() -> None:
    claim = front_door.score_claim("guide_phone", [report(99), report(90), report(96)])
    assert (claim["ours"], claim["holds"]) == (96, True)
    assert "scores 99, 90, 96; the median: first paint 96 ms" in claim["note"]
    assert "load" in claim["note"]
    two = front_door.score_claim("guide_phone", [report(94), report(99)])
    assert (two["ours"], two["holds"]) == (94, False)  # the worse of two


def test_every_score_is_of_a_page_and_a_preset() -> None:
    pages = {name.rpartition("_")[0] for name in front_door.SCORES}
    assert pages == {*front_door.PAGES, "console"}
    assert {name.rpartition("_")[2] for name in front_door.SCORES} == set(front_door.PRESETS)


def test_lighthouse_is_what_the_environment_names_or_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIGHTHOUSE", "node '/opt/light house/cli.js'")
    assert front_door.find_lighthouse() == ["node", "/opt/light house/cli.js"]
    monkeypatch.delenv("LIGHTHOUSE")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert front_door.find_lighthouse() == []
