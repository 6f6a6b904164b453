"""Writes a bundle so that it is there as a whole or not at all.

    bundle = write_bundle(Path("loans"), manifest, {"model.json": b"...", "weights/part-0.safetensors": b"..."})

Main path: check everything in memory -> fill a folder beside the target, bundle.json last -> fsync -> rename.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from deepseek.bundle.agreement import find_contradictions
from deepseek.bundle.contents import content_problem
from deepseek.bundle.manifest import FORMAT, Manifest
from deepseek.bundle.paths import MANIFEST, SIGNATURE, folders_of, paths_problem
from deepseek.bundle.place import exclusive_writer, is_vacant, replace_folder, sync_folder, temporary_folder
from deepseek.bundle.read import Bundle, open_bundle
from deepseek.bundle.sign import sign
from deepseek.errors import InputError

_DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_bundle(
    out: Path | str, manifest: Manifest, files: Mapping[str, bytes], *, overwrite: bool = False, key: Path | None = None
) -> Bundle:
    """Write `files` (bytes by path inside the bundle) and the manifest, whose format, files and digest are filled here,
    to the folder `out`, signed when `key` (a private key) is given.

    InputError for a field, name or file that a bundle may not hold, for a target that is not empty (with `overwrite`:
    not a bundle) and for a disk that is full; the target is then as it was. Two writers of one target wait for each
    other (BusyError after a minute).
    """
    filled = fill_manifest(manifest, files)
    data = filled.to_bytes()
    last = {MANIFEST: data} if key is None else {SIGNATURE: sign(data, key), MANIFEST: data}
    target = _resolve_links(Path(out))
    with _input_errors(target, sum(map(len, files.values()))):
        _check_target(target, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_writer(target), temporary_folder(target) as temporary:
            _check_target(target, overwrite)
            _write_files(temporary, {**files, **last})
            replace_folder(temporary, target)
            return open_bundle(out)


def check_target(out: Path | str, *, overwrite: bool = False, key: Path | None = None) -> None:
    """InputError when write_bundle would refuse this target or private key, or could not write there: ask before hours
    of training. Leaves nothing behind."""
    target = _resolve_links(Path(out))
    with _input_errors(target, 0):
        _check_target(target, overwrite)
        above = next(folder for folder in target.parents if folder.exists())
        Path(tempfile.mkdtemp(prefix=f".{target.name}", dir=above)).rmdir()
    if key is not None:
        sign(b"", key)


def fill_manifest(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """The manifest as write_bundle would write it, with every check but those of the disk."""
    problem = paths_problem(files)
    if problem:
        raise InputError(
            f"a bundle cannot hold these files: {problem}",
            expected="names of files that mean the same on every disk",
            fix="rename the file",
        )
    for name, data in files.items():
        if not isinstance(data, bytes):
            raise InputError(f"{name} is given as {type(data).__name__}", expected="bytes", fix="give its content")
        problem = content_problem(name, io.BytesIO(data), len(data))
        if problem:
            raise InputError(
                f"a bundle cannot hold this file: {problem}",
                expected="safetensors, ONNX, JSON, UBJ, Parquet",
                fix="write it in one of these forms",
            )
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    filled = Manifest.from_dict({**asdict(manifest), "format": FORMAT, "files": hashes, "digest": ""})
    for contradiction in find_contradictions(filled, files.__getitem__):
        raise InputError(
            f"a bundle may not contradict itself: {contradiction}",
            expected="the same in the manifest and in the file",
            fix="correct one of the two",
        )
    return replace(filled, digest=filled.model_digest())


def _resolve_links(out: Path) -> Path:
    """`out` without links, so that what a link names is replaced and not the link."""
    try:
        return Path(os.path.realpath(out))
    except ValueError as error:
        raise InputError(
            f"{str(out)!r} is not a path: {error}", expected="the name of a new folder", fix="choose another name"
        ) from error


def _check_target(target: Path, overwrite: bool) -> None:
    """InputError unless a bundle may be put there."""
    here = Path.cwd()
    if target == here or target in here.parents:
        raise InputError(
            f"{target} is the folder you are in, or holds it",
            expected="a folder of its own for the bundle",
            fix="give the name of a new folder",
        )
    if is_vacant(target):
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file", expected="the name of a new folder", fix="choose another name")
    if not overwrite:
        raise InputError(
            f"{target} is not empty",
            expected="a new folder",
            fix="choose another folder, or replace the bundle (--overwrite; in Python overwrite=True)",
        )
    if not (target / MANIFEST).exists():
        raise InputError(
            f"{target} is not a bundle, so it is not replaced",
            expected="a new folder, or a bundle to replace",
            fix="choose another folder, or empty it",
        )


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """All files in their order, on the disk when this returns."""
    inner = [folder / name for name in sorted(folders_of(files))]
    for path in inner:
        path.mkdir()
    for name, data in files.items():
        with (folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for path in [*reversed(inner), folder]:
        sync_folder(path)


@contextmanager
def _input_errors(target: Path, size_bytes: int) -> Iterator[None]:
    """What the operating system says, as an InputError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL_ERRNOS:
            raise InputError(
                f"{target} cannot be written: {error.strerror}",
                expected=f"room for {size_bytes / 1e6:.1f} MB on this disk",
                fix="free some space or choose a folder on another disk",
            ) from error
        raise InputError(
            f"{target} cannot be written: {error.strerror}",
            expected="a folder in which new ones may be made",
            fix="choose another folder, or mend its rights",
        ) from error
