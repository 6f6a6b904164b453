"""A model of new labels is released where it is better than the one that serves, on the same test rows; else refused.

    result = release(Path("claims"), Path("claims-model"), Path("models"), "claims")
    result.is_released, result.reason

The test rows are those of the project, drawn at random before anything was labeled. What is released becomes the next
version in the folder that `deepseek serve --repository` loads from; what was there stays.
"""

from __future__ import annotations

import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from deepseek.automl.comparison.compare import compare_bundles
from deepseek.automl.comparison.results import ComparisonResult
from deepseek.automl.comparison.text import headline
from deepseek.automl.label.training import training_rows
from deepseek.bundle import check_name, open_bundle
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, StorageError
from deepseek.results import Result

MANIFEST = "bundle.json"
FIRST_VERSION = "v1"
FIRST_SHARE = 0.1  # of the requests, that a new version should get after it was a shadow


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseResult(Result):
    """What became of a model."""

    name: str
    repository: Path
    is_released: bool
    reason: str
    current: str  # the version that was compared with; "" where there was none
    version: str  # the new one; "" where it was refused
    path: Path | None  # of its copy
    num_tested: int
    comparison: ComparisonResult | None

    @property
    def routes(self) -> tuple[str, ...]:
        """What `serve --route` takes, one after the other: as a shadow, with a share, alone."""
        if not self.is_released:
            return ()
        if not self.current:
            return (f"{self.name}={self.version}",)
        old = f"{self.current}:{1 - FIRST_SHARE:g}"
        return (
            f"{self.name}={self.current},{self.version}:shadow",
            f"{self.name}={old},{self.version}:{FIRST_SHARE:g}",
            f"{self.name}={self.version}",
        )

    def to_dict(self) -> JsonObject:
        return {
            "name": self.name, "is_released": self.is_released, "reason": self.reason,
            "current": self.current or None, "version": self.version or None,
            "path": None if self.path is None else str(self.path), "num_tested": self.num_tested,
            "routes": list(self.routes), "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }  # fmt: skip

    def summary(self) -> str:
        if not self.is_released:
            return f"Refused: {self.reason}."
        lines = [f"Released as {self.name} {self.version}: {self.reason}."]
        if self.current:
            shadow, share, alone = self.routes
            lines += [
                f"  first     deepseek serve --repository {self.repository} --route {shadow}",
                f"  then      --route {share}",
                f"  at last   --route {alone}",
            ]
        else:
            lines.append(f"  deepseek serve --repository {self.repository}")
        return "\n".join(lines)


def release(
    project: Path, bundle: Path, repository: Path, name: str, *, unless_worse: bool = False, seed: int = 0
) -> ReleaseResult:
    """Compare `bundle` with the latest version of `name` in `repository` on the test rows of `project`, and copy it
    there as the next version where it is better. `unless_worse`: also where the difference is noise.

    InputError for a bundle that answers another question, too few labels, and a model that has no folders of versions.
    """
    check_name(name)
    current = find_current(repository, name)
    rows = training_rows(project)
    num_tested, old, comparison = rows.test.num_rows, "" if current is None else current.name, None
    if current is None:
        _check_target(bundle, rows.target)
        is_good, reason = True, "there was no version before it, and nothing to compare with"
    else:
        comparison = compare_bundles([current, bundle], rows.test, files=rows.files, speed=False, seed=seed)
        is_good, reason = _decide(comparison, num_tested, unless_worse=unless_worse)
    if not is_good:
        return ReleaseResult(name, repository, False, reason, old, "", None, num_tested, comparison)
    version = next_version(old)
    path = _copy(bundle, repository / name / version)
    return ReleaseResult(name, repository, True, reason, old, version, path, num_tested, comparison)


def find_current(repository: Path, name: str) -> Path | None:
    """The latest version of a model; None where there is none yet."""
    from deepseek.serve.repository.folder import latest_version

    folder = repository / name
    if (folder / MANIFEST).exists():
        raise InputError(
            f"{folder} is a model itself", expected="a folder of versions, such as v1",
            fix=f"move it to {folder / FIRST_VERSION}",
        )  # fmt: skip
    versions = {path.parent.name: path.parent for path in folder.glob(f"[!.]*/{MANIFEST}")}
    return versions[latest_version(versions)] if versions else None


def next_version(version: str) -> str:
    """The name behind that of a version.

    >>> next_version(""), next_version("v9"), next_version("2026-11"), next_version("first")
    ('v1', 'v10', '2026-12', 'first-2')
    """
    if not version:
        return FIRST_VERSION
    match = re.fullmatch(r"(.*?)([0-9]+)", version, re.DOTALL)
    return f"{match[1]}{int(match[2]) + 1:0{len(match[2])}d}" if match else f"{version}-2"


def _decide(comparison: ComparisonResult, num_tested: int, *, unless_worse: bool) -> tuple[bool, str]:
    """Whether the new model may take the place of the reference, and why."""
    [only] = comparison.comparisons
    if only.model in comparison.learned_from:
        return False, f"{only.model} has learned from some of the {num_tested:,} test rows, which flatters it"
    is_good = only.verdict == "better" or (unless_worse and only.verdict in ("noise", "identical"))
    return is_good, f"{headline(comparison, only).en}, on {num_tested:,} test rows"


def _check_target(bundle: Path, target: str) -> None:
    """InputError for the first version of a model that does not predict what the project labels."""
    manifest = open_bundle(bundle).manifest
    if manifest.target != target:
        raise InputError(
            f"{bundle} predicts {manifest.target!r}, and the project labels {target!r}",
            expected="a bundle of this project", fix="deepseek ship PROJECT",
        )  # fmt: skip


def _copy(bundle: Path, path: Path) -> Path:
    """A copy that is there whole or not at all. Names with a dot are never loaded."""
    if path.exists():
        raise InputError(f"{path} is there already", expected="a version that is new", fix="look what it is")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle, part)
        open_bundle(part)  # every byte is as it was written
        part.rename(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", expected="a folder that takes writes", fix="make room"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path
