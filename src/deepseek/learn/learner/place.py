"""Where a learner's things are kept, and the number from which the data of each lab follows.

    place = LearnerPlace.default()          # ~/.local/share/deepseek/learn, or below XDG_DATA_HOME
    learner = read_learner(place)           # made at the first call
    lab_seed(learner.id, "lab:first_bundle")

The number is made by chance once, says nothing of the person, and stays on this machine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import IntegrityError, StorageError
from deepseek.files import atomic_file

LEARNER_FILE, PROGRESS_FILE, FOLDERS_FILE = "learner.json", "progress.sqlite3", "folders.txt"
ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class LearnerPlace:
    """The folder of everything that is kept."""

    folder: Path

    @classmethod
    def default(cls) -> LearnerPlace:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return cls(Path(base) / "deepseek" / "learn")

    @property
    def learner_file(self) -> Path:
        return self.folder / LEARNER_FILE

    @property
    def progress_file(self) -> Path:
        return self.folder / PROGRESS_FILE

    @property
    def folders_file(self) -> Path:
        return self.folder / FOLDERS_FILE

    def make(self) -> None:
        """StorageError where the folder cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self.folder} cannot be made: {error.strerror}", expected="a folder for progress",
                fix="set XDG_DATA_HOME to a folder that can be written to",
            ) from error  # fmt: skip


@dataclass(frozen=True, slots=True)
class Learner:
    """Who learns here."""

    id: str  # 32 hexadecimal digits

    @property
    def fingerprint(self) -> str:
        """What folders of labs say of their owner; the id cannot be told from it."""
        return hashlib.sha256(f"deepseek learner {self.id}".encode()).hexdigest()[:16]


def read_learner(place: LearnerPlace) -> Learner:
    """The learner of this machine, made at the first call. IntegrityError for a file that was changed."""
    try:
        text = place.learner_file.read_bytes()
    except FileNotFoundError:
        return _new_learner(place)
    try:
        learner_id = json.loads(text)["id"]
        if len(bytes.fromhex(learner_id)) != ID_BYTES:
            raise ValueError
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(
            f"{place.learner_file} was cut or changed", expected='{"id": 32 hexadecimal digits}',
            fix="take it from a copy; or move it away and begin again: the data of all labs is then another",
        ) from error  # fmt: skip
    return Learner(learner_id)


def _new_learner(place: LearnerPlace) -> Learner:
    place.make()
    learner = Learner(secrets.token_hex(ID_BYTES))
    with atomic_file(place.learner_file) as part:
        part.write_text(json.dumps({"id": learner.id}) + "\n", encoding="utf-8")
    return learner


def lab_seed(learner_id: str, name: str) -> int:
    """The seed of a learner's data of one lab: HMAC-SHA256 of its name under the learner's id, below 2**53.

    >>> lab_seed("00" * 16, "lab:a") == lab_seed("00" * 16, "lab:b")
    False
    """
    digest = hmac.new(bytes.fromhex(learner_id), name.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") >> 11
