"""Whether the files of a lab are those that were installed.

A wheel's RECORD has the sha256 of each file. In a clone there is no such record, and nothing is said: what is in a
certificate is the digest of the checks, which `deepseek verify` compares with its own wherever it runs.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from deepseek.errors import IntegrityError
from deepseek.learn.definition.lab import Lab


def installed_distribution() -> Distribution | None:
    """What this package was installed from; None in a clone that was never installed."""
    try:
        return distribution("deepseek")
    except PackageNotFoundError:
        return None


def changed_files(lab: Lab, installed: Distribution) -> list[str]:
    """Names of the files of a lab whose bytes are others than the record says, or that are gone."""
    changed = []
    for file in installed.files or ():
        path = Path(str(installed.locate_file(file))).resolve()
        if file.hash is None or not path.is_relative_to(lab.folder.resolve()):
            continue
        content = path.read_bytes() if path.is_file() else b""
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if file.hash.mode == "sha256" and digest != file.hash.value:
            changed.append(path.relative_to(lab.folder.resolve()).as_posix())
    return sorted(changed)


def check_unchanged(lab: Lab, installed: Distribution | None) -> None:
    """IntegrityError names files of the lab that were changed after they were installed."""
    changed = [] if installed is None else changed_files(lab, installed)
    if changed:
        raise IntegrityError(
            f"files of the lab {lab.id} were changed after they were installed: {', '.join(changed)}",
            expected="the checks as they were installed", fix="install this package again",
        )  # fmt: skip
