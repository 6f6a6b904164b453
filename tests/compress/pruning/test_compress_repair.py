"""Repair: a pruned network learns from the unpruned one, in rounds, and goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.compress import Pruning, TeacherConfig, prune, prune_and_repair, repair
from deepseek.compress.distilling.losses import distillation_loss
from deepseek.compress.pruning.repair import StudentWithTeacher
from deepseek.errors import InputError
from deepseek.train import ArrayStream, TrainConfig, fit

ROW = torch.zeros(1, 8)
KNOBS = Pruning(drop=0.4)
CONFIG = TrainConfig(epochs=3, lr=1e-2)


def stream(num_rows: int = 512) -> ArrayStream:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(num_rows, 8, generator=generator)
    return ArrayStream((x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0).long()), 32, generator)


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    fit(net, stream(), TrainConfig(epochs=30, lr=1e-2), loss=functional.cross_entropy)
    return net


def distance(one: nn.Module, other: nn.Module) -> float:
    with torch.no_grad():
        return float(distillation_loss(one(stream().tensors[0]), other(stream().tensors[0]), 1.0))


def test_repair_brings_the_pruned_network_back_to_its_teacher(teacher: nn.Module) -> None:
    pruned = prune(teacher, ROW, KNOBS)
    before = {name: value.clone() for name, value in pruned.module.state_dict().items()}
    repaired = repair(pruned.module, stream(), CONFIG, teacher=teacher, loss=functional.cross_entropy)
    assert distance(repaired.module, teacher) < 0.5 * distance(pruned.module, teacher)
    assert all(torch.equal(pruned.module.state_dict()[name], value) for name, value in before.items())
    assert not repaired.module.training
    assert repaired.fits[0].num_steps == 3 * 16


def test_the_teacher_is_neither_trained_nor_stored(teacher: nn.Module) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    taught = StudentWithTeacher(prune(teacher, ROW, KNOBS).module, teacher).train()
    assert all(name.startswith("student.") for name in taught.state_dict())
    repair(prune(teacher, ROW, KNOBS).module, stream(), CONFIG, teacher=teacher, loss=functional.cross_entropy)
    assert all(torch.equal(teacher.state_dict()[name], value) for name, value in before.items())


def test_with_the_teacher_alone_the_targets_do_not_matter(teacher: nn.Module) -> None:
    pruned = prune(teacher, ROW, KNOBS).module
    students = []
    for shift in (0, 1):
        data = stream()
        shifted = ArrayStream((data.tensors[0], (data.tensors[1] + shift) % 3), 32, data.generator)
        students.append(
            repair(
                pruned,
                shifted,
                CONFIG,
                teacher=teacher,
                loss=functional.cross_entropy,
                teaching=TeacherConfig(weight=1.0),
            ).module
        )
    for one, two in zip(students[0].parameters(), students[1].parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_teaching_loss_is_that_of_the_formula() -> None:
    student, teacher = torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 0.0]])
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    assert torch.isclose(distillation_loss(student, teacher, 2.0), 4 * (p * (p / q).log()).sum())


def test_rounds_take_together_what_was_asked_for_in_equal_shares(teacher: nn.Module) -> None:
    repair = prune_and_repair(
        teacher, ROW, Pruning(drop=0.5, allocation="flops", round_to=1), stream(), TrainConfig(epochs=1),
        loss=functional.cross_entropy, rounds=3,
    )  # fmt: skip
    assert len(repair.fits) == 3
    assert 0.47 < repair.reports[-1].params_after / repair.reports[0].params_before <= 0.5
    for report in repair.reports:
        assert report.dropped == pytest.approx(1 - 0.5 ** (1 / 3), abs=0.02)


def test_rounds_together_keep_to_the_cap(teacher: nn.Module) -> None:
    repair = prune_and_repair(
        teacher, ROW, Pruning(drop=0.3, cap=0.375, allocation="flops", round_to=8, keep=("0",)), stream(),
        TrainConfig(epochs=1), loss=functional.cross_entropy, rounds=2,
    )  # fmt: skip
    assert [report.groups[0].channels_after for report in repair.reports] == [48, 40]
    with pytest.raises(InputError, match="nothing can be pruned"):
        prune_and_repair(
            teacher, ROW, Pruning(drop=0.3, cap=0.25, allocation="flops", keep=("0",)), stream(),
            TrainConfig(epochs=1), loss=functional.cross_entropy, rounds=2,
        )  # fmt: skip


def test_a_teacher_in_training_mode_keeps_its_statistics() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
    net[0].weight.requires_grad_(False)
    repair(prune(net, ROW, KNOBS).module, stream(), CONFIG, teacher=net, loss=functional.cross_entropy)
    assert net.training
    assert net[1].num_batches_tracked == 0


def test_validation_sees_the_student(teacher: nn.Module) -> None:
    seen: list[int] = []

    def validate(net: nn.Module) -> float:
        seen.append(sum(p.numel() for p in net.parameters()))
        return float(net(ROW).abs().sum())

    pruned = prune(teacher, ROW, KNOBS).module
    repair(pruned, stream(), CONFIG, teacher=teacher, loss=functional.cross_entropy, validation=validate)
    assert seen == [sum(p.numel() for p in pruned.parameters())] * 3


class DeathError(Exception):
    """Stands for a death in the middle."""


def test_an_interrupted_repair_goes_on_to_the_same_weights(teacher: nn.Module, tmp_path: Path) -> None:
    knobs = Pruning(drop=0.4, allocation="flops")  # whatever is measured here and now: two runs are compared

    def run(folder: Path, dies_at: int) -> nn.Module:
        count = 0

        def loss(logits: Tensor, target: Tensor) -> Tensor:
            nonlocal count
            count += 1
            if count == dies_at:
                raise DeathError
            return functional.cross_entropy(logits, target)

        return prune_and_repair(
            teacher, ROW, knobs, stream(), TrainConfig(epochs=2), loss=loss, rounds=2, checkpoints=folder
        ).module

    whole = run(tmp_path / "whole", -1)
    with pytest.raises(DeathError):
        run(tmp_path / "broken", 55)  # the second round, second epoch
    mended = run(tmp_path / "broken", -1)
    for one, two in zip(whole.parameters(), mended.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_run_that_goes_on_keeps_the_channels_that_were_measured_for_it(teacher: nn.Module, tmp_path: Path) -> None:
    def run(drop: float) -> nn.Module:
        return prune_and_repair(
            teacher, ROW, Pruning(drop=drop), stream(), CONFIG, loss=functional.cross_entropy, checkpoints=tmp_path
        ).module

    one = run(0.4)
    for a, b in zip(one.parameters(), run(0.4).parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match=r"round-0\.json was pruned with .*'drop': 0\.4"):
        run(0.3)


@pytest.mark.parametrize(
    ("arguments", "said"), [({"weight": 1.1}, r"teaching\.weight is 1\.1"), ({"temperature": 0.0}, "temperature is 0")]
)
def test_teaching_out_of_range_is_refused(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        TeacherConfig(**arguments)


def test_a_teacher_of_another_shape_is_refused_before_any_step(teacher: nn.Module) -> None:
    pruned = prune(teacher, ROW, KNOBS).module
    with pytest.raises(InputError, match=r"puts out \(32, 3\) and its teacher \(32, 5\)"):
        repair(pruned, stream(), CONFIG, teacher=nn.Linear(8, 5), loss=functional.cross_entropy)


def test_no_rounds_are_refused(teacher: nn.Module) -> None:
    with pytest.raises(InputError, match="rounds is 0"):
        prune_and_repair(teacher, ROW, KNOBS, stream(), loss=functional.cross_entropy, rounds=0)
