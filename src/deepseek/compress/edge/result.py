"""What an export to a device may be asked, what was measured of it, and the folder that is left."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deepseek.bundle.place import alone, is_free, put_in_place, unfinished
from deepseek.compress.edge import pages
from deepseek.compress.edge.parity import Parity
from deepseek.compress.edge.subject import Subject
from deepseek.errors import CheckError, InputError

Tier = Literal["onnxruntime", "c", "executorch"]


MANIFEST = "edge.json"


MEASURED = "measured.json"


FORMAT = 1


SAME_SIZE = 1.05  # of two variants that are so close in size the one that loses nothing is kept, or the faster one


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What is asked for. `max_mb`: millions of bytes that the device gives to the model and its runtime."""

    tier: Tier = "onnxruntime"
    max_mb: float = 50.0
    keep: float = 0.99  # share of rows in which an int8 variant has to give the same class
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
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
class Done:
    """What was written, and everything that was tried for it."""

    out: Path
    subject: Subject = field(repr=False)
    tier: Tier
    kept: Tried
    tried: tuple[Tried, ...]
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return self.kept.size_bytes


def check_out(out: Path, *, overwrite: bool) -> None:
    """InputError unless `out` is free, or, with `overwrite`, a folder that export has made."""
    if is_free(out) or (overwrite and (out / MANIFEST).is_file()):
        return
    fix = "choose another --out, or give --overwrite" if (out / MANIFEST).is_file() else "choose another --out"
    raise InputError(f"{out} is there already", expected="a folder that does not exist", fix=fix)


def put(made: Path, out: Path, options: EdgeOptions) -> None:
    """A copy of the folder `made` as `out`, whole or not at all."""
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target), unfinished(target) as folder:
        check_out(out, overwrite=options.overwrite)
        shutil.copytree(made, folder, dirs_exist_ok=True)
        put_in_place(folder, target)


def chosen(tried: list[tuple[Tried, Path]], options: EdgeOptions, subject: Subject) -> tuple[Tried, Path]:
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
    close = [each for each in passing if each[0].size_bytes <= SAME_SIZE * smallest]
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


def describe(folder: Path, subject: Subject, options: EdgeOptions, kept: Tried, tried: list[Tried]) -> None:
    """README.md, edge.json (the same bytes for the same model and rows) and measured.json (of this machine)."""
    (folder / "README.md").write_text(pages.readme(subject, options.tier), encoding="utf-8")
    files = {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        }
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip
    manifest: dict[str, Any] = {
        "format": FORMAT, "name": subject.name, "source": subject.digest, "tier": options.tier,
        "variant": kept.name, "inputs": pages.inputs(subject), "outputs": pages.outputs(subject),
        "parity": {**asdict(kept.parity), "rows": subject.rows_from}, "files": files,
    }  # fmt: skip
    _write_json(folder / MANIFEST, manifest)
    measured = {
        "machine": f"{platform.system()} {platform.machine()}", "size_bytes": kept.size_bytes,
        "max_bytes": int(options.max_mb * 1e6), "variants": [each.to_dict() for each in tried],
    }  # fmt: skip
    _write_json(folder / MEASURED, measured)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="ascii")
