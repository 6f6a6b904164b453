"""Brings a bundle of an older format to the current one, as a new bundle beside it.

    done = migrate_bundle(Path("loans"))        # writes loans-format2, whose lineage names the old one
    done.changes                                # what was changed, in words

MIGRATION_STEPS holds one step for each older format n: it turns format n into n + 1. A later format adds its step at
the end.

Format 1 differs from 2 in this: bundle.json had neither `digest` nor `manifest_sha256`; the threshold stood in
bundle.json alone, without decision.json; an engine was used for any number of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.bundle.fields import parse_value
from deepseek.bundle.folder import Folder
from deepseek.bundle.manifest import FORMAT, Manifest, canonical_json, check_file_table, check_format, decode_object
from deepseek.bundle.paths import MANIFEST, SIGNATURE
from deepseek.bundle.place import is_vacant
from deepseek.bundle.read import compare_with_listing, content_problems, read_manifest_bytes
from deepseek.bundle.write import fill_manifest, write_bundle
from deepseek.errors import InputError, IntegrityError
from deepseek.results import Result

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject


@dataclass(frozen=True, slots=True)
class OldBundle:
    """A whole bundle in memory: the manifest as plain JSON, without hashes, and the files."""

    manifest: JsonObject
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class MigrationStep:
    """How a bundle of one format becomes one of the next."""

    change: str  # what is changed, in words
    run: Callable[[OldBundle], OldBundle]


@dataclass(frozen=True, slots=True, eq=False)
class MigrationResult(Result):
    """What was done, or with dry_run what would be."""

    source: Path
    out: Path
    from_format: int
    to_format: int
    changes: tuple[str, ...]  # empty when the bundle is of the current format already
    digest: str
    parent: str  # what lineage.parent says: the digest of the old bundle or, before there was one, bundle.json's sha256
    was_signed: bool
    written: bool

    def to_dict(self) -> JsonObject:
        """The object that `migrate --json` prints."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    def summary(self) -> str:
        """What was changed, in words."""
        return "; ".join(self.changes) or f"{self.source} is of format {self.to_format} already"


def migrate_bundle(
    path: Path | str, *, out: Path | None = None, dry_run: bool = False, key: Path | None = None
) -> MigrationResult:
    """Write the bundle at `path` in the current format to `out` (default: NAME-formatN beside it); the original stays.
    A signature does not carry over: give the private `key` to sign again.

    InputError for a newer format or a target that exists, IntegrityError when the old bundle is not whole.
    """
    source = Path(path)
    target = out or source.with_name(f"{source.resolve().name}-format{FORMAT}")
    with Folder(source) as folder:
        data = read_manifest_bytes(folder)
        top = decode_object(data)
        source_format = _source_format(top)
        if source_format == FORMAT:
            digest = Manifest.from_bytes(data).digest
            return MigrationResult(source, source, FORMAT, FORMAT, (), digest, digest, False, False)
        old, was_signed = _read_old(folder, top)
    if not is_vacant(target):
        raise InputError(
            f"{target} is not empty", expected="a new folder", fix="name another one (out; in the shell --out DIR)"
        )
    parent = hashlib.sha256(data).hexdigest()
    steps = [MIGRATION_STEPS[number] for number in range(source_format, FORMAT)]
    for step in steps:
        old = step.run(old)
    lineage = {**old.manifest["lineage"], "parent": parent}
    manifest = fill_manifest(Manifest.from_dict({**old.manifest, "format": FORMAT, "lineage": lineage}), old.files)
    if not dry_run:
        write_bundle(target, manifest, old.files, key=key)
    changes = tuple(step.change for step in steps)
    return MigrationResult(
        source, target, source_format, FORMAT, changes, manifest.digest, parent, was_signed, not dry_run
    )


def _source_format(top: JsonObject) -> int:
    """The format of a manifest, which is the current one or one that MIGRATION_STEPS leads away from."""
    format_number = top.get("format")
    if isinstance(format_number, bool) or format_number not in MIGRATION_STEPS:
        check_format(top)
    return int(top["format"])


def _read_old(folder: Folder, top: JsonObject) -> tuple[OldBundle, bool]:
    """The bundle as it is, every file checked against its hash; and whether it was signed."""
    files = parse_value(dict[str, str], top.get("files"), f"{MANIFEST}: files")
    check_file_table(files)
    parse_value(dict[str, Any], top.get("lineage"), f"{MANIFEST}: lineage")
    sizes, problems = compare_with_listing(folder, files)
    problems += list(content_problems(folder, files)) if not problems else []
    if problems:
        raise IntegrityError(f"{folder.path}: {problems[0]}", expected="a whole bundle", fix="find an intact copy")
    contents = {}
    for name, sha256 in files.items():
        contents[name] = folder.read(name, limit=sizes[name] + 1)
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise IntegrityError(
                f"{name} was changed: its sha256 is not the manifest's",
                expected="a whole bundle",
                fix="find an intact copy",
            )
    plain = {name: value for name, value in top.items() if name != "files"}
    return OldBundle(plain, contents), SIGNATURE in sizes


def _migrate_from_1(old: OldBundle) -> OldBundle:
    if "decision.json" in old.files:
        raise InputError(
            "decision.json is in a bundle of format 1, which knew none",
            expected="a threshold in bundle.json alone",
            fix="make the bundle again",
        )
    decision = {"threshold": old.manifest.get("threshold"), "costs": None, "interval": None}
    return OldBundle(old.manifest, {**old.files, "decision.json": canonical_json(decision)})


MIGRATION_STEPS: dict[int, MigrationStep] = {
    1: MigrationStep(
        "decision.json holds the threshold; bundle.json has a digest and a hash of its own", _migrate_from_1
    ),
}
