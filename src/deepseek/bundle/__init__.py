"""The bundle: one folder that holds a model, how to prepare its input, what it promises and the evidence for it.

    bundle = write_bundle(out, Manifest(...), {"model.json": b"...", ...})       # whole or not at all
    bundle = open_bundle(out)                                                     # refused when a byte was changed
    model = Model.from_files(bundle.read)

No numpy, no torch, and never a pickle.
"""

from __future__ import annotations

from deepseek.bundle.detached import file_verification, sign_file
from deepseek.bundle.inspect import inspect_bundle
from deepseek.bundle.manifest import FORMAT, EngineEntry, Input, Lineage, Manifest, Output, check_name, now
from deepseek.bundle.read import Bundle, open_bundle
from deepseek.bundle.verify import verification, verify_bundle
from deepseek.bundle.write import check_target, write_bundle

__all__ = [
    "FORMAT",
    "Bundle",
    "EngineEntry",
    "Input",
    "Lineage",
    "Manifest",
    "Output",
    "check_name",
    "check_target",
    "file_verification",
    "inspect_bundle",
    "now",
    "open_bundle",
    "sign_file",
    "verification",
    "verify_bundle",
    "write_bundle",
]
