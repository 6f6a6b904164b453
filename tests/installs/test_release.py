"""What `make release` writes beside the wheel: a list of what it needs, and checksums."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import tarfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return importlib.import_module("release")


@pytest.fixture
def release_image(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return importlib.import_module("release_image")


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


def test_a_release_without_docker_says_that_it_has_no_image(
    release_image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert release_image.write_image(tmp_path, "1.2.0", 0, []) == []
    assert "no container image in this release: docker is not installed" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker")
def test_a_daemon_that_does_not_answer_is_said(release_image: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert "nowhere.sock" in release_image.docker_problem()


def test_the_base_image_is_that_of_the_dockerfile(release_image: ModuleType) -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    assert f"ARG PYTHON_IMAGE={release_image.BASE}" in dockerfile


@pytest.mark.slow
def test_two_builds_of_a_dockerfile_with_the_moment_of_a_commit_have_one_id_and_a_file(
    release_image: ModuleType, tmp_path: Path
) -> None:
    if problem := release_image.docker_problem():
        pytest.skip(problem)
    sources = [tmp_path / name for name in ("first", "second")]
    for source in sources:
        (source / "docker").mkdir(parents=True)
        lines = [f"FROM {release_image.BASE}", "ARG SOURCE_DATE_EPOCH",
                 'RUN date > /now && date --date="@$SOURCE_DATE_EPOCH" > /now && touch -d "@$SOURCE_DATE_EPOCH" /now',
                 "FROM scratch", "COPY --from=0 /now /now"]  # fmt: skip
        (source / "docker" / "Dockerfile").write_text("\n".join(lines))
    names = release_image.write_image(tmp_path, "0.0.0-test", 1_793_440_800, sources)
    record = json.loads((tmp_path / names[0]).read_text())
    try:
        assert record["is_reproduced"]
        with tarfile.open(tmp_path / names[1]) as archive:
            assert any(record["id"].removeprefix("sha256:") in name for name in archive.getnames())
    finally:
        release_image.docker("image", "rm", "--force", record["image"])
