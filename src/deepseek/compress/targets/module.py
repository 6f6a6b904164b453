"""A user's torch module as a compression target: exported, quantized, pruned, distilled.

    target = ModuleTarget.open("net.py:build", Path("validation.npz"), train=Path("train.npz"))     # arrays x and y

    int8, int8-but-K    as of an ONNX file (onnx.py)
    prune-30, ...       pruned by 30 % of the parameters, then trained on `train` to reproduce the original outputs
    prune-30+int8, ...  the same, then int8
    distill             the user's student module, where there is one, trained on `train` (module_student.py)
    distill+int8        the same, then int8

A model of Keras (a .keras file, or what the function returns) is not pruned, for its layers are not those of torch.

The exported graph is what is served; torch itself stands in the table as one more exact engine.
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
from deepseek.compress.targets.export_module import INPUT_NAME, OUTPUT_NAME, export_module
from deepseek.compress.targets.module_student import TrainingRows, load_student, read_training_rows, train_student
from deepseek.compress.targets.onnx import (
    GRAPH_FILE,
    ROWS_PER_CALL,
    TARGET_NAME,
    OnnxTarget,
    check_inputs,
    check_target,
    digest_of_arrays,
)
from deepseek.compress.targets.post_training import quantize_onnx
from deepseek.compress.targets.target import GIVEN, Backend, Plan, Variant
from deepseek.compress.targets.user_module import load_module
from deepseek.contracts import Arrays
from deepseek.data.table.npz import read_npz
from deepseek.engines.keras_module import is_keras_model
from deepseek.engines.onnx_file import open_file
from deepseek.errors import InputError
from deepseek.train.loop.config import TrainConfig

EXAMPLE_ROWS = 8
DISTILL_STEP = "distill"
DROP_PERCENTS = (30, 50)  # of the parameters
#: Training after pruning: rounds of pruning and training, epochs of each round, learning rate.
REPAIR_ROUNDS, REPAIR_EPOCHS, REPAIR_LR = 2, 4, 1e-3


class ModuleTarget(OnnxTarget):
    """CompressionTarget of a user's torch module."""

    kind = "module"

    def __init__(
        self, module: nn.Module, training_rows: TrainingRows | None, student: nn.Module | None, *args: Any
    ) -> None:
        self.module, self._training_rows, self._student = module, training_rows, student
        self._graphs: dict[str, Path] = {}  # exported graphs by the first step of a plan
        super().__init__(*args)

    @classmethod
    def open(  # type: ignore[override]
        cls, name: str, data: Path, *, seed: int = 0, train: Path | None = None, student: str | None = None
    ) -> ModuleTarget:
        """Open FILE.py:NAME or FILE.keras, and the .npz files. Errors as of load_module(), export_module(),
        load_student() and OnnxTarget.open()."""
        module = load_module(name)
        arrays = read_npz(data, "data")
        target = arrays.pop(TARGET_NAME, None)
        if len(arrays) != 1:
            raise InputError(
                f"{data} has {len(arrays)} arrays beside {TARGET_NAME!r}", expected="one, the module's input",
                fix="put the inputs together",
            )  # fmt: skip
        ((_, values),) = arrays.items()
        training_rows = None if train is None else read_training_rows(train, values)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deepseek-export-")))
            example = torch.as_tensor(values[:EXAMPLE_ROWS]).float()
            export_module(module, example, folder / GRAPH_FILE)
            file, student_module, digested = open_file(folder / GRAPH_FILE, None), None, {}
            if student is not None:
                student_module = load_student(student, module, example, seed=seed)
                # checked before the training: a student that cannot be exported need not be trained
                export_module(student_module, example, folder / "student.onnx")
                digested["student"] = np.frombuffer((folder / "student.onnx").read_bytes(), np.uint8)
            inputs = check_inputs(file, {INPUT_NAME: values}, data)
            digest = digest_of_arrays({
                **inputs, **({} if target is None else {TARGET_NAME: target}),
                **({} if training_rows is None else {"train": np.array(training_rows.digest)}), **digested,
            })  # fmt: skip
            display_name = Path(name.rpartition(":")[0] or name).stem
            checked_target = check_target(target, len(values), data)
            opened = cls(
                module, training_rows, student_module, display_name, file, inputs, checked_target, digest, seed
            )
            opened._folder, opened._resources = folder, stack.pop_all()
        return opened

    @property
    def _is_keras(self) -> bool:
        return any(is_keras_model(part) for part in self.module.modules())

    def close(self) -> None:
        self._resources.close()

    def methods(self) -> tuple[str, ...]:
        if self.evaluator.name not in ("accuracy", "agreement"):
            return ("int8",)
        prune = () if self._is_keras else ("prune",)
        return ("int8", *prune, DISTILL_STEP) if self._student is not None else ("int8", *prune)

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        plans = super().plans([method for method in methods if method == "int8"])
        steps = [f"prune-{drop}" for drop in DROP_PERCENTS] if "prune" in methods else []
        for step in [*steps, DISTILL_STEP] if DISTILL_STEP in methods else steps:
            plans.append(Plan((step,)))
            plans += [Plan((step, "int8"))] if "int8" in methods else []
        return plans

    def make(self, plan: Plan, folder: Path) -> Variant:
        first, *later_steps = plan.steps
        if first != DISTILL_STEP and not first.startswith("prune-"):
            return super().make(plan, folder)
        source, out = self._export_step(first), folder / GRAPH_FILE
        if later_steps:
            quantize_onnx(source, self.calibration(), out)
        else:
            shutil.copyfile(source, out)
        return Variant(plan.name, folder, out.stat().st_size, self._notes(first))

    def _notes(self, step: str) -> tuple[str, ...]:
        if step == DISTILL_STEP and self._student is not None:
            teacher_size, student_size = parameter_counts(self.module, self._student)
            return (f"{student_size:,} parameters, {teacher_size / student_size:.1f} times fewer",)
        return () if self._training_rows else ("not trained after pruning: there was no --train",)

    def _export_step(self, step: str) -> Path:
        """Path of the ONNX graph of the pruned and trained module, or of the trained student; built once per step."""
        if step not in self._graphs:
            example = torch.from_numpy(self.rows(0, EXAMPLE_ROWS)[INPUT_NAME])
            if step == DISTILL_STEP:
                assert self._student is not None and self._training_rows is not None  # noqa: PT018, S101 - see methods()
                smaller = train_student(self.module, self._student, self._training_rows, seed=self.seed)
            else:
                drop = int(step.rpartition("-")[2]) / 100
                smaller = prune_and_train(self.module, example[:1], drop, self._training_rows, self.seed)
            path = self._folder / f"{step}.onnx"
            export_module(smaller, example, path)
            self._graphs[step] = path
        return self._graphs[step]

    def backends(self, variant: Variant) -> list[Backend]:
        backends = super().backends(variant)
        if variant.name == GIVEN:
            backends.append(Backend("torch", True, _eager_function(self.module), lambda: None))
        return backends

    _folder: Path  # of exported graphs
    _resources: ExitStack


def prune_and_train(
    module: nn.Module, example: torch.Tensor, drop: float, training_rows: TrainingRows | None, seed: int
) -> nn.Module:
    """A copy of `module` without `drop` of its parameters (0..1), trained with `module` as its teacher; not trained
    where there are no training rows."""
    pruning = Pruning(drop=drop)
    if training_rows is None:
        return prune(module, example, pruning).module
    target = training_rows.target
    with torch.inference_mode():
        if target is None:
            parts = [module(rows).argmax(1) for rows in torch.split(training_rows.inputs, ROWS_PER_CALL)]
            target = torch.cat(parts)
    loader = training_rows.batches(target.clone(), seed)
    config = TrainConfig(epochs=REPAIR_EPOCHS, lr=REPAIR_LR, seed=seed)
    repaired = prune_and_repair(
        module, example, pruning, loader, config, loss=functional.cross_entropy, rounds=REPAIR_ROUNDS, progress=False
    )
    return repaired.module


def _eager_function(module: nn.Module) -> Callable[[Arrays], Arrays]:
    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return {OUTPUT_NAME: module(torch.from_numpy(arrays[INPUT_NAME])).numpy()}

    return run
