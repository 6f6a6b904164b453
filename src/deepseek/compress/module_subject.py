"""A torch module of the user's as a subject of compression: exported, quantised, pruned.

    subject = ModuleSubject.open("net.py:build", Path("validation.npz"))     # arrays x and y

What is served is the exported graph; torch itself stands in the table as one more exact engine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepseek.compress.export_module import INPUT, OUTPUT, export_module
from deepseek.compress.onnx_subject import FILE, TARGET, OnnxSubject, check_inputs, check_target, digest_of_arrays
from deepseek.compress.subject import Variant, Way
from deepseek.contracts import Arrays
from deepseek.data.npz import read_npz
from deepseek.engines.onnx_file import open_file
from deepseek.errors import InputError
from deepseek.train.imported import load_object

EXAMPLE_ROWS = 8


class ModuleSubject(OnnxSubject):
    """See the module."""

    kind = "module"

    def __init__(self, module: nn.Module, *args: Any) -> None:
        self.module = module
        super().__init__(*args)

    @classmethod
    def open(cls, name: str, data: Path, *, seed: int = 0) -> ModuleSubject:  # type: ignore[override]
        """Errors as those of load_object(), export_module() and OnnxSubject.open()."""
        module = load_object("the model", name, Path.cwd(), call=True)
        if not isinstance(module, nn.Module):
            raise InputError(
                f"{name} gives {type(module).__name__}", expected="a torch.nn.Module with its weights",
                fix="return the module itself",
            )  # fmt: skip
        arrays = read_npz(data, "data")
        target = arrays.pop(TARGET, None)
        if len(arrays) != 1:
            raise InputError(
                f"{data} has {len(arrays)} arrays beside {TARGET!r}", expected="one, the module's input",
                fix="put the inputs together",
            )  # fmt: skip
        ((_, values),) = arrays.items()
        kept = tempfile.TemporaryDirectory(prefix="deepseek-export-")
        path = Path(kept.name) / FILE
        export_module(module, torch.as_tensor(values[:EXAMPLE_ROWS]).float(), path)
        file = open_file(path, None)
        inputs = check_inputs(file, {INPUT: values}, data)
        digest = digest_of_arrays({**inputs, **({} if target is None else {TARGET: target})})
        found = cls(module, name.rpartition(":")[0].rpartition("/")[2].removesuffix(".py"), file, inputs,
                    check_target(target, len(values), data), digest, seed)  # fmt: skip
        found._folder = kept
        return found

    def close(self) -> None:
        self._folder.cleanup()

    def ways(self, variant: Variant) -> list[Way]:
        found = super().ways(variant)
        if variant.name == "given":
            found.append(Way("torch", True, _eager(self.module), lambda: None))
        return found

    _folder: tempfile.TemporaryDirectory[str]


def _eager(module: nn.Module) -> Callable[[Arrays], Arrays]:
    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return {OUTPUT: module(torch.from_numpy(arrays[INPUT])).numpy()}

    return run
