"""A torch module of the user's as a subject of compression: exported, quantised, pruned, distilled.

    subject = ModuleTarget.open("net.py:build", Path("validation.npz"), train=Path("train.npz"))     # arrays x and y

    int8, int8-but-K    as of an ONNX file (onnx.py)
    prune-30, ...       so many per cent of the parameters gone, then trained on what `train` holds to answer as before
    prune-30+int8, ...  the same, then int8
    distill             a student of the user's, where one is given, that learns on what `train` holds
    (module_student.py)
    distill+int8        the same, then int8

What is served is the exported graph; torch itself stands in the table as one more exact engine.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deepseek.compress.distilling.training import parameter_counts
from deepseek.compress.pruning.apply import prune
from deepseek.compress.pruning.config import Pruning
from deepseek.compress.pruning.repair import prune_and_repair
from deepseek.compress.subjects.export_module import INPUT_NAME, OUTPUT_NAME, export_module
from deepseek.compress.subjects.module_student import TrainingRows, load_student, read_training_rows, train_student
from deepseek.compress.subjects.onnx import (
    GRAPH_FILE,
    ROWS_PER_CALL,
    TARGET_NAME,
    OnnxTarget,
    check_inputs,
    check_target,
    digest_of_arrays,
)
from deepseek.compress.subjects.post_training import quantize_onnx
from deepseek.compress.subjects.subject import Backend, Plan, Variant
from deepseek.compress.subjects.user_module import load_module
from deepseek.contracts import Arrays
from deepseek.data.table.npz import read_npz
from deepseek.engines.onnx_file import open_file
from deepseek.errors import InputError
from deepseek.train.loop.config import TrainConfig

EXAMPLE_ROWS = 8
DISTILL_STEP = "distill"
DROP_PERCENTS = (30, 50)  # per cent of the parameters
#: Of repair: each of the rounds takes its part and trains for so long.
REPAIR_ROUNDS, REPAIR_EPOCHS, REPAIR_LR = 2, 4, 1e-3


class ModuleTarget(OnnxTarget):
    """See the module."""

    kind = "module"

    def __init__(self, module: nn.Module, lesson: TrainingRows | None, student: nn.Module | None, *args: Any) -> None:
        self.module, self._lesson, self._student = module, lesson, student
        self._made: dict[str, Path] = {}  # exported, by the first step of a plan
        super().__init__(*args)

    @classmethod
    def open(  # type: ignore[override]
        cls, name: str, data: Path, *, seed: int = 0, train: Path | None = None, student: str | None = None
    ) -> ModuleTarget:
        """Errors as those of load_module(), export_module(), load_student() and OnnxTarget.open()."""
        module = load_module(name)
        arrays = read_npz(data, "data")
        target = arrays.pop(TARGET_NAME, None)
        if len(arrays) != 1:
            raise InputError(
                f"{data} has {len(arrays)} arrays beside {TARGET_NAME!r}", expected="one, the module's input",
                fix="put the inputs together",
            )  # fmt: skip
        ((_, values),) = arrays.items()
        lesson = None if train is None else read_training_rows(train, values)
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="deepseek-export-")))
            example = torch.as_tensor(values[:EXAMPLE_ROWS]).float()
            export_module(module, example, folder / GRAPH_FILE)
            file, pupil, told = open_file(folder / GRAPH_FILE, None), None, {}
            if student is not None:
                pupil = load_student(student, module, example, seed=seed)
                export_module(pupil, example, folder / "student.onnx")  # what cannot be exported need not be taught
                told["student"] = np.frombuffer((folder / "student.onnx").read_bytes(), np.uint8)
            inputs = check_inputs(file, {INPUT_NAME: values}, data)
            digest = digest_of_arrays({
                **inputs, **({} if target is None else {TARGET_NAME: target}),
                **({} if lesson is None else {"train": np.array(lesson.digest)}), **told,
            })  # fmt: skip
            shown = name.rpartition(":")[0].rpartition("/")[2].removesuffix(".py")
            goal = check_target(target, len(values), data)
            found = cls(module, lesson, pupil, shown, file, inputs, goal, digest, seed)
            found._folder, found._held = folder, held.pop_all()
        return found

    def close(self) -> None:
        self._held.close()

    def methods(self) -> tuple[str, ...]:
        if self.judge.name not in ("accuracy", "agreement"):
            return ("int8",)
        return ("int8", "prune", DISTILL_STEP) if self._student is not None else ("int8", "prune")

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        found = super().plans([method for method in methods if method == "int8"])
        steps = [f"prune-{drop}" for drop in DROP_PERCENTS] if "prune" in methods else []
        for step in [*steps, DISTILL_STEP] if DISTILL_STEP in methods else steps:
            found.append(Plan((step,)))
            found += [Plan((step, "int8"))] if "int8" in methods else []
        return found

    def make(self, plan: Plan, folder: Path) -> Variant:
        first, *more = plan.steps
        if first != DISTILL_STEP and not first.startswith("prune-"):
            return super().make(plan, folder)
        source, out = self._exported(first), folder / GRAPH_FILE
        if more:
            quantize_onnx(source, self.calibration(), out)
        else:
            shutil.copyfile(source, out)
        return Variant(plan.name, folder, out.stat().st_size, self._notes(first))

    def _notes(self, step: str) -> tuple[str, ...]:
        if step == DISTILL_STEP and self._student is not None:
            before, now = parameter_counts(self.module, self._student)
            return (f"{now:,} parameters, {before / now:.1f} times fewer",)
        return () if self._lesson else ("not trained after pruning: there was no --train",)

    def _exported(self, step: str) -> Path:
        """The pruned and repaired module, or the student that was taught, as a graph, made once."""
        if step not in self._made:
            example = torch.from_numpy(self.rows(0, EXAMPLE_ROWS)[INPUT_NAME])
            if step == DISTILL_STEP:
                assert self._student is not None and self._lesson is not None  # noqa: PT018, S101 - see methods()
                left = train_student(self.module, self._student, self._lesson, seed=self.seed)
            else:
                drop = int(step.rpartition("-")[2]) / 100
                left = prune_and_train(self.module, example[:1], drop, self._lesson, self.seed)
            path = self._folder / f"{step}.onnx"
            export_module(left, example, path)
            self._made[step] = path
        return self._made[step]

    def ways(self, variant: Variant) -> list[Backend]:
        found = super().ways(variant)
        if variant.name == "given":
            found.append(Backend("torch", True, _eager_function(self.module), lambda: None))
        return found

    _folder: Path  # of what is exported
    _held: ExitStack


def prune_and_train(
    module: nn.Module, example: torch.Tensor, drop: float, lesson: TrainingRows | None, seed: int
) -> nn.Module:
    """A copy without `drop` of its parameters (0..1), trained on the lesson with `module` as its teacher."""
    knobs = Pruning(drop=drop)
    if lesson is None:
        return prune(module, example, knobs).module
    target = lesson.target
    with torch.inference_mode():
        if target is None:
            parts = [module(rows).argmax(1) for rows in torch.split(lesson.inputs, ROWS_PER_CALL)]
            target = torch.cat(parts)
    loader = lesson.batches(target.clone(), seed)
    config = TrainConfig(epochs=REPAIR_EPOCHS, lr=REPAIR_LR, seed=seed)
    done = prune_and_repair(
        module, example, knobs, loader, config, loss=functional.cross_entropy, rounds=REPAIR_ROUNDS, progress=False
    )
    return done.module


def _eager_function(module: nn.Module) -> Callable[[Arrays], Arrays]:
    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return {OUTPUT_NAME: module(torch.from_numpy(arrays[INPUT_NAME])).numpy()}

    return run
