"""`deepseek doctor`: the promised object, and a word on what is missing."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from deepseek.cli import doctor, main
from deepseek.extras import ROOMS


def test_json_holds_what_is_promised(capsys) -> None:
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"python", "rooms", "engines", "accelerators"}
    assert said["python"] == platform.python_version()
    assert set(said["rooms"]) == set(ROOMS)
    assert all(set(room) == {"ok", "missing"} for room in said["rooms"].values())


def test_what_is_missing_is_named_with_the_way_to_get_it(capsys, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda module: module != "torch")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "missing: torch" in out
    assert "in the clone of this project: pip install -e '.[all]'" in out


def test_gpus_are_those_that_the_driver_reports(tmp_path: Path, monkeypatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf 'Card A\\nCard B\\n'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert doctor.accelerators() == ["Card A", "Card B"]
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert doctor.accelerators() == []
