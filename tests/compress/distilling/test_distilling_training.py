"""A student agrees with its teacher, by answers, layers and what it looks at; what does not fit is refused first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.compress import DistillConfig, distill
from deepseek.errors import InputError
from deepseek.train import ArrayStream, TrainConfig

CLASSES = 3


class Net(nn.Module):
    """Blocks that attend, of 8 numbers at each of 5 places; logits of their mean."""

    def __init__(self, width: int, blocks: int, seed: int, *, tells: bool = True) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.into = nn.Linear(8, width)
        self.blocks = nn.ModuleList(nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(blocks))
        self.wide = nn.ModuleList(nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh()) for _ in range(blocks))
        self.back = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(blocks))
        self.out, self.tells = nn.Linear(width, CLASSES), tells

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for block, wide, back in zip(self.blocks, self.wide, self.back, strict=True):
            h = h + block(h, h, h, need_weights=self.tells, average_attn_weights=False)[0]
            h = h + back(wide(h))
        logits: Tensor = self.out(h.mean(1))
        return logits


def rows(number: int = 256, seed: int = 0) -> Tensor:
    return torch.randn(number, 5, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def teacher() -> Net:
    return Net(16, 2, seed=1).eval()


def agreement(one: nn.Module, other: nn.Module) -> float:
    x = rows(512, seed=9)
    with torch.no_grad():
        return float((one.eval()(x).argmax(1) == other.eval()(x).argmax(1)).float().mean())


def test_a_student_learns_what_the_teacher_says_to_rows_that_nobody_labelled(teacher: Net) -> None:
    student = Net(8, 1, seed=2)
    before, kept = agreement(student, teacher), [weight.clone() for weight in teacher.parameters()]
    stream = ArrayStream((rows(1024),), 64, torch.Generator().manual_seed(0))
    done = distill(teacher, student, stream, DistillConfig(alpha=1.0), TrainConfig(epochs=12, lr=1e-2))
    assert done.student is student
    assert agreement(student, teacher) > max(0.85, before + 0.2)
    assert all((new == old).all() for new, old in zip(teacher.parameters(), kept, strict=True))
    assert done.share == done.num_parameters / sum(weight.numel() for weight in teacher.parameters())


@pytest.mark.slow
def test_labels_teach_where_they_are_known_and_the_teacher_elsewhere(teacher: Net) -> None:
    """The labels say class 0, the teacher what it likes: alpha decides whom the student follows."""
    x = rows()
    accuracies = {}
    for alpha in (0.0, 1.0):
        student = Net(8, 1, seed=2)
        batches = [(x, torch.zeros(len(x), dtype=torch.int64)), (x, torch.full((len(x),), -100))] * 20
        distill(teacher, student, batches, DistillConfig(alpha=alpha), TrainConfig(epochs=2, lr=1e-2))
        with torch.no_grad():
            accuracies[alpha] = float((student(x).argmax(1) == 0).float().mean())
    assert accuracies[0.0] == 1.0
    assert accuracies[1.0] < 0.9


def test_answers_that_are_given_are_not_asked_for_again(teacher: Net) -> None:
    x, batches = rows(), []
    teacher.register_forward_hook(lambda *_: batches.append(1))
    batch = {"x": x, "teacher_logits": torch.tensor([[0.0, 9.0, 0.0]]).expand(len(x), CLASSES)}
    student = Net(8, 1, seed=2)
    distill(teacher, student, [batch] * 30, DistillConfig(alpha=1.0), TrainConfig(epochs=1, lr=1e-2))
    assert not batches
    assert (student(x).argmax(1) == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("match", ["mse", "cosine"])
def test_states_come_nearer_through_a_projection(teacher: Net, match: Any) -> None:
    config = DistillConfig(alpha=0.5, hidden={"wide.0": "wide.1"}, hidden_weight=10.0, match=match)
    student = Net(8, 1, seed=2)
    done = distill(teacher, student, [rows()] * 20, config, TrainConfig(epochs=4, lr=1e-2))
    plain = distill(teacher, Net(8, 1, seed=2), [rows()] * 20, DistillConfig(alpha=0.5), TrainConfig(epochs=4, lr=1e-2))
    assert done.fit.losses[0] - done.fit.losses[-1] > 2 * (plain.fit.losses[0] - plain.fit.losses[-1])
    assert not teacher.wide[1]._forward_hooks
    assert [name for name, _ in student.named_parameters()] == [name for name, _ in Net(8, 1, 2).named_parameters()]


@pytest.mark.slow
def test_a_student_looks_where_its_teacher_looks(teacher: Net) -> None:
    def apart(student: Net) -> float:
        seen = []
        hooks = [
            block.register_forward_hook(lambda *a: seen.append(a[2][1]))
            for block in (teacher.blocks[1], student.blocks[0])
        ]
        with torch.no_grad():
            teacher(rows(64, 5)), student.eval()(rows(64, 5))
        for hook in hooks:
            hook.remove()
        return float((seen[0] - seen[1]).abs().mean())

    distances = []
    for weight in (0.0, 20.0):
        student = Net(8, 1, seed=2)
        config = DistillConfig(alpha=0.1, attention={"blocks.0": "blocks.1"}, attention_weight=weight)
        distill(teacher, student, [rows()] * 30, config, TrainConfig(epochs=4, lr=1e-2))
        distances.append(apart(student))
    assert distances[1] < 0.7 * distances[0]


def refused(teacher: nn.Module, student: nn.Module, data: Any, config: DistillConfig, words: str) -> None:
    before = [weight.clone() for weight in student.parameters()]
    with pytest.raises(InputError, match=words):
        distill(teacher, student, data, config, TrainConfig(epochs=1))
    assert all((new == old).all() for new, old in zip(student.parameters(), before, strict=True))
    assert not any(part._forward_hooks for part in [*teacher.modules(), *student.modules()])


def test_what_does_not_fit_is_refused_before_training(teacher: Net) -> None:
    x, plain, small = rows(8), DistillConfig(), Net(8, 1, seed=2)
    refused(small, teacher, [x], plain, "student has .* parameters, its teacher")
    other = Net(8, 1, seed=2)
    other.out = nn.Linear(8, 4)
    refused(teacher, other, [x], plain, r"student gives \[8, 4\], the teacher \[8, 3\]")
    looks = DistillConfig(attention={"blocks.0": "blocks.1"})
    refused(teacher, Net(8, 1, seed=2, tells=False), [x], looks, "'blocks.0' of the student gives no weights")
    refused(teacher, small, [x], DistillConfig(attention={"into": "into"}), "'into' of the student gives no weights")
    refused(teacher, small, [x], DistillConfig(hidden={"wide.0": "wide.9"}), "teacher has no module 'wide.9'")
    refused(
        teacher, small, [x], DistillConfig(hidden={"out": "into"}), "gives .8, 3., 'into' of the teacher .8, 5, 16."
    )
    refused(teacher, small, [x], DistillConfig(alpha=0.0), "has no labels")
    refused(teacher, small, [(x, torch.full((8,), 3))], plain, "labels of the first batch .* up to 3")
    refused(teacher, small, iter([x]), plain, "can be read once")
    refused(teacher, small, [], plain, "no batches")
    refused(teacher, small, [x[:, :, :7]], plain, "fails on a batch")


def test_the_validation_sees_the_student(teacher: Net) -> None:
    seen: list[nn.Module] = []

    def measure(module: nn.Module) -> float:
        seen.append(module)
        return 0.5

    student = Net(8, 1, seed=2)
    done = distill(teacher, student, [rows(8)], DistillConfig(alpha=1.0), TrainConfig(epochs=2), validation=measure)
    assert seen == [student, student]
    assert [one["loss"] for one in done.fit.validations] == [0.5, 0.5]
    batches = distill(
        teacher, student, [rows(8)], DistillConfig(alpha=1.0), TrainConfig(epochs=1), validation=[rows(8)]
    )
    assert batches.fit.validations[0]["loss"] > 0
