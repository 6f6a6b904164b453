"""Bundles in a cache that Hugging Face's own library reads and writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import deepseek as ds
from deepseek.bundle import open_bundle
from deepseek.cli.support.registered import fetch_registered
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.integrations.huggingface import hub_cache, pull_bundle, push_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "hub"


def test_a_pushed_bundle_is_found_by_the_hub_s_library_and_pulled_whole(cancer_bundle: Path, cache: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    snapshot = push_bundle(cancer_bundle, "bank/loans")
    assert hub_cache() == cache
    found = hub.snapshot_download("bank/loans", cache_dir=cache, local_files_only=True)
    assert Path(found) == snapshot == pull_bundle("bank/loans")
    assert ds.verify(snapshot)["digest"] == open_bundle(cancer_bundle).digest
    assert fetch_registered("credit=hf:bank/loans@main") == f"credit={snapshot}"


def test_a_snapshot_of_links_as_the_hub_s_library_makes_becomes_plain_files(cancer_bundle: Path, cache: Path) -> None:
    snapshot = push_bundle(cancer_bundle, "loans", revision="v1")
    blobs = cache / "models--loans" / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in snapshot.rglob("*") if path.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    assert not ds.verify(snapshot)["ok"], "a bundle holds no links"
    pulled = pull_bundle("loans", revision="v1")
    assert pulled != snapshot
    assert ds.verify(pulled)["ok"]
    assert pull_bundle("loans", revision=snapshot.name) == pulled, "a revision may be a commit"
    (blobs / "0").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="is not whole"):
        pull_bundle("loans", revision="v1")


def test_two_revisions_stand_beside_each_other(cancer_bundle: Path, tmp_path: Path) -> None:
    push_bundle(cancer_bundle, "loans", revision="v1")
    push_bundle(cancer_bundle, "loans")
    assert pull_bundle("loans", revision="v1") == pull_bundle("loans")


@pytest.mark.parametrize("name", ["../loans", "a/b/c", "", "a--b/c", "/loans", "bank/..", ".hidden"])
def test_names_that_would_lead_elsewhere_are_refused(name: str, cancer_bundle: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="no name of a repository"):
        push_bundle(cancer_bundle, name)
    with pytest.raises(InputError, match="no revision"):
        pull_bundle("loans", revision="../main")
    assert not cache.exists()


def test_what_is_absent_or_broken_is_said(cancer_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no bundle bank/none at main"):
        pull_bundle("bank/none")
    broken = tmp_path / "broken"
    shutil.copytree(cancer_bundle, broken)
    (broken / "model.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"model\.json"):
        push_bundle(broken, "loans")
