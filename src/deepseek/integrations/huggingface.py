"""Bundles in a local cache of Hugging Face: put where `huggingface_hub` finds them, and taken from there.

    push_bundle("loans", "bank/loans")              # .../models--bank--loans/snapshots/COMMIT
    path = pull_bundle("bank/loans")                # a bundle by its digest, every byte checked

The layout is that of huggingface_hub: refs/REVISION names a commit, snapshots/COMMIT holds the files. A bundle holds
plain files and no links, so the files stand in the snapshot themselves, as the hub's own library has them where a disk
knows no links. Snapshots that it has downloaded are links to blobs; pull_bundle() makes plain files of them. No network
is used: to send a snapshot elsewhere is the work of `huggingface-cli upload`.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.bundle.paths import MANIFEST
from deepseek.bundle.place import exclusive_writer, replace_folder, temporary_folder
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.files import atomic_file, cache_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
COMMIT_DIGITS = 40


def hub_cache() -> Path:
    """The hub's own cache: HF_HUB_CACHE, else `hub` in HF_HOME, else ~/.cache/huggingface/hub."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def push_bundle(bundle: str | Path, repo_id: str, *, revision: str = "main", cache: str | Path | None = None) -> Path:
    """Put a bundle into the cache as `repo_id` (ORG/NAME or NAME) and let `revision` name it; the snapshot's folder.
    IntegrityError for a bundle that is not whole, InputError for a name that the hub would not take."""
    repository = _repository(repo_id, revision, cache)
    problems = verify_bundle(Path(bundle))
    if problems:
        raise IntegrityError(
            f"{bundle} is not whole: {problems[0]}", expected="every byte as its maker wrote it", fix="copy it again"
        )
    opened = open_bundle(bundle)
    snapshot = repository / "snapshots" / opened.digest[:COMMIT_DIGITS]
    _copy_to(opened.path, snapshot)
    ref = repository / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(ref) as part:
        part.write_text(snapshot.name, encoding="ascii")
    return snapshot


def pull_bundle(repo_id: str, *, revision: str = "main", cache: str | Path | None = None) -> Path:
    """The folder of a bundle that is in the cache: the snapshot, or where that holds links a copy by the bundle's
    digest. `revision` may be a commit. MissingError for what is not there, IntegrityError for what is not whole."""
    repository = _repository(repo_id, revision, cache)
    ref = repository / "refs" / revision
    commit = ref.read_text("ascii").strip() if ref.is_file() else revision
    snapshot = repository / "snapshots" / commit
    if not _REVISION.fullmatch(commit) or not (snapshot / MANIFEST).is_file():
        raise MissingError(
            f"there is no bundle {repo_id} at {revision} in {repository.parent}",
            expected="a snapshot that push_bundle() or huggingface_hub has put there",
            fix="check the name and HF_HUB_CACHE, or fetch it with huggingface_hub.snapshot_download",
        )
    plain = snapshot
    if any(path.is_symlink() for path in snapshot.rglob("*")):
        plain = cache_folder() / "huggingface" / commit / repository.name.rpartition("--")[2]
        _copy_to(snapshot, plain)
    problems = verify_bundle(plain)
    if problems:
        raise IntegrityError(f"{plain} is not whole: {problems[0]}", expected="a whole bundle", fix="fetch it again")
    return plain


def _repository(repo_id: str, revision: str, cache: str | Path | None) -> Path:
    """The repository's folder in the cache. InputError for names that would lead elsewhere."""
    parts = repo_id.split("/")
    if len(parts) > 2 or not all(_NAME.fullmatch(part) and "--" not in part for part in parts):
        raise InputError(
            f"{repo_id[:100]!r} is no name of a repository", expected="ORG/NAME of letters, digits, '-', '_' and '.'",
            fix="choose such a name",
        )  # fmt: skip
    if not _REVISION.fullmatch(revision):
        raise InputError(
            f"{revision[:100]!r} is no revision",
            expected="a name such as main or v1, or a commit",
            fix="choose another",
        )
    return (hub_cache() if cache is None else Path(cache)) / "--".join(["models", *parts])


def _copy_to(source: Path, target: Path) -> None:
    """Copy a folder with plain files in place of links, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_writer(target), temporary_folder(target) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
        replace_folder(temporary, target)
