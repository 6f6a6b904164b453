"""What runs here: announced while it runs, gone afterwards, and nothing of others is believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deepseek import running as module
from deepseek.running import Running, announce, folder, is_alive, running


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "deepseek"


def test_it_is_listed_while_it_runs_and_readable_by_the_user_alone(place: Path) -> None:
    assert running() == ()
    with announce("label", "claims", "http://127.0.0.1:8050"), announce("learn", "path"):
        first, second = running()
        assert (first.kind, first.name, first.pid) == ("label", "claims", os.getpid())
        assert first.url == "http://127.0.0.1:8050"
        assert second.kind == "learn"
        assert is_alive(first)
        assert place.stat().st_mode & 0o777 == 0o700
    assert running() == ()
    assert list(place.iterdir()) == []


def test_what_was_killed_is_cleared_by_the_next_who_looks(place: Path) -> None:
    code = "import os, deepseek.running as r\nwith r.announce('stream', 'cards'): os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(place.glob("*.json"))) == 1
    assert running() == ()
    assert list(place.glob("*.json")) == []


def test_another_process_of_the_same_number_is_another() -> None:
    own = Running("label", "claims", "", os.getpid(), 1.0, module._ticks(os.getpid()))
    assert is_alive(own)
    if own.ticks:
        assert not is_alive(replace(own, ticks=own.ticks + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "javascript:alert(1)"}, {"url": 'http://x/"><script>'}, {"kind": "virus"}, {"pid": -1}, {"pid": True},
        {"name": 7}, {"name": "x" * 500}, {"more": 1}, {"started_s": "now"},
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_passed_over(changes: dict[str, object], place: Path) -> None:
    place.mkdir(mode=0o700)
    entry = asdict(Running("label", "claims", "http://127.0.0.1:1", os.getpid(), 1.0, 0))
    (place / "1.json").write_text(json.dumps(entry))
    assert len(running()) == 1
    (place / "1.json").write_text(json.dumps(entry | changes))
    assert running() == ()
    for text in ("", "[", "[]", "null", "[" * 3_000, "x" * 9_000):
        (place / "1.json").write_text(text)
        assert running() == ()


def test_a_folder_that_others_may_write_is_not_believed(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)
    (place / "1.json").write_text(json.dumps(asdict(Running("label", "x", "", os.getpid(), 1.0, 0))))
    assert running() == ()
    with announce("label", "claims"):
        assert len(list(place.iterdir())) == 1


def test_where_nothing_can_be_written_nothing_is_announced_and_all_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    with announce("label", "claims"):
        assert running() == ()
    with pytest.raises(ValueError, match="none of serve"), announce("virus", "x"):
        pass


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert folder() == Path("/state/deepseek/running")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".local/state/deepseek/running"
