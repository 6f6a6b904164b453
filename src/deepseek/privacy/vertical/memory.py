"""What a house remembers, so that its process can be killed at any moment and go on: its secrets, its weights, and the
message that it sent last, which goes out again as it was. One file of mode 0600, which appears whole or not at all.

    STUDY/houses/NAME.safetensors
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.bundle.manifest import canonical_json
from deepseek.contracts import Float64
from deepseek.errors import IntegrityError
from deepseek.files import atomic_file
from deepseek.privacy.bundles.transcript import RoundRecord
from deepseek.privacy.rounds.state import read_arrays
from deepseek.privacy.study.definition import StudyFolder


def _none() -> Float64:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is no array."""

    study: str
    rows_sha256: str
    step: int
    key: str
    id_secrets: tuple[str, ...]
    asked_sha256: str
    records: tuple[RoundRecord, ...]


@dataclass(frozen=True, slots=True)
class HouseMemory:
    """Before a step."""

    rows_sha256: str  # of the house's table: it may not come back with another
    key: str = ""  # secret key of products
    id_secrets: tuple[str, ...] = ()  # of the intersection
    step: int = 0  # place of the step to come
    message: bytes = b""  # of the house that joins: what it sends in that step; of the other: its reply to the last
    asked_sha256: str = ""  # of the message that `message` replies to
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # of its rows that both have
    other_key: bytes = b""
    weights: Float64 = field(default_factory=_none)
    velocity: Float64 = field(default_factory=_none)
    mask_sums: Float64 = field(default_factory=_none)  # of the products that are with the other house
    other_scores: Float64 = field(default_factory=_none)  # partial scores of rows that were held back
    records: tuple[RoundRecord, ...] = ()

    def to_bytes(self, study_sha256: str) -> bytes:
        facts = _Facts(
            study_sha256, self.rows_sha256, self.step, self.key, self.id_secrets, self.asked_sha256, self.records
        )
        arrays: dict[str, NDArray[Any]] = {
            "facts": np.frombuffer(canonical_json(asdict(facts)), np.uint8),
            "message": np.frombuffer(self.message, np.uint8), "places": self.places,
            "other_key": np.frombuffer(self.other_key, np.uint8), "weights": self.weights, "velocity": self.velocity,
            "mask_sums": self.mask_sums, "other_scores": self.other_scores,
        }  # fmt: skip
        return safetensors.numpy.save(arrays)

    @classmethod
    def from_bytes(cls, data: bytes, study_sha256: str) -> HouseMemory:
        """The inverse. IntegrityError for bytes that are of another study or cut."""
        arrays = read_arrays(data)
        try:
            facts: _Facts = parse_value(_Facts, parse_json_object(arrays["facts"].tobytes(), "facts"), "facts")
            memory = cls(
                facts.rows_sha256, facts.key, facts.id_secrets, facts.step, arrays["message"].tobytes(),
                facts.asked_sha256, arrays["places"], arrays["other_key"].tobytes(), arrays["weights"],
                arrays["velocity"], arrays["mask_sums"], arrays["other_scores"], facts.records,
            )  # fmt: skip
        except KeyError as error:
            raise _foreign_error() from error
        if facts.study != study_sha256:
            raise _foreign_error()
        return memory


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """Where a house's memory lies; nowhere in a simulation."""

    path: Path | None
    study_sha256: str

    @classmethod
    def of(cls, folder: StudyFolder, party: str) -> MemoryFile:
        return cls(folder.path / "houses" / f"{party}.safetensors", folder.study.digest)

    def read(self) -> HouseMemory | None:
        if self.path is None or not self.path.is_file():
            return None
        return HouseMemory.from_bytes(self.path.read_bytes(), self.study_sha256)

    def write(self, memory: HouseMemory) -> HouseMemory:
        """On the disk before anything of it leaves the house."""
        if self.path is not None:
            self.path.parent.mkdir(exist_ok=True, mode=0o700)
            with atomic_file(self.path) as part:
                os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                part.write_bytes(memory.to_bytes(self.study_sha256))
        return memory


def _foreign_error() -> IntegrityError:
    return IntegrityError(
        "what the house remembers is of another study, or was cut", expected="the file that this study wrote",
        fix="move the folder houses of the study away: the study begins anew",
    )  # fmt: skip
