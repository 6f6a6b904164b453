"""An explanation as a document: where it comes from, and all of it as JSON with a schema.

build_provenance(model, table, ...)                       Provenance: model, data, method, why, seed, cost, ...
write_document(Path("report.json"), explanation)          what `explain --json` prints, in a file
schema()                                                  JSON Schema (draft 2020-12) of both
"""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from deepseek.bundle import now, sign_file
from deepseek.bundle.manifest import Manifest
from deepseek.bundle.sign import sign
from deepseek.contracts import JsonObject
from deepseek.data import Table
from deepseek.errors import InputError
from deepseek.explain.records import JsonRecord
from deepseek.files import atomic_file, check_writable
from deepseek.look.tables import to_json_values

FORMAT_VERSION = 1  # of the document; fields are added to it, never renamed
SEED = 0  # of whatever is drawn by chance
_PACKAGES = ("numpy", "onnxruntime", "torch", "xgboost", "xgboost-cpu")


def schema() -> JsonObject:
    """The JSON Schema of the document."""
    document: JsonObject = json.loads(
        files("deepseek.explain.report").joinpath("report.schema.json").read_text("utf-8")
    )
    return document


@dataclass(frozen=True, slots=True, eq=False)
class ModelProvenance(JsonRecord):
    """A model without a manifest, as a folder of Hugging Face's layout is."""

    name: str
    digest: str
    task: str


@dataclass(frozen=True, slots=True, eq=False)
class BundleProvenance(JsonRecord):
    """What a bundle says of itself."""

    name: str
    version: str
    digest: str
    created: str
    task: str
    target: str
    data_digest: str | None  # of the training table
    seed: int
    versions: Mapping[str, str]  # packages that made it

    @classmethod
    def of(cls, manifest: Manifest, digest: str) -> BundleProvenance:
        """The provenance of the bundle with this manifest and digest."""
        lineage = manifest.lineage
        return cls(
            manifest.name, manifest.version, digest, manifest.created, manifest.task, manifest.target, lineage.data,
            lineage.seed, dict(lineage.versions),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class DataProvenance(JsonRecord):
    """The table that was explained."""

    digest: str
    num_rows: int
    num_columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Cost(JsonRecord):
    """What an explanation took."""

    evaluations: int | None  # rows that the model answered; None where they were not counted
    seconds: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Provenance(JsonRecord):
    """What is needed to make an explanation again, and to know that nothing was changed."""

    model: BundleProvenance | ModelProvenance
    data: DataProvenance
    method: str
    why: str  # why this method
    seed: int
    cost: Cost
    versions: Mapping[str, str]  # packages that made it
    date: str  # ISO 8601
    command: str  # the command line that makes it again


def build_provenance(
    model: BundleProvenance | ModelProvenance,
    table: Table,
    *,
    method: str,
    why: str,
    evaluations: int | None,
    seconds: float,
    command: str,
) -> Provenance:
    """The provenance of an explanation of `table` that took `seconds` and is written now."""
    from deepseek.version import __version__

    return Provenance(
        model=model, data=DataProvenance(table.digest(), table.num_rows, len(table.names)), method=method, why=why,
        seed=SEED, cost=Cost(evaluations, seconds),
        versions={"deepseek": __version__, "python": platform.python_version()} | installed_versions(_PACKAGES),
        date=now(), command=command,
    )  # fmt: skip


def command_line(
    bundle: Path, data: Any, rows: Sequence[int], options: Mapping[str, Any], html: str | Path | None
) -> str:
    """The command line that makes this again; "DATA" where it was given a frame. Options without a value are left out,
    and flags are True."""
    words = ["deepseek", "explain", str(bundle), str(data) if isinstance(data, (str, Path)) else "DATA"]
    for row in rows:
        words += ["--row", str(row)]
    for name, value in options.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        for one in values:
            if one is True:
                words.append(f"--{name}")
            elif isinstance(one, (str, Path)):
                words += [f"--{name}", str(one)]
    return shlex.join(words + (["--html", Path(html).name] if html is not None else []))


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write the document as one JSON object; what is not finite becomes null."""
    text = json.dumps(to_json_values(document), ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_file(path) as part:
        # A lone surrogate in a name, as a frame may have it, becomes its own escape, which JSON knows.
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def check_output_paths(places: Sequence[Path], key: Path | None) -> None:
    """Check the output files before any work. InputError where a file cannot be written, and for a key that is none or
    has nothing to sign."""
    for place in places:
        check_writable(place)
    if key is None:
        return
    if not places:
        raise InputError(
            "there is nothing to sign", expected="a page or a JSON file",
            fix="add --html report.html or --json-file report.json",
        )  # fmt: skip
    sign(b"", key)


def sign_outputs(places: Sequence[Path], key: Path | None) -> list[Path]:
    """Sign each file; the paths of the signatures, none without a key."""
    return [] if key is None else [sign_file(place, key) for place in places]


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of packages, by name; a package that is not installed is left out."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
