"""The folder that models are loaded from while the server runs: scanned, compared, copied for serving.

    repository = Repository(Path("models"), open_model)        # models/NAME, or models/NAME/VERSION
    repository.scan()                                          # {"loans": {"1": Path("models/loans/1")}}
    snapshot = FolderSnapshot(folder)                          # a copy that is served
    remove_stale_snapshots()                                   # those of servers that were killed

Names of a request are compared with those of the folders, and never become a path.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deepseek.bundle import check_name
from deepseek.errors import CheckError, InputError, MissingError
from deepseek.plugins import did_you_mean
from deepseek.serve.models.adapter import ServableModel

FolderState = tuple[tuple[str, int, int, int], ...]  # path, size, mtime and inode of each file
OpenModel = Callable[[Path], ServableModel]
#: Where files cannot be linked they are copied, up to this; larger ones are served where they lie.
MAX_COPIED_BYTES = 1 << 28
_MODEL_FILES = ("bundle.json", "config.json", "model.onnx")
_HELD, _UNLOCKED = "deepseek-held-", "deepseek-new-"  # prefix of a snapshot's folder, and before it is locked
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Repository:
    """The folder, and the function that opens a model in it. `watch_s`: seconds between scans; None: not watched."""

    folder: Path
    open_model: OpenModel
    watch_s: float | None = None

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise MissingError(
                f"there is no folder {self.folder}", expected="a folder with a model in each of its folders",
                fix="make it, or give another to --repository",
            )  # fmt: skip
        if self.watch_s is not None and not 0 < self.watch_s <= 86_400:
            raise InputError(
                f"--watch is {self.watch_s}", expected="seconds, above 0 and at most 86400", fix="--watch 5"
            )

    def scan(self) -> dict[str, dict[str, Path]]:
        """Model folders by name and version; folders whose name no model may have are left out. CheckError when one of
        them cannot be read, because then it is not known which models are there."""
        try:
            folders = {folder.name: _find_versions(folder) for folder in _iter_folders(self.folder)}
        except OSError as error:
            raise CheckError(
                f"the repository cannot be read: {error.strerror}: {error.filename}",
                expected="folders that this server may read",
                fix="give it the right to read them",
            ) from error
        return {name: versions for name, versions in folders.items() if versions}


def _find_versions(folder: Path) -> dict[str, Path]:
    if _holds_model(folder):
        return {"": folder}
    return {path.name: path for path in _iter_folders(folder) if _holds_model(path)}


def _iter_folders(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        with suppress(InputError):
            check_name(path.name)
            if path.is_dir():
                yield path


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL_FILES)


def latest_version(versions: Mapping[str, Path]) -> str:
    """The highest version; numbers in it are compared as numbers.

    >>> latest_version({"v9": Path(), "v10": Path()})
    'v10'
    """
    return max(versions, key=_version_sort_key)


def _version_sort_key(version: str) -> list[str | int]:
    """Words and numbers in turn, so that a word is compared with a word."""
    words = re.split(r"([0-9]+)", version)  # other digits than these are letters here
    return [int(word) if index % 2 else word for index, word in enumerate(words)]


def folder_state(folder: Path) -> FolderState:
    """The state of all files in a folder, which differs after any change."""
    files = []
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):
            state = path.stat()
            files.append((str(path.relative_to(folder)), state.st_size, state.st_mtime_ns, state.st_ino))
    return tuple(files)


class FolderSnapshot:
    """A copy of a folder, of hard links where possible, so that a new engine process can still open a bundle that was
    replaced meanwhile.

    `path` is the folder itself where no copy can be made. A copy is locked while its process lives.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._copy: Path | None = None
        self._lock = -1
        try:
            self._copy = copy = Path(tempfile.mkdtemp(prefix=_UNLOCKED))
            self._lock = os.open(copy / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._copy = copy.rename(copy.with_name(copy.name.replace(_UNLOCKED, _HELD, 1)))
            self.path = self._copy / folder.name
            self.path.mkdir()
            for path in sorted(folder.rglob("*")):  # a folder comes before what is in it
                target = self.path / path.relative_to(folder)
                if path.is_dir():
                    target.mkdir()
                else:
                    _link_or_copy(path, target)
        except OSError:  # no space, or no writable folder
            self.path = folder
            self.close()

    def close(self) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_stale_snapshots() -> None:
    """Remove the snapshots of servers that were killed: those of this user that nobody has locked."""
    for copy in Path(tempfile.gettempdir()).glob(f"{_HELD}*"):
        with suppress(OSError):  # not ours, or locked, or removed by another meanwhile
            if copy.is_symlink() or copy.stat().st_uid != os.getuid():
                continue
            lock = os.open(copy / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(copy, ignore_errors=True)
            finally:
                os.close(lock)


def _link_or_copy(path: Path, target: Path) -> None:
    real = path.resolve()
    try:
        target.hardlink_to(real)
    except OSError:  # on another disk, or not ours
        if real.stat().st_size > MAX_COPIED_BYTES:
            raise
        shutil.copyfile(real, target)


def missing_model_error(name: str, folders: Collection[str]) -> MissingError:
    return MissingError(
        f"the repository has no model {name[:100]!r}.{did_you_mean(name[:100], folders)}",
        expected=", ".join(folders) or "a folder with a bundle in it",
        fix="POST /v2/repository/index lists what can be loaded",
    )


def missing_version_error(name: str, version: str, versions: Collection[str]) -> MissingError:
    return MissingError(
        f"the repository has no version {version[:100]!r} of {name!r}",
        expected=", ".join(versions) if any(versions) else "no version: this model has one",
        fix="ask for one that it has, or for none to get the latest",
    )
