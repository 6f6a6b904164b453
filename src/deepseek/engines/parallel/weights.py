"""Weights of a Hugging Face folder, slice by slice: a process reads only what it holds.

    checkpoint = Checkpoint("models/Llama-3.1-70B")
    rows = checkpoint.read(("lm_head.weight",), Slice((128256, 8192), dim=0, index=3, count=8))

Files are looked at as bundles' are (bundle/contents.py) before one is opened: no pickle, no header that lies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepseek.bundle.contents import content_problem
from deepseek.errors import InputError, MalformedError, MissingError

MAX_INDEX_BYTES = 64 << 20
#: What stands before the names in some files of a family, and not in others.
BASES = ("model", "transformer", "bert")


@dataclass(frozen=True)
class Slice:
    """A part of a matrix (rows, columns) or a vector: share `index` of `count` along `dim`, as torch.chunk cuts."""

    shape: tuple[int, ...]  # of the whole, as the module has it
    dim: int | None = None  # None: all of it
    index: int = 0
    count: int = 1
    is_turned: bool = False  # the file holds the transpose
    num_fused: int = 1  # so many matrices lie one above the other, and each is cut

    def spans(self) -> list[tuple[int, int]]:
        """First and end along `dim`, one for each fused matrix.

        >>> Slice((6, 2), 0, 1, 2).spans(), Slice((12, 2), 0, 1, 2, num_fused=3).spans(), Slice((5,), 0, 1, 2).spans()
        ([(3, 6)], [(2, 4), (6, 8), (10, 12)], [(3, 5)])
        """
        if self.dim is None:
            return []
        whole = self.shape[self.dim] // self.num_fused
        step = -(-whole // self.count)
        first, end = min(whole, self.index * step), min(whole, (self.index + 1) * step)
        return [(part * whole + first, part * whole + end) for part in range(self.num_fused)]


class Checkpoint:
    """The safetensors files of a folder. Raises MissingError, MalformedError or InputError that names the file."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._files: dict[str, Any] = {}
        self._places = _places(self.folder)

    def read(self, names: Sequence[str], part: Slice) -> Tensor:
        """The part of the first of `names` that is there, in the file's type; its own memory, not the file's."""
        name = self._name(names)
        found = self._open(self._places[name]).get_slice(name)
        want = part.shape[::-1] if part.is_turned else part.shape
        if tuple(found.get_shape()) != tuple(want):
            raise InputError(
                f"{name} in {self.folder} has the shape {tuple(found.get_shape())}", expected=f"{tuple(want)}",
                fix="give the folder whose config.json the module was made from",
            )  # fmt: skip
        if part.dim is None:
            read: Tensor = found[:]
        else:
            dim = len(want) - 1 - part.dim if part.is_turned else part.dim
            pieces = [found[first:end] if dim == 0 else found[:, first:end] for first, end in part.spans()]
            read = torch.cat(pieces, dim) if len(pieces) > 1 else pieces[0]
        return (read.T if part.is_turned else read).contiguous().clone()

    def _name(self, names: Sequence[str]) -> str:
        for name in names:
            for tried in (name, name.partition(".")[2], *(f"{base}.{name}" for base in BASES)):
                if tried in self._places:
                    return tried
        raise MissingError(
            f"{self.folder} has no weight {names[0]!r}", expected=f"names such as {next(iter(self._places))!r}",
            fix="give the folder whose config.json the module was made from",
        )  # fmt: skip

    def _open(self, file: str) -> Any:
        if file not in self._files:
            from safetensors import safe_open

            _check(self.folder / file)
            self._files[file] = safe_open(self.folder / file, framework="pt")
        return self._files[file]


def _places(folder: Path) -> dict[str, str]:
    """Which file holds each weight."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _indexed(index)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise MissingError(
            f"{folder} has no model.safetensors", expected="a Hugging Face folder with safetensors weights",
            fix="save the model with save_pretrained, whose weights are safetensors; a .bin is a pickle, never loaded",
        )  # fmt: skip
    from safetensors import safe_open

    _check(file)
    with safe_open(file, framework="pt") as opened:
        return dict.fromkeys(opened.keys(), file.name)


def _indexed(index: Path) -> dict[str, str]:
    bad = MalformedError(
        f"{index} is no index of weights", expected='{"weight_map": {NAME: FILE}} with files beside it',
        fix="download the folder again",
    )  # fmt: skip
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise bad
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise bad from error
    if not isinstance(places, dict) or not places:
        raise bad
    for file in places.values():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise bad
    return places


def _check(file: Path) -> None:
    if not file.is_file():
        raise MissingError(f"{file} is not there", expected="every file of the index", fix="download the folder again")
    with file.open("rb") as opened:
        problem = content_problem(file.name, opened, file.stat().st_size)
    if problem:
        raise MalformedError(f"{file.parent}: {problem}", expected="a safetensors file", fix="download it again")
