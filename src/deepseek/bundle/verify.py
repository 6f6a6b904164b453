"""Checks every byte of a bundle and says in words all that is wrong, not only the first thing.

problems = verify_bundle(Path("loans"), key=Path("release-key.pub"))      # [] when all is well
verification("loans")["ok"]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from deepseek.bundle.agreement import find_contradictions
from deepseek.bundle.contents import content_problem
from deepseek.bundle.detached import file_verification
from deepseek.bundle.folder import Folder
from deepseek.bundle.manifest import Manifest
from deepseek.bundle.read import compare_with_listing, open_bundle, read_listed_file, read_manifest
from deepseek.bundle.report import VerificationReport
from deepseek.bundle.sign import load_public_key
from deepseek.errors import ExtraError, InputError, IntegrityError


def verify_bundle(path: Path | str, *, key: Path | None = None) -> list[str]:
    """Every problem of the bundle, each naming its file; [] when every byte is as its manifest says, no file
    contradicts another and, when `key` (a public key) is given, that key signed it. MissingError without a folder,
    InputError for a key that is none."""
    public = None if key is None else load_public_key(key)
    with Folder(Path(path)) as folder:
        try:
            manifest, _ = read_manifest(folder, public)
        except ExtraError:
            raise
        except (InputError, IntegrityError) as error:
            return [str(error)]
        sizes, problems = compare_with_listing(folder, manifest.files)
        names = [name for name in manifest.files if name in sizes]
        problems += filter(None, (_file_problem(folder, name, manifest.files[name]) for name in names))
        return problems or _folder_contradictions(folder, manifest, sizes)


def verification(path: Path | str, *, key: Path | str | None = None) -> VerificationReport:
    """What verify_bundle() finds, as the object that `verify --json` prints; file_verification() of a single file.

    `key`: the public key that must have signed it.
    """
    if Path(path).is_file():
        return file_verification(path, key=key)
    public = None if key is None else Path(key)
    problems = verify_bundle(path, key=public)
    if problems:
        return VerificationReport(tuple(problems))
    bundle = open_bundle(path, key=public)
    return VerificationReport((), bundle.digest, bundle.signature, len(bundle.sizes))


def _file_problem(folder: Folder, name: str, sha256: str) -> str | None:
    """What is wrong with the bytes of one file, in words; None where nothing is."""
    try:
        with folder.open(name) as (file, size_bytes):
            problem = content_problem(name, file, size_bytes)
            file.seek(0)
            changed = hashlib.file_digest(file, "sha256").hexdigest() != sha256
    except (InputError, IntegrityError) as error:
        return str(error)
    return f"{name!r} was changed: its sha256 is not the manifest's" if changed else problem


def _folder_contradictions(folder: Folder, manifest: Manifest, sizes: Mapping[str, int]) -> list[str]:
    """Where files that are whole say something else than the manifest."""
    try:
        return find_contradictions(
            manifest, lambda name: read_listed_file(folder, name, sizes[name], manifest.files[name])
        )
    except (InputError, IntegrityError) as error:
        return [str(error)]
