"""Another version of a bundle, for tests of servers that have several."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepseek.bundle import open_bundle, write_bundle


def other_version(bundle: Path, out: Path, version: str, **decision: Any) -> Path:
    """The same model under another version, with another `threshold`, say, written whole to `out` or over it."""
    opened = open_bundle(bundle)
    files = {name: opened.read(name) for name in opened.manifest.files}
    files["decision.json"] = json.dumps(json.loads(files["decision.json"]) | decision).encode()
    threshold = decision.get("threshold", opened.manifest.threshold)
    manifest = replace(opened.manifest, version=version, threshold=threshold, files={}, digest="")
    return write_bundle(out, manifest, files, overwrite=True).path


def damaged(bundle: Path, out: Path) -> Path:
    """A copy of which one byte of the weights was changed."""
    shutil.copytree(bundle, out)
    path = out / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return out
