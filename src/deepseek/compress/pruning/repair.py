"""Train what is left after pruning, with the unpruned network as its teacher.

    repaired = repair(pruned.module, batches, TrainConfig(epochs=5), teacher=module, loss=nn.CrossEntropyLoss())
    both = prune_and_repair(module, example, Pruning(drop=0.30), batches, TrainConfig(epochs=2), rounds=3, loss=...)

    loss = (1 - w) loss(logits, target) + w T^2 KL(softmax(teacher's logits / T) || softmax(logits / T))

Source: Hinton et al. 2015, section 2. In rounds a part goes, is repaired, and then the next part goes: channels that
turn out to matter after the first cut are kept by the second (Han et al. 2015, section 3).
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
    """How much is learnt from the teacher."""

    weight: float = 0.9  # of the teacher's part of the loss, 0 to 1; the rest is that of the targets
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
    """The trained module, in eval mode; what training reported and what pruning took, a round each."""

    module: nn.Module
    fits: tuple[FitResult, ...]
    reports: tuple[PruningReport, ...] = ()


class StudentWithTeacher(nn.Module):
    """inputs -> (the student's logits, the teacher's). Trained and stored is the student alone."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student = student
        self._teacher = (copy.deepcopy(teacher).eval(),)  # in a tuple: no submodule, so not in train mode or state_dict

    def forward(self, *inputs: Any, **named: Any) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = self._teacher[0](*inputs, **named)
        return self.student(*inputs, **named), wanted


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

    data, config, loss: as of deepseek.train.fit; both networks put out one tensor of logits.
    checkpoints: with a folder the work goes on where it was interrupted.
    fit: what else deepseek.train.fit takes. `validation` as a function is called with the student.

    Raises InputError when the two do not put out the same shape, before any step.
    """
    teaching = teaching or TeacherConfig()
    student = StudentWithTeacher(copy.deepcopy(module), teacher)
    _check_shapes(student, data)
    if callable(validation := fit.get("validation")):
        fit["validation"] = lambda taught: validation(taught.student)
    arguments = {**fit, "loss": _RepairLoss(loss, teaching)}
    if checkpoints is None:
        result = train(student, data, config, **arguments)
    else:
        result = resume(student, data, config, checkpoints=checkpoints, **arguments)
    return RepairResult(student.student.eval(), (result,))


def prune_and_repair(
    module: nn.Module,
    example: Any,
    knobs: Pruning,
    data: Iterable[Any],
    config: TrainConfig | None = None,
    *,
    loss: Loss,
    rounds: int = 1,
    checkpoints: str | Path | None = None,
    **fit: Any,
) -> RepairResult:
    """Prune a part and repair, `rounds` times; config.epochs are those of one round. The teacher is `module`.

    The rounds leave equal shares of what the one before left, so that together they take knobs.drop of the parameters
    and from no group more than knobs.cap. The last round takes what the others' rounding left over.
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}", expected="1 or more", fix="give a whole number such as 3")
    left = module
    fits: list[FitResult] = []
    reports: list[PruningReport] = []
    for index in range(rounds):
        part = _round_config(knobs, rounds, index, reports)
        sizes = {group.name: group.channels_before for group in reports[0].groups} if reports else None
        folder = Path(checkpoints) / f"round-{index}" if checkpoints else None
        pruned = _prune_once(left, example, part, folder, sizes)
        reports.append(pruned.report)
        repaired = repair(pruned.module, data, config, teacher=module, loss=loss, checkpoints=folder, **fit)
        left = repaired.module
        fits += repaired.fits
    return RepairResult(left, tuple(fits), tuple(reports))


def _prune_once(
    module: nn.Module, example: Any, knobs: Pruning, folder: Path | None, sizes: Mapping[str, int] | None
) -> PruningResult:
    """As in the run that is gone on with: measured times differ, and weights of other shapes would not fit."""
    if folder is None:
        return prune(module, example, knobs, sizes=sizes)
    kept, settings = folder.with_suffix(".json"), json.loads(json.dumps(asdict(knobs)))
    if kept.exists():
        before = json.loads(kept.read_text())
        if before["knobs"] != settings:
            raise InputError(
                f"{kept} was pruned with {before['knobs']}", expected="the pruning of the run that goes on",
                fix="give that, or another folder for the checkpoints",
            )  # fmt: skip
        return prune_to(module, example, before["left"])
    pruned = prune(module, example, knobs, sizes=sizes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(kept) as part:
        part.write_text(json.dumps({"knobs": settings, "left": pruned.report.left}))
    return pruned


def _round_config(knobs: Pruning, rounds: int, index: int, reports: list[PruningReport]) -> Pruning:
    """What a round takes of the parameters that are there. Its share is not that of the rounds before where their
    rounding took too much."""
    kept = 1.0 if not reports else reports[-1].params_after / reports[0].params_before
    wanted = (1 - knobs.drop) ** ((index + 1) / rounds)
    return replace(knobs, drop=max(1 - wanted / kept, 1e-6))


@dataclass(frozen=True, slots=True)
class _RepairLoss:
    """The loss of a StudentWithTeacher module's two outputs and the rest of the batch."""

    loss: Loss
    teaching: TeacherConfig

    def __call__(self, outputs: tuple[Tensor, Tensor], *rest: Any) -> Tensor:
        student, teacher = outputs
        own = self.loss(student, *rest)
        taught = distillation_loss(student, teacher, self.teaching.temperature)
        return (1 - self.teaching.weight) * own + self.teaching.weight * taught


def _check_shapes(taught: StudentWithTeacher, data: Iterable[Any]) -> None:
    """On the first batch, when that can be read without using it up."""
    if isinstance(data, Iterator):
        return
    batch = next(iter(data), None)
    inputs = batch[0] if isinstance(batch, tuple | list) else batch
    if inputs is None:
        return
    with torch.no_grad():
        outputs = call_module(taught.eval(), inputs)
    shapes = [tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in outputs]
    if shapes[0] != shapes[1] or not isinstance(outputs[0], Tensor):
        raise InputError(
            f"the network puts out {shapes[0]} and its teacher {shapes[1]}",
            expected="logits of the same shape from both", fix="give the network that was pruned as the teacher",
        )  # fmt: skip
