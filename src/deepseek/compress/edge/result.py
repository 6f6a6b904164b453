"""Options, measurements and result of an export to a device, and the folder that it writes."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from deepseek.bundle.place import exclusive_writer, is_vacant, replace_folder, temporary_folder
from deepseek.compress.edge import pages
from deepseek.compress.edge.parity import Parity
from deepseek.compress.edge.target import EdgeTarget
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, InputError

Tier = Literal["onnxruntime", "c", "executorch"]


MANIFEST_FILE = "edge.json"


MEASURED_FILE = "measured.json"


MANIFEST_FORMAT = 1


SAME_SIZE_RATIO = 1.05  # variants so close in size to the smallest compete by losslessness, then by speed


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """Options of an export. `max_mb`: millions of bytes that the device has for the model and its runtime."""

    tier: Tier = "onnxruntime"
    max_mb: float = 50.0
    keep: float = 0.99  # share of rows in which an int8 variant has to give the same class
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredVariant:
    """Measurements of one variant on this machine."""

    name: str  # "float32", "int8 weights", "int8"
    size_bytes: int  # on the device: the compiled program, the runtime and the model
    parity: Parity
    p50_s: float
    p99_s: float
    cold_start_s: float
    most_bytes: int  # peak RAM
    static_bytes: int  # of the program's static buffers

    def to_dict(self) -> JsonObject:
        """An entry of "variants" in measured.json and in the JSON of `deepseek export`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EdgeExport:
    """The written folder, the chosen variant and the measurements of all variants."""

    out: Path
    target: EdgeTarget = field(repr=False)
    tier: Tier
    kept: MeasuredVariant
    measured: tuple[MeasuredVariant, ...]
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return self.kept.size_bytes


def check_output_folder(out: Path, *, overwrite: bool) -> None:
    """InputError unless `out` is free, or, with `overwrite`, a folder that an export wrote."""
    if is_vacant(out) or (overwrite and (out / MANIFEST_FILE).is_file()):
        return
    fix = "choose another --out, or give --overwrite" if (out / MANIFEST_FILE).is_file() else "choose another --out"
    raise InputError(f"{out} is there already", expected="a folder that does not exist", fix=fix)


def install_folder(source: Path, out: Path, options: EdgeOptions) -> None:
    """Copy the folder `source` to `out`, atomically."""
    destination = out.absolute()
    destination.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_writer(destination), temporary_folder(destination) as folder:
        check_output_folder(out, overwrite=options.overwrite)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        replace_folder(folder, destination)


def choose_variant(
    measured: list[tuple[MeasuredVariant, Path]], options: EdgeOptions, target: EdgeTarget
) -> tuple[MeasuredVariant, Path]:
    """The smallest variant that passes parity, with its folder; of variants of about that size a lossless one, and of
    these the fastest. CheckError when none passes, or the smallest is above options.max_mb."""
    passing = [(variant, folder) for variant, folder in measured if variant.parity.passes]
    if not passing:
        parities = "; ".join(f"{variant.name}: {variant.parity.summary()}" for variant, _ in measured)
        raise CheckError(
            f"no variant answers as {target.name!r} does: {parities}",
            expected="differences of at most 1e-4 (1e-5 of a chance), or with int8 the same class",
            fix="report it as a bug of the export, or try another --tier",
        )
    smallest = min(variant.size_bytes for variant, _ in passing)
    close = [pair for pair in passing if pair[0].size_bytes <= SAME_SIZE_RATIO * smallest]
    best, folder = min(close, key=lambda pair: (pair[0].parity.limit is None, pair[0].p50_s))
    if best.size_bytes > options.max_mb * 1e6:
        sizes = ", ".join(
            f"{variant.name} {variant.size_bytes / 1e6:.2f} MB{'' if variant.parity.passes else ' (misses parity)'}"
            for variant, _ in measured
        )
        raise CheckError(
            f"the smallest is {best.size_bytes / 1e6:.2f} MB: {sizes}", expected=f"at most {options.max_mb:g} MB",
            fix="prune or distil the model, raise --max-mb, or try --tier c",
        )  # fmt: skip
    return best, folder


def write_descriptions(
    folder: Path, target: EdgeTarget, options: EdgeOptions, chosen: MeasuredVariant, variants: Sequence[MeasuredVariant]
) -> None:
    """Write README.md, edge.json (the same bytes for the same model and rows) and measured.json (of this machine)."""
    (folder / "README.md").write_text(pages.readme(target, options.tier), encoding="utf-8")
    files = {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        }
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip
    manifest = {
        "format": MANIFEST_FORMAT, "name": target.name, "source": target.digest, "tier": options.tier,
        "variant": chosen.name,
        "inputs": [entry.to_dict() for entry in pages.describe_inputs(target)],
        "outputs": pages.describe_outputs(target),
        "parity": {**asdict(chosen.parity), "rows": target.rows_from}, "files": files,
    }  # fmt: skip
    _write_json(folder / MANIFEST_FILE, manifest)
    measured = {
        "machine": f"{platform.system()} {platform.machine()}", "size_bytes": chosen.size_bytes,
        "max_bytes": int(options.max_mb * 1e6), "variants": [variant.to_dict() for variant in variants],
    }  # fmt: skip
    _write_json(folder / MEASURED_FILE, measured)


def _write_json(path: Path, document: JsonObject) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="ascii")
