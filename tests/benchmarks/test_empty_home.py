"""Benchmarks run on a machine that nobody prepared: what they keep goes into folders that they make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import multimodal
import pytest
from compression_quantize import kept_at
from fraud_features import cache_folder

BENCHMARKS = Path(multimodal.__file__).parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DEEPSEEK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def figures(seed: int) -> dict[str, float]:
    return {"right": seed / 2}


def test_figures_of_a_seed_are_kept_in_an_empty_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "benchmarks").mkdir()
    script = home / "benchmarks" / f"{figures.__module__}.py"  # what the kept figures depend on
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("")
    (script.parent / "multimodal_data.py").write_text("")
    monkeypatch.setattr(multimodal, "ROOT", home)
    monkeypatch.setattr(multimodal, "SOURCES", ())
    assert multimodal.kept(figures, 3) == {"right": 1.5}
    (file,) = (home / ".cache" / "deepseek" / "benchmarks").glob("*.json")
    file.write_text(json.dumps({"right": 0.25}))
    assert multimodal.kept(figures, 3) == {"right": 0.25}


def test_every_folder_of_the_cache_is_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder("benchmarks").is_dir()
    monkeypatch.setenv("DEEPSEEK_CACHE", str(home / "elsewhere"))
    monkeypatch.setattr("compression_quantize.teacher", lambda task: Path("teacher"))
    assert kept_at("sst2", 0, "int4", ("grid",)).parent.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("script", [line.strip() for line in subprocess.run(
    [sys.executable, BENCHMARKS / "run_all.py", "--list"], capture_output=True, text=True, check=True
).stdout.splitlines()])  # fmt: skip
def test_every_benchmark_begins_in_an_empty_home(script: str, home: Path) -> None:
    """As far as its arguments: each takes minutes to hours after them."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", "--help"], env=os.environ | {"HOME": str(home)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
