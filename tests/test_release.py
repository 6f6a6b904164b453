"""What `make release` writes beside the wheel: a list of what it needs, and checksums."""

from __future__ import annotations

import importlib.util
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_requirements_are_followed_through_extras_and_markers_in_the_versions_that_are_installed(
    release: ModuleType,
) -> None:
    pinned = release.requirements(["pytest>=8", "click; extra == 'cli'", "no-such-package"], {"cli"})
    assert f"pytest=={version('pytest')}" in pinned
    assert f"pluggy=={version('pluggy')}" in pinned  # pytest's own
    assert f"click=={version('click')}" in pinned
    assert pinned == sorted(pinned)
    assert release.requirements(["click; extra == 'cli'"], set()) == []


def test_checksums_are_read_by_sha256sum(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"one")
    (tmp_path / "b.json").write_bytes(b"two")
    (tmp_path / "SHA256SUMS").write_text(release.checksums(tmp_path, ["a.whl", "b.json"]))
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "b.json").write_bytes(b"other")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_a_version_without_its_section_in_the_changelog_is_said(release: ModuleType) -> None:
    text = "## [Unreleased]\n\n## [1.2.0] - 2030-01-01\n"
    assert release.changelog_problem(text, "1.2.0") == ""
    assert "no section for 1.2" in release.changelog_problem(text, "1.2")
