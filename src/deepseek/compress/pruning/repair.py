"""Training of a network after pruning, with the unpruned network as its teacher.

    repaired = repair(pruned.module, batches, TrainConfig(epochs=5), teacher=module, loss=nn.CrossEntropyLoss())
    both = prune_and_repair(module, example, Pruning(drop=0.30), batches, TrainConfig(epochs=2), rounds=3, loss=...)

    loss = (1 - w) loss(logits, target) + w T^2 KL(softmax(teacher's logits / T) || softmax(logits / T))

Source: Hinton et al. 2015, section 2. In rounds a part is pruned, the rest is trained, and then the next part is
pruned: channels that turn out to matter after the first cut are kept by the second (Han et al. 2015, section 3).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.compress.distilling.losses import distillation_loss
from deepseek.compress.pruning.apply import PruningReport, PruningResult, prune, prune_to
from deepseek.compress.pruning.config import Pruning
from deepseek.compress.pruning.layers import call_module
from deepseek.errors import InputError
from deepseek.files import atomic_file
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import FitResult, resume
from deepseek.train.loop.loop import fit as train
from deepseek.train.loop.stream import Loss


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """Weight and temperature of the teacher's part of the loss."""

    weight: float = 0.9  # of the teacher's part of the loss, 0 to 1; the targets' part has the rest
    temperature: float = 4.0  # both logits are divided by it, above 0

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("weight", 0 <= self.weight <= 1, "between 0 and 1"),
            ("temperature", self.temperature > 0, "above 0"),
        ):
            if not good:
                raise InputError(
                    f"teaching.{name} is {getattr(self, name)}", expected=expected, fix="give such a value"
                )


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The trained module, in eval mode; the reports of training and of pruning, one for each round."""

    module: nn.Module
    fits: tuple[FitResult, ...]
    reports: tuple[PruningReport, ...] = ()


class StudentWithTeacher(nn.Module):
    """inputs -> (student's logits, teacher's logits). Only the student is trained and stored."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student = student
        self._teacher = (copy.deepcopy(teacher).eval(),)  # in a tuple: no submodule, so not in train mode or state_dict

    def forward(self, *inputs: Any, **keywords: Any) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            teacher_logits = self._teacher[0](*inputs, **keywords)
        return self.student(*inputs, **keywords), teacher_logits


def repair(
    module: nn.Module,
    data: Iterable[Any],
    config: TrainConfig | None = None,
    *,
    teacher: nn.Module,
    loss: Loss,
    teaching: TeacherConfig | None = None,
    checkpoints: str | Path | None = None,
    **fit: Any,
) -> RepairResult:
    """Train a copy of `module` on `data` with the logits of `teacher` beside the targets.

    data, config, loss: as of deepseek.train.fit; both networks return one tensor of logits.
    checkpoints: a folder; an interrupted run continues from it.
    fit: further arguments of deepseek.train.fit. A function as `validation` is called with the student.

    Raises InputError, before any step, when the two networks' logits have different shapes.
    """
    teaching = teaching or TeacherConfig()
    student = StudentWithTeacher(copy.deepcopy(module), teacher)
    _check_shapes(student, data)
    if callable(validation := fit.get("validation")):
        fit["validation"] = lambda student_with_teacher: validation(student_with_teacher.student)
    arguments = {**fit, "loss": _RepairLoss(loss, teaching)}
    if checkpoints is None:
        result = train(student, data, config, **arguments)
    else:
        result = resume(student, data, config, checkpoints=checkpoints, **arguments)
    return RepairResult(student.student.eval(), (result,))


def prune_and_repair(
    module: nn.Module,
    example: Any,
    pruning: Pruning,
    data: Iterable[Any],
    config: TrainConfig | None = None,
    *,
    loss: Loss,
    rounds: int = 1,
    checkpoints: str | Path | None = None,
    **fit: Any,
) -> RepairResult:
    """Prune a part and train, `rounds` times; config.epochs are those of one round. The teacher is `module`.

    Each round keeps the same share of the parameters of the round before, so that together they remove pruning.drop
    of the parameters and no more than pruning.cap of any group. The last round makes up for the others' rounding.
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}", expected="1 or more", fix="give a whole number such as 3")
    current = module
    fits: list[FitResult] = []
    reports: list[PruningReport] = []
    for index in range(rounds):
        round_pruning = _round_config(pruning, rounds, index, reports)
        sizes = {group.name: group.channels_before for group in reports[0].groups} if reports else None
        folder = Path(checkpoints) / f"round-{index}" if checkpoints else None
        pruned = _prune_once(current, example, round_pruning, folder, sizes)
        reports.append(pruned.report)
        repaired = repair(pruned.module, data, config, teacher=module, loss=loss, checkpoints=folder, **fit)
        current = repaired.module
        fits += repaired.fits
    return RepairResult(current, tuple(fits), tuple(reports))


def _prune_once(
    module: nn.Module, example: Any, config: Pruning, folder: Path | None, sizes: Mapping[str, int] | None
) -> PruningResult:
    """Prune, or repeat the pruning recorded beside `folder` by an interrupted run: measured times differ between runs,
    and weights of other shapes would not fit its checkpoints."""
    if folder is None:
        return prune(module, example, config, sizes=sizes)
    record_path, settings = folder.with_suffix(".json"), json.loads(json.dumps(asdict(config)))
    if record_path.exists():
        record = json.loads(record_path.read_text())
        if record["knobs"] != settings:
            raise InputError(
                f"{record_path} was pruned with {record['knobs']}", expected="the pruning of the run that goes on",
                fix="give that, or another folder for the checkpoints",
            )  # fmt: skip
        return prune_to(module, example, record["left"])
    pruned = prune(module, example, config, sizes=sizes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(record_path) as temporary:
        temporary.write_text(json.dumps({"knobs": settings, "left": pruned.report.channels_left}))
    return pruned


def _round_config(config: Pruning, rounds: int, index: int, reports: list[PruningReport]) -> Pruning:
    """The pruning configuration of one round. Its `drop` makes up for rounds before it that removed more or less than
    planned."""
    share_left = 1.0 if not reports else reports[-1].params_after / reports[0].params_before
    share_wanted = (1 - config.drop) ** ((index + 1) / rounds)
    return replace(config, drop=max(1 - share_wanted / share_left, 1e-6))


@dataclass(frozen=True, slots=True)
class _RepairLoss:
    """The loss of a StudentWithTeacher's two outputs and the rest of the batch."""

    loss: Loss
    teaching: TeacherConfig

    def __call__(self, outputs: tuple[Tensor, Tensor], *rest: Any) -> Tensor:
        student, teacher = outputs
        target_loss = self.loss(student, *rest)
        teacher_loss = distillation_loss(student, teacher, self.teaching.temperature)
        return (1 - self.teaching.weight) * target_loss + self.teaching.weight * teacher_loss


def _check_shapes(student: StudentWithTeacher, data: Iterable[Any]) -> None:
    """InputError for logits of different shapes, by the first batch; an iterator is not checked, to not consume it."""
    if isinstance(data, Iterator):
        return
    batch = next(iter(data), None)
    inputs = batch[0] if isinstance(batch, tuple | list) else batch
    if inputs is None:
        return
    with torch.no_grad():
        outputs = call_module(student.eval(), inputs)
    shapes = [tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__ for item in outputs]
    if shapes[0] != shapes[1] or not isinstance(outputs[0], Tensor):
        raise InputError(
            f"the network puts out {shapes[0]} and its teacher {shapes[1]}",
            expected="logits of the same shape from both", fix="give the network that was pruned as the teacher",
        )  # fmt: skip
