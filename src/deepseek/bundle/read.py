"""Opens a bundle: all but the bytes of large files is checked at once, those bytes when they are read.

bundle = open_bundle(Path("loans"), key=Path("release-key.pub"))
weights = bundle.read("weights/part-0.safetensors")       # IntegrityError unless its sha256 is the manifest's
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.agreement import find_contradictions
from deepseek.bundle.contents import content_problem
from deepseek.bundle.folder import Folder
from deepseek.bundle.manifest import MAX_MANIFEST_BYTES, Manifest
from deepseek.bundle.paths import MANIFEST, SIGNATURE, folders_of
from deepseek.bundle.report import Signature
from deepseek.bundle.sign import (
    MAX_SIGNATURE_BYTES,
    check_own_signature,
    check_signature,
    load_public_key,
    read_signature,
)
from deepseek.errors import IntegrityError, MissingError
from deepseek.extras import is_installed

if TYPE_CHECKING:
    from deepseek.bundle.sign import PublicKey

#: What a person should know of a bundle whose signature is "not checked".
UNCHECKED_SIGNATURE = "it is signed, and nobody has checked by whom; give the maker's public key with --key"
_EXPECT_INTACT = "the files as their maker wrote them"
_FIX_DAMAGED = "do not use this bundle; copy it again from where it was made"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle. Safe to share between threads: it holds no open file."""

    path: Path
    manifest: Manifest
    signature: Signature  # "good" only when a key was given; "not checked" fits its own key, which proves no maker
    sizes: Mapping[str, int]  # bytes of every file on disk, bundle.json and bundle.sig too

    @property
    def digest(self) -> str:
        """The name of the model: equal digests give equal answers."""
        return self.manifest.digest

    @property
    def size_bytes(self) -> int:
        """Bytes of all files on disk."""
        return sum(self.sizes.values())

    def has(self, name: str) -> bool:
        """Whether the manifest lists the file."""
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """The bytes of a file that the manifest lists. IntegrityError when they are no longer what it says."""
        if not self.has(name):
            raise MissingError(
                f"{self.path} has no {name!r}",
                expected=", ".join(self.manifest.files),
                fix="ask for one of these files",
            )
        with Folder(self.path) as folder:
            return read_listed_file(folder, name, self.sizes[name], self.manifest.files[name])


def open_bundle(path: Path | str, *, key: Path | None = None) -> Bundle:
    """Check the manifest, the signature (by `key`, a public one, or else by its own), that exactly the listed files are
    there, none of them a pickle or a broken safetensors file, and that those in JSON do not contradict the manifest. Of
    all other files only the heads are read.

    MissingError when there is no bundle; IntegrityError, which names the files, when it was cut, changed, contradicts
    itself or is not signed by `key`; InputError for another format.
    """
    public = None if key is None else load_public_key(key)
    with Folder(Path(path)) as folder:
        try:
            return _open_folder(folder, public)
        except (IntegrityError, MissingError):
            if folder.in_place():
                raise
    # A writer has put another bundle there and taken this one away under our hands: open the new one.
    return open_bundle(path, key=key)


def _open_folder(folder: Folder, public: PublicKey | None) -> Bundle:
    manifest, signature = read_manifest(folder, public)
    sizes, problems = compare_with_listing(folder, manifest.files)
    if not problems:
        problems = list(content_problems(folder, manifest.files))
    if not problems:
        problems = find_contradictions(
            manifest, lambda name: read_listed_file(folder, name, sizes[name], manifest.files[name])
        )
    if problems:
        more = f" (and {len(problems) - 1} more: deepseek verify)" if len(problems) > 1 else ""
        raise IntegrityError(f"{folder.path}: {problems[0]}{more}", expected=_EXPECT_INTACT, fix=_FIX_DAMAGED)
    return Bundle(folder.path, manifest, signature, sizes)


def read_manifest(folder: Folder, key: PublicKey | None) -> tuple[Manifest, Signature]:
    """bundle.json with its own checks, its digest, and the state of its signature."""
    data = read_manifest_bytes(folder)
    manifest = Manifest.from_bytes(data)
    if manifest.digest != manifest.model_digest():
        raise IntegrityError(
            f"{MANIFEST} was changed: its digest is not that of the files it lists",
            expected=_EXPECT_INTACT,
            fix=_FIX_DAMAGED,
        )
    return manifest, _check_signature_state(folder, data, key)


def read_listed_file(folder: Folder, name: str, size_bytes: int, sha256: str) -> bytes:
    """The bytes of a listed file. IntegrityError when they are no longer what the manifest says."""
    data = folder.read(name, limit=size_bytes + 1)
    if len(data) != size_bytes or hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(
            f"{name} in {folder.path} was changed: its sha256 is not the manifest's",
            expected=_EXPECT_INTACT,
            fix=_FIX_DAMAGED,
        )
    return data


def read_manifest_bytes(folder: Folder) -> bytes:
    """The bytes of bundle.json, at most one more than it may have."""
    try:
        return folder.read(MANIFEST, limit=MAX_MANIFEST_BYTES + 1)
    except MissingError as error:
        raise MissingError(
            f"{folder.path} is not a bundle: {MANIFEST} is missing",
            expected="a folder that deepseek ship made",
            fix="give the folder of the bundle itself",
        ) from error


def read_signature_bytes(folder: Folder) -> bytes | None:
    """The bytes of bundle.sig; None when the bundle is not signed."""
    try:
        return folder.read(SIGNATURE, limit=MAX_SIGNATURE_BYTES)
    except MissingError:
        return None


def compare_with_listing(folder: Folder, files: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Sizes of all files, and in words what is missing, what is there unasked and what is no plain file."""
    sizes, folders, problems = folder.list_files()
    listed = files.keys()
    problems += [f"{name!r} is missing" for name in sorted(listed - sizes.keys())]
    extra = sizes.keys() - listed - {MANIFEST, SIGNATURE}
    problems += [f"{name!r} is not listed in {MANIFEST}" for name in sorted(extra)]
    problems += [f"the folder {name!r} is not listed in {MANIFEST}" for name in sorted(folders - folders_of(listed))]
    return sizes, problems


def content_problems(folder: Folder, files: Mapping[str, str]) -> Iterator[str]:
    """Every file that is a pickle or whose safetensors header does not fit, in words."""
    for name in files:
        with folder.open(name) as (file, size_bytes):
            problem = content_problem(name, file, size_bytes)
        if problem:
            yield problem


def _check_signature_state(folder: Folder, manifest: bytes, key: PublicKey | None) -> Signature:
    signature = read_signature_bytes(folder)
    if key is not None:
        check_signature(manifest, signature, key)
        return "good"
    if signature is None:
        return "none"
    if is_installed("cryptography"):
        check_own_signature(manifest, signature)
    else:
        read_signature(signature)
    return "not checked"
