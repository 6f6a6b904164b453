"""A torch module of the user's as a subject of compression: exported, quantised, pruned.

    subject = ModuleSubject.open("net.py:build", Path("validation.npz"), train=Path("train.npz"))     # arrays x and y

    int8, int8-but-K    as of an ONNX file (onnx_subject.py)
    prune-30, ...       so many per cent of the parameters gone, then trained on what `train` holds to answer as before
    prune-30+int8, ...  the same, then int8

What is served is the exported graph; torch itself stands in the table as one more exact engine.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from deepseek.compress.export_module import INPUT, OUTPUT, export_module
from deepseek.compress.given_module import load_module
from deepseek.compress.onnx_subject import (
    CALL_ROWS,
    FILE,
    TARGET,
    OnnxSubject,
    check_inputs,
    check_target,
    digest_of_arrays,
)
from deepseek.compress.post_training import quantize_onnx
from deepseek.compress.pruning.apply import prune
from deepseek.compress.pruning.knobs import Pruning
from deepseek.compress.pruning.repair import prune_and_repair
from deepseek.compress.subject import Plan, Variant, Way
from deepseek.contracts import Arrays
from deepseek.data.npz import read_npz
from deepseek.engines.onnx_file import open_file
from deepseek.errors import InputError
from deepseek.train.config import TrainConfig

EXAMPLE_ROWS = 8
DROPS = (30, 50)  # per cent of the parameters
#: Of repair: each of the rounds takes its part and trains for so long.
ROUNDS, EPOCHS, RATE, BATCH = 2, 4, 1e-3, 64


class ModuleSubject(OnnxSubject):
    """See the module."""

    kind = "module"

    def __init__(self, module: nn.Module, lesson: Lesson | None, *args: Any) -> None:
        self.module, self._lesson = module, lesson
        self._pruned: dict[str, Path] = {}  # exported, by the first step of a plan
        super().__init__(*args)

    @classmethod
    def open(cls, name: str, data: Path, *, seed: int = 0, train: Path | None = None) -> ModuleSubject:  # type: ignore[override]
        """Errors as those of load_module(), export_module() and OnnxSubject.open()."""
        module = load_module(name)
        arrays = read_npz(data, "data")
        target = arrays.pop(TARGET, None)
        if len(arrays) != 1:
            raise InputError(
                f"{data} has {len(arrays)} arrays beside {TARGET!r}", expected="one, the module's input",
                fix="put the inputs together",
            )  # fmt: skip
        ((_, values),) = arrays.items()
        lesson = None if train is None else read_lesson(train, values)
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="deepseek-export-")))
            export_module(module, torch.as_tensor(values[:EXAMPLE_ROWS]).float(), folder / FILE)
            file = open_file(folder / FILE, None)
            inputs = check_inputs(file, {INPUT: values}, data)
            digest = digest_of_arrays({
                **inputs, **({} if target is None else {TARGET: target}),
                **({} if lesson is None else {"train": np.array(lesson.digest)}),
            })  # fmt: skip
            shown = name.rpartition(":")[0].rpartition("/")[2].removesuffix(".py")
            goal = check_target(target, len(values), data)
            found = cls(module, lesson, shown, file, inputs, goal, digest, seed)
            found._folder, found._held = folder, held.pop_all()
        return found

    def close(self) -> None:
        self._held.close()

    def methods(self) -> tuple[str, ...]:
        gives_classes = self.judge.name in ("accuracy", "agreement")
        return ("int8", "prune") if gives_classes else ("int8",)

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        found = super().plans([method for method in methods if method != "prune"])
        for drop in DROPS if "prune" in methods else ():
            found.append(Plan((f"prune-{drop}",)))
            found += [Plan((f"prune-{drop}", "int8"))] if "int8" in methods else []
        return found

    def make(self, plan: Plan, folder: Path) -> Variant:
        first, *more = plan.steps
        if not first.startswith("prune-"):
            return super().make(plan, folder)
        source, out = self._exported(first), folder / FILE
        if more:
            quantize_onnx(source, self.calibration(), out)
        else:
            shutil.copyfile(source, out)
        notes = () if self._lesson else ("not trained after pruning: there was no --train",)
        return Variant(plan.name, folder, out.stat().st_size, notes)

    def _exported(self, step: str) -> Path:
        """The pruned and repaired module as a graph, made once."""
        if step not in self._pruned:
            example = torch.from_numpy(self.rows(0, 1)[INPUT])
            left = pruned(self.module, example, int(step.rpartition("-")[2]) / 100, self._lesson, self.seed)
            path = self._folder / f"{step}.onnx"
            export_module(left, torch.from_numpy(self.rows(0, EXAMPLE_ROWS)[INPUT]), path)
            self._pruned[step] = path
        return self._pruned[step]

    def ways(self, variant: Variant) -> list[Way]:
        found = super().ways(variant)
        if variant.name == "given":
            found.append(Way("torch", True, _eager(self.module), lambda: None))
        return found

    _folder: Path  # of what is exported
    _held: ExitStack


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to train on. Where their answers are not known, the given module's own are learnt."""

    inputs: torch.Tensor  # (N, ...)
    target: torch.Tensor | None  # (N,) class numbers
    digest: str


def read_lesson(path: Path, like: NDArray[Any]) -> Lesson:
    """A .npz with rows such as `like` and, if they are known, their classes as "y"."""
    arrays = read_npz(path, "train")
    target = arrays.pop(TARGET, None)
    (values,) = arrays.values() if len(arrays) == 1 else (None,)
    if values is None or values.shape[1:] != like.shape[1:] or not len(values) or values.dtype.kind not in "biuf":
        raise InputError(
            f"{path} has {', '.join(f'{name} {list(one.shape)}' for name, one in arrays.items()) or 'no rows'}",
            expected=f"one array of rows of the shape {list(like.shape[1:])}, as the data has",
            fix="give rows to train on of the same kind as those to judge on",
        )
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds numbers that are not finite", expected="numbers", fix="drop those rows")
    classes = check_target(target, len(values), path)
    if classes is not None and classes.dtype.kind not in "iu":
        raise InputError(f"{path}: {TARGET!r} is {classes.dtype}", expected="class numbers", fix="leave it out")
    digest = digest_of_arrays({INPUT: values, **({} if classes is None else {TARGET: classes})})
    target_of = None if classes is None else torch.from_numpy(classes.astype(np.int64))
    return Lesson(torch.from_numpy(values.astype(np.float32)), target_of, digest)


def pruned(module: nn.Module, example: torch.Tensor, drop: float, lesson: Lesson | None, seed: int) -> nn.Module:
    """A copy without `drop` of its parameters (0..1), trained on the lesson with `module` as its teacher."""
    knobs = Pruning(drop=drop)
    if lesson is None:
        return prune(module, example, knobs).module
    target = lesson.target
    with torch.inference_mode():
        if target is None:
            parts = [module(rows).argmax(1) for rows in torch.split(lesson.inputs, CALL_ROWS)]
            target = torch.cat(parts)
    rows = TensorDataset(lesson.inputs, target.clone())
    drawn = torch.Generator().manual_seed(seed)
    loader = DataLoader(rows, batch_size=BATCH, shuffle=True, generator=drawn, drop_last=len(rows) > BATCH)
    config = TrainConfig(epochs=EPOCHS, lr=RATE, seed=seed)
    done = prune_and_repair(
        module, example, knobs, loader, config, loss=functional.cross_entropy, rounds=ROUNDS, progress=False
    )
    return done.module


def _eager(module: nn.Module) -> Callable[[Arrays], Arrays]:
    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return {OUTPUT: module(torch.from_numpy(arrays[INPUT])).numpy()}

    return run
