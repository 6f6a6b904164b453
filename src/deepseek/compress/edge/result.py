"""What an export to a device may be asked, what was measured of it, and the folder that is left."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deepseek.bundle.place import exclusive_writer, is_vacant, replace_folder, temporary_folder
from deepseek.compress.edge import pages
from deepseek.compress.edge.parity import Parity
from deepseek.compress.edge.subject import EdgeTarget
from deepseek.errors import CheckError, InputError

Tier = Literal["onnxruntime", "c", "executorch"]


MANIFEST_FILE = "edge.json"


MEASURED_FILE = "measured.json"


MANIFEST_FORMAT = 1


SAME_SIZE_RATIO = (
    1.05  # of two variants that are so close in size the one that loses nothing is kept, or the faster one
)


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What is asked for. `max_mb`: millions of bytes that the device gives to the model and its runtime."""

    tier: Tier = "onnxruntime"
    max_mb: float = 50.0
    keep: float = 0.99  # share of rows in which an int8 variant has to give the same class
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredVariant:
    """One variant, as it was measured here."""

    name: str  # "float32", "int8 weights", "int8"
    size_bytes: int  # on the device: the compiled program, the runtime and the model
    parity: Parity
    p50_s: float
    p99_s: float
    cold_start_s: float
    most_bytes: int  # RAM
    static_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EdgeExport:
    """What was written, and everything that was tried for it."""

    out: Path
    subject: EdgeTarget = field(repr=False)
    tier: Tier
    kept: MeasuredVariant
    tried: tuple[MeasuredVariant, ...]
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return self.kept.size_bytes


def check_output_folder(out: Path, *, overwrite: bool) -> None:
    """InputError unless `out` is free, or, with `overwrite`, a folder that export has made."""
    if is_vacant(out) or (overwrite and (out / MANIFEST_FILE).is_file()):
        return
    fix = "choose another --out, or give --overwrite" if (out / MANIFEST_FILE).is_file() else "choose another --out"
    raise InputError(f"{out} is there already", expected="a folder that does not exist", fix=fix)


def install_folder(made: Path, out: Path, options: EdgeOptions) -> None:
    """A copy of the folder `made` as `out`, whole or not at all."""
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_writer(target), temporary_folder(target) as folder:
        check_output_folder(out, overwrite=options.overwrite)
        shutil.copytree(made, folder, dirs_exist_ok=True)
        replace_folder(folder, target)


def choose_variant(
    tried: list[tuple[MeasuredVariant, Path]], options: EdgeOptions, subject: EdgeTarget
) -> tuple[MeasuredVariant, Path]:
    """The smallest that passes; of those of about one size one that loses nothing, and then the fastest."""
    passing = [each for each in tried if each[0].parity.passes]
    if not passing:
        shown = "; ".join(f"{each.name}: {each.parity.shown()}" for each, _ in tried)
        raise CheckError(
            f"no variant answers as {subject.name!r} does: {shown}",
            expected="differences of at most 1e-4 (1e-5 of a chance), or with int8 the same class",
            fix="report it as a bug of the export, or try another --tier",
        )
    smallest = min(each.size_bytes for each, _ in passing)
    close = [each for each in passing if each[0].size_bytes <= SAME_SIZE_RATIO * smallest]
    kept = min(close, key=lambda each: (each[0].parity.limit is None, each[0].p50_s))
    if kept[0].size_bytes > options.max_mb * 1e6:
        sizes = ", ".join(
            f"{each.name} {each.size_bytes / 1e6:.2f} MB{'' if each.parity.passes else ' (misses parity)'}"
            for each, _ in tried
        )
        raise CheckError(
            f"the smallest is {kept[0].size_bytes / 1e6:.2f} MB: {sizes}", expected=f"at most {options.max_mb:g} MB",
            fix="prune or distil the model, raise --max-mb, or try --tier c",
        )  # fmt: skip
    return kept


def write_descriptions(
    folder: Path, subject: EdgeTarget, options: EdgeOptions, kept: MeasuredVariant, tried: list[MeasuredVariant]
) -> None:
    """README.md, edge.json (the same bytes for the same model and rows) and measured.json (of this machine)."""
    (folder / "README.md").write_text(pages.readme(subject, options.tier), encoding="utf-8")
    files = {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        }
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip
    manifest: dict[str, Any] = {
        "format": MANIFEST_FORMAT, "name": subject.name, "source": subject.digest, "tier": options.tier,
        "variant": kept.name, "inputs": pages.describe_inputs(subject), "outputs": pages.describe_outputs(subject),
        "parity": {**asdict(kept.parity), "rows": subject.rows_from}, "files": files,
    }  # fmt: skip
    _write_json(folder / MANIFEST_FILE, manifest)
    measured = {
        "machine": f"{platform.system()} {platform.machine()}", "size_bytes": kept.size_bytes,
        "max_bytes": int(options.max_mb * 1e6), "variants": [each.to_dict() for each in tried],
    }  # fmt: skip
    _write_json(folder / MEASURED_FILE, measured)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="ascii")
